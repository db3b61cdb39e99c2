//! The named losses of the literature, each a list of groups.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Anchor, Candidates, GroupConfig, LossError, Margin, Temperature};

/// A loss of the literature, by name.
///
/// It is read from what sentence-transformers calls it too, where that is the same loss; it is
/// written by its own name.
///
/// Written over x(a,b) = s(a,b)/τ for row i; every sum skips what the false-negative rule hides.
/// `h_i` are a row's own hard negatives, `h` those of the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `-x(q_i,d_i) + ln[ Σ_j e^x(q_i,d_j) + Σ e^x(q_i,h) ]`: `InfoNCE`, query to document.
    ///
    /// The baseline of every dual encoder (Karpukhin et al. 2020, arXiv:2004.04906).
    InBatch,
    /// The mean of [`InBatch`](Self::InBatch) and its mirror from document to query.
    ///
    /// CLIP's loss (Radford et al. 2021, arXiv:2103.00020); hard negatives on the query side only.
    InBatchBoth,
    /// [`InBatch`](Self::InBatch) with `Σ_(j≠i) e^x(q_i,q_j)` in the denominator.
    ///
    /// `SamToNe`, query side (Moiseev et al. 2023, arXiv:2306.02516).
    SamtoneQuery,
    /// The mirror: `-x(q_i,d_i) + ln[ Σ_j e^x(q_j,d_i) + Σ_(j≠i) e^x(d_i,d_j) ]`.
    SamtoneDocument,
    /// The mean of the two `SamToNe` sides: NT-Xent over the 2N embeddings of the batch.
    #[default]
    Samtone,
    /// `(1-α)·` [`InBatch`](Self::InBatch) `+ α·(-x(q_i,d_i) + ln[ e^x(q_i,d_i) + Σ_(j≠i) e^x(d_i,d_j) ])`.
    ///
    /// PAIR (Ren et al. 2021, Findings of ACL), α = 0.1; its second stage is α = 0.
    /// The passage-centric term leaves the in-batch negatives out, where `SamToNe` keeps them.
    Pair,
    /// [`SamtoneQuery`](Self::SamtoneQuery), but a query sees its own hard negatives alone.
    ///
    /// Gecko, equation 3 (Lee et al. 2024, arXiv:2403.20327).
    Gecko,
    /// `-x(q_i,d_i) + ln[ e^x(q_i,d_i) + Σ` over q-d, q-q, d-q, d-d and hard negatives `]`.
    ///
    /// GTE (Li et al. 2023, arXiv:2308.03281), with the positive counted twice as its public
    /// implementations do, so the loss is at least ln 2; τ = 0.01 and no false-negative rule.
    Gte,
    /// Own hard negatives, q-d, q-q and d-d, hidden where they outscore the positive by 0.1.
    ///
    /// Qwen3-Embedding (Zhang et al. 2025, arXiv:2506.05176).
    Qwen3,
    /// [`InBatch`](Self::InBatch) without a false-negative rule: the default of
    /// sentence-transformers' `MultipleNegativesRankingLoss` (scale 20).
    St,
    /// The sum of both directions at τ = 0.01: `t5x_retrieval`'s default (scale 100).
    T5x,
}

/// What sentence-transformers calls a preset that computes the same, its scale and its masks included.
const ALIASES: [(&str, Preset); 2] = [
    ("MultipleNegativesRankingLoss", Preset::St),
    ("CachedMultipleNegativesRankingLoss", Preset::St),
];

/// What others call a loss that no preset is the same as, and what comes nearest to it.
const FOREIGN: [(&str, &str); 13] = [
    ("MultipleNegativesSymmetricRankingLoss", SYMMETRIC),
    ("CachedMultipleNegativesSymmetricRankingLoss", SYMMETRIC),
    ("GISTEmbedLoss", GUIDED),
    ("CachedGISTEmbedLoss", GUIDED),
    ("InfoNCE", "`st` hides no false negatives, `in-batch` hides what is known to be relevant"),
    ("NTXent", "`samtone` with `false_negatives = \"none\"` runs over both towers' embeddings"),
    ("CLIP", "`in-batch-both` with `temperature = { learn = true, init = 0.07 }`"),
    ("Tevatron", "its default is `st` with `similarity = \"dot\"` and `temperature = 1.0`"),
    ("FlagEmbedding", "its default is `st` with `temperature = 0.02`"),
    ("TripletLoss", "`in-batch` takes a row's hard negatives into its softmax, without a margin"),
    ("MarginMSELoss", "`[distillation]` with `loss = \"margin-mse\"` stands beside a preset"),
    ("DistillKLDivLoss", "`[distillation]` with `loss = \"kl\"` stands beside a preset"),
    ("MatryoshkaLoss", "`[matryoshka]` with `dims` stands beside a preset"),
];
const SYMMETRIC: &str = "`in-batch-both` with `false_negatives = \"none\"` computes it";
const GUIDED: &str = "`st` with `false_negatives = { ids = false, known = false, margin = {} }` \
                      hides by the scores of the model itself, not of a guide";

impl Preset {
    /// Every preset, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::InBatch,
        Self::InBatchBoth,
        Self::SamtoneQuery,
        Self::SamtoneDocument,
        Self::Samtone,
        Self::Pair,
        Self::Gecko,
        Self::Gte,
        Self::Qwen3,
        Self::St,
        Self::T5x,
    ];

    /// Their names.
    const NAMES: [&str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InBatch => "in-batch",
            Self::InBatchBoth => "in-batch-both",
            Self::SamtoneQuery => "samtone-query",
            Self::SamtoneDocument => "samtone-document",
            Self::Samtone => "samtone",
            Self::Pair => "pair",
            Self::Gecko => "gecko",
            Self::Gte => "gte",
            Self::Qwen3 => "qwen3",
            Self::St => "st",
            Self::T5x => "t5x",
        }
    }

    /// The groups in full: what `[[loss.group]]` tables would say.
    ///
    /// `alpha` is the share of the passage-centric term of [`Preset::Pair`]; others ignore it.
    pub fn groups(self, alpha: f64) -> Vec<GroupConfig> {
        use Candidates::{Cross, Hard, HardOwn, Opposite, OppositePositives, OppositeSame, Same};
        let query = |weight, candidates: &[Candidates]| group(Anchor::Query, weight, candidates);
        let document = |weight, candidates: &[_]| group(Anchor::Document, weight, candidates);
        match self {
            Self::InBatch | Self::St => vec![query(1.0, &[Cross, Hard])],
            Self::InBatchBoth => vec![query(0.5, &[Cross, Hard]), document(0.5, &[Cross])],
            Self::SamtoneQuery => vec![query(1.0, &[Cross, Same, Hard])],
            Self::SamtoneDocument => vec![document(1.0, &[Cross, Same])],
            Self::Samtone => {
                vec![query(0.5, &[Cross, Same, Hard]), document(0.5, &[Cross, Same])]
            }
            Self::Pair => {
                let mut groups = vec![query(1.0 - alpha, &[Cross, Hard]), document(alpha, &[Same])];
                groups.retain(|group| group.weight > 0.0);
                groups
            }
            Self::Gecko => vec![query(1.0, &[Cross, Same, HardOwn])],
            Self::Gte => {
                let mut group = query(1.0, &[Cross, Same, Hard, Opposite, OppositeSame]);
                group.positive_twice = true;
                vec![group]
            }
            Self::Qwen3 => vec![query(1.0, &[Cross, Same, OppositePositives, HardOwn])],
            Self::T5x => vec![query(1.0, &[Cross, Hard]), document(1.0, &[Cross])],
        }
    }

    /// The temperature where none is given.
    pub fn temperature(self) -> Temperature {
        let value = match self {
            Self::Gte | Self::T5x => 0.01,
            _ => 0.05,
        };
        Temperature::new(value).expect("a positive constant")
    }

    /// Whether false negatives are hidden by id where nothing else is said.
    pub(crate) fn hides_ids(self) -> bool {
        !matches!(self, Self::Gte | Self::St | Self::T5x)
    }

    /// The margin rule where nothing else is said.
    pub(crate) fn margin(self) -> Option<Margin> {
        (self == Self::Qwen3).then_some(Margin { absolute: 0.1, relative: 0.0 })
    }
}

fn group(anchor: Anchor, weight: f64, candidates: &[Candidates]) -> GroupConfig {
    GroupConfig { anchor, weight, candidates: candidates.to_vec(), positive_twice: false }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = LossError;

    fn from_str(name: &str) -> Result<Self, LossError> {
        let own = Self::ALL.iter().find(|preset| preset.name() == name);
        let alias = || ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, preset)| preset);
        if let Some(preset) = own.or_else(alias) {
            return Ok(*preset);
        }
        let got = name.to_owned();
        match FOREIGN.iter().find(|(foreign, _)| foreign.eq_ignore_ascii_case(name)) {
            Some((_, nearest)) => Err(LossError::ForeignPreset { got, nearest }),
            None => Err(LossError::UnknownPreset { got, known: &Self::NAMES }),
        }
    }
}

impl<'de> Deserialize<'de> for Preset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(|error| match error {
            LossError::UnknownPreset { got, known } => de::Error::unknown_variant(&got, known),
            foreign => de::Error::custom(foreign),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_it_is_written() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse(), Ok(preset));
            let json = serde_json::to_value(preset).unwrap();
            assert_eq!(json, preset.name());
            assert_eq!(serde_json::from_value::<Preset>(json).unwrap(), preset);
        }
    }

    #[test]
    fn a_name_of_others_is_its_preset_or_refused_with_the_nearest() {
        for name in ["MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss"] {
            let read: Preset = serde_json::from_value(name.into()).unwrap();
            assert_eq!((read, serde_json::to_value(read).unwrap()), (Preset::St, "st".into()));
        }
        for (name, nearest) in FOREIGN {
            let error = serde_json::from_value::<Preset>(name.into()).unwrap_err().to_string();
            assert_eq!(error, format!("no preset is the same as `{name}`: {nearest}"));
            // What it names is there.
            let named = nearest.split('`').skip(1).step_by(2);
            let presets = named.filter(|named| named.parse::<Preset>().is_ok()).count();
            assert!(presets > 0 || nearest.ends_with("beside a preset"), "{nearest}");
        }
        for (name, nearest) in [
            ("MultipleNegativesSymmetricRankingLoss", "`in-batch-both`"),
            ("GISTEmbedLoss", "`st`"),
            ("infonce", "`in-batch`"),
        ] {
            let error = name.parse::<Preset>().unwrap_err();
            assert!(matches!(error, LossError::ForeignPreset { .. }), "{error}");
            assert!(error.to_string().contains(nearest), "{error}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_all_that_are_known() {
        let error = "CoSENTLoss".parse::<Preset>().unwrap_err().to_string();
        assert!(error.starts_with("unknown loss `CoSENTLoss`; known are in-batch, "), "{error}");
        let error = serde_json::from_value::<Preset>("CoSENTLoss".into()).unwrap_err().to_string();
        for preset in Preset::ALL {
            assert!(error.contains(&format!("`{preset}`")), "{error}");
        }
    }
}
