//! The roofline plot: throughput over arithmetic intensity, under what the machine can do.

use super::ConvProfile;
use crate::output::plot::{Canvas, Figure, GRID, PlotError, TEXT};
use kernels::conv2d::{Algo, PassKind};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// The passes of a profile under the roofs of memory and arithmetic (Williams, Waterman & Patterson, "Roofline", 2009). A colour is an
/// algorithm, a mark a pass. Throughput is that of a direct convolution, so Winograd's algorithm can be above the roof.
#[derive(Clone, Copy, Debug)]
pub struct Roofline<'a> {
    profile: &'a ConvProfile,
}

/// Colours of the algorithms, in the order of [`Algo::ALL`].
const COLORS: [RGBColor; 8] = [
    RGBColor(140, 140, 140),
    RGBColor(31, 119, 180),
    RGBColor(44, 140, 60),
    RGBColor(214, 69, 28),
    RGBColor(148, 103, 189),
    RGBColor(227, 170, 20),
    RGBColor(23, 170, 190),
    RGBColor(120, 80, 60),
];

const _: () = assert!(Algo::ALL.len() <= COLORS.len(), "every algorithm has a colour of its own");

impl<'a> Roofline<'a> {
    /// The plot of a profile.
    pub fn new(profile: &'a ConvProfile) -> Roofline<'a> {
        Roofline { profile }
    }

    /// Writes it as an SVG file. Its text is set in the viewer's sans-serif font.
    ///
    /// # Errors
    /// [`PlotError`] if there is nothing to draw, or the file cannot be written.
    pub fn save_svg(&self, path: &Path) -> Result<(), PlotError> {
        Figure::save_svg(self, path)
    }

    /// Writes it as a PNG file.
    ///
    /// # Errors
    /// [`PlotError`] if there is nothing to draw, or the file cannot be written.
    pub fn save_png(&self, path: &Path) -> Result<(), PlotError> {
        Figure::save_png(self, path)
    }
}

/// A range of powers of ten around the numbers.
fn powers_of_ten(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|x| x.is_finite() && *x > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
    let power = |x: f64| 10f64.powf(x);
    (high > 0.0).then(|| (power((low * 0.9).log10().floor()), power((high * 1.1).log10().ceil())))
}

impl Figure for Roofline<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, canvas: Canvas) -> Result<(), PlotError> {
        let ConvProfile { rows, peak_gflops, peak_gb_per_s, machine, isa, threads, .. } = self.profile;
        let (peak, bandwidth, unit) = (*peak_gflops, *peak_gb_per_s, canvas.unit);
        let intensities = powers_of_ten(rows.iter().map(|row| row.intensity()).chain([peak / bandwidth]));
        let throughputs = powers_of_ten(rows.iter().map(|row| row.gflops()).chain([peak]));
        let ((left, right), (bottom, top)) = intensities.zip(throughputs).ok_or(PlotError::NoPoints)?;
        let failed = |error: DrawingAreaErrorKind<B::ErrorType>| PlotError::Draw(error.to_string());

        let text = |size: u32| ("sans-serif", size * unit).into_font().color(&TEXT);
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(area)
            .caption(format!("convolution passes on {machine}, {isa}, {threads} threads"), text(17))
            .margin(14 * unit)
            .margin_right(30 * unit)
            .x_label_area_size(42 * unit)
            .y_label_area_size(62 * unit)
            .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(unit))
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT.stroke_width(unit))
            .label_style(text(13))
            .axis_desc_style(text(14))
            .x_desc("FLOP of a direct convolution for a byte of its operands")
            .y_desc("GFLOP/s of a direct convolution")
            .draw()
            .map_err(failed)?;

        // from where memory is the limit to where arithmetic is
        let ridge = peak / bandwidth;
        let start = (bottom / bandwidth).max(left);
        let roof = [(start, start * bandwidth), (ridge, peak), (right, peak)];
        let style = TEXT.stroke_width(2 * unit);
        for piece in roof.windows(2).filter(|piece| piece[0].0 < piece[1].0) {
            chart.draw_series([PathElement::new(piece, style)]).map_err(failed)?;
        }
        let label = format!("peak {peak:.0} GFLOP/s, {bandwidth:.0} GB/s");
        let legend = move |(x, y)| PathElement::new([(x, y), (x + 22 * unit as i32, y)], style);
        chart.draw_series([PathElement::new(&roof[1..], style)]).map_err(failed)?.label(label).legend(legend);

        for (algo, color) in Algo::ALL.into_iter().zip(COLORS) {
            let of_algo = || {
                rows.iter().filter(move |row| row.algo == algo).map(|row| (row.pass, (row.intensity(), row.gflops())))
            };
            if of_algo().next().is_none() {
                continue;
            }
            let points = |pass| of_algo().filter(move |(of, _)| *of == pass).map(|(_, point)| point);
            let size = 4 * unit;
            chart
                .draw_series(points(PassKind::Forward).map(|point| Circle::new(point, size, color.filled())))
                .map_err(failed)?
                .label(algo.name())
                .legend(move |(x, y)| Circle::new((x + 11 * unit as i32, y), size, color.filled()));
            chart
                .draw_series(
                    points(PassKind::GradInput).map(|point| TriangleMarker::new(point, size + unit, color.filled())),
                )
                .map_err(failed)?;
            let thick = color.stroke_width(2 * unit);
            chart
                .draw_series(points(PassKind::GradWeight).map(|point| Cross::new(point, size, thick)))
                .map_err(failed)?;
        }
        // the legend of the marks belongs to no points
        let none = || -> [Circle<(f64, f64), u32>; 0] { [] };
        let (size, center) = (4 * unit, move |(x, y)| (x + 11 * unit as i32, y));
        let mark = move |at| Circle::new(center(at), size, TEXT.filled());
        chart.draw_series(none()).map_err(failed)?.label(PassKind::Forward.name()).legend(mark);
        let mark = move |at| TriangleMarker::new(center(at), size + unit, TEXT.filled());
        chart.draw_series(none()).map_err(failed)?.label(PassKind::GradInput.name()).legend(mark);
        let mark = move |at| Cross::new(center(at), size, TEXT.stroke_width(2 * unit));
        chart.draw_series(none()).map_err(failed)?.label(PassKind::GradWeight.name()).legend(mark);
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .margin(10 * unit)
            .legend_area_size(30 * unit)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID.stroke_width(unit))
            .label_font(text(13))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)
    }
}
