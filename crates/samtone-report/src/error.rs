//! What can go wrong.

use std::{io, path::PathBuf};

/// Why a report, a figure or a projection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or folder cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },

    /// The page passes its limit even with texts cut short.
    #[error("the report takes {bytes} bytes with texts cut short, above the limit of {limit}")]
    TooLarge {
        /// The size reached.
        bytes: usize,
        /// The size allowed.
        limit: usize,
    },

    /// A drawing cannot be turned into pixels.
    #[cfg(feature = "png")]
    #[error("cannot rasterise the figure `{figure}`")]
    Png {
        /// The figure's file name, without extension.
        figure: String,
        /// The rasteriser's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Too few points for the perplexity.
    #[cfg(feature = "tsne")]
    #[error("t-SNE with a perplexity of {perplexity} needs at least {needed} points, got {points}")]
    TooFewPoints {
        /// The number of points.
        points: usize,
        /// The perplexity asked for.
        perplexity: f64,
        /// The least number of points for it.
        needed: usize,
    },

    /// A perplexity outside its domain.
    #[cfg(feature = "tsne")]
    #[error("the perplexity must be at least 1 and finite, got {perplexity}")]
    Perplexity {
        /// The perplexity asked for.
        perplexity: f64,
    },

    /// A point holds a value that is not finite.
    #[cfg(feature = "tsne")]
    #[error("point {point} of the t-SNE projection holds a value that is not finite")]
    NotFinite {
        /// The point's index, from 0.
        point: usize,
    },
}

impl ReportError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } => Some("show fewer points or queries".to_owned()),
            #[cfg(feature = "tsne")]
            Self::TooFewPoints { points, .. } if *points > 3 => {
                Some(format!("a perplexity of {} or less works here", (points - 1) / 3))
            }
            #[cfg(feature = "tsne")]
            Self::NotFinite { .. } => {
                Some("the model gave a broken embedding: check its weights".to_owned())
            }
            _ => None,
        }
    }
}
