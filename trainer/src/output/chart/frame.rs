//! What a chart is made of: axes, series and, in a file, a title and a legend.

use super::canvas::{Anchor, Canvas, Stroke, Text};
use super::color::{Color, GRID, MUTED, SURFACE, TEXT};
use super::scale::Scale;
use super::{Chart, Point, Series, Shape, Size};

/// Distance of the lines of the legend, in heights of the text.
pub(super) const LEGEND_LINE: f64 = 1.45;

/// Length of the lines in the legend.
const SWATCH: f64 = 28.0;

/// Height of the title's text, and the distance of its lines, in heights of the other text.
const TITLE: f64 = 1.3;
const TITLE_LINE: f64 = 1.7;

/// The title in lines that are no wider than `width`, broken between words.
fn title_lines(chart: &Chart, width: f64, text: f64) -> Vec<String> {
    // A character is not wider than this on the average.
    let most = (width / (0.6 * TITLE * text)) as usize;
    let mut lines = vec![String::new()];
    for word in chart.title.split(' ') {
        let last = lines.last_mut().expect("there is a line");
        if last.is_empty() || last.chars().count() + 1 + word.chars().count() <= most {
            *last += if last.is_empty() { "" } else { " " };
            *last += word;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A chart at a size.
pub(super) struct Frame<'a> {
    pub(super) chart: &'a Chart,
    pub(super) size: Size,
    pub(super) x: Scale,
    pub(super) y: Scale,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl<'a> Frame<'a> {
    pub(super) fn new(chart: &'a Chart, size: Size) -> Frame<'a> {
        let Size { width, height, text, legend } = size;
        let title = legend.map_or(0.0, |_| {
            (0.5 + TITLE_LINE * title_lines(chart, width - legend.unwrap_or(0.0), text).len() as f64) * text
        });
        let (left, top) = (4.4 * text, 0.8 * text + title);
        let (right, bottom) = (width - legend.unwrap_or(0.0) - 1.4 * text, height - 3.4 * text);
        let points = || chart.series.iter().flat_map(Series::points);
        let x = Scale::new(chart.x.scaling, points().map(|point| point.0), (left, right));
        let y = Scale::new(chart.y.scaling, points().map(|point| point.1), (bottom, top));
        Frame { chart, size, x, y, left, top, right, bottom }
    }

    pub(super) fn draw(&self, canvas: &mut dyn Canvas) {
        self.draw_axes(canvas);
        for (i, series) in self.chart.series.iter().enumerate() {
            canvas.open_series(i, series.color);
            self.draw_series(series, canvas);
            canvas.close_series();
        }
        if self.size.legend.is_some() {
            self.draw_legend(canvas);
        }
    }

    fn draw_axes(&self, canvas: &mut dyn Canvas) {
        let &Frame { chart, size: Size { height, text: size, .. }, left, top, right, bottom, .. } = self;
        for (value, label) in self.y.ticks(((bottom - top) / 34.0) as usize, &|_, _| 1.1 * size) {
            let at = self.y.place(value);
            canvas.line(&[(left, at), (right, at)], GRID, Stroke::THIN);
            canvas.text(Text::new(&label, (left - 6.0, at + 0.35 * size), Anchor::End, size, MUTED));
        }
        let room = |a: &str, b: &str| (0.31 * (a.chars().count() + b.chars().count()) as f64 + 0.5) * size;
        for (value, label) in self.x.ticks(((right - left) / 62.0) as usize, &room) {
            let at = self.x.place(value);
            canvas.line(&[(at, bottom), (at, bottom + 5.0)], GRID, Stroke::THIN);
            canvas.text(Text::new(&label, (at, bottom + 1.5 * size), Anchor::Middle, size, MUTED));
        }
        canvas.line(&[(left, bottom), (right, bottom)], MUTED, Stroke::THIN);
        let center = ((left + right) / 2.0, (top + bottom) / 2.0);
        let middle = |content, at| Text::new(content, at, Anchor::Middle, size, MUTED);
        canvas.text(middle(&chart.x.label, (center.0, height - 0.6 * size)));
        canvas.text(Text { upwards: true, ..middle(&chart.y.label, (size, center.1)) });
        if let Some(legend) = self.size.legend {
            for (i, line) in title_lines(chart, self.size.width - legend, size).iter().enumerate() {
                let title = middle(line, (center.0, (1.9 + TITLE_LINE * i as f64) * size));
                canvas.text(Text { size: TITLE * size, color: TEXT, ..title });
            }
        }
    }

    fn draw_series(&self, series: &Series, canvas: &mut dyn Canvas) {
        let Frame { x, y, size, .. } = self;
        let shown = |&(at_x, at_y): &Point| (x.shows(at_x) && y.shows(at_y)).then(|| (x.place(at_x), y.place(at_y)));
        let line: Vec<Point> = series.line.iter().filter_map(shown).collect();
        canvas.line(&line, series.color, series.stroke);
        for mark in &series.marks {
            let Some(center) = shown(&(mark.x, mark.y)) else { continue };
            if let Some((low, high)) = mark.range.filter(|(low, high)| y.shows(*low) && high > low) {
                let ends = [low, high].map(|end| (center.0, y.place(end)));
                canvas.line(&ends, series.color, Stroke::PLAIN);
            }
            draw_mark(series.shape, center, 0.36 * size.text, series.color, canvas);
        }
    }

    fn draw_legend(&self, canvas: &mut dyn Canvas) {
        let size = self.size.text;
        let from = self.right + 1.6 * size;
        for (i, series) in self.chart.series.iter().filter(|series| !series.name.is_empty()).enumerate() {
            let at = self.top + size + LEGEND_LINE * size * i as f64;
            if !series.line.is_empty() {
                canvas.line(&[(from, at), (from + SWATCH, at)], series.color, series.stroke);
            }
            if series.line.is_empty() || !series.marks.is_empty() {
                draw_mark(series.shape, (from + SWATCH / 2.0, at), 0.36 * size, series.color, canvas);
            }
            let at = (from + SWATCH + 8.0, at + 0.35 * size);
            canvas.text(Text::new(&series.name, at, Anchor::Start, size, TEXT));
        }
    }
}

impl Series {
    /// Everything that the axes must have room for.
    fn points(&self) -> impl Iterator<Item = Point> {
        let marks = self.marks.iter().flat_map(|mark| {
            let (low, high) = mark.range.unwrap_or((mark.y, mark.y));
            [(mark.x, low), (mark.x, high)]
        });
        self.line.iter().copied().chain(marks)
    }
}

fn draw_mark(shape: Shape, center: Point, radius: f64, color: Color, canvas: &mut dyn Canvas) {
    let at = |(x, y): Point| (center.0 + radius * x, center.1 + radius * y);
    match shape {
        Shape::Disc => canvas.circle(center, radius, color, SURFACE),
        Shape::Ring => canvas.circle(center, radius, SURFACE, color),
        Shape::Diamond => {
            canvas.polygon(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)].map(at), color, SURFACE)
        }
        Shape::Triangle => canvas.polygon(&[(0.0, -1.4), (1.3, 1.0), (-1.3, 1.0)].map(at), color, SURFACE),
        Shape::Cross => {
            for line in [[(-1.0, -1.0), (1.0, 1.0)], [(-1.0, 1.0), (1.0, -1.0)]] {
                canvas.line(&line.map(at), color, Stroke::PLAIN);
            }
        }
    }
}
