//! Every algorithm of the CPU on every instruction set, and the GPU's kernels, against the reference.

mod calls;
mod cases;
mod choice;
mod extremes;
#[cfg(feature = "cuda")]
mod gpu;
mod trial;
mod winograd;

use super::{Algo, Conv2dParams, Tile};
use crate::simd::Isa;
use crate::{Backend, Cpu, Write, testing};
use cases::{any_shape, any_winograd_shape, cases, conv};
use proptest::prelude::*;
use std::sync::LazyLock;
use trial::{Layout, Trial, Values, Which};

/// An algorithm on an instruction set.
struct Path {
    algo: Algo,
    isa: Isa,
    /// On 1, 2 and 5 threads.
    cpus: [Cpu; 3],
}

impl Path {
    /// On two threads.
    fn cpu(&self) -> &Cpu {
        &self.cpus[1]
    }

    fn name(&self) -> String {
        self.algo.kernel_name(self.isa)
    }

    /// How many times the rounding error of a direct convolution the path may have. The transforms of Winograd's
    /// algorithm add and subtract values of a whole tile, with factors up to 8 and down to 1/24: their error is
    /// measured against the largest value of the output, not against each element, and may be larger (Lavin & Gray
    /// 2016; the factors bound what these tests give, with a reserve of two).
    fn amplification(&self) -> Option<f64> {
        match self.algo {
            Algo::Im2col | Algo::Direct => None,
            Algo::Winograd(Tile::F2x3) => Some(1.0),
            Algo::Winograd(Tile::F4x3) => Some(8.0),
            Algo::Winograd(Tile::F4x4) => Some(24.0),
            Algo::Winograd(Tile::F4x5) => Some(32.0),
        }
    }

    /// Whether the arithmetic is exact on small whole numbers. Winograd's 4x4 tiles multiply by 1/6, 1/9, 1/90 and the
    /// like.
    fn is_exact(&self) -> bool {
        !matches!(self.algo, Algo::Winograd(Tile::F4x3 | Tile::F4x4 | Tile::F4x5))
    }
}

/// The CPU with every instruction set, if it is tested: each on 1, 2 and 5 threads.
fn cpus() -> impl Iterator<Item = &'static [Cpu; 3]> {
    testing::paths().flat_map(|path| match path {
        testing::Path::Cpu(cpus) => Some(*cpus),
        #[cfg(feature = "cuda")]
        testing::Path::Cuda(_) => None,
    })
}

/// Every path of the CPU, if it is tested, that can compute a shape.
fn paths(p: &Conv2dParams) -> impl Iterator<Item = &'static Path> {
    static PATHS: LazyLock<Vec<Path>> = LazyLock::new(|| {
        let with = |cpus: &[Cpu; 3], algo| cpus.clone().map(|cpu| cpu.with_conv2d_algo(algo));
        let of_isa = |cpus: &[Cpu; 3]| Algo::ALL.map(|algo| Path { algo, isa: cpus[0].isa(), cpus: with(cpus, algo) });
        cpus().flat_map(of_isa).collect()
    });
    PATHS.iter().filter(|path| path.algo.supports(p))
}

/// Asserts that every pass gives exactly what the reference gives.
fn check_exact(p: &Conv2dParams, seed: u64) {
    for plain in Trial::all(p, &Values::whole(p, seed)) {
        for (bias, write) in [(false, Write::Set), (true, Write::Add), (true, Write::Set), (false, Write::Add)] {
            if bias && !plain.takes_bias() {
                continue;
            }
            let trial = Trial { bias, write, ..plain };
            let want: Vec<f32> = trial.reference().iter().map(|&x| x as f32).collect();
            for path in paths(p).filter(|path| path.is_exact()) {
                assert_exact(&path.name(), &trial, &trial.run(path.cpu(), Layout::Together), &want);
            }
            #[cfg(feature = "cuda")]
            for (path, got) in gpu::run(&trial) {
                assert_exact(&path, &trial, &got, &want);
            }
        }
    }
}

fn assert_exact(path: &str, trial: &Trial<'_>, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{path} {trial:?}");
    if let Some(i) = (0..want.len()).find(|&i| got[i] != want[i]) {
        panic!("{path} {trial:?}: element {i} is {}, not {}", got[i], want[i]);
    }
}

#[test]
fn whole_numbers_are_exact_in_every_case_on_every_path() {
    for (i, p) in cases().iter().enumerate() {
        check_exact(p, i as u64);
    }
}

/// What the reference makes of a pass; and how far off f32 may be. A sum of `n` products of f32 values has a rounding
/// error of about `sqrt(n)` half units of the largest partial sum, which the sum of the products' magnitudes bounds.
struct Expected<'a> {
    trial: Trial<'a>,
    want: Vec<f64>,
    magnitude: Vec<f64>,
    /// Error that is allowed, in magnitudes.
    unit: f64,
}

impl<'a> Expected<'a> {
    fn new(trial: Trial<'a>) -> Expected<'a> {
        let p = trial.p;
        let products = match trial.which {
            Which::Forward => p.r * p.s * p.c / p.groups,
            Which::GradInput => p.r * p.s * p.k / p.groups,
            Which::GradWeight | Which::GradBias => p.n * p.p * p.q,
        };
        let magnitude = Trial { values: &trial.values.magnitudes(), ..trial }.reference();
        let unit = f64::from(f32::EPSILON) * (2.0 + (products as f64).sqrt());
        Expected { want: trial.reference(), magnitude, unit, trial }
    }

    /// Asserts that the path's result is as near as its arithmetic allows, which [`Path::amplification`] explains.
    fn assert(&self, path: &str, amplification: Option<f64>, got: &[f32]) {
        let Expected { trial, want, magnitude, unit } = self;
        assert_eq!(got.len(), want.len(), "{path} {trial:?}");
        let largest = magnitude.iter().fold(0.0, |a: f64, b| a.max(*b));
        for i in 0..want.len() {
            let allowed = match amplification {
                Some(factor) if trial.which != Which::GradBias => unit * factor * largest,
                _ => unit * magnitude[i],
            };
            let error = (f64::from(got[i]) - want[i]).abs();
            assert!(
                error <= allowed,
                "{path} {trial:?}: element {i} is {}, not {}, error {error:.2e} of {allowed:.2e} allowed",
                got[i],
                want[i]
            );
        }
    }
}

/// Asserts that every pass is within rounding of the reference.
fn check_rounding(p: &Conv2dParams, seed: u64) {
    for plain in Trial::all(p, &Values::real(p, seed)) {
        let expected = Expected::new(plain.with_all());
        for path in paths(p) {
            let got = expected.trial.run(path.cpu(), Layout::Together);
            expected.assert(&path.name(), path.amplification(), &got);
        }
        #[cfg(feature = "cuda")]
        gpu::check_rounding(&expected);
    }
}

#[test]
fn real_numbers_are_within_rounding_on_every_path() {
    for (i, p) in cases().iter().enumerate() {
        check_rounding(p, i as u64);
    }
}

/// `<conv(x), y> = <x, grad_input(y)> = <w, grad_weight(x, y)>`, exactly: a check without the reference.
#[test]
fn passes_are_adjoint_to_each_other() {
    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }
    for p in &cases() {
        let values = Values::whole(p, 3);
        for path in paths(p).filter(|path| path.is_exact()) {
            let run = |which| Trial::plain(p, which, &values).run(path.cpu(), Layout::Together);
            let forward = dot(&run(Which::Forward), &values.y);
            assert_eq!(forward, dot(&run(Which::GradInput), &values.x), "{} grad_input of {p:?}", path.name());
            assert_eq!(forward, dot(&run(Which::GradWeight), &values.w), "{} grad_weight of {p:?}", path.name());
        }
    }
}

/// A value that is not a number reaches the outputs whose window holds it and, unless the path works on tiles, no
/// other.
#[test]
fn nan_stays_in_its_windows() {
    for p in &cases() {
        let mut values = Values::whole(p, 4);
        let middle = values.x.len() / 2;
        values.x[middle] = f32::NAN;
        let trial = Trial::plain(p, Which::Forward, &values);
        let want = trial.reference();
        let assert = |path: &str, tiles: bool, got: &[f32]| {
            assert_eq!(got.len(), want.len(), "{path} {trial:?}");
            let same = |(&got, &want): (&f32, &f64)| match want.is_nan() {
                true => got.is_nan(),
                false => f64::from(got) == want || tiles,
            };
            assert!(got.iter().zip(&want).all(same), "{path} {trial:?}");
        };
        for path in paths(p) {
            assert(&path.name(), path.amplification().is_some(), &trial.run(path.cpu(), Layout::Together));
        }
        #[cfg(feature = "cuda")]
        for (path, got) in gpu::run(&trial) {
            assert(&path, false, &got);
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn threads_do_not_change_a_bit() {
    for (i, p) in cases().iter().enumerate() {
        let values = Values::real(p, i as u64);
        for (path, which) in paths(p).flat_map(|path| Which::ALL.map(|which| (path, which))) {
            let trial = Trial::plain(p, which, &values).with_all();
            let [one, others @ ..] = &path.cpus;
            let want = bits(&trial.run(one, Layout::Together));
            for cpu in others {
                let threads = cpu.threads();
                let got = bits(&trial.run(cpu, Layout::Together));
                assert_eq!(got, want, "{} {trial:?} on {threads} threads", path.name());
            }
        }
    }
}

/// An empty batch has no images, but its weight gradient is zero.
#[test]
fn an_empty_batch_has_gradients_of_zero() {
    let empty = conv([0, 5, 5, 3], 4, [3, 3], [1, 1], [1, 1], 1);
    check_exact(&empty, 0);
    check_rounding(&empty, 0);
}

proptest! {
    #![proptest_config(testing::cases(60))]

    #[test]
    fn any_case_is_exact_on_whole_numbers(p in any_shape(), seed in any::<u64>()) {
        check_exact(&p, seed);
    }

    #[test]
    fn any_winograd_case_is_within_rounding(p in any_winograd_shape(), seed in any::<u64>()) {
        check_rounding(&p, seed);
    }
}
