//! MS MARCO's files, told apart by their names: `collection*.tsv` (id, text; or the document
//! collection's id, URL, title, body), `queries.*.tsv` (id, text), `qrels.*.tsv` (query, 0, document,
//! grade) and triples by id (query, positive, negative).
//!
//! What stands between the dots of a qrels file's name is its split: `qrels.dev.small.tsv` is the split
//! `dev.small`. Triples become judgments of grade 1 and 0 of the split asked for.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::sink::Sink;
use crate::error::{DataError, Fault};
use crate::reading::lines::Line;

/// What a file holds; the order is the one in which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Collection,
    Queries,
    Qrels,
    Triples,
}

/// The columns of a line, exactly `N`.
fn columns<'a, const N: usize>(
    line: Line<'a>,
    expected: &'static str,
) -> Result<[&'a str; N], Fault> {
    let columns: Vec<&str> = line.text()?.split('\t').collect();
    let got = columns.len();
    columns.try_into().map_err(|_| Fault::Columns { expected, got })
}

/// A line of a collection: id, title, text.
///
/// # Errors
/// A [`Fault`] if it has neither two nor four columns.
pub fn parse_document(line: Line<'_>) -> Result<(&str, &str, &str), Fault> {
    let columns: Vec<&str> = line.text()?.split('\t').collect();
    match columns[..] {
        [id, text] => Ok((id, "", text)),
        [id, _url, title, text] => Ok((id, title, text)),
        _ => {
            let expected = "2 columns (id, text) or 4 (id, url, title, body)";
            Err(Fault::Columns { expected, got: columns.len() })
        }
    }
}

/// A line of queries: id, text.
///
/// # Errors
/// A [`Fault`] if it has not two columns.
pub fn parse_query(line: Line<'_>) -> Result<(&str, &str), Fault> {
    columns(line, "2 columns (id, text)").map(|[id, text]| (id, text))
}

/// A line of qrels: query id, document id, grade.
///
/// # Errors
/// A [`Fault`] if it has not four columns, or the last is no whole number.
pub fn parse_judgment(line: Line<'_>) -> Result<(&str, &str, i32), Fault> {
    let text = line.text()?;
    let columns: Vec<&str> = text.split_whitespace().collect();
    let [query, _, document, grade] = columns[..] else {
        let expected = "4 columns (query, 0, document, grade)";
        return Err(Fault::Columns { expected, got: columns.len() });
    };
    let number = grade.parse();
    let grade = number.map_err(|_| Fault::Number { field: "grade", got: grade.to_owned() })?;
    Ok((query, document, grade))
}

/// A line of triples: the ids of query, positive, negative.
///
/// # Errors
/// A [`Fault`] if it has not three columns.
pub fn parse_triple(line: Line<'_>) -> Result<[&str; 3], Fault> {
    columns(line, "3 columns (query, positive, negative)")
}

/// The role a file's name tells, and the split in it.
fn role(path: &Path) -> Result<(Role, Option<String>), DataError> {
    let name = path.file_name().map_or(Cow::Borrowed(""), |name| name.to_string_lossy());
    let lower = name.to_lowercase();
    let split = || {
        let stem = name.trim_end_matches(".gz").trim_end_matches(".zst").trim_end_matches(".tsv");
        let (_, split) = stem.split_once("qrels")?;
        let split = split.trim_matches(['.', '_', '-']);
        (!split.is_empty()).then(|| split.to_owned())
    };
    if lower.contains("triples") {
        Ok((Role::Triples, None))
    } else if lower.contains("qrels") {
        Ok((Role::Qrels, split()))
    } else if lower.contains("queries") {
        Ok((Role::Queries, None))
    } else if lower.contains("collection") || lower.contains("docs") {
        Ok((Role::Collection, None))
    } else {
        let expected = "`collection`, `queries`, `qrels` or `triples` in its name";
        Err(DataError::UnknownRole { path: path.to_owned(), expected })
    }
}

pub(super) fn import(inputs: &[PathBuf], sink: &mut Sink<'_>) -> Result<(), DataError> {
    let mut files = Vec::new();
    for path in inputs {
        let (role, split) = role(path)?;
        files.push((role, split, path));
    }
    files.sort_by_key(|(role, _, _)| *role);
    for (role, split, path) in files {
        let split = split.unwrap_or_else(|| sink.split());
        sink.lines(path, |sink, line| match role {
            Role::Collection => {
                let (id, title, text) = parse_document(line)?;
                sink.document(id, title, text, line.number)
            }
            Role::Queries => {
                let (id, text) = parse_query(line)?;
                sink.query(id, text, line.number)
            }
            Role::Qrels => {
                let (query, document, grade) = parse_judgment(line)?;
                sink.judgment(&split, query, document, grade, true)
            }
            Role::Triples => {
                let [query, positive, negative] = parse_triple(line)?;
                sink.judgment(&split, query, positive, 1, false)?;
                sink.judgment(&split, query, negative, 0, false)
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_roles_and_splits() {
        let check = |name: &str, expected| assert_eq!(role(Path::new(name)).unwrap(), expected);
        check("collection.tsv", (Role::Collection, None));
        check("queries.train.tsv.gz", (Role::Queries, None));
        check("qrels.dev.small.tsv", (Role::Qrels, Some("dev.small".to_owned())));
        check("qrels.train.tsv.gz", (Role::Qrels, Some("train".to_owned())));
        check("qidpidtriples.train.full.2.tsv", (Role::Triples, None));
        assert!(role(Path::new("top1000.dev")).is_err());
    }
}
