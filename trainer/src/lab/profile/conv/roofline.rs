//! The roofline chart: throughput over arithmetic intensity, below the peaks of the machine.

use super::ConvProfile;
use crate::output::chart::{Axis, Chart, Color, Mark, Scaling, Series, Shape, Stroke, TEXT};
use kernels::conv2d::{Algo, PassKind};

/// Colours of the algorithms, in the order of [`Algo::ALL`].
const COLORS: [Color; 8] = [
    Color::new(0x8c8c8c, 0x9a9a9a),
    Color::new(0x1f77b4, 0x5aa9e0),
    Color::new(0x2c8c3c, 0x62bd70),
    Color::new(0xd6451c, 0xf0784f),
    Color::new(0x9467bd, 0xb995da),
    Color::new(0xe3aa14, 0xecc04d),
    Color::new(0x17aabe, 0x4cc9da),
    Color::new(0x78503c, 0xb08a76),
];

const _: () = assert!(Algo::ALL.len() <= COLORS.len(), "every algorithm has a colour of its own");

/// Shapes of the marks of the passes, in the order of [`PassKind::ALL`].
const SHAPES: [Shape; PassKind::ALL.len()] = [Shape::Disc, Shape::Triangle, Shape::Cross];

/// The passes of a shape have the same intensity. They are drawn side by side, at a distance of this factor.
const ASIDE: f64 = 1.06;

/// How far the roof reaches beyond the passes, as a factor.
const ROOM: f64 = 2.0;

impl ConvProfile {
    /// The passes under the roofs of memory and arithmetic (Williams, Waterman & Patterson, "Roofline", 2009). A colour
    /// is an algorithm, the shape of a mark is a pass. Throughput is that of a direct convolution, so Winograd's
    /// algorithm can be above the roof.
    pub fn roofline(&self) -> Chart {
        let ConvProfile { rows, peak_gflops, peak_gb_per_s, machine, isa, threads, .. } = self;
        // Left of the ridge memory is the limit, right of it arithmetic.
        let ridge = peak_gflops / peak_gb_per_s;
        let intensities = || rows.iter().map(|row| row.intensity()).chain([ridge]);
        let left = intensities().fold(f64::INFINITY, f64::min) / ROOM;
        let right = intensities().fold(0.0, f64::max) * ROOM;
        let roof = vec![(left, left * peak_gb_per_s), (ridge, *peak_gflops), (right, *peak_gflops)];
        let name = format!("peak {peak_gflops:.0} GFLOP/s, {peak_gb_per_s:.0} GB/s");
        let mut series = vec![Series::new(&name, TEXT).line(Stroke::PLAIN, roof)];
        for (algo, color) in Algo::ALL.into_iter().zip(COLORS) {
            let mut name = algo.name();
            for (pass, shape) in PassKind::ALL.into_iter().zip(SHAPES) {
                let of_both = rows.iter().filter(|row| row.algo == algo && row.pass == pass);
                let aside = ASIDE.powi(pass as i32 - 1);
                let marks: Vec<Mark> =
                    of_both.map(|row| Mark::new(row.intensity() * aside, row.gflops(), &row.layer)).collect();
                if !marks.is_empty() {
                    // The legend names the algorithm once.
                    series.push(Series::new(std::mem::take(&mut name), color).marks(shape, marks));
                }
            }
        }
        let passes = PassKind::ALL.into_iter().zip(SHAPES);
        series.extend(passes.map(|(pass, shape)| Series::new(pass.name(), TEXT).marks(shape, Vec::new())));
        Chart {
            id: "roofline".to_owned(),
            title: format!("convolution passes on {machine}, {isa}, {threads} threads"),
            note: String::new(),
            x: Axis::new(
                "FLOP of a direct convolution per byte of its operands; the passes of a shape side by side",
                Scaling::Logarithmic,
            ),
            y: Axis::new("GFLOP/s of a direct convolution", Scaling::Logarithmic),
            series,
        }
    }
}
