//! A text of a foreign file.

use std::borrow::Cow;

/// A text of an example, with what else its file says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passage<'a> {
    /// Its id, where the format has one.
    pub id: Option<Cow<'a, str>>,
    /// Its title; empty where there is none.
    pub title: Cow<'a, str>,
    /// Its text.
    pub text: Cow<'a, str>,
    /// A teacher's score of it for the example's query, where the file gives one.
    pub score: Option<f64>,
}

impl<'a> Passage<'a> {
    /// A text alone.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { id: None, title: Cow::Borrowed(""), text: text.into(), score: None }
    }

    /// The id, where there is one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}
