//! Numbers as a person reads them.

use time::OffsetDateTime;

/// Seconds since 1970 as `29 November 2026, 20:10 UTC`.
pub(crate) fn date(seconds: u64) -> String {
    let Some(at) =
        i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok())
    else {
        return "–".into();
    };
    let (hour, minute) = (at.hour(), at.minute());
    format!("{} {} {}, {hour:02}:{minute:02} UTC", at.day(), at.month(), at.year())
}

/// A duration in its two largest units, `1 hour 3 minutes`; below ten seconds with a decimal.
pub(crate) fn duration(seconds: f64) -> String {
    if !(0.0..1e12).contains(&seconds) {
        return "–".into();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} seconds");
    }
    let mut left = seconds.round();
    let mut words = Vec::new();
    for (unit, size) in [("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0), ("second", 1.0)] {
        let count = (left / size).floor();
        left -= count * size;
        if count > 0.0 && words.len() < 2 {
            words.push(format!("{count} {unit}{}", if count == 1.0 { "" } else { "s" }));
        } else if !words.is_empty() {
            break;
        }
    }
    words.join(" ")
}

/// Bytes in powers of 1000, `1.24 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let (size, unit) = scaled(bytes as f64, &["B", "kB", "MB", "GB", "TB"]);
    if unit == "B" { format!("{bytes} B") } else { format!("{} {unit}", three(size)) }
}

/// A count with its thousands apart, and in millions or billions where it is large:
/// `16 969 728 (17.0 million)`.
pub(crate) fn count(count: usize) -> String {
    let whole = grouped(count);
    if count < 1_000_000 {
        return whole;
    }
    let (size, unit) = scaled(count as f64 / 1e6, &["million", "billion", "trillion"]);
    format!("{whole} ({} {unit})", three(size))
}

/// A count with narrow spaces between its thousands.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A share as `2.5 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn scaled<'a>(mut size: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    (size, units[unit])
}

/// Three digits.
fn three(size: f64) -> String {
    match size {
        s if s < 9.995 => format!("{s:.2}"),
        s if s < 99.95 => format!("{s:.1}"),
        s => format!("{s:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_of_the_calendar() {
        assert_eq!(date(0), "1 January 1970, 00:00 UTC");
        assert_eq!(date(1_709_210_700), "29 February 2024, 12:45 UTC");
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        let words = [0.04, 7.26, 59.7, 3_601.0, 3_661.0, 90_000.0, 86_400.0].map(duration);
        let expected = [
            "0.0 seconds",
            "7.3 seconds",
            "1 minute",
            "1 hour",
            "1 hour 1 minute",
            "1 day 1 hour",
            "1 day",
        ];
        assert_eq!(words, expected);
        assert_eq!(duration(f64::NAN), "–");
    }

    #[test]
    fn sizes_and_counts_are_short_and_whole() {
        assert_eq!([999, 1_240_000_000, 999_999_999].map(bytes), ["999 B", "1.24 GB", "1.00 GB"]);
        assert_eq!(count(8_192), "8\u{202f}192");
        assert_eq!(count(16_969_728), "16\u{202f}969\u{202f}728 (17.0 million)");
    }
}
