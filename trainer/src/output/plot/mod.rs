//! The loss curve of a run, as SVG and PNG.

mod figure;

use std::ops::Range;
use std::path::Path;

use indicatif::HumanCount;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

use crate::system::files::FileError;
pub(crate) use figure::{Canvas, Figure, GRID, TEXT};

/// A point of a curve: samples seen so far, and the loss.
pub type Point = (u64, f64);

/// The training loss of a run with its validation losses, over the samples seen.
///
/// The training loss is drawn twice: every step thin and pale, and its running mean. Points beyond ±1e30, as of a run that diverged,
/// and on a logarithmic axis those below 1e-30, are left out.
#[derive(Clone, Copy, Debug)]
pub struct LossCurve<'a> {
    /// The heading.
    pub title: &'a str,
    /// Name of the loss, at its axis.
    pub loss: &'a str,
    /// The loss of every step, or of some.
    pub training: &'a [Point],
    /// Named validation losses.
    pub validation: &'a [(&'a str, &'a [Point])],
    /// A named loss to compare with, as a level across the plot.
    pub reference: Option<(&'a str, f64)>,
    /// How the loss is scaled.
    pub axis: Axis,
}

/// Scale of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axis {
    /// Equal distances are equal ratios.
    #[default]
    Logarithmic,
    /// Equal distances are equal differences.
    Linear,
}

/// A plot that cannot be drawn or kept.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// There is nothing to show.
    #[error("there is no point that can be drawn")]
    NoPoints,
    /// The plotting library failed.
    #[error("could not draw the plot: {0}")]
    Draw(String),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The training loss is drawn as at most this many stretches; of each, only the extremes are shown.
const STRETCHES: usize = 1500;

/// The running mean is over this share of the training points, and over no more than [`MOST_AVERAGED`].
const AVERAGED_SHARE: usize = 50;

/// See [`AVERAGED_SHARE`].
const MOST_AVERAGED: usize = 1000;

const TRAINING: RGBColor = RGBColor(181, 212, 234);
const TRAINING_MEAN: RGBColor = RGBColor(31, 119, 180);
const VALIDATION: [RGBColor; 4] =
    [RGBColor(214, 69, 28), RGBColor(44, 140, 60), RGBColor(148, 103, 189), RGBColor(140, 86, 75)];

impl LossCurve<'_> {
    /// Writes the curve as an SVG file. Its text is set in the viewer's sans-serif font.
    ///
    /// # Errors
    /// [`PlotError`] if there is nothing to draw, or the file cannot be written.
    pub fn save_svg(&self, path: &Path) -> Result<(), PlotError> {
        Figure::save_svg(self, path)
    }

    /// Writes the curve as a PNG file.
    ///
    /// # Errors
    /// [`PlotError`] if there is nothing to draw, or the file cannot be written.
    pub fn save_png(&self, path: &Path) -> Result<(), PlotError> {
        Figure::save_png(self, path)
    }

    /// What there is to draw, from the back to the front.
    fn lines(&self) -> Vec<Line> {
        let drawable =
            |points: &[Point]| points.iter().copied().filter(|point| self.axis.shows(point.1)).collect::<Vec<Point>>();
        let training = drawable(self.training);
        let (mean, window) = running_mean(&training);
        let last =
            self.validation.iter().flat_map(|(_, points)| *points).chain(self.training).map(|point| point.0).max();
        let mut lines = vec![
            Line::new("training", extremes(&training), TRAINING, 1.0, Kind::Plain),
            Line::new(&format!("training, mean of {window}"), extremes(&mean), TRAINING_MEAN, 2.0, Kind::Plain),
        ];
        if let (Some((name, loss)), Some(last)) = (self.reference, last) {
            lines.push(Line::new(name, drawable(&[(0, loss), (last, loss)]), TEXT, 1.5, Kind::Dashed));
        }
        for ((name, points), color) in self.validation.iter().zip(VALIDATION.into_iter().cycle()) {
            lines.push(Line::new(name, drawable(points), color, 2.0, Kind::Marked));
        }
        lines.retain(|line| !line.points.is_empty());
        lines
    }
}

impl Figure for LossCurve<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, canvas: Canvas) -> Result<(), PlotError> {
        let lines = self.lines();
        let points = || lines.iter().flat_map(|line| &line.points);
        let last = points().map(|point| point.0).max().ok_or(PlotError::NoPoints)?;
        let scales = (Scale::of_samples(last.max(1)), Scale::of_losses(self.axis, points().map(|point| point.1)));
        canvas.draw(area, [self.title, self.loss], scales, &lines).map_err(|error| PlotError::Draw(error.to_string()))
    }
}

/// A line of the plot and of its legend.
struct Line {
    name: String,
    points: Vec<Point>,
    color: RGBColor,
    width: f64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Dashed,
    /// With a dot at every point.
    Marked,
}

impl Line {
    fn new(name: &str, points: Vec<Point>, color: RGBColor, width: f64, kind: Kind) -> Line {
        Line { name: name.to_owned(), points, color, width, kind }
    }
}

impl Canvas {
    fn draw<B: DrawingBackend>(
        self,
        area: &DrawingArea<B, Shift>,
        [title, loss]: [&str; 2],
        (samples, losses): (Scale, Scale),
        lines: &[Line],
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let unit = self.unit;
        let text = |size: u32| ("sans-serif", size * unit).into_font().color(&TEXT);
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(title, text(17))
            .margin(14 * unit)
            .margin_right(30 * unit)
            .x_label_area_size(42 * unit)
            .y_label_area_size(62 * unit)
            .build_cartesian_2d(samples, losses)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(unit))
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT.stroke_width(unit))
            .label_style(text(13))
            .axis_desc_style(text(14))
            .x_desc("training samples seen")
            .y_desc(loss)
            .draw()?;
        for line in lines {
            self.draw_line(&mut chart, line)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .margin(10 * unit)
            .legend_area_size(30 * unit)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID.stroke_width(unit))
            .label_font(text(13))
            .draw()?;
        area.present()
    }

    fn draw_line<'a, B: DrawingBackend + 'a>(
        self,
        chart: &mut ChartContext<'a, B, Cartesian2d<Scale, Scale>>,
        line: &Line,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let unit = self.unit;
        let style = line.color.stroke_width((line.width * f64::from(unit)).round() as u32);
        let points: Vec<(f64, f64)> = line.points.iter().map(|&(samples, loss)| (samples as f64, loss)).collect();
        if line.kind == Kind::Dashed {
            chart.draw_series(DashedLineSeries::new(points.iter().copied(), 7 * unit, 4 * unit, style))?;
        } else {
            let piece = if self.joints { points.len() } else { 2 };
            chart.draw_series(points.windows(piece).map(|piece| PathElement::new(piece, style)))?;
        }
        let marks = if line.kind == Kind::Marked { &points[..] } else { &[] };
        let marks = marks.iter().map(|&point| Circle::new(point, 4 * unit, line.color.filled()));
        let dashes = if line.kind == Kind::Dashed { [(0, 9), (13, 22)] } else { [(0, 11), (11, 22)] };
        chart.draw_series(marks)?.label(&line.name).legend(move |place| {
            let [first, second] =
                dashes.map(|(from, to)| PathElement::new([(from * unit as i32, 0), (to * unit as i32, 0)], style));
            EmptyElement::at(place) + first + second
        });
        Ok(())
    }
}

/// Every point's mean with as many before and after it, as far as there are, and the length of that window.
pub(crate) fn running_mean(points: &[Point]) -> (Vec<Point>, usize) {
    let reach = (points.len() / AVERAGED_SHARE).min(MOST_AVERAGED) / 2;
    let mean = |(i, point): (usize, &Point)| {
        let window = &points[i.saturating_sub(reach)..points.len().min(i + reach + 1)];
        (point.0, window.iter().map(|point| point.1).sum::<f64>() / window.len() as f64)
    };
    (points.iter().enumerate().map(mean).collect(), 2 * reach + 1)
}

/// The smallest and the largest loss of every stretch of the curve, or all points if there are few.
fn extremes(points: &[Point]) -> Vec<Point> {
    if points.len() <= 2 * STRETCHES {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(2 * STRETCHES);
    for stretch in points.chunks(points.len().div_ceil(STRETCHES)) {
        let by_loss = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        let (smallest, largest) = (stretch.iter().min_by(by_loss), stretch.iter().max_by(by_loss));
        let mut pair: Vec<Point> = smallest.into_iter().chain(largest).copied().collect();
        pair.sort_by_key(|point| point.0);
        kept.extend(pair);
    }
    kept
}

/// One of the two axes: what it shows, how, and where it has labels.
struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Scale {
    /// The axis of the samples.
    fn of_samples(last: u64) -> Scale {
        let mut ticks = round_numbers(0.0, last as f64, 10);
        for (samples, label) in &mut ticks {
            *label = HumanCount(*samples as u64).to_string();
        }
        Scale { axis: Axis::Linear, low: 0.0, high: last as f64, ticks }
    }

    /// The axis that shows the losses with some room around.
    fn of_losses(axis: Axis, losses: impl Iterator<Item = f64>) -> Scale {
        let places = losses.map(|loss| axis.place(loss));
        let (low, high) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| (low.min(place), high.max(place)));
        // One loss alone gets a range, too.
        let alone = high - low <= (1e-9 * high.abs()).max(1e-30);
        let room = if alone { 0.1 * high.abs().max(0.1) } else { 0.04 * (high - low) };
        let (low, high) = (axis.value(low - room), axis.value(high + room));
        let ticks = match axis {
            Axis::Linear => round_numbers(low, high, 7),
            Axis::Logarithmic => log_round_numbers(low, high),
        };
        Scale { axis, low, high, ticks }
    }
}

impl Axis {
    /// Whether a loss can be drawn: beyond these limits, arithmetic on the axis would fail.
    fn shows(self, loss: f64) -> bool {
        loss.abs() <= 1e30 && (self == Axis::Linear || loss >= 1e-30)
    }

    /// Where a value is on the axis.
    fn place(self, value: f64) -> f64 {
        match self {
            Axis::Linear => value,
            Axis::Logarithmic => value.ln(),
        }
    }

    /// The value at a place on the axis.
    fn value(self, place: f64) -> f64 {
        match self {
            Axis::Linear => place,
            Axis::Logarithmic => place.exp(),
        }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let [low, high, place] = [self.low, self.high, *value].map(|value| self.axis.place(value));
        (f64::from(first) + (place - low) / (high - low) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let lines = if hint.weight().allow_light_points() { &[] } else { &self.ticks[..] };
        lines.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|tick| tick.0 == *value).map(|tick| tick.1.clone()).unwrap_or_default()
    }
}

/// Multiples, in the range, of 1, 2 or 5 times a power of ten, at most `most` (and one), with labels.
pub(crate) fn round_numbers(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let coarse = (high - low) / most as f64;
    let power = coarse.log10().floor() as i32;
    let steps = [(1, power), (2, power), (5, power)];
    let (factor, power) =
        steps.into_iter().find(|&(factor, power)| decimal(factor, power) >= coarse).unwrap_or((1, power + 1));
    let step = decimal(factor, power);
    let multiples = (low / step).ceil() as i64..=(high / step).floor() as i64;
    multiples.map(|n| (n as f64 * step, label(n * factor, power))).collect()
}

/// Numbers of one digit in the range, with labels: all of them, or as few kinds as it takes for the labels not to collide. In a range
/// that has hardly any, numbers of more digits.
pub(crate) fn log_round_numbers(low: f64, high: f64) -> Vec<(f64, String)> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let numbers = |digits: &'static [i64]| {
        let all = powers.clone().flat_map(move |power| digits.iter().map(move |&digit| (digit, power)));
        let shown = all.filter(|&(digit, power)| (low..=high).contains(&decimal(digit, power)));
        shown.map(|(digit, power)| (decimal(digit, power), label(digit, power))).collect::<Vec<_>>()
    };
    let kinds: [&[i64]; 3] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 2, 3, 5, 7], &[1, 2, 5]];
    let few = kinds.into_iter().map(&numbers).find(|numbers| numbers.len() <= 9);
    let numbers = few.unwrap_or_else(|| {
        let powers_of_ten = numbers(&[1]);
        let every = powers_of_ten.len().div_ceil(9);
        powers_of_ten.into_iter().step_by(every).collect()
    });
    if numbers.len() < 3 { round_numbers(low, high, 6) } else { numbers }
}

fn decimal(digits: i64, power: i32) -> f64 {
    digits as f64 * 10f64.powi(power)
}

/// `digits * 10^power` with no digit more than that needs.
fn label(digits: i64, power: i32) -> String {
    if (-5..=5).contains(&power) {
        format!("{:.*}", -power.min(0) as usize, decimal(digits, power))
    } else {
        format!("{digits}e{power}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn curve<'a>(training: &'a [Point], axis: Axis) -> LossCurve<'a> {
        LossCurve { title: "run <1> & co", loss: "L1 loss", training, validation: &[], reference: None, axis }
    }

    fn labels(ticks: &[(f64, String)]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn both_files_show_every_line() {
        let training: Vec<Point> =
            (0..500).map(|i| (i * 64, 0.3 / (1.0 + i as f64 / 50.0) + 0.01 * (i % 7) as f64)).collect();
        let curve = LossCurve {
            validation: &[
                ("running statistics", &[(10_000, 0.2), (32_000, 0.1)]),
                ("batch statistics", &[(32_000, 0.09)]),
            ],
            reference: Some(("the study", 0.0541)),
            ..curve(&training, Axis::Logarithmic)
        };
        let folder = tempfile::tempdir().unwrap();
        let [svg, png] = ["loss.svg", "loss.png"].map(|name| folder.path().join(name));
        curve.save_svg(&svg).unwrap();
        curve.save_png(&png).unwrap();

        let svg = std::fs::read_to_string(svg).unwrap();
        assert!(svg.starts_with(r#"<svg width="900" height="540" viewBox="0 0 1800 1080""#), "{}", &svg[..100]);
        for text in [
            "run &lt;1&gt; &amp; co",
            "L1 loss",
            "training samples seen",
            "training, mean of 11",
            "running statistics",
            "batch statistics",
            "the study",
            "30,000",
            "0.05",
            "0.3",
        ] {
            assert!(svg.contains(&format!(">\n{text}\n</text>")), "{text} is not in the picture");
        }
        assert_eq!(svg.matches("<circle").count(), 3);

        let png = image::open(png).unwrap().into_rgb8();
        assert_eq!(png.dimensions(), (1800, 1080));
        for color in [TRAINING, TRAINING_MEAN, TEXT, VALIDATION[0], VALIDATION[1]] {
            let count = png.pixels().filter(|pixel| pixel.0 == [color.0, color.1, color.2]).count();
            assert!(count > 100, "{count} pixels of {color:?}");
        }
        assert_eq!(png.get_pixel(0, 0).0, [255; 3]);
    }

    #[test]
    fn there_must_be_a_point_to_draw() {
        for points in [&[][..], &[(1, f64::NAN), (2, f64::INFINITY)]] {
            assert!(matches!(curve(points, Axis::Linear).svg(), Err(PlotError::NoPoints)));
        }
        let negative = [(1, 0.0), (2, -1.0)];
        assert!(matches!(curve(&negative, Axis::Logarithmic).render(), Err(PlotError::NoPoints)));
        assert!(curve(&negative, Axis::Linear).svg().is_ok());
    }

    #[test]
    fn an_unwritable_path_is_an_error_that_names_it() {
        for result in [
            curve(&[(1, 1.0)], Axis::Linear).save_svg(Path::new("/nonexistent/loss")),
            curve(&[(1, 1.0)], Axis::Linear).save_png(Path::new("/nonexistent/loss")),
        ] {
            assert!(result.unwrap_err().to_string().starts_with("could not write /nonexistent/loss: "));
        }
    }

    #[test]
    fn ticks_are_round_and_labelled_without_needless_digits() {
        assert_eq!(labels(&round_numbers(0.0, 1.0, 7)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&round_numbers(0.037, 0.41, 7)), ["0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(labels(&round_numbers(0.0, 180_000.0, 10)).len(), 10);
        assert_eq!(labels(&round_numbers(-3.0, 40.0, 7)), ["0", "10", "20", "30", "40"]);
        assert_eq!(labels(&log_round_numbers(0.047, 0.42)).join(" "), "0.05 0.06 0.07 0.08 0.09 0.1 0.2 0.3 0.4");
        assert_eq!(labels(&log_round_numbers(0.047, 1.5)).join(" "), "0.05 0.07 0.1 0.2 0.3 0.5 0.7 1");
        assert_eq!(labels(&log_round_numbers(0.052, 0.058)).join(" "), "0.052 0.054 0.056 0.058");
        assert_eq!(labels(&log_round_numbers(1e-9, 3e-7)).join(" "), "1e-9 2e-9 5e-9 1e-8 2e-8 5e-8 1e-7 2e-7");
    }

    #[test]
    fn the_running_mean_is_centred() {
        let points: Vec<Point> = (0..200).map(|i| (i, i as f64)).collect();
        let (mean, window) = running_mean(&points);
        assert_eq!((mean.len(), window), (200, 5));
        assert!(mean[2..198].iter().all(|&(samples, mean)| mean == samples as f64));
        assert_eq!((mean[0].1, mean[199].1), (1.0, 198.0));
        assert_eq!(running_mean(&points[..10]), (points[..10].to_vec(), 1));
    }

    #[test]
    fn of_many_points_the_extremes_stay() {
        let mut points: Vec<Point> = (0..100_000).map(|i| (i, 1.0 + (i % 10) as f64)).collect();
        points[77_777].1 = 50.0;
        points[33_333].1 = 0.1;
        let kept = extremes(&points);
        assert!(kept.len() <= 2 * STRETCHES);
        assert!(kept.is_sorted_by_key(|point| point.0));
        assert!(kept.contains(&(77_777, 50.0)) && kept.contains(&(33_333, 0.1)));
        assert_eq!(extremes(&points[..3000]), points[..3000]);
    }

    proptest! {
        #[test]
        fn any_losses_are_drawn_inside_the_plot(
            losses in prop::collection::vec(prop_oneof![0.01f64..10.0, any::<f64>()], 1..20), logarithmic: bool,
        ) {
            let axis = if logarithmic { Axis::Logarithmic } else { Axis::Linear };
            let points: Vec<Point> = losses.iter().enumerate().map(|(i, &loss)| (i as u64, loss)).collect();
            match curve(&points, axis).svg() {
                Err(error) => prop_assert!(matches!(error, PlotError::NoPoints)),
                Ok(_) => {
                    let drawable = losses.iter().copied().filter(|&loss| axis.shows(loss));
                    let scale = Scale::of_losses(axis, drawable.clone());
                    prop_assert!((2..=9).contains(&scale.ticks.len()), "{:?}", scale.ticks);
                    for loss in drawable {
                        prop_assert!((0..=1000).contains(&scale.map(&loss, (1000, 0))), "{loss}");
                    }
                }
            }
        }
    }
}
