//! Adapters: small trained products beside the frozen maps of an encoder (LoRA, Hu et al. 2021,
//! arXiv:2106.09685): `y = W x + s · B A x`, A of shape `[r, in]`, B of shape `[out, r]`.
//!
//! An adapter belongs to a map (`blocks::adapter`); here is how the user describes them all, and on
//! which maps they lie. A module of the source's that this crate holds as several maps (ModernBERT's
//! `Wqkv`) has one A for all of them, and B by rows.

mod config;
mod places;

pub use config::{AdapterBias, AdapterConfig, Targets};
pub(crate) use places::{Place, Places, of_own_names};
