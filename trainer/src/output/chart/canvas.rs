//! What a chart is drawn on. Positions and lengths are in units of the drawing, from its left top corner.

use super::Point;
use super::color::Color;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stroke {
    pub(super) width: f64,
    pub(super) dashed: bool,
}

impl Stroke {
    pub(crate) const THIN: Stroke = Stroke { width: 1.0, dashed: false };
    pub(crate) const PLAIN: Stroke = Stroke { width: 2.0, dashed: false };
    pub(crate) const DASHED: Stroke = Stroke { width: 2.0, dashed: true };
}

/// Lengths of the dashes and of the gaps between them.
pub(super) const DASHES: [f64; 2] = [6.0, 4.0];

/// Width of the outlines of shapes.
pub(super) const OUTLINE: f64 = 2.0;

/// A piece of text.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) content: &'a str,
    /// Where on the base line its anchor is.
    pub(super) at: Point,
    pub(super) anchor: Anchor,
    pub(super) size: f64,
    pub(super) color: Color,
    /// Whether it reads from the bottom to the top.
    pub(super) upwards: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(content: &'a str, at: Point, anchor: Anchor, size: f64, color: Color) -> Text<'a> {
        Text { content, at, anchor, size, color, upwards: false }
    }
}

/// Which part of a text is at its place.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Something that can be drawn on.
pub(super) trait Canvas {
    /// Begins series number `i`, of this colour.
    fn open_series(&mut self, _i: usize, _color: Color) {}

    /// Ends the series.
    fn close_series(&mut self) {}

    /// A line through points; nothing if there are none.
    fn line(&mut self, points: &[Point], color: Color, stroke: Stroke);

    /// A closed shape with an outline.
    fn polygon(&mut self, corners: &[Point], fill: Color, outline: Color);

    /// A circle with an outline.
    fn circle(&mut self, center: Point, radius: f64, fill: Color, outline: Color);

    fn text(&mut self, text: Text<'_>);
}
