//! The passes of a convolution, with every algorithm, against the machine's peak.

mod measure;
mod presets;
mod roofline;

pub use measure::{Clock, MeasureError, profile};
pub use presets::{Layer, Preset, parse_shape};

use crate::output::table::Table;
use kernels::conv2d::{Algo, Conv2dParams, PassKind};
use kernels::simd::Isa;
use serde_json::{Value, json};
use std::fmt;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Request {
    /// The convolutions.
    pub layers: Vec<Layer>,
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Algorithms. Those that do not support a shape are left out for it.
    pub algos: Vec<Algo>,
    /// Passes.
    pub passes: Vec<PassKind>,
    /// Threads; 0 means one per core.
    pub threads: usize,
    /// Number of turns per algorithm.
    pub rounds: usize,
    /// Which time counts.
    pub clock: Clock,
    /// Whether results are compared with the reference.
    pub errors: bool,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct ConvProfile {
    /// Name of the CPU, if the system reports it.
    pub machine: String,
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Number of computing threads.
    pub threads: usize,
    /// Number of turns per algorithm.
    pub rounds: usize,
    /// Which time counts.
    pub clock: Clock,
    /// Fused multiply-adds in registers, the best of turns with the passes: 10^9 operations per second.
    pub peak_gflops: f64,
    /// Weighted addition of arrays larger than the caches, the best of turns with the passes: 10^9 bytes per second.
    pub peak_gb_per_s: f64,
    /// The passes.
    pub rows: Vec<Row>,
}

/// A pass with an algorithm.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the convolution.
    pub layer: String,
    /// Its shape.
    pub shape: Conv2dParams,
    /// The pass.
    pub pass: PassKind,
    /// The algorithm.
    pub algo: Algo,
    /// Median time of a pass.
    pub ms: f64,
    /// 10 % and 90 % quantiles of that time.
    pub spread_ms: [f64; 2],
    /// Largest error divided by the largest element of the result, on the top rows of one image.
    pub error: Option<f64>,
    /// Whether [`Algo::choose`] picks the algorithm.
    pub chosen: bool,
    /// Whether it is the fastest of those measured.
    pub best: bool,
}

impl Row {
    /// 10^9 operations of a direct convolution per second.
    pub fn gflops(&self) -> f64 {
        self.shape.flops() as f64 / self.ms / 1e6
    }

    /// Bytes of the operands, each read or written once: less than the real traffic if they do not fit in the caches.
    pub fn bytes(&self) -> usize {
        let p = &self.shape;
        (p.input_len() + p.weight_len() + p.output_len()) * size_of::<f32>()
    }

    /// 10^9 of these bytes per second.
    pub fn gb_per_s(&self) -> f64 {
        self.bytes() as f64 / self.ms / 1e6
    }

    /// Operations of a direct convolution per byte.
    pub fn intensity(&self) -> f64 {
        self.shape.flops() as f64 / self.bytes() as f64
    }
}

/// Times that differ by at most this share count as equal.
const EQUAL: f64 = 0.05;

impl ConvProfile {
    /// Number of passes for which the chosen algorithm was the fastest, or within 5 % of it, and number of passes.
    pub fn picks(&self) -> [usize; 2] {
        let picks: Vec<f64> = self.losses().map(|(_, loss)| loss).collect();
        [picks.iter().filter(|&&loss| loss <= EQUAL).count(), picks.len()]
    }

    /// For every pass whose chosen algorithm was measured: that row, and how much longer it takes than the fastest, as
    /// a share.
    fn losses(&self) -> impl Iterator<Item = (&Row, f64)> {
        self.rows.iter().filter(|row| row.chosen).map(|row| {
            let same = |other: &&Row| other.layer == row.layer && other.shape == row.shape && other.pass == row.pass;
            let best = self.rows.iter().filter(same).map(|other| other.ms).fold(f64::INFINITY, f64::min);
            (row, row.ms / best - 1.0)
        })
    }

    /// All numbers.
    pub fn table(&self) -> Table {
        let mut table = Table::new(&[
            "layer", "shape", "pass", "algo", ">ms", ">10%", ">90%", ">GFLOP/s", ">peak", ">MB", ">GB/s", ">FLOP/B",
            ">error", "choice",
        ]);
        for row in &self.rows {
            let mark = match (row.chosen, row.best) {
                (true, true) => "chosen, fastest",
                (true, false) => "chosen",
                (false, true) => "fastest",
                (false, false) => "",
            };
            table.push([
                row.layer.clone(),
                presets::shape_text(&row.shape),
                row.pass.to_string(),
                row.algo.to_string(),
                format!("{:.4}", row.ms),
                format!("{:.4}", row.spread_ms[0]),
                format!("{:.4}", row.spread_ms[1]),
                format!("{:.1}", row.gflops()),
                format!("{:.0}%", row.gflops() / self.peak_gflops * 100.0),
                format!("{:.2}", row.bytes() as f64 / 1e6),
                format!("{:.1}", row.gb_per_s()),
                format!("{:.1}", row.intensity()),
                row.error.map_or_else(String::new, |error| format!("{error:.1e}")),
                mark.to_owned(),
            ]);
        }
        table
    }

    /// All numbers, and what they were measured on.
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "layer": row.layer,
                "shape": presets::shape_text(&row.shape),
                "pass": row.pass.name(),
                "algo": row.algo.name(),
                "ms": row.ms,
                "spread_ms": row.spread_ms,
                "gflops": row.gflops(),
                "share_of_peak": row.gflops() / self.peak_gflops,
                "bytes": row.bytes(),
                "gb_per_s": row.gb_per_s(),
                "flops_per_byte": row.intensity(),
                "error": row.error,
                "chosen": row.chosen,
                "fastest": row.best,
            })
        });
        json!({
            "machine": self.machine,
            "isa": self.isa.to_string(),
            "threads": self.threads,
            "rounds": self.rounds,
            "clock": self.clock.to_string(),
            "peak_gflops": self.peak_gflops,
            "peak_gb_per_s": self.peak_gb_per_s,
            "rows": rows.collect::<Vec<_>>(),
        })
    }

    /// The machine, the settings and the peaks: the heading of a record.
    pub fn heading(&self) -> String {
        let ConvProfile { machine, isa, threads, rounds, clock, peak_gflops, peak_gb_per_s, .. } = self;
        format!(
            "{machine}, {isa}, {threads} threads; medians of {rounds} turns, {clock}\n\
             peak, the best of turns with the passes: {peak_gflops:.1} GFLOP/s of fused multiply-adds, {peak_gb_per_s:.1} GB/s of weighted addition\n\
             GFLOP/s count the operations of a direct convolution. Winograd's algorithm needs fewer, so it can exceed the peak"
        )
    }
}

/// The heading, the table and how good the choice is.
impl fmt::Display for ConvProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n{}\n", self.heading(), self.table())?;
        let [good, all] = self.picks();
        write!(f, "the chosen algorithm is the fastest, or within 5 % of it, in {good} of {all} passes")?;
        for (row, loss) in self.losses().filter(|(_, loss)| *loss > EQUAL) {
            write!(
                f,
                "\n  {} {} {}: {} takes {:.0} % longer",
                row.layer,
                presets::shape_text(&row.shape),
                row.pass,
                row.algo,
                loss * 100.0
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> ConvProfile {
        let shapes = ["2,9,8,16,17,3,3,1,1", "1,6,6,4,4,5,5,2,0"];
        let request = Request {
            layers: shapes.map(|shape| parse_shape(shape).unwrap()).into(),
            isa: Isa::best(),
            algos: Algo::ALL.to_vec(),
            passes: PassKind::ALL.to_vec(),
            threads: 2,
            rounds: 3,
            clock: Clock::Wall,
            errors: true,
        };
        profile(&request, &mut |_| {}).unwrap()
    }

    #[test]
    fn every_pass_is_measured_with_every_algorithm_that_takes_it() {
        let profile = small();
        let taken = |shape: &Conv2dParams| Algo::ALL.iter().filter(|algo| algo.supports(shape)).count();
        let shapes: Vec<Conv2dParams> =
            profile.rows.chunk_by(|a, b| a.shape == b.shape).map(|rows| rows[0].shape).collect();
        assert_eq!(profile.rows.len(), shapes.iter().map(|shape| 3 * taken(shape)).sum::<usize>());
        assert_eq!(shapes.len(), 2);
        assert!(profile.peak_gflops > 0.1 && profile.peak_gb_per_s > 0.01);
        for row in &profile.rows {
            assert!(row.ms > 0.0 && row.spread_ms[0] <= row.ms && row.ms <= row.spread_ms[1], "{row:?}");
            let factor = row.algo.error_factor();
            assert!(row.error.is_some_and(|error| error < 2e-6 * factor), "{row:?}");
        }
        for rows in profile.rows.chunk_by(|a, b| a.shape == b.shape && a.pass == b.pass) {
            assert_eq!(rows.iter().filter(|row| row.chosen).count(), 1, "{rows:?}");
            let fastest = rows.iter().find(|row| row.best).unwrap();
            assert!(rows.iter().all(|row| row.ms >= fastest.ms));
        }
        let first = &profile.rows[0];
        assert_eq!(first.bytes(), 4 * (2 * 9 * 8 * 16 + 9 * 16 * 17 + 2 * 9 * 8 * 17));
        assert_eq!(first.shape.flops(), 2 * (2 * 9 * 8 * 17) * 9 * 16);
        assert!((first.intensity() - first.gflops() / first.gb_per_s()).abs() < 1e-6 * first.intensity());
    }

    #[test]
    fn the_choice_is_judged_by_the_fastest() {
        let mut profile = small();
        for row in &mut profile.rows {
            row.ms = if row.chosen { 1.04 } else { 1.0 };
        }
        assert_eq!(profile.picks(), [6, 6]);
        let slow = profile.rows.iter_mut().find(|row| row.chosen).unwrap();
        slow.ms = 1.5;
        let algo = slow.algo;
        assert_eq!(profile.picks(), [5, 6]);
        let text = profile.to_string();
        let line = format!("in 5 of 6 passes\n  shape 2,9,8,16,17,3,3,1,1 forward: {algo} takes 50 % longer");
        assert!(text.contains(&line), "{text}");
    }

    #[test]
    fn tables_and_json_have_every_row_and_the_peak() {
        let profile = small();
        assert_eq!(profile.table().csv().lines().count(), 1 + profile.rows.len());
        let json = profile.json();
        assert_eq!(json["rows"].as_array().unwrap().len(), profile.rows.len());
        assert_eq!(json["rows"][0]["flops_per_byte"].as_f64().unwrap(), profile.rows[0].intensity());
        assert_eq!(json["peak_gflops"].as_f64().unwrap(), profile.peak_gflops);
    }

    #[test]
    fn the_roofline_shows_every_algorithm_and_the_roof() {
        let profile = small();
        let svg = profile.roofline().svg();
        let peak = format!("peak {:.0} GFLOP/s, {:.0} GB/s", profile.peak_gflops, profile.peak_gb_per_s);
        for text in ["im2col", "direct", "winograd2x3", "winograd4x3", "forward", "grad_input", "grad_weight", &peak] {
            assert!(svg.contains(&format!(">{text}</text>")), "{text} is not in the picture");
        }
        // A circle for every forward pass, and in the legend for every algorithm and the pass.
        let forward = profile.rows.iter().filter(|row| row.pass == PassKind::Forward).count();
        let algos = Algo::ALL.iter().filter(|&&algo| profile.rows.iter().any(|row| row.algo == algo)).count();
        assert_eq!(svg.matches("<circle").count(), forward + algos + 1);
        assert_eq!(image::load_from_memory(&profile.roofline().png()).unwrap().height(), 1040);
        let nothing = ConvProfile { rows: Vec::new(), peak_gflops: f64::NAN, ..profile };
        assert!(nothing.roofline().svg().contains("GFLOP/s of a direct convolution</text>"));
    }
}
