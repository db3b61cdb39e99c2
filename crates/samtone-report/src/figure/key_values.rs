//! Names and values.

use serde::Serialize;

use crate::scale::rounded;

/// Names and values, such as a configuration or an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KeyValues {
    /// The figure's title.
    pub title: String,
    /// What is shown; may be empty.
    pub description: String,
    /// The names and values, in order.
    pub rows: Vec<KeyValue>,
}

/// A name and its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KeyValue {
    /// The name.
    pub name: String,
    /// The value as it is read.
    pub value: String,
    /// A word beside the name that sets the row apart, such as `changed`; may be empty.
    pub mark: String,
    /// What a button beside the value copies, such as a whole hash; no button if empty.
    pub copied: String,
}

impl KeyValues {
    /// No rows yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Adds a row.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers can be written in place")]
    pub fn row(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        let (name, value) = (name.into(), value.to_string());
        self.rows.push(KeyValue { name, value, ..KeyValue::default() });
        self
    }

    /// Adds a row with a button that copies `copied`.
    #[must_use]
    pub fn copied_row(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
        copied: impl Into<String>,
    ) -> Self {
        let (name, value, copied) = (name.into(), value.into(), copied.into());
        self.rows.push(KeyValue { name, value, copied, ..KeyValue::default() });
        self
    }

    /// Sets the rows that `is_marked` names apart by the word `mark`, and puts them first.
    #[must_use]
    pub fn mark(mut self, mark: &str, is_marked: impl Fn(&str) -> bool) -> Self {
        for row in self.rows.iter_mut().filter(|row| is_marked(&row.name)) {
            mark.clone_into(&mut row.mark);
        }
        self.rows.sort_by_key(|row| row.mark.is_empty());
        self
    }

    /// One row a leaf of `value`, named by its path: `train.batch_size`. A null is a dash.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_report::KeyValues;
    ///
    /// let config = serde_json::json!({ "seed": 0, "train": { "steps": 200 } });
    /// let table = KeyValues::from_json("Configuration", &config);
    /// assert_eq!((&*table.rows[1].name, &*table.rows[1].value), ("train.steps", "200"));
    /// ```
    pub fn from_json(title: impl Into<String>, value: &serde_json::Value) -> Self {
        let mut table = Self::new(title);
        flatten(String::new(), value, &mut table.rows);
        table
    }
}

fn flatten(path: String, value: &serde_json::Value, rows: &mut Vec<KeyValue>) {
    use serde_json::Value;
    let value = match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let separator = if path.is_empty() { "" } else { "." };
                flatten(format!("{path}{separator}{name}"), field, rows);
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        Value::Number(number) if number.is_f64() => fraction(number.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    };
    rows.push(KeyValue { name: path, value, ..KeyValue::default() });
}

/// Six digits of a fraction, `0.0001` and `1e-12`.
fn fraction(value: f64) -> String {
    format!("{:?}", rounded(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_read_as_they_are_written() {
        let texts = [0.1, 5e-4, 1e-12, 3e-5, 1.0, 0.123_456_789, 1.5e-7].map(fraction);
        assert_eq!(texts, ["0.1", "0.0005", "1e-12", "3e-5", "1.0", "0.123457", "1.5e-7"]);
    }

    #[test]
    fn marked_rows_come_first_and_keep_their_order() {
        let table = KeyValues::new("t").row("a", 1).row("b", 2).row("c", 3).row("d", 4);
        let table = table.mark("changed", |name| ["d", "b"].contains(&name));
        let names: Vec<&str> = table.rows.iter().map(|row| &*row.name).collect();
        assert_eq!(names, ["b", "d", "a", "c"]);
        assert_eq!((&*table.rows[1].mark, &*table.rows[2].mark), ("changed", ""));
    }
}
