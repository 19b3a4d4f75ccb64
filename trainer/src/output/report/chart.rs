//! A plot as SVG: drawn once for wide screens and files, and once for phones.
//!
//! Colours are custom properties of CSS, so that a plot follows the page's scheme. The page's script finds the scales in the plot's
//! attributes, and the points in the page's data.

use crate::output::plot::{log_round_numbers, round_numbers};
use serde::Serialize;
use std::fmt::Write;

/// A plot.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    /// Name of its file, and of its elements in the page.
    pub(super) id: String,
    #[serde(skip)]
    pub(super) title: String,
    /// What stands under it.
    #[serde(skip)]
    pub(super) note: String,
    pub(super) x: Axis,
    #[serde(skip)]
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// One of its two axes.
#[derive(Debug, Serialize)]
pub(super) struct Axis {
    pub(super) label: String,
    #[serde(skip)]
    pub(super) logarithmic: bool,
    /// Whether it begins at 0.
    #[serde(skip)]
    pub(super) from_zero: bool,
}

/// Something that can be switched off: a line, marks, or both.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    pub(super) name: String,
    #[serde(skip)]
    pub(super) color: Color,
    /// The points that a line goes through.
    pub(super) line: Vec<(f64, f64)>,
    #[serde(skip)]
    pub(super) dashed: bool,
    pub(super) marks: Vec<Mark>,
    #[serde(skip)]
    pub(super) shape: Shape,
}

/// A point of a series.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
    /// The range of several seeds.
    #[serde(skip)]
    pub(super) range: Option<(f64, f64)>,
    /// What it is.
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Disc,
    Ring,
    Diamond,
}

/// A colour on a light and on a dark background.
#[derive(Clone, Debug)]
pub(super) struct Color {
    pub(super) light: String,
    pub(super) dark: String,
}

impl Color {
    pub(super) fn new(light: &str, dark: &str) -> Color {
        Color { light: light.to_owned(), dark: dark.to_owned() }
    }

    /// The colour of number `i` of `count` that have an order.
    pub(super) fn of(i: usize, count: usize) -> Color {
        let place = if count < 2 { 0.35 } else { i as f64 / (count - 1) as f64 };
        // The ends of the ramp that the background would swallow are left out.
        let [light, dark] = [0.02 + 0.76 * place, 0.36 + 0.60 * place].map(|place| hex(ramp(place)));
        Color { light, dark }
    }

    /// The custom properties that stand for it.
    pub(super) fn style(&self) -> String {
        format!("--l:{};--d:{}", self.light, self.dark)
    }
}

/// Matplotlib's map "plasma" (by N. Smith and S. van der Walt, CC0), at an eighth each: its lightness grows evenly.
const RAMP: [[f64; 3]; 9] = [
    [13.0, 8.0, 135.0],
    [75.0, 3.0, 161.0],
    [125.0, 3.0, 168.0],
    [168.0, 34.0, 150.0],
    [203.0, 70.0, 121.0],
    [229.0, 107.0, 93.0],
    [248.0, 148.0, 65.0],
    [253.0, 195.0, 40.0],
    [240.0, 249.0, 33.0],
];

/// The colour of a place between 0 and 1 on the ramp.
pub(super) fn ramp(place: f64) -> [u8; 3] {
    let place = place.clamp(0.0, 1.0) * (RAMP.len() - 1) as f64;
    let below = (place as usize).min(RAMP.len() - 2);
    let mix = |channel: usize| {
        let [a, b] = [RAMP[below][channel], RAMP[below + 1][channel]];
        (a + (b - a) * (place - below as f64)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Sizes of a drawing, in its units.
#[derive(Clone, Copy)]
pub(super) struct Size {
    width: f64,
    height: f64,
    text: f64,
    /// Of the column of names at the right; 0 for none.
    legend: f64,
}

impl Size {
    pub(super) const WIDE: Size = Size { width: 960.0, height: 440.0, text: 13.0, legend: 0.0 };
    pub(super) const SMALL: Size = Size { width: 460.0, height: 330.0, text: 13.0, legend: 0.0 };
    pub(super) const PHONE: Size = Size { width: 360.0, height: 300.0, text: 12.0, legend: 0.0 };
    const FILE: Size = Size { width: 1140.0, height: 520.0, text: 13.0, legend: 230.0 };
}

/// A scale from values to units of the drawing.
struct Scale {
    values: (f64, f64),
    units: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, units: (f64, f64)) -> Scale {
        let values = values.filter(|value| value.is_finite() && (!axis.logarithmic || *value > 0.0));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
        let (low, high) = if low > high { (0.1, 1.0) } else { (low, high) };
        let values = if axis.logarithmic {
            let room = (high / low).powf(0.05).max(1.02);
            (low / room, high * room)
        } else {
            let room = if high > low { 0.06 * (high - low) } else { 0.1 * high.abs().max(0.1) };
            (
                if axis.from_zero { 0.0 } else { low - room },
                if axis.from_zero && room < high { high } else { high + room },
            )
        };
        let values = if axis.from_zero && !axis.logarithmic { (0.0, values.1.max(1e-9)) } else { values };
        Scale { values, units, logarithmic: axis.logarithmic }
    }

    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let [low, high, value] = [self.values.0, self.values.1, value].map(scale);
        self.units.0 + (value - low) / (high - low) * (self.units.1 - self.units.0)
    }

    fn shows(&self, value: f64) -> bool {
        value.is_finite() && (!self.logarithmic || value > 0.0)
    }

    fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (low, high) = self.values;
        let ticks = if self.logarithmic { log_round_numbers(low, high) } else { round_numbers(low, high, most) };
        let every = ticks.len().div_ceil(most.max(1) + 1).max(1);
        let short = |value: f64, label: String| match value {
            v if v >= 1e6 => format!("{}M", v / 1e6),
            v if v >= 1e4 => format!("{}k", v / 1e3),
            _ => label,
        };
        ticks.into_iter().step_by(every).map(|(value, label)| (value, short(value, label))).collect()
    }

    /// For the page's script: both ends as values and as units, and whether it is logarithmic.
    fn attribute(&self) -> String {
        let Scale { values, units, logarithmic } = self;
        format!("{},{},{:.1},{:.1},{}", values.0, values.1, units.0, units.1, u8::from(*logarithmic))
    }
}

impl Chart {
    /// As an element of a page.
    pub(super) fn element(&self, size: Size, class: &str) -> String {
        self.svg(size, &format!("class=\"plot {class}\" data-plot=\"{}\"", self.id), "")
    }

    /// As a file of its own.
    pub(super) fn file(&self) -> String {
        let Size { width, height, .. } = Size::FILE;
        let attributes = format!("xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\"");
        let style = "<style>svg{--text:#1c1e21;--muted:#5c6370;--grid:#e3e5e8;--surface:#fff;background:#fff;\
            font-family:system-ui,sans-serif}.series{--c:var(--l)}\
            @media(prefers-color-scheme:dark){svg{--text:#e8eaed;--muted:#a0a6b0;--grid:#33373d;--surface:#17191c;\
            background:#17191c}.series{--c:var(--d)}}</style>\n";
        self.svg(Size::FILE, &attributes, style)
    }

    fn svg(&self, size: Size, attributes: &str, style: &str) -> String {
        let Size { width, height, text, legend } = size;
        let (left, top, right, bottom) = (4.4 * text, 0.8 * text, width - legend - 1.4 * text, height - 3.4 * text);
        let points = || self.series.iter().flat_map(Series::points);
        let x = Scale::new(&self.x, points().map(|point| point.0), (left, right));
        let y = Scale::new(&self.y, points().map(|point| point.1), (bottom, top));
        let mut svg = format!(
            "<svg {attributes} viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" font-size=\"{text}\" \
             data-x=\"{}\" data-y=\"{}\">\n{style}<g stroke=\"var(--grid)\" fill=\"var(--muted)\">\n",
            escape(&self.title),
            x.attribute(),
            y.attribute()
        );
        for (value, label) in y.ticks(((bottom - top) / 34.0) as usize) {
            let at = y.place(value);
            let _ = writeln!(svg, "<path d=\"M{left:.1} {at:.1}H{right:.1}\"/>");
            let _ = writeln!(svg, "{}", label_at(left - 6.0, at + 0.35 * text, "end", &label));
        }
        for (value, label) in x.ticks(((right - left) / 62.0) as usize) {
            let at = x.place(value);
            let _ = writeln!(svg, "<path d=\"M{at:.1} {bottom:.1}v5\"/>");
            let _ = writeln!(svg, "{}", label_at(at, bottom + 1.5 * text, "middle", &label));
        }
        let _ = writeln!(svg, "<path d=\"M{left:.1} {bottom:.1}H{right:.1}\" stroke=\"var(--muted)\"/>");
        let _ = writeln!(svg, "{}", label_at((left + right) / 2.0, height - 0.6 * text, "middle", &self.x.label));
        let middle = (top + bottom) / 2.0;
        let turned = format!(
            "<text transform=\"translate({text:.1} {middle:.1}) rotate(-90)\" text-anchor=\"middle\" stroke=\"none\">{}</text>",
            escape(&self.y.label)
        );
        let _ = writeln!(svg, "{turned}\n</g>");
        for (i, series) in self.series.iter().enumerate() {
            let _ = writeln!(svg, "<g class=\"series\" data-series=\"{i}\" style=\"{}\">", series.color.style());
            series.draw(&mut svg, &x, &y, text);
            if legend > 0.0 {
                let at = top + text + 1.45 * text * i as f64;
                let from = right + 1.6 * text;
                let _ = writeln!(svg, "<path d=\"M{from:.1} {at:.1}h20\" stroke=\"var(--c)\" stroke-width=\"3\"/>");
                let name = label_at(from + 28.0, at + 0.35 * text, "start", &series.name);
                let _ = writeln!(svg, "<g fill=\"var(--text)\">{name}</g>");
            }
            svg += "</g>\n";
        }
        svg + "</svg>\n"
    }
}

impl Series {
    /// Everything that its axes must have room for.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let marks = self.marks.iter().flat_map(|mark| {
            let (low, high) = mark.range.unwrap_or((mark.y, mark.y));
            [(mark.x, low), (mark.x, high)]
        });
        self.line.iter().copied().chain(marks)
    }

    fn draw(&self, svg: &mut String, x: &Scale, y: &Scale, text: f64) {
        let line = self.line.iter().filter(|point| x.shows(point.0) && y.shows(point.1));
        let mut path = String::new();
        for (i, point) in line.enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", x.place(point.0), y.place(point.1));
        }
        if !path.is_empty() {
            let dashes = if self.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
            let _ = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"var(--c)\" stroke-width=\"2\" stroke-linejoin=\"round\"{dashes}/>"
            );
        }
        let radius = 0.34 * text;
        for mark in self.marks.iter().filter(|mark| x.shows(mark.x) && y.shows(mark.y)) {
            let (at_x, at_y) = (x.place(mark.x), y.place(mark.y));
            if let Some((low, high)) = mark.range.filter(|(low, high)| y.shows(*low) && high > low) {
                let (from, to) = (y.place(low), y.place(high));
                let _ =
                    writeln!(svg, "<path d=\"M{at_x:.1} {from:.1}V{to:.1}\" stroke=\"var(--c)\" stroke-width=\"2\"/>");
            }
            let outline = "stroke=\"var(--surface)\" stroke-width=\"1.5\"";
            let _ = match self.shape {
                Shape::Disc => {
                    writeln!(
                        svg,
                        "<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"{radius:.1}\" fill=\"var(--c)\" {outline}/>"
                    )
                }
                Shape::Ring => writeln!(
                    svg,
                    "<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"{radius:.1}\" fill=\"var(--surface)\" stroke=\"var(--c)\" \
                     stroke-width=\"2\"/>"
                ),
                Shape::Diamond => {
                    let r = 1.25 * radius;
                    writeln!(
                        svg,
                        "<path d=\"M{at_x:.1} {:.1}l{r:.1} {r:.1}l-{r:.1} {r:.1}l-{r:.1} -{r:.1}z\" fill=\"var(--c)\" {outline}/>",
                        at_y - r
                    )
                }
            };
        }
    }
}

fn label_at(x: f64, y: f64, anchor: &str, label: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" stroke=\"none\">{}</text>", escape(label))
}

/// Text as HTML and XML have it.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_every_series_in_its_place() {
        let axis = |label: &str, logarithmic| Axis { label: label.to_owned(), logarithmic, from_zero: !logarithmic };
        let series = Series {
            name: "a <b>".to_owned(),
            color: Color::of(0, 2),
            line: vec![(0.0, 1.0), (50.0, f64::NAN), (100.0, 0.1)],
            dashed: true,
            marks: vec![Mark { x: 100.0, y: 0.1, range: Some((0.05, 0.2)), name: "m".to_owned() }],
            shape: Shape::Diamond,
        };
        let chart = Chart {
            id: "c".to_owned(),
            title: "t & u".to_owned(),
            note: String::new(),
            x: axis("samples", false),
            y: axis("loss", true),
            series: vec![series],
        };
        let file = chart.file();
        for part in
            ["xmlns=", "t &amp; u", "a &lt;b&gt;", "stroke-dasharray", ">samples</text>", ">0.1</text>", "<style>"]
        {
            assert!(file.contains(part), "{part}: {file}");
        }
        let element = chart.element(Size::PHONE, "narrow");
        assert!(!element.contains("NaN") && !element.contains("<style>") && element.contains("data-plot=\"c\""));
        let scale = Scale::new(&chart.y, [0.05, 1.0].into_iter(), (300.0, 0.0));
        assert!(scale.place(0.05) < 300.0 && scale.place(1.0) > 0.0 && scale.place(0.05) > scale.place(1.0));
        // Nothing, and one value alone, have a scale, too.
        for values in [&[][..], &[0.0], &[3.0]] {
            for axis in [&chart.x, &chart.y] {
                let scale = Scale::new(axis, values.iter().copied(), (0.0, 100.0));
                assert!(scale.place(0.5).is_finite() && !scale.ticks(5).is_empty(), "{values:?}");
            }
        }
    }

    #[test]
    fn the_ramp_goes_from_end_to_end() {
        assert_eq!([ramp(-1.0), ramp(0.5), ramp(2.0)], [[13, 8, 135], [203, 70, 121], [240, 249, 33]]);
        assert_eq!(hex([0, 10, 255]), "#000aff");
    }
}
