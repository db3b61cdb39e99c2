//! Tags and text of a record.

use std::ops::Range;

/// A tag.
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    pub(super) is_closing: bool,
    /// What stands between its name and its end.
    attributes: &'a str,
    /// Where it stands, in bytes.
    pub(super) place: Range<usize>,
}

impl<'a> Tag<'a> {
    pub(super) fn opens(&self, name: &str) -> bool {
        !self.is_closing && self.name.eq_ignore_ascii_case(name)
    }

    pub(super) fn closes(&self, name: &str) -> bool {
        self.is_closing && self.name.eq_ignore_ascii_case(name)
    }

    /// The value of an attribute, in quotes or bare.
    pub(super) fn attribute(&self, wanted: &str) -> Option<&'a str> {
        let mut rest = self.attributes;
        while let Some((name, value)) = rest.split_once('=') {
            let value = value.trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (value, after) = match quote {
                Some(quote) => value[1..].split_once(quote)?,
                None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
            };
            let name = name.trim().rsplit(char::is_whitespace).next().unwrap_or_default();
            if name.eq_ignore_ascii_case(wanted) {
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

/// A piece of a record.
enum Piece<'a> {
    /// Text whose entities are yet to be read.
    Text(&'a str),
    /// Text as it stands.
    Literal(&'a str),
    Tag(Tag<'a>),
    /// A comment or a declaration.
    Aside,
}

/// The pieces of a record, in order.
fn pieces(record: &str) -> impl Iterator<Item = Piece<'_>> {
    let (mut at, mut found) = (0, None);
    std::iter::from_fn(move || {
        if let Some((piece, end)) = found.take() {
            at = end;
            return Some(piece);
        }
        let mut places = record[at..].match_indices('<').map(|(place, _)| at + place);
        let markup = places.find_map(|place| Some((place, markup(record, place)?)));
        let Some((start, (piece, end))) = markup else {
            let text = &record[at..];
            at = record.len();
            return (!text.is_empty()).then_some(Piece::Text(text));
        };
        if start > at {
            found = Some((piece, end));
            return Some(Piece::Text(&record[at..start]));
        }
        at = end;
        Some(piece)
    })
}

/// The markup that the `<` at `start` begins, and where it ends; none if it is a character of the text.
fn markup(record: &str, start: usize) -> Option<(Piece<'_>, usize)> {
    let rest = &record[start..];
    let whole = |open: &str, close: &str| {
        let inside = rest.strip_prefix(open)?;
        let length = inside.find(close)?;
        Some((&inside[..length], start + open.len() + length + close.len()))
    };
    if let Some((text, end)) = whole("<![CDATA[", "]]>") {
        return Some((Piece::Literal(text), end));
    }
    if let Some((_, end)) = whole("<!--", "-->") {
        return Some((Piece::Aside, end));
    }
    let length =
        rest[1..].find(['<', '>']).filter(|&length| rest[1 + length..].starts_with('>'))?;
    let (inside, end) = (&rest[1..=length], start + length + 2);
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
    if inside.starts_with('?') || inside.strip_prefix('!').is_some_and(begins) {
        return Some((Piece::Aside, end));
    }
    let bare = inside.strip_prefix('/').unwrap_or(inside);
    if !begins(bare) {
        return None;
    }
    let name = bare.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(bare.len());
    let (name, attributes) = bare.split_at(name);
    let is_closing = inside.starts_with('/');
    Some((Piece::Tag(Tag { name, is_closing, attributes, place: start..end }), end))
}

/// The tags of a record, in order.
pub(super) fn tags(record: &str) -> impl Iterator<Item = Tag<'_>> {
    pieces(record).filter_map(|piece| match piece {
        Piece::Tag(tag) => Some(tag),
        _ => None,
    })
}

/// Text on one line, without markup and without the label and colon that classic fields begin with.
pub(super) fn clean(field: &str, label: &str) -> String {
    let field = field.trim();
    let unlabelled = (!label.is_empty())
        .then(|| field.strip_prefix(label)?.trim_start().strip_prefix(':'))
        .flatten();
    let mut text = String::with_capacity(field.len());
    for piece in pieces(unlabelled.unwrap_or(field)) {
        match piece {
            Piece::Text(piece) => text += &html_escape::decode_html_entities(piece),
            Piece::Literal(piece) => text += piece,
            Piece::Tag(_) | Piece::Aside => text.push(' '),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
