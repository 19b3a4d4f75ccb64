//! The canvas of PNG files. Text is set in an embedded font, so that a picture is the same on all machines.

use super::Point;
use super::canvas::{Anchor, Canvas, DASHES, OUTLINE, Stroke, Text};
use super::color::{Color, SURFACE};
use super::frame::Frame;
use crate::output::png;
use image::ExtendedColorType;
use tiny_skia::{FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, StrokeDash, Transform};
use ttf_parser::{Face, OutlineBuilder};

/// Pixels for a unit of the drawing.
const DENSITY: f32 = 2.0;

pub(super) struct Raster {
    pixels: Pixmap,
    font: Face<'static>,
}

impl Raster {
    pub(super) fn new(frame: &Frame<'_>) -> Raster {
        let [width, height] = [frame.size.width, frame.size.height].map(|side| (side as f32 * DENSITY).ceil() as u32);
        let mut pixels = Pixmap::new(width, height).expect("a chart has a size");
        pixels.fill(shade(SURFACE));
        Raster { pixels, font: Face::parse(dejavu::sans::regular(), 0).expect("the embedded font is whole") }
    }

    /// The PNG file.
    pub(super) fn finish(self) -> Vec<u8> {
        let opaque: Vec<u8> = self.pixels.data().chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
        png::encode(&opaque, self.pixels.width(), self.pixels.height(), ExtendedColorType::Rgb8)
    }

    fn fill(&mut self, path: &Path, color: Color, transform: Transform) {
        self.pixels.fill_path(path, &paint(color), FillRule::Winding, transform, None);
    }

    fn stroke(&mut self, path: &Path, color: Color, width: f64, dash: Option<StrokeDash>) {
        let width = width as f32;
        let stroke = tiny_skia::Stroke { width, dash, line_join: LineJoin::Round, ..tiny_skia::Stroke::default() };
        self.pixels.stroke_path(path, &paint(color), &stroke, units(), None);
    }

    fn outlined(&mut self, path: Option<Path>, fill: Color, outline: Color) {
        if let Some(path) = path {
            self.fill(&path, fill, units());
            self.stroke(&path, outline, OUTLINE, None);
        }
    }
}

fn units() -> Transform {
    Transform::from_scale(DENSITY, DENSITY)
}

fn shade(color: Color) -> tiny_skia::Color {
    let [_, red, green, blue] = color.light.to_be_bytes();
    tiny_skia::Color::from_rgba8(red, green, blue, 255)
}

fn paint(color: Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(shade(color));
    paint
}

fn builder(points: &[Point]) -> PathBuilder {
    let mut path = PathBuilder::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        let (x, y) = (x as f32, y as f32);
        if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path
}

impl Canvas for Raster {
    fn line(&mut self, points: &[Point], color: Color, stroke: Stroke) {
        let dash = stroke.dashed.then(|| StrokeDash::new(DASHES.map(|length| length as f32).into(), 0.0)).flatten();
        if let Some(path) = builder(points).finish() {
            self.stroke(&path, color, stroke.width, dash);
        }
    }

    fn polygon(&mut self, corners: &[Point], fill: Color, outline: Color) {
        let mut path = builder(corners);
        path.close();
        self.outlined(path.finish(), fill, outline);
    }

    fn circle(&mut self, (x, y): Point, radius: f64, fill: Color, outline: Color) {
        self.outlined(PathBuilder::from_circle(x as f32, y as f32, radius as f32), fill, outline);
    }

    fn text(&mut self, text: Text<'_>) {
        let mut outline = Outline { path: PathBuilder::new(), x: 0.0 };
        for glyph in text.content.chars().map(|c| self.font.glyph_index(c).unwrap_or_default()) {
            self.font.outline_glyph(glyph, &mut outline);
            outline.x += f32::from(self.font.glyph_hor_advance(glyph).unwrap_or_default());
        }
        let shift = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -0.5 * outline.x,
            Anchor::End => -outline.x,
        };
        let Some(path) = outline.path.finish() else { return };
        let scale = text.size as f32 / f32::from(self.font.units_per_em());
        let turn = Transform::from_rotate(if text.upwards { -90.0 } else { 0.0 });
        // In a font, y grows upwards.
        let transform = Transform::from_translate(shift, 0.0)
            .post_scale(scale, -scale)
            .post_concat(turn)
            .post_translate(text.at.0 as f32, text.at.1 as f32)
            .post_concat(units());
        self.fill(&path, text.color, transform);
    }
}

/// The outlines of the glyphs of a text, one behind the other.
struct Outline {
    path: PathBuilder,
    /// Where the next glyph begins.
    x: f32,
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.x + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.x + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.x + x1, y1, self.x + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(self.x + x1, y1, self.x + x2, y2, self.x + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
