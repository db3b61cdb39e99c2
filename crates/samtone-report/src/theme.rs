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
    /// Behind what is set apart within a figure.
    pub(crate) tint: &'static str,
    /// The shadow of what lies beyond an edge.
    pub(crate) shade: &'static str,
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
    tint: "#eef2f8",
    shade: "#c3cad6",
    accent: "#1f5fbf",
    right: "#0b7a53",
    wrong: "#b3401c",
    series: [
        "#154379", "#a31d12", "#1b7886", "#9e71f5", "#760734", "#a46e1a", "#0d9f95", "#7747bc",
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
    tint: "#222b39",
    shade: "#05070a",
    accent: "#7db4ff",
    right: "#54d3a0",
    wrong: "#ff9f7a",
    series: [
        "#557bb5", "#c86820", "#7df03b", "#ffaafb", "#c67fff", "#e69410", "#1eb993", "#dfe3c9",
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
            ("tint", self.tint),
            ("shade", self.shade),
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

    /// Linear red, green or blue of a colour, whose digits stand `at` 1, 3 or 5.
    fn channel(color: &str, at: usize) -> f64 {
        let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    }

    fn luminance(color: &str) -> f64 {
        let [red, green, blue] = [1, 3, 5].map(|at| channel(color, at));
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn contrast_meets_aa() {
        for theme in [LIGHT, DARK] {
            for surface in [theme.page, theme.surface, theme.tint] {
                for text in [theme.text, theme.muted, theme.accent, theme.right, theme.wrong] {
                    assert!(contrast(text, surface) >= 4.5, "{text} on {surface}");
                }
            }
            for (surface, mark) in
                [theme.page, theme.surface].iter().flat_map(|s| theme.series.map(|m| (s, m)))
            {
                assert!(contrast(mark, surface) >= 3.0, "{mark} on {surface}");
            }
        }
    }

    /// How eyes without one kind of cone see linear red, green and blue: Machado, Oliveira and Fernandes
    /// 2009, severity 1, doi:10.1109/TVCG.2009.113. The first is the whole eye.
    const EYES: [[[f64; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ];

    /// Oklab of a colour as an eye sees it (Ottosson 2020).
    fn seen(color: &str, eye: [[f64; 3]; 3]) -> [f64; 3] {
        let product = |matrix: [[f64; 3]; 3], v: [f64; 3]| {
            matrix.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
        };
        let linear =
            product(eye, [1, 3, 5].map(|at| channel(color, at))).map(|v| v.clamp(0.0, 1.0));
        let cones = [
            [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
            [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
            [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
        ];
        let lab = [
            [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
            [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
            [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
        ];
        product(lab, product(cones, linear).map(f64::cbrt))
    }

    /// Colours that lie nearer in Oklab are hard to tell apart side by side: 0.02 is about what can just
    /// be seen, lines and points are thin.
    const APART: f64 = 0.1;

    #[test]
    fn series_are_told_apart_by_every_eye() {
        for theme in [LIGHT, DARK] {
            for eye in EYES {
                let seen = theme.series.map(|color| seen(color, eye));
                for (i, a) in seen.iter().enumerate() {
                    for (j, b) in seen.iter().enumerate().take(i) {
                        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
                        let apart = squares.sum::<f64>().sqrt();
                        let [a, b] = [theme.series[i], theme.series[j]];
                        assert!(apart >= APART, "{a} and {b}: {apart:.3}");
                    }
                }
            }
        }
    }
}
