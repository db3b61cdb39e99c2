//! What the columns of a file are: as the caller says, as their names say or, where no name says
//! anything, by their order.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::{ColumnFault, shell_word};

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ColumnRole {
    /// The text of the query.
    Query,
    /// The id of the query.
    QueryId,
    /// The text of the document relevant to it.
    Positive,
    /// The id of that document.
    PositiveId,
    /// The text of a document not relevant to it.
    Negative,
    /// 1 if the positive is one, 0 if it is a negative.
    Label,
    /// How relevant the positive is: a whole number, 1 or more if it is one, 0 or less if it is a
    /// negative.
    Grade,
    /// By how much a teacher's score of the positive is above that of the one negative.
    Margin,
    /// A teacher's scores: of the positive, then of each negative.
    Scores,
    /// Nothing that is imported.
    Ignored,
}

impl ColumnRole {
    /// What messages call it; with two dashes, the flag that names such a column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::QueryId => "query id",
            Self::Positive => "positive",
            Self::PositiveId => "positive id",
            Self::Negative => "negative",
            Self::Label => "label",
            Self::Grade => "grade",
            Self::Margin => "margin",
            Self::Scores => "scores",
            Self::Ignored => "ignored",
        }
    }

    /// Whether such a column holds texts.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Query | Self::Positive | Self::Negative)
    }

    /// Whether such a column says how relevant a document is: there can be one that does.
    fn is_verdict(self) -> bool {
        matches!(self, Self::Label | Self::Grade | Self::Margin | Self::Scores)
    }

    /// What a column of this name is, letter case aside, in a file that has a column of negatives or none.
    fn of(name: &str, has_negatives: bool) -> Option<Self> {
        let name = name.trim().to_lowercase().replace([' ', '-'], "_");
        if is_negative(&name) {
            return Some(Self::Negative);
        }
        Some(match &*name.replace("_text", "") {
            "query" | "question" | "anchor" => Self::Query,
            "positive" | "pos" | "answer" | "passage" | "document" | "response" => Self::Positive,
            "query_id" | "question_id" | "anchor_id" | "qid" => Self::QueryId,
            "positive_id" | "pos_id" | "answer_id" | "passage_id" | "document_id" | "doc_id"
            | "docid" | "pid" => Self::PositiveId,
            "label" | "labels" => Self::Label,
            "grade" | "grades" | "relevance" => Self::Grade,
            "margin" if has_negatives => Self::Margin,
            "scores" if has_negatives => Self::Scores,
            "id" | "_id" | "idx" | "index" | "__index_level_0__" => Self::Ignored,
            _ => return None,
        })
    }
}

/// `negative`, `neg_1`, `hard_negative_text`, ...
fn is_negative(name: &str) -> bool {
    let name = name.strip_prefix("hard_").unwrap_or(name);
    let Some(rest) = name.strip_prefix("negative").or_else(|| name.strip_prefix("neg")) else {
        return false;
    };
    let rest = rest.trim_start_matches('_').trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(rest.trim_end_matches('_'), "" | "text" | "passage" | "document")
}

fn is_score(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    matches!(&*name, "score" | "scores" | "similarity" | "similarity_score" | "sim")
}

/// The columns that the caller names; what is not named is told by its name.
///
/// A named column takes the place of those that are known by their names for the same role. If the
/// query and the positive are named, columns that nothing is known of are left aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// The query.
    pub query: Option<String>,
    /// The positive.
    pub positive: Option<String>,
    /// Negatives.
    pub negatives: Vec<String>,
    /// The label, 0 or 1.
    pub label: Option<String>,
    /// The grade, a whole number.
    pub grade: Option<String>,
    /// The margin of a teacher's scores.
    pub margin: Option<String>,
    /// A teacher's scores.
    pub scores: Option<String>,
    /// What to leave aside.
    pub ignored: Vec<String>,
}

impl ColumnNames {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn all(&self) -> impl Iterator<Item = (&str, ColumnRole)> {
        let with = |role| move |name| (name, role);
        self.query
            .iter()
            .map(with(ColumnRole::Query))
            .chain(self.positive.iter().map(with(ColumnRole::Positive)))
            .chain(self.negatives.iter().map(with(ColumnRole::Negative)))
            .chain(self.label.iter().map(with(ColumnRole::Label)))
            .chain(self.grade.iter().map(with(ColumnRole::Grade)))
            .chain(self.margin.iter().map(with(ColumnRole::Margin)))
            .chain(self.scores.iter().map(with(ColumnRole::Scores)))
            .chain(self.ignored.iter().map(with(ColumnRole::Ignored)))
            .map(|(name, role): (&String, ColumnRole)| (name.as_str(), role))
    }

    fn role(&self, name: &str) -> Option<ColumnRole> {
        self.all().find(|(named, _)| *named == name.trim()).map(|(_, role)| role)
    }

    /// Whether the role is taken by columns that are named.
    fn takes(&self, role: ColumnRole) -> bool {
        role != ColumnRole::Ignored && self.all().any(|(_, taken)| taken == role)
    }

    /// Whether a column is named that says how relevant a document is.
    fn has_verdict(&self) -> bool {
        self.all().any(|(_, role)| role.is_verdict())
    }

    /// How many of these names say what their column is.
    pub(super) fn known_among(&self, names: &[impl AsRef<str>]) -> usize {
        let is_known = |name: &str| {
            self.role(name).is_some() || ColumnRole::of(name, true).is_some() || is_score(name)
        };
        names.iter().filter(|name| is_known(name.as_ref())).count()
    }
}

/// How the columns of a file were taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TakenColumns {
    /// The file.
    pub path: PathBuf,
    /// Whether no name said anything, so that the order decided.
    pub in_order: bool,
    /// The columns.
    pub columns: Vec<TakenColumn>,
}

/// A column, and what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TakenColumn {
    /// Its name.
    pub name: String,
    /// What it was taken for.
    pub role: ColumnRole,
    /// The beginning of its value in the first row.
    pub first: String,
}

/// A column of a file.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) role: ColumnRole,
    /// Whether it was the caller who said so.
    pub(super) is_named: bool,
}

/// The columns of a file.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub(super) columns: Vec<Column>,
    pub(super) in_order: bool,
}

impl Mapping {
    /// Tells what the columns of these names are. With a `delimiter`, they are the fields of a first
    /// line, which may be data; if they are `all`, there will be no others.
    pub(super) fn of(
        names: &[String],
        given: &ColumnNames,
        delimiter: Option<char>,
        all: bool,
    ) -> Result<Self, ColumnFault> {
        check_given(names, given, all)?;
        if let ([column], Some(_)) = (names, delimiter) {
            return Err(ColumnFault::Single { column: column.clone() });
        }
        let is_it_negative = |name: &String| match given.role(name) {
            Some(role) => role == ColumnRole::Negative,
            None => ColumnRole::of(name, false) == Some(ColumnRole::Negative),
        };
        let has_negatives = names.iter().any(is_it_negative);
        let mut roles: Vec<Option<ColumnRole>> =
            names.iter().map(|name| role(name, given, has_negatives)).collect::<Result<_, _>>()?;
        let is_unnamed = |i: &usize| roles[*i].is_none() && names[*i].trim().is_empty();
        if let Some(index) = (0..names.len()).find(is_unnamed) {
            let (number, flags) = (index + 1, suggestion(names, &roles));
            return Err(ColumnFault::Unnamed { number, flags });
        }
        // What the caller leaves aside says nothing about the rest.
        let is_aside = |name: &str| given.role(name) == Some(ColumnRole::Ignored);
        let rest = || names.iter().zip(&roles).filter(|(name, _)| !is_aside(name));
        let in_order = rest().all(|(_, role)| role.is_none_or(ColumnRole::is_verdict));
        let is_data = in_order && !rest().all(|(name, _)| is_name(name));
        if let Some(delimiter) = delimiter.filter(|_| is_data) {
            return Err(ColumnFault::Data { first: names.to_vec(), delimiter });
        }
        if in_order {
            fill_in_order(&mut roles);
        }
        if let Some(index) = roles.iter().position(Option::is_none) {
            let (column, flags) = (names[index].clone(), suggestion(names, &roles));
            return Err(ColumnFault::Unknown { column, flags });
        }
        let columns: Vec<Column> = names
            .iter()
            .zip(&roles)
            .map(|(name, role)| Column {
                name: name.clone(),
                role: role.unwrap_or(ColumnRole::Ignored),
                is_named: given.role(name).is_some(),
            })
            .collect();
        for role in [ColumnRole::Query, ColumnRole::Positive] {
            if !columns.iter().any(|column| column.role == role) {
                let (role, found) = (role.name(), names.to_vec());
                let flags = suggestion(names, &roles);
                return Err(ColumnFault::Missing { role, found, flags });
            }
        }
        check_single(&columns)?;
        Ok(Self { columns, in_order })
    }

    /// The place of a column, looked for first where it stood before.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        let is_it = |column: &Column| column.name == name;
        if self.columns.get(guess).is_some_and(is_it) {
            return Some(guess);
        }
        self.columns.iter().position(is_it)
    }
}

/// Takes two or three columns that nothing is known of by their order.
fn fill_in_order(roles: &mut [Option<ColumnRole>]) {
    let order = [ColumnRole::Query, ColumnRole::Positive, ColumnRole::Negative];
    let unknown: Vec<&mut Option<ColumnRole>> =
        roles.iter_mut().filter(|role| role.is_none()).collect();
    if (2..=order.len()).contains(&unknown.len()) {
        unknown.into_iter().zip(order).for_each(|(role, told)| *role = Some(told));
    }
}

/// What one column is, as far as the caller or its name says.
fn role(
    name: &str,
    given: &ColumnNames,
    has_negatives: bool,
) -> Result<Option<ColumnRole>, ColumnFault> {
    if let Some(role) = given.role(name) {
        return Ok(Some(role));
    }
    let told = ColumnRole::of(name, has_negatives);
    let is_score = told.is_none() && is_score(name);
    if is_score && !given.has_verdict() {
        return Err(ColumnFault::Scores { column: name.to_owned(), has_negatives });
    }
    let is_complete = given.query.is_some() && given.positive.is_some();
    Ok(match told {
        Some(role) if given.takes(role) => Some(ColumnRole::Ignored),
        None if is_complete || is_score => Some(ColumnRole::Ignored),
        role => role,
    })
}

/// Whether the columns that the caller names are there, each for one thing.
fn check_given(names: &[String], given: &ColumnNames, all: bool) -> Result<(), ColumnFault> {
    for (index, (name, role)) in given.all().enumerate() {
        if given.all().skip(index + 1).any(|(other, _)| other == name) {
            return Err(ColumnFault::Claimed { column: name.to_owned() });
        }
        let must_be_there = all || matches!(role, ColumnRole::Query | ColumnRole::Positive);
        if must_be_there && !names.iter().any(|column| column.trim() == name) {
            return Err(ColumnFault::Absent { column: name.to_owned(), found: names.to_vec() });
        }
    }
    Ok(())
}

/// Whether there is one column of each kind that there can be one of.
fn check_single(columns: &[Column]) -> Result<(), ColumnFault> {
    for (index, column) in columns.iter().enumerate() {
        let can_be_many = matches!(column.role, ColumnRole::Negative | ColumnRole::Ignored);
        let twin = columns[index + 1..].iter().find(|other| {
            other.name == column.name && other.role != ColumnRole::Ignored
                || !can_be_many && other.role == column.role
        });
        if let Some(twin) = twin {
            let (first, second) = (column.name.clone(), twin.name.clone());
            return Err(ColumnFault::Twice { role: column.role.name(), first, second });
        }
    }
    let mut verdicts = columns.iter().filter(|column| column.role.is_verdict());
    if let (Some(first), Some(second)) = (verdicts.next(), verdicts.next()) {
        let (first, second) = (first.name.clone(), second.name.clone());
        return Err(ColumnFault::Verdicts { first, second });
    }
    let judges = |role| columns.iter().any(|column| column.role == role);
    let negatives = columns.iter().filter(|column| column.role == ColumnRole::Negative).count();
    if judges(ColumnRole::Margin) && negatives != 1 {
        return Err(ColumnFault::Margin { negatives });
    }
    Ok(())
}

/// Whether a field may be the name of a column, as people who write programs name them.
fn is_name(field: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let field = field.trim();
    field.len() <= 40
        && field.chars().all(is_plain)
        && field.chars().any(|c| c.is_ascii_alphabetic())
}

/// Flags that could say what the columns are, as far as it is known.
fn suggestion(names: &[String], roles: &[Option<ColumnRole>]) -> String {
    let mut unknown =
        (0..names.len()).filter(|&i| roles[i].is_none() && !names[i].trim().is_empty());
    let mut column = |wanted| {
        let known = roles.iter().position(|role| *role == Some(wanted));
        known
            .or_else(|| unknown.next())
            .map_or("COLUMN".to_owned(), |i| shell_word(names[i].trim()))
    };
    let (query, positive) = (column(ColumnRole::Query), column(ColumnRole::Positive));
    format!("--query {query} --positive {positive}")
}
