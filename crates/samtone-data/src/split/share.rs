//! How much of a split is asked for.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How many of a split's queries become another split: `10%` or `200`.
///
/// # Examples
///
/// ```
/// use samtone_data::split::Share;
///
/// assert_eq!("10%".parse(), Ok(Share::Percent(10.0)));
/// assert_eq!("200".parse(), Ok(Share::Queries(200)));
/// assert_eq!("100%".parse::<Share>().ok(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// A percentage of them, above 0 and below 100.
    Percent(f64),
    /// So many, at least 1.
    Queries(usize),
}

impl Share {
    /// How many of `queries` it is, rounded to whole ones.
    #[expect(clippy::cast_sign_loss, reason = "a percentage is above 0")]
    pub(super) fn of(self, queries: usize) -> usize {
        match self {
            Self::Percent(percent) => (queries as f64 * percent / 100.0).round() as usize,
            Self::Queries(count) => count,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Queries(count) => write!(f, "{count}"),
        }
    }
}

/// What is no [`Share`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "expected a percentage above 0% and below 100%, like `10%`, or a number of queries, like `200`, \
     got `{got}`"
)]
pub struct BadShare {
    /// What was given.
    pub got: String,
}

impl FromStr for Share {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let share = match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim_end().parse().ok();
                percent.filter(|&percent| percent > 0.0 && percent < 100.0).map(Self::Percent)
            }
            None => text.parse().ok().filter(|&count| count > 0).map(Self::Queries),
        };
        share.ok_or_else(|| BadShare { got: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_number_of_queries() {
        for (text, of_a_thousand) in
            [("10%", 100), ("0.25%", 3), ("12.5 %", 125), ("99.9%", 999), ("200", 200), ("1", 1)]
        {
            assert_eq!(text.parse::<Share>().unwrap().of(1000), of_a_thousand, "{text}");
        }
        for text in ["", "%", "0", "0%", "-1", "-1%", "100%", "nan%", "inf%", "0.1", "ten", "1 0%"]
        {
            let error = text.parse::<Share>().unwrap_err();
            assert_eq!(error, BadShare { got: text.to_owned() });
        }
        for text in ["10%", "12.5%", "200"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
    }
}
