//! Parameters: their names, their stable ids, and where their first values come from.

use burn::module::{Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use samtone_text::Key;

use crate::adapter::{Place, Places};
use crate::config::freeze::Freeze;
use crate::error::ModelError;
use crate::part::Part;
use crate::side::Side;

/// One trainable or frozen tensor of a dual encoder.
#[expect(clippy::struct_excessive_bools, reason = "what holds of a tensor, each on its own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The tower (`shared`, `query` or `document`), a dot, and the parameter's name in it.
    pub path: String,
    /// The tower that alone has it; none: both share it.
    pub side: Option<Side>,
    /// The parameter's name in its tower, as Hugging Face spells it.
    pub name: String,
    /// Stable over runs: a hash of the path.
    pub id: ParamId,
    /// The stage of the tower it belongs to.
    pub part: Part,
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Whether it scales or shifts what a norm gives.
    pub is_norm: bool,
    /// Whether weight decay applies: not to biases, norms and relative positions.
    pub decays: bool,
    /// Whether it is an adapter's A or B.
    pub is_adapter: bool,
    /// Whether an optimiser may update it.
    pub is_trainable: bool,
}

impl Parameter {
    /// Numbers in the tensor.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The distribution of a parameter's first value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    Zeros,
    Ones,
    Normal(f64),
    /// Uniform between this and its negative.
    Uniform(f64),
    /// Normal of this standard deviation before it is cut at two of them.
    TruncatedNormal(f64),
}

impl Init {
    /// Draws `n` values on the host, so that they are the same on every backend.
    pub(crate) fn draw(self, key: Key, n: usize) -> Vec<f32> {
        let range = 0..n as u64;
        match self {
            Self::Zeros => vec![0.0; n],
            Self::Ones => vec![1.0; n],
            Self::Normal(std) => range.map(|i| (std * key.normal(i)) as f32).collect(),
            Self::Uniform(bound) => {
                range.map(|i| (bound * (2.0 * key.unit(i) - 1.0)) as f32).collect()
            }
            Self::TruncatedNormal(std) => range
                .map(|i| {
                    let mut draws = (0..).map(|attempt| key.at(attempt).normal(i));
                    let kept = draws.find(|z| z.abs() < 2.0).expect("most draws are kept");
                    (std * kept) as f32
                })
                .collect(),
        }
    }
}

/// Gives a parameter its first value: drawn, or read from a file.
pub(crate) type Source<'a> = dyn FnMut(&Parameter, Init) -> Result<Vec<f32>, ModelError> + 'a;

/// Draws every parameter from `seed`.
///
/// Both towers start from the same encoder, as from one checkpoint; separate projections and adapters
/// start apart. (Dong et al. 2022 load one T5 into both towers and draw the projections.)
pub(crate) fn draw(seed: u64, parameter: &Parameter, init: Init) -> Vec<f32> {
    let key = Key::new(seed).child("weights");
    let label = match parameter.part {
        _ if parameter.is_adapter => &parameter.path,
        Part::Projection => &parameter.path,
        _ => &parameter.name,
    };
    init.draw(key.child(label), parameter.num_elements())
}

/// Makes a module's parameters and lists them.
pub(crate) struct Builder<'a, B: Backend> {
    device: &'a B::Device,
    source: &'a mut Source<'a>,
    side: Option<Side>,
    part: Part,
    freeze: Freeze,
    adapters: Option<Adapters<'a>>,
    parameters: Vec<Parameter>,
    /// The names of the maps that adapters may lie on.
    maps: Vec<String>,
}

/// The adapters of the parameters to come.
#[derive(Clone, Copy)]
pub(crate) struct Adapters<'a> {
    pub(crate) places: &'a Places,
    /// Whose they are: both towers', or one's each.
    pub(crate) sides: &'a [Option<Side>],
}

/// What a parameter is to the states that it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A map with its bias, or a table of words.
    Map,
    /// A norm's factors or shifts.
    Norm,
    /// The biases of scores by distance.
    Distances,
    /// An adapter's A or B.
    Adapter,
}

impl<'a, B: Backend> Builder<'a, B> {
    pub(crate) fn new(device: &'a B::Device, source: &'a mut Source<'a>) -> Self {
        Self {
            device,
            source,
            side: None,
            part: Part::Embedder,
            freeze: Freeze::default(),
            adapters: None,
            parameters: Vec::new(),
            maps: Vec::new(),
        }
    }

    /// The following parameters belong to `side`, or to both.
    pub(crate) fn side(&mut self, side: Option<Side>) -> &mut Self {
        self.side = side;
        self
    }

    /// The following parameters belong to `part`.
    pub(crate) fn part(&mut self, part: Part) -> &mut Self {
        self.part = part;
        self
    }

    /// Of the following parameters some are not updated.
    pub(crate) fn freeze(&mut self, freeze: Freeze) -> &mut Self {
        self.freeze = freeze;
        self
    }

    /// The following maps may have adapters.
    pub(crate) fn adapters(&mut self, adapters: Option<Adapters<'a>>) -> &mut Self {
        self.adapters = adapters;
        self
    }

    /// The adapters of the map called `name`: where it has one, whose they are, and the share that A
    /// does not see.
    ///
    /// # Errors
    /// As [`Places::of`].
    pub(crate) fn place(&mut self, name: &str) -> Result<Option<Adapted<'a>>, ModelError> {
        let Some(Adapters { places, sides }) = self.adapters else { return Ok(None) };
        if !self.maps.iter().any(|known| known == name) {
            self.maps.push(name.to_owned());
        }
        let adapted = |place| Adapted { place, sides, dropout: places.dropout() };
        Ok(places.of(name)?.map(adapted))
    }

    /// A or B of an adapter of `side`.
    pub(crate) fn adapter(
        &mut self,
        side: Option<Side>,
        name: &str,
        shape: [usize; 2],
        init: Init,
    ) -> Result<Param<Tensor<B, 2>>, ModelError> {
        let around = std::mem::replace(&mut self.side, side);
        let made = self.of_kind(Kind::Adapter, name, shape, init);
        self.side = around;
        made
    }

    /// A norm's factors or shifts.
    pub(crate) fn norm(
        &mut self,
        name: &str,
        width: usize,
        init: Init,
    ) -> Result<Param<Tensor<B, 1>>, ModelError> {
        self.of_kind(Kind::Norm, name, [width], init)
    }

    /// The biases of scores, a row for each class of distances.
    pub(crate) fn distances(
        &mut self,
        name: &str,
        shape: [usize; 2],
        init: Init,
    ) -> Result<Param<Tensor<B, 2>>, ModelError> {
        self.of_kind(Kind::Distances, name, shape, init)
    }

    /// A map, its bias, or a table.
    pub(crate) fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        init: Init,
    ) -> Result<Param<Tensor<B, D>>, ModelError> {
        self.of_kind(Kind::Map, name, shape, init)
    }

    fn of_kind<const D: usize>(
        &mut self,
        kind: Kind,
        name: &str,
        shape: [usize; D],
        init: Init,
    ) -> Result<Param<Tensor<B, D>>, ModelError> {
        let path = format!("{}.{name}", self.side.map_or("shared", Side::name));
        let id = ParamId::from(Key::new(0).child(&path).word(0));
        let is_norm = kind == Kind::Norm;
        let is_trainable = kind == Kind::Adapter
            || self.freeze.trains(self.part, is_norm)
            || match &self.adapters {
                Some(adapters) => adapters.places.trains(name)?,
                None => false,
            };
        let parameter = Parameter {
            side: self.side,
            name: name.to_owned(),
            id,
            part: self.part,
            shape: shape.to_vec(),
            is_norm,
            decays: D > 1 && matches!(kind, Kind::Map | Kind::Adapter),
            is_adapter: kind == Kind::Adapter,
            is_trainable,
            path,
        };
        let values = (self.source)(&parameter, init)?;
        let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
        self.parameters.push(parameter);
        Ok(Param::initialized(id, tensor.set_require_grad(is_trainable)))
    }

    /// Checks that there is an adapter for everything that is named.
    ///
    /// # Errors
    /// As [`Places::check`].
    pub(crate) fn check_adapters(&self) -> Result<(), ModelError> {
        let Some(Adapters { places, .. }) = self.adapters else { return Ok(()) };
        places.check(&self.maps, self.parameters.iter().map(|parameter| parameter.name.as_str()))
    }

    pub(crate) fn finish(self) -> Vec<Parameter> {
        self.parameters
    }
}

/// The adapters of one map.
pub(crate) struct Adapted<'a> {
    pub(crate) place: Place,
    pub(crate) sides: &'a [Option<Side>],
    pub(crate) dropout: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_normals_stay_within_two_deviations() {
        let values = Init::TruncatedNormal(0.5).draw(Key::new(1), 10_000);
        assert!(values.iter().all(|x| x.abs() < 1.0));
        let variance = values.iter().map(|x| x * x).sum::<f32>() / 10_000.0;
        // Cutting at two deviations leaves 0.8796 of one.
        assert!((variance.sqrt() - 0.5 * 0.8796).abs() < 0.01);
    }
}
