//! Markup under way: what comes from outside enters it cut and escaped.

use std::fmt::{Arguments, Write as _};

use crate::plot::NAME_CHARS;
use crate::text::{clean, escape};

/// Markup under way.
pub(crate) struct Markup {
    out: String,
    /// The length that texts are cut to.
    max_chars: usize,
}

impl Markup {
    pub(crate) fn new(max_chars: usize) -> Self {
        Self { out: String::new(), max_chars }
    }

    pub(crate) fn max_chars(&self) -> usize {
        self.max_chars
    }

    /// Adds markup.
    pub(crate) fn put(&mut self, markup: &str) {
        self.out.push_str(markup);
    }

    /// Adds markup of pieces; those from outside are [`text`](Self::text), [`name`] or [`cut`].
    pub(crate) fn push(&mut self, markup: Arguments<'_>) {
        self.out.write_fmt(markup).expect("a string takes everything");
    }

    /// Text from outside, cut and escaped.
    pub(crate) fn text(&self, text: &str) -> String {
        cut(text, self.max_chars)
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }
}

/// What bold says, for who does not see it.
pub(crate) const BEST: &str = "<span class=\"unseen\"> (best)</span>";

/// A star for significance.
pub(crate) const STAR: &str = "<span class=\"star\" aria-hidden=\"true\">*</span><span \
                               class=\"unseen\"> (significant)</span>";

/// Text from outside, cut to `max_chars` and escaped.
pub(crate) fn cut(text: &str, max_chars: usize) -> String {
    escape(&clean(text, max_chars))
}

/// A name or id from outside, cut and escaped.
pub(crate) fn name(text: &str) -> String {
    cut(text, NAME_CHARS)
}
