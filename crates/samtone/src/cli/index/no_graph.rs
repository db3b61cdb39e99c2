//! In the place of `graph.rs` where a build has no usearch.

use std::path::Path;

use samtone_eval::search::{Hit, Similarity};

use super::Settings;
use crate::embeddings::Embeddings;
use crate::error::Failure;

pub(crate) const MADE_BY: &str = "";

/// There is none.
pub(crate) enum Graph {}

fn refuse<T>() -> anyhow::Result<T> {
    let hint = "build with `--features usearch`, or search exactly: leave `--graph` and `--ef` out";
    Err(Failure::new("this build of `samtone` has no graphs", hint).into())
}

impl Graph {
    pub(crate) fn build(
        _documents: &Embeddings,
        _similarity: Similarity,
        _settings: Settings,
        _each: impl FnMut(usize),
    ) -> anyhow::Result<Self> {
        refuse()
    }

    pub(crate) fn open(
        _path: &Path,
        _rows: usize,
        _dim: usize,
        _similarity: Similarity,
        _settings: Settings,
    ) -> anyhow::Result<Self> {
        refuse()
    }

    pub(crate) fn save(&self, _path: &Path) -> anyhow::Result<()> {
        match *self {}
    }

    pub(crate) fn nearest(
        &self,
        _queries: &[f32],
        _documents: &Embeddings,
        _k: usize,
        _ef: usize,
        _own: &[Option<usize>],
    ) -> anyhow::Result<Vec<Vec<Hit>>> {
        match *self {}
    }
}
