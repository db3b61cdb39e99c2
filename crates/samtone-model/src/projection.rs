//! The dense layers after pooling, as the user or a model folder describes them.

use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use crate::config::Activation;
use crate::error::ModelError;

/// The dense layers after pooling, in their order.
///
/// A number stands for one without bias or nonlinearity, of so many dimensions: what a configuration
/// asks for and training draws. A model folder may bring others (`2_Dense`, `3_Dense`, …).
///
/// # Examples
///
/// ```
/// use samtone_model::DenseLayers;
///
/// let projection: DenseLayers = serde_json::from_str("64")?;
/// assert_eq!((projection.dim(), projection.layers().len()), (64, 1));
/// assert_eq!(projection, DenseLayers::from(64));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct DenseLayers {
    layers: Vec<DenseLayer>,
}

/// One dense layer: `activation(x Wᵀ + b)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseLayer {
    /// Dimensions of its output.
    pub dim: usize,
    /// Whether a bias is added.
    #[serde(default)]
    pub bias: bool,
    /// The nonlinearity.
    #[serde(default)]
    pub activation: DenseActivation,
}

/// The nonlinearity of a dense layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenseActivation {
    /// None.
    #[default]
    Identity,
    /// `tanh(x)`.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)`, with the normal distribution function itself.
    Gelu,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
}

/// What a configuration says.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Dim(usize),
    Layers(Vec<DenseLayer>),
}

impl From<Written> for DenseLayers {
    fn from(written: Written) -> Self {
        match written {
            Written::Dim(dim) => dim.into(),
            Written::Layers(layers) => Self { layers },
        }
    }
}

impl From<DenseLayers> for Written {
    fn from(projection: DenseLayers) -> Self {
        match projection.layers.as_slice() {
            [DenseLayer { dim, bias: false, activation: DenseActivation::Identity }] => {
                Self::Dim(*dim)
            }
            _ => Self::Layers(projection.layers),
        }
    }
}

impl From<usize> for DenseLayers {
    fn from(dim: usize) -> Self {
        let (bias, activation) = (false, DenseActivation::Identity);
        Self { layers: vec![DenseLayer { dim, bias, activation }] }
    }
}

impl From<Vec<DenseLayer>> for DenseLayers {
    fn from(layers: Vec<DenseLayer>) -> Self {
        Self { layers }
    }
}

impl DenseLayers {
    /// The layers, from the pooled states to the embedding.
    pub fn layers(&self) -> &[DenseLayer] {
        &self.layers
    }

    /// Dimensions of an embedding.
    pub fn dim(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.dim)
    }

    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        if self.layers.iter().all(|layer| layer.dim > 0) && !self.layers.is_empty() {
            return Ok(());
        }
        let dims: Vec<usize> = self.layers.iter().map(|layer| layer.dim).collect();
        let got = if let [dim] = dims.as_slice() { dim.to_string() } else { format!("{dims:?}") };
        Err(ModelError::Config { key: "projection", got, expected: "at least 1" })
    }
}

/// The name of a layer's parameters: the first one's is that of a projection alone.
pub(crate) fn layer_name(number: usize) -> String {
    match number {
        0 => "projection".to_owned(),
        _ => format!("projection.{number}"),
    }
}

impl DenseActivation {
    /// Applies the nonlinearity to every element.
    pub(crate) fn forward<B: Backend>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Relu => relu(x),
            Self::Gelu => Activation::Gelu.forward(x),
            Self::Silu => x.clone() * sigmoid(x),
            Self::Sigmoid => sigmoid(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_list_are_read_and_written() {
        let read = |text: &str| serde_json::from_str::<DenseLayers>(text).unwrap();
        assert_eq!(serde_json::to_string(&read("64")).unwrap(), "64");
        assert_eq!(read(r#"[{ "dim": 64 }]"#), read("64"));
        let chain = read(r#"[{ "dim": 9, "bias": true, "activation": "tanh" }, { "dim": 4 }]"#);
        assert_eq!(chain.dim(), 4);
        assert_eq!(chain.layers()[0].activation, DenseActivation::Tanh);
        assert_eq!(read(&serde_json::to_string(&chain).unwrap()), chain);
        for (impossible, got) in [("0", "0"), ("[]", "[]"), (r#"[{ "dim": 0 }, { "dim": 4 }]"#, "[0, 4]")] {
            let error = read(impossible).validate().unwrap_err().to_string();
            assert_eq!(error, format!("`projection` is {got}, expected at least 1"));
        }
    }
}
