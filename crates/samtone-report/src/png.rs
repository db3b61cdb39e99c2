//! Drawings as pixels, the same on every machine: text is set in a font that comes along.

use std::fmt::Write as _;

use resvg::{tiny_skia, usvg};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use crate::{svg::Outlines, theme::round};

/// Open Sans Regular (Apache-2.0), cut down to Latin, Greek, Cyrillic and a few signs.
const OPEN_SANS: &[u8] = include_bytes!("../assets/OpenSans-subset.ttf");

/// Pixels of the picture per pixel of the drawing.
const SCALE: f32 = 2.0;

/// The font that comes along. What it does not hold is drawn as an empty box.
pub(crate) struct Font(Face<'static>);

impl Font {
    pub(crate) fn open_sans() -> Self {
        Self(Face::parse(OPEN_SANS, 0).expect("the embedded font is sound"))
    }
}

impl Outlines for Font {
    fn outline(&self, text: &str, size: f64) -> (f64, String) {
        let scale = size / f64::from(self.0.units_per_em());
        let mut pen = PathPen { path: String::new(), x: 0.0, scale };
        for char in text.chars() {
            let glyph = self.0.glyph_index(char).unwrap_or(GlyphId(0));
            self.0.outline_glyph(glyph, &mut pen);
            pen.x += f64::from(self.0.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
        }
        (pen.x, pen.path)
    }
}

/// Writes outlines as path data, left to right.
struct PathPen {
    path: String,
    x: f64,
    scale: f64,
}

impl PathPen {
    fn push(&mut self, command: char, points: &[(f32, f32)]) {
        self.path.push(command);
        for (x, y) in points {
            let x = round(self.x + f64::from(*x) * self.scale);
            let y = round(-f64::from(*y) * self.scale);
            let _ = write!(self.path, "{x} {y} ");
        }
    }
}

impl OutlineBuilder for PathPen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.push('M', &[(x, y)]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.push('L', &[(x, y)]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.push('Q', &[(x1, y1), (x, y)]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.push('C', &[(x1, y1), (x2, y2), (x, y)]);
    }

    fn close(&mut self) {
        self.path.push('Z');
    }
}

/// The drawing, whose text is outlines, as a PNG of twice its size.
pub(crate) fn rasterise(svg: &str) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let tree = usvg::Tree::from_str(svg, &usvg::Options::default())?;
    let size = tree.size().to_int_size().scale_by(SCALE).ok_or("the drawing has no size")?;
    let mut pixels =
        tiny_skia::Pixmap::new(size.width(), size.height()).ok_or("the drawing has no size")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    Ok(pixels.encode_png()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Curve, Figure, LearningCurves,
        export::draw,
        svg::Style,
        theme::{DARK, LIGHT},
    };

    fn dark_pixels(title: &str) -> usize {
        let curve = Curve::new("", vec![(0.0, 1.0), (1.0, 1.0)]);
        let figure = Figure::from(LearningCurves::new(title, "", "").curve(curve));
        let font = Font::open_sans();
        let style = Style { theme: &LIGHT, has_title: true, outlines: Some(&font) };
        let png = rasterise(&draw(&figure, style).unwrap()).unwrap();
        let pixels = tiny_skia::Pixmap::decode_png(&png).unwrap();
        assert_eq!(pixels.width(), 1440);
        pixels.pixels().iter().filter(|p| p.red() < 60).count()
    }

    #[test]
    fn text_is_drawn_without_a_system_font() {
        assert!(dark_pixels("A title of some length") > dark_pixels("") + 1000);
    }

    #[test]
    fn unknown_signs_take_their_room() {
        let font = Font::open_sans();
        let (width, path) = font.outline("漢", 13.0);
        assert!(width > 5.0 && !path.is_empty(), "{width} {path}");
    }

    #[test]
    fn both_themes_are_drawn() {
        let figure = Figure::from(LearningCurves::new("t", "x", "y"));
        for theme in [&LIGHT, &DARK] {
            let svg = draw(&figure, Style { theme, has_title: true, outlines: None }).unwrap();
            assert!(svg.contains(theme.surface));
        }
    }
}
