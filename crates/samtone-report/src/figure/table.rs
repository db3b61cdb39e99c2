//! Rows and columns of anything.

use serde::Serialize;

/// A table that the reader of the page sorts by any column.
///
/// # Examples
///
/// ```
/// use samtone_report::{Better, TableCell, TableColumn, Table};
///
/// let table = Table::new("Runs", [TableColumn::new("run"), TableColumn::new("mrr@10").better(Better::Higher)])
///     .row([TableCell::text("a"), TableCell::number(0.61)])
///     .row([TableCell::text("b"), TableCell::number(0.66).significant()]);
/// assert_eq!(table.rows.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// The figure's title.
    pub title: String,
    /// What is shown and how to read it; may be empty.
    pub description: String,
    /// The columns.
    pub columns: Vec<TableColumn>,
    /// The rows.
    pub rows: Vec<TableRow>,
}

/// A column of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableColumn {
    /// Its head.
    pub name: String,
    /// Which of its numbers is the best and bold; none is if absent.
    pub better: Option<Better>,
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// The higher.
    Higher,
    /// The lower.
    Lower,
}

/// A row of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableRow {
    /// One cell a column.
    pub cells: Vec<TableCell>,
    /// A word beside the first cell that sets the row apart, such as `best`; may be empty.
    pub mark: String,
}

/// A cell of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableCell {
    /// What is read; a dash if empty.
    pub text: String,
    /// What is sorted by; the text if absent.
    pub number: Option<f64>,
    /// Whether it has a star: it differs from what it is compared with by more than chance.
    pub is_significant: bool,
    /// A file that it links to, relative to the page; may be empty.
    pub file: String,
}

impl Table {
    /// A table of these columns, without rows.
    pub fn new(title: impl Into<String>, columns: impl IntoIterator<Item = TableColumn>) -> Self {
        let columns = columns.into_iter().collect();
        Self { title: title.into(), columns, ..Self::default() }
    }

    /// Adds a row.
    #[must_use]
    pub fn row(self, cells: impl IntoIterator<Item = TableCell>) -> Self {
        self.marked_row("", cells)
    }

    /// Adds a row that is set apart by a word.
    #[must_use]
    pub fn marked_row(
        mut self,
        mark: impl Into<String>,
        cells: impl IntoIterator<Item = TableCell>,
    ) -> Self {
        let (cells, mark) = (cells.into_iter().collect(), mark.into());
        self.rows.push(TableRow { cells, mark });
        self
    }

    /// The best number of a column, where one is.
    pub(crate) fn best(&self, column: usize) -> Option<f64> {
        let numbers = self.rows.iter().filter_map(|row| row.cells.get(column)?.number);
        let numbers = numbers.filter(|number| number.is_finite());
        match self.columns.get(column)?.better? {
            Better::Higher => numbers.max_by(f64::total_cmp),
            Better::Lower => numbers.min_by(f64::total_cmp),
        }
    }
}

impl TableColumn {
    /// A column whose numbers do not compete.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), better: None }
    }

    /// The best of its numbers is bold.
    #[must_use]
    pub fn better(mut self, better: Better) -> Self {
        self.better = Some(better);
        self
    }
}

impl TableCell {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number with as many digits as the pages show of any.
    pub fn number(number: f64) -> Self {
        Self::shown(crate::scale::number(number), number)
    }

    /// A number as `text`.
    pub fn shown(text: impl Into<String>, number: f64) -> Self {
        Self { text: text.into(), number: Some(number), ..Self::default() }
    }

    /// It differs from what it is compared with by more than chance.
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.is_significant = true;
        self
    }

    /// It links to a file beside the page.
    #[must_use]
    pub fn file(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }
}
