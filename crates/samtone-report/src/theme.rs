//! Colours and shapes, light and dark, shared by the drawings and the page.

use std::fmt::Write as _;

/// How many series are told apart before colours repeat.
pub(crate) const SERIES: usize = 8;

/// A palette. Text reaches a contrast of 4.5 on both surfaces, marks one of 3 (WCAG 2.2, AA).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Theme {
    /// Behind everything.
    pub(crate) page: &'static str,
    /// Behind a figure.
    pub(crate) surface: &'static str,
    pub(crate) text: &'static str,
    /// Text of less weight.
    pub(crate) muted: &'static str,
    /// Lines around surfaces.
    pub(crate) border: &'static str,
    /// Grid lines.
    pub(crate) grid: &'static str,
    pub(crate) accent: &'static str,
    pub(crate) right: &'static str,
    pub(crate) wrong: &'static str,
    pub(crate) series: [&'static str; SERIES],
}

/// Dark on light.
pub(crate) const LIGHT: Theme = Theme {
    page: "#f6f7f9",
    surface: "#ffffff",
    text: "#1b2330",
    muted: "#5a6577",
    border: "#dde1e8",
    grid: "#e9ecf1",
    accent: "#1f5fbf",
    right: "#0b7a53",
    wrong: "#b3401c",
    series: [
        "#2468c8", "#d1580e", "#0f8262", "#8a45c4", "#b0286e", "#8f6a00", "#0d7a94", "#5b6472",
    ],
};

/// Light on dark.
pub(crate) const DARK: Theme = Theme {
    page: "#0f131a",
    surface: "#171d27",
    text: "#e7ebf2",
    muted: "#a1adbf",
    border: "#2b3442",
    grid: "#252d3a",
    accent: "#7db4ff",
    right: "#54d3a0",
    wrong: "#ff9f7a",
    series: [
        "#6eaaff", "#ff9a52", "#4bcf9f", "#c497ff", "#ff85bd", "#e0b53e", "#4fcfe6", "#aab6c6",
    ],
};

impl Theme {
    /// The palette as CSS custom properties.
    pub(crate) fn css(&self) -> String {
        let mut out = String::new();
        for (name, value) in [
            ("page", self.page),
            ("surface", self.surface),
            ("text", self.text),
            ("muted", self.muted),
            ("border", self.border),
            ("grid", self.grid),
            ("accent", self.accent),
            ("right", self.right),
            ("wrong", self.wrong),
        ] {
            let _ = write!(out, "--{name}:{value};");
        }
        for (index, value) in self.series.iter().enumerate() {
            let _ = write!(out, "--series-{index}:{value};");
        }
        out
    }

    /// The colour of a series.
    pub(crate) fn series(&self, index: usize) -> &'static str {
        self.series[index % SERIES]
    }
}

/// The path of a series' point around the origin: a circle, triangle, square or diamond, so that
/// colour is never the only difference. `assets/report.js` holds the same.
pub(crate) fn point_path(series: usize, radius: f64) -> String {
    let r = radius;
    match series % 4 {
        0 => format!("M{r} 0A{r} {r} 0 1 1 {0} 0A{r} {r} 0 1 1 {r} 0Z", -r),
        1 => {
            let (w, top, low) = (round(r * 1.15), round(-r * 1.3), round(r * 0.85));
            format!("M0 {top}L{w} {low}L{0} {low}Z", -w)
        }
        2 => {
            let s = round(r * 0.9);
            format!("M{0} {0}H{s}V{s}H{0}Z", -s)
        }
        _ => {
            let s = round(r * 1.3);
            format!("M0 {0}L{s} 0L0 {s}L{0} 0Z", -s)
        }
    }
}

/// The dashes of a series' line; empty for an unbroken one. `assets/report.js` holds the same.
pub(crate) fn dashes(series: usize) -> &'static str {
    ["", "7 4", "2 3", "9 3 2 3"][series % 4]
}

/// Two decimals: a hundredth of a pixel.
pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(color: &str) -> f64 {
        let channel = |at| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn contrast_meets_aa() {
        for theme in [LIGHT, DARK] {
            for surface in [theme.page, theme.surface] {
                for text in [theme.text, theme.muted, theme.accent, theme.right, theme.wrong] {
                    assert!(contrast(text, surface) >= 4.5, "{text} on {surface}");
                }
                for mark in theme.series {
                    assert!(contrast(mark, surface) >= 3.0, "{mark} on {surface}");
                }
            }
        }
    }
}
