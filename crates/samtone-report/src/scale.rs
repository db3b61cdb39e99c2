//! Axes: where ticks go and how numbers read.

/// Round values within `[low, high]`, about `target` of them, with the text of each.
pub(crate) fn ticks(low: f64, high: f64, target: usize) -> Vec<(f64, String)> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return Vec::new();
    }
    let rough = span / target.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    // The round step nearest to `rough`: the bounds are the geometric means between steps.
    let step = power
        * match rough / power {
            r if r < 1.41 => 1.0,
            r if r < 3.16 => 2.0,
            r if r < 7.07 => 5.0,
            _ => 10.0,
        };
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).map(|value| (value, tick_text(value, step))).collect()
}

/// A tick's text, as precise as the distance to the next one needs.
fn tick_text(value: f64, step: f64) -> String {
    let (divisor, suffix) = match step.max(value.abs() / 10.0) {
        s if s >= 1e6 => (1e6, "M"),
        s if s >= 1e3 => (1e3, "k"),
        s if s < 1e-4 => return format!("{value:.1e}").replace('-', "−"),
        _ => (1.0, ""),
    };
    #[expect(clippy::cast_sign_loss, reason = "the value is at least 0")]
    let decimals = (-(step / divisor).log10() - 1e-9).ceil().max(0.0) as usize;
    format!("{:.decimals$}{suffix}", value / divisor + 0.0).replace('-', "−")
}

/// Six significant digits: enough to draw and to read, a third of the bytes.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// A value to read: four decimals below 10, fewer above, an exponent where they would hide it.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let text = if !value.is_finite() {
        return "–".to_owned();
    } else if value == 0.0 || (1e-3..10.0).contains(&size) {
        format!("{value:.4}")
    } else if size < 1e-3 {
        format!("{value:.2e}")
    } else if size >= 1e4 || value.fract() == 0.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", grouped(&format!("{size:.0}")))
    } else {
        format!("{value:.1}")
    };
    text.replace('-', "−")
}

/// A count with narrow spaces between thousands.
pub(crate) fn count(value: usize) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// The least and the greatest finite value.
pub(crate) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |extent, v| match extent {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

/// `[low, high]` widened by `margin` of its span on both sides, never empty.
pub(crate) fn padded((low, high): (f64, f64), margin: f64) -> (f64, f64) {
    let span = high - low;
    let pad = if span > 0.0 { span * margin } else { low.abs().max(1.0) * 0.5 };
    (low - pad, high + pad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(low: f64, high: f64, expected: &[&str]) {
        let texts: Vec<String> = ticks(low, high, 5).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn ticks_are_round_and_equally_precise() {
        check(0.0, 1.0, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(-1.0, 1.0, &["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        check(0.0, 20_000.0, &["0k", "5k", "10k", "15k", "20k"]);
        check(0.0, 200.0, &["0", "50", "100", "150", "200"]);
        check(0.61, 0.64, &["0.610", "0.615", "0.620", "0.625", "0.630", "0.635", "0.640"]);
        check(1.0, 1.0, &[]);
    }

    #[test]
    fn numbers_keep_what_matters() {
        assert_eq!(number(0.61234), "0.6123");
        assert_eq!(number(-0.5), "−0.5000");
        assert_eq!(number(123.456), "123.5");
        assert_eq!(number(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(number(-20_000.0), "−20\u{202f}000");
        assert_eq!(number(1.5e-7), "1.50e−7");
        assert_eq!(number(f64::NAN), "–");
    }
}
