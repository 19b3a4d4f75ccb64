//! Charts: plain data, which is drawn in a page, as an SVG file or as a PNG file.
//!
//! | module | what it answers |
//! | --- | --- |
//! | `color` | which colours there are, on light and on dark backgrounds |
//! | `scale` | where on an axis a value is, and which values have labels |
//! | `frame` | which lines, shapes and texts make up a chart |
//! | `canvas` | what a chart is drawn on |
//! | `svg` | the canvas of pages and SVG files |
//! | `raster` | the canvas of PNG files |

mod canvas;
mod color;
mod frame;
mod raster;
mod scale;
mod svg;

pub(crate) use canvas::Stroke;
pub(crate) use color::{Color, TEXT, ramp, root_style};
pub(crate) use svg::escape;

use frame::Frame;
use raster::Raster;
use serde::Serialize;
use svg::Svg;

/// A point, in the values of the two axes.
pub(crate) type Point = (f64, f64);

/// A chart with two axes.
#[derive(Debug, Serialize)]
pub struct Chart {
    /// Name of its file, and of its elements in a page.
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) title: String,
    /// The text below it in a page.
    #[serde(skip)]
    pub(crate) note: String,
    pub(crate) x: Axis,
    #[serde(skip)]
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

/// One of the two axes.
#[derive(Debug, Serialize)]
pub(crate) struct Axis {
    pub(crate) label: String,
    #[serde(skip)]
    pub(crate) scaling: Scaling,
}

/// How an axis places its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scaling {
    Linear,
    /// Linear, and the axis begins at 0 and ends at the largest value.
    FromZero,
    Logarithmic,
}

/// A line, marks, or both, which can be switched off together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    /// Its name in the legend, which leaves out a series without a name.
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) color: Color,
    /// The points that a line goes through.
    pub(crate) line: Vec<Point>,
    #[serde(skip)]
    pub(crate) stroke: Stroke,
    pub(crate) marks: Vec<Mark>,
    #[serde(skip)]
    pub(crate) shape: Shape,
}

/// A marked point of a series.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mark {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// The range of several seeds.
    #[serde(skip)]
    pub(crate) range: Option<(f64, f64)>,
    /// What the point is, as a page tells it.
    pub(crate) name: String,
}

/// The shape of the marks of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    Disc,
    Ring,
    Diamond,
    Triangle,
    Cross,
}

/// The size of a drawing, in its units.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    width: f64,
    height: f64,
    text: f64,
    /// Width of the legend at the right. Only files have a legend and a title: a page has its own.
    legend: Option<f64>,
}

impl Size {
    pub(crate) const WIDE: Size = Size { width: 960.0, height: 440.0, text: 13.0, legend: None };
    pub(crate) const SMALL: Size = Size { width: 460.0, height: 330.0, text: 13.0, legend: None };
    pub(crate) const PHONE: Size = Size { width: 360.0, height: 300.0, text: 12.0, legend: None };

    /// The size of a file, with room for every name of the legend.
    fn of_file(chart: &Chart) -> Size {
        let text = 13.0;
        let names = || chart.series.iter().map(|series| series.name.chars().count()).filter(|length| *length > 0);
        let legend = 0.6 * text * names().max().unwrap_or(0) as f64 + 5.0 * text;
        let height = frame::LEGEND_LINE * text * (names().count() + 4) as f64;
        Size { width: 910.0 + legend, height: height.max(520.0), text, legend: Some(legend) }
    }
}

impl Axis {
    pub(crate) fn new(label: &str, scaling: Scaling) -> Axis {
        Axis { label: label.to_owned(), scaling }
    }
}

impl Series {
    /// A series without points; its line will be plain, and its marks will be discs.
    pub(crate) fn new(name: &str, color: Color) -> Series {
        let (line, marks) = (Vec::new(), Vec::new());
        Series { name: name.to_owned(), color, line, stroke: Stroke::PLAIN, marks, shape: Shape::Disc }
    }

    /// The same with this line.
    pub(crate) fn line(self, stroke: Stroke, line: Vec<Point>) -> Series {
        Series { stroke, line, ..self }
    }

    /// The same with these marks.
    pub(crate) fn marks(self, shape: Shape, marks: Vec<Mark>) -> Series {
        Series { shape, marks, ..self }
    }
}

impl Mark {
    pub(crate) fn new(x: f64, y: f64, name: &str) -> Mark {
        Mark { x, y, range: None, name: name.to_owned() }
    }
}

impl Chart {
    /// The chart as an element of a page. The page defines the colours, so that they follow its light or dark scheme.
    /// Its script finds the scales in the element's attributes, and the points in the page's data.
    pub(crate) fn element(&self, size: Size, class: &str) -> String {
        let frame = Frame::new(self, size);
        let [x, y] = [&frame.x, &frame.y].map(scale::Scale::attribute);
        let attributes = format!("class=\"plot {class}\" data-plot=\"{}\" data-x=\"{x}\" data-y=\"{y}\"", self.id);
        let mut svg = Svg::in_page(&frame, &attributes);
        frame.draw(&mut svg);
        svg.finish()
    }

    /// The chart as an SVG file, which follows the viewer's light or dark scheme.
    pub fn svg(&self) -> String {
        let frame = Frame::new(self, Size::of_file(self));
        let mut svg = Svg::file(&frame);
        frame.draw(&mut svg);
        svg.finish()
    }

    /// The chart as a PNG file.
    pub fn png(&self) -> Vec<u8> {
        let frame = Frame::new(self, Size::of_file(self));
        let mut raster = Raster::new(&frame);
        frame.draw(&mut raster);
        raster.finish()
    }
}

#[cfg(test)]
mod tests;
