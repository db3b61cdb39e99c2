//! How a text's hidden states become one vector, as the user writes it.

use serde::{Deserialize, Serialize};

/// How a text's hidden states become one vector; padding never takes part.
///
/// Written by its name, as `mean` or `weighted-mean`; several side by side as `cls+mean`, in the order
/// `cls`, `max`, `mean`, `mean-sqrt-len`, `weighted-mean`, `last`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pooling {
    /// The mean over the text's tokens.
    #[default]
    Mean,
    /// The first token's state.
    Cls,
    /// The last token's state.
    Last,
    /// The greatest of each dimension over the text's tokens.
    Max,
    /// The sum over the text's tokens, divided by the square root of their number.
    MeanSqrtLen,
    /// The mean over the text's tokens, each weighed by its position from 1.
    WeightedMean,
    /// Several side by side.
    Several(Poolings),
}

/// Two or more poolings whose vectors lie side by side, in the order of [`Poolings::ORDER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poolings(u8);

impl Poolings {
    /// The order in which the vectors of several poolings are joined: sentence-transformers'.
    pub const ORDER: [Pooling; 6] = [
        Pooling::Cls,
        Pooling::Max,
        Pooling::Mean,
        Pooling::MeanSqrtLen,
        Pooling::WeightedMean,
        Pooling::Last,
    ];
}

/// The names of single poolings, in the same order.
const NAMES: [&str; 6] = ["cls", "max", "mean", "mean-sqrt-len", "weighted-mean", "last"];

impl Pooling {
    /// One or several poolings as one: none if there is none, one is there twice, or they do not have
    /// the order of [`Poolings::ORDER`].
    pub fn of_parts(parts: &[Self]) -> Option<Self> {
        let place = |part: &Self| Poolings::ORDER.iter().position(|single| single == part);
        let places: Vec<usize> = parts.iter().map(place).collect::<Option<_>>()?;
        match parts {
            [] => None,
            [one] => Some(*one),
            _ if !places.is_sorted_by(|a, b| a < b) => None,
            _ => Some(Self::Several(Poolings(places.iter().map(|place| 1 << place).sum()))),
        }
    }

    /// The single poolings that this one is made of, in their order.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        Poolings::ORDER.into_iter().enumerate().filter_map(move |(place, part)| match self {
            Self::Several(Poolings(several)) => (several & (1 << place) != 0).then_some(part),
            _ => (self == part).then_some(part),
        })
    }
}

impl TryFrom<String> for Pooling {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let find = |name: &str| Some(Poolings::ORDER[NAMES.iter().position(|own| *own == name)?]);
        let parts: Option<Vec<Self>> = text.split('+').map(find).collect();
        let pooling = parts.and_then(|parts| Self::of_parts(&parts));
        pooling.ok_or_else(|| {
            let names = NAMES.map(|name| format!("`{name}`")).join(", ");
            format!("unknown variant `{text}`, expected one of {names}, or several in this order as `cls+mean`")
        })
    }
}

impl From<Pooling> for String {
    fn from(pooling: Pooling) -> Self {
        let name = |part| NAMES[Poolings::ORDER.iter().position(|own| *own == part).unwrap_or(0)];
        pooling.parts().map(name).collect::<Vec<_>>().join("+")
    }
}
