//! The adapter of a map: `s · B A drop(x)` beside its product.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::blocks::dropout::DropoutSite;
use crate::blocks::pass::Pass;
use crate::error::ModelError;
use crate::folder::names::{DOWN, UP};
use crate::parameter::{Adapted, Builder, Init};

/// The operation of its dropout site, whose layer is the adapter's own.
const SITE: u64 = 16;

/// A product of low rank.
#[derive(Module, Debug)]
pub(crate) struct Adapter<B: Backend> {
    /// A, `[r, in]`; none: that of another map on the same states, with which this one is a module of
    /// the source's.
    pub(crate) down: Option<Param<Tensor<B, 2>>>,
    /// B, `[out, r]`.
    pub(crate) up: Param<Tensor<B, 2>>,
    scale: f64,
    dropout: f64,
}

impl<B: Backend> Adapter<B> {
    /// The adapters of the map called `name`: none, one of both towers, or one of either.
    ///
    /// A is drawn as PyTorch draws a linear map, B starts as zeros, so that nothing changes yet.
    pub(crate) fn of_map(
        builder: &mut Builder<'_, B>,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<Vec<Self>, ModelError> {
        let Some(Adapted { place, sides, dropout }) = builder.place(name)? else {
            return Ok(Vec::new());
        };
        let (rank, scale) = (place.rank, place.scale);
        let bound = Init::Uniform((inputs as f64).powf(-0.5));
        let make = |&side| {
            let mut tensor =
                |kind, shape, init| builder.adapter(side, &format!("{name}{kind}"), shape, init);
            let holds = place.holder == name;
            let down = holds.then(|| tensor(DOWN, [rank, inputs], bound)).transpose()?;
            let up = tensor(UP, [outputs, rank], Init::Zeros)?;
            Ok::<_, ModelError>(Self { down, up, scale, dropout })
        };
        sides.iter().map(make).collect()
    }

    /// B with the scale in it.
    pub(crate) fn scaled_up(&self) -> Tensor<B, 2> {
        let up = self.up.val();
        if self.scale == 1.0 { up } else { up * self.scale }
    }

    /// Where its A drops elements in `pass`.
    pub(crate) fn site(&self, pass: Pass<'_, B>) -> Option<DropoutSite> {
        let layer = self.down.as_ref().map_or(0, |down| down.id.val());
        DropoutSite::of_stream(pass.dropout, layer, SITE, self.dropout)
    }
}
