//! What a user writes about the loss, and how it resolves into a [`Loss`].

use serde::{Deserialize, Serialize};

use crate::candidates::Candidates;
use crate::error::LossError;
use crate::false_negatives::FalseNegatives;
use crate::group::{Group, GroupConfig};
use crate::hardness::Hardness;
use crate::loss::Loss;
use crate::preset::Preset;
use crate::similarity::Similarity;
use crate::temperature::{MaxScale, TemperatureConfig};

/// The `[loss]` table: a preset and the keys beside it, or `[[loss.group]]` tables in full.
///
/// Every key has a default; the default of all is [`Preset::Samtone`].
/// Where groups are given in full, the other keys default as for that preset.
///
/// # Examples
///
/// ```
/// use samtone_loss::LossConfig;
///
/// let config: LossConfig = toml::from_str(
///     r#"
///     preset = "samtone-query"
///     temperature = { learn = true, init = 0.07 }
///     "#,
/// )?;
/// let loss = config.resolve()?;
/// assert_eq!(loss.temperature().value(), 0.07);
///
/// let nonsense: LossConfig = toml::from_str("preset = \"gecko\"\nalpha = 0.1")?;
/// assert_eq!(
///     nonsense.resolve().unwrap_err().to_string(),
///     "`alpha` belongs to the preset `pair`, not to `gecko`"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// The loss by name; `samtone` where neither this nor groups are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// τ, fixed or learned; the preset's where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<TemperatureConfig>,
    /// How two embeddings are scored; by cosine where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<Similarity>,
    /// Mean or sum of the two directions of a two-sided preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combine>,
    /// Whose hard negatives an anchor sees; the preset's choice where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_negatives: Option<HardNegatives>,
    /// Which negatives are hidden; the preset's choice where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_negatives: Option<FalseNegatives>,
    /// Extra weight on negatives that are already close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardness: Option<Hardness>,
    /// Share of the passage-centric term of the preset `pair`, in [0, 1]; 0.1 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Memory for the score tiles that are kept for the backward pass, in MiB; 128 where absent.
    ///
    /// Tiles beyond it are computed twice. The result does not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_memory_mib: Option<usize>,
    /// The groups in full, instead of a preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Vec<GroupConfig>>,
}

/// How the two directions of a two-sided preset are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Each direction weighs ½.
    Mean,
    /// Each direction weighs 1.
    Sum,
}

/// Whose hard negatives an anchor sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardNegatives {
    /// Its own alone: no block holds another row's hard negatives.
    Own,
    /// Everyone's: wherever a group has `hard-own` it has `hard-others` too.
    All,
}

impl LossConfig {
    /// A preset with all its own choices.
    pub fn preset(preset: Preset) -> Self {
        Self { preset: Some(preset), ..Self::default() }
    }

    /// Fills in every default and checks that the keys make sense together.
    ///
    /// # Errors
    ///
    /// A [`LossError`] that names the key and the reason.
    pub fn resolve(&self) -> Result<Loss, LossError> {
        let preset = self.preset.unwrap_or_default();
        let groups = match &self.group {
            Some(groups) => self.explicit_groups(groups)?,
            None => self.preset_groups(preset)?,
        };
        let (temperature, learned) =
            self.temperature.unwrap_or_default().resolve(preset.temperature())?;
        let false_negatives = self.false_negatives.unwrap_or(FalseNegatives {
            ids: preset.hides_ids(),
            known: preset.hides_ids(),
            margin: preset.margin(),
        });
        false_negatives.check()?;
        if let Some(hardness) = self.hardness {
            check_hardness(hardness, &groups)?;
        }
        let score_memory = match self.score_memory_mib {
            Some(0) => return Err(LossError::NoScoreMemory),
            Some(mib) => mib.saturating_mul(1 << 20),
            None => crate::loss::DEFAULT_SCORE_MEMORY,
        };
        Ok(Loss {
            groups,
            temperature,
            learned,
            similarity: self.similarity.unwrap_or_default(),
            false_negatives,
            hardness: self.hardness,
            score_memory,
            tile: None,
        })
    }

    /// The same with the choices written out that a preset makes on its own: which it is, τ, the
    /// similarity, the masks. It resolves to the same loss, whatever a later preset's choices are.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub fn written_out(&self) -> Result<Self, LossError> {
        let loss = self.resolve()?;
        let learned = loss.learned_temperature();
        Ok(Self {
            preset: self.group.is_none().then(|| self.preset.unwrap_or_default()),
            temperature: Some(TemperatureConfig {
                learn: learned.is_some(),
                init: Some(loss.temperature()),
                max_scale: learned.map(MaxScale::value),
            }),
            similarity: Some(loss.similarity()),
            false_negatives: Some(loss.false_negatives()),
            ..self.clone()
        })
    }

    fn explicit_groups(&self, groups: &[GroupConfig]) -> Result<Vec<Group>, LossError> {
        if let Some(preset) = self.preset {
            return Err(LossError::PresetAndGroups { preset: preset.name() });
        }
        let adjusting = [
            ("combine", self.combine.is_some()),
            ("hard_negatives", self.hard_negatives.is_some()),
            ("alpha", self.alpha.is_some()),
        ];
        for (key, given) in adjusting {
            if given {
                return Err(LossError::KeyWithGroups { key });
            }
        }
        if groups.is_empty() {
            return Err(LossError::NoGroups);
        }
        groups.iter().enumerate().map(|(index, group)| group.resolve(index)).collect()
    }

    fn preset_groups(&self, preset: Preset) -> Result<Vec<Group>, LossError> {
        let alpha = match self.alpha {
            Some(_) if preset != Preset::Pair => {
                return Err(LossError::AlphaWithoutPair { preset: preset.name() });
            }
            Some(got) if !(0.0..=1.0).contains(&got) => return Err(LossError::Alpha { got }),
            given => given.unwrap_or(0.1),
        };
        let mut groups = preset
            .groups(alpha)
            .iter()
            .enumerate()
            .map(|(index, group)| group.resolve(index))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(combine) = self.combine {
            combine_directions(combine, preset, &mut groups)?;
        }
        if let Some(whose) = self.hard_negatives {
            choose_hard_negatives(whose, preset, &mut groups)?;
        }
        Ok(groups)
    }
}

fn combine_directions(
    combine: Combine,
    preset: Preset,
    groups: &mut [Group],
) -> Result<(), LossError> {
    if preset == Preset::Pair {
        return Err(LossError::Combine {
            preset: preset.name(),
            reason: "weighs its terms by alpha",
        });
    }
    if groups.len() < 2 {
        return Err(LossError::Combine { preset: preset.name(), reason: "has one" });
    }
    let weight = match combine {
        Combine::Mean => 1.0 / groups.len() as f64,
        Combine::Sum => 1.0,
    };
    for group in groups {
        group.weight = weight;
    }
    Ok(())
}

fn choose_hard_negatives(
    whose: HardNegatives,
    preset: Preset,
    groups: &mut [Group],
) -> Result<(), LossError> {
    use Candidates::{HardOthers, HardOwn, OppositeHard};
    if !groups.iter().any(|group| group.candidates.contains(&HardOwn)) {
        return Err(LossError::NoHardNegatives { preset: preset.name() });
    }
    for Group { candidates, .. } in groups {
        match whose {
            HardNegatives::Own => candidates.retain(|c| !matches!(c, HardOthers | OppositeHard)),
            HardNegatives::All => {
                if candidates.contains(&HardOwn) && !candidates.contains(&HardOthers) {
                    candidates.push(HardOthers);
                }
            }
        }
    }
    Ok(())
}

fn check_hardness(hardness: Hardness, groups: &[Group]) -> Result<(), LossError> {
    if !(hardness.strength > 0.0 && hardness.strength.is_finite()) {
        return Err(LossError::HardnessStrength { got: hardness.strength });
    }
    let felt = groups.iter().any(|group| {
        group.candidates.iter().any(|&candidates| hardness.acts_on(group.anchor, candidates))
    });
    if felt { Ok(()) } else { Err(LossError::HardnessWithoutCandidates { on: hardness.on }) }
}
