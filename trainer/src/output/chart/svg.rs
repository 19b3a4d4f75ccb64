//! The canvas of pages and of SVG files.

use super::Point;
use super::canvas::{Anchor, Canvas, DASHES, OUTLINE, Stroke, Text};
use super::color::{Color, NAMED, SURFACE, hex};
use super::frame::Frame;
use std::fmt::{Display, Write};

pub(super) struct Svg {
    text: String,
    /// Whether colours are custom properties, which the page defines.
    in_page: bool,
}

impl Svg {
    /// An element of a page.
    pub(super) fn in_page(frame: &Frame<'_>, attributes: &str) -> Svg {
        Svg { text: opening(frame, attributes), in_page: true }
    }

    /// A file. Its colours are those for a light background, which any viewer shows. A style replaces them on a dark
    /// one.
    pub(super) fn file(frame: &Frame<'_>) -> Svg {
        let (width, height) = (frame.size.width, frame.size.height);
        let attributes = format!(
            "xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui, sans-serif\""
        );
        let mut colors: Vec<Color> = NAMED.map(|(_, color)| color).into();
        for series in &frame.chart.series {
            if !colors.contains(&series.color) {
                colors.push(series.color);
            }
        }
        let rule = |color: &Color| {
            let (light, dark) = (hex(color.light), hex(color.dark));
            format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
        };
        let rules: String = colors.iter().map(rule).collect();
        let mut text = opening(frame, &attributes);
        let _ = writeln!(text, "<style>@media(prefers-color-scheme:dark){{{rules}}}</style>");
        let _ = writeln!(text, "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>", hex(SURFACE.light));
        Svg { text, in_page: false }
    }

    pub(super) fn finish(self) -> String {
        self.text + "</svg>\n"
    }

    fn ink(&self, color: Color) -> String {
        if !self.in_page {
            return hex(color.light);
        }
        let name = NAMED.iter().find(|(_, named)| *named == color).map_or("--c", |(name, _)| name);
        format!("var({name})")
    }

    fn put(&mut self, element: impl Display) {
        let _ = writeln!(self.text, "{element}");
    }

    fn outlined(&mut self, shape: &str, fill: Color, outline: Color) {
        let (fill, outline) = (self.ink(fill), self.ink(outline));
        self.put(format_args!("<{shape} fill=\"{fill}\" stroke=\"{outline}\" stroke-width=\"{OUTLINE}\"/>"));
    }
}

fn opening(frame: &Frame<'_>, attributes: &str) -> String {
    let (width, height, title) = (frame.size.width, frame.size.height, escape(&frame.chart.title));
    format!("<svg {attributes} viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n")
}

impl Canvas for Svg {
    fn open_series(&mut self, i: usize, color: Color) {
        let style = if self.in_page { format!(" style=\"{}\"", color.style()) } else { String::new() };
        self.put(format_args!("<g class=\"series\" data-series=\"{i}\"{style}>"));
    }

    fn close_series(&mut self) {
        self.put("</g>");
    }

    fn line(&mut self, points: &[Point], color: Color, stroke: Stroke) {
        if points.is_empty() {
            return;
        }
        let dashes =
            if stroke.dashed { format!(" stroke-dasharray=\"{} {}\"", DASHES[0], DASHES[1]) } else { String::new() };
        let (path, ink, width) = (path(points), self.ink(color), stroke.width);
        self.put(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dashes}/>"
        ));
    }

    fn polygon(&mut self, corners: &[Point], fill: Color, outline: Color) {
        self.outlined(&format!("path d=\"{}z\"", path(corners)), fill, outline);
    }

    fn circle(&mut self, (x, y): Point, radius: f64, fill: Color, outline: Color) {
        self.outlined(&format!("circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\""), fill, outline);
    }

    fn text(&mut self, text: Text<'_>) {
        let Text { content, at: (x, y), anchor, size, color, upwards } = text;
        let place = match upwards {
            true => format!("transform=\"translate({x:.1} {y:.1}) rotate(-90)\""),
            false => format!("x=\"{x:.1}\" y=\"{y:.1}\""),
        };
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (ink, content) = (self.ink(color), escape(content));
        self.put(format_args!(
            "<text {place} text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{ink}\">{content}</text>"
        ));
    }
}

fn path(points: &[Point]) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    path
}

/// Text as HTML and XML have it, also inside quotes. What XML cannot have at all becomes a replacement character.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
