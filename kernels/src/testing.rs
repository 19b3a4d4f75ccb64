//! Shared by the tests of all passes: runs a pass on any backend, and compares backends.
//!
//! A test lists operands, and gives a function that makes the pass from their spans. [`check`] runs it on [`Reference`]
//! and on every [`Path`]: every instruction set of this CPU with 1, 2 and 5 threads, and a GPU if there is a CUDA
//! driver. It asserts that
//! - results are within a bound of the reference's, and bit-equal for any number of threads, or on a GPU in a second
//!   run;
//! - outputs are written completely and never read: they hold NaN before;
//! - nothing else is written or read: the gaps between operands hold NaN, before and after.
//!
//! `KERNELS_TEST_PATHS=cuda` tests the GPU alone, and fails if there is none; `KERNELS_TEST_LARGEST=N` leaves out cases
//! of more than `N` elements, which are slow on the driver emulator.

#[cfg(feature = "cuda")]
use crate::Cuda;
use crate::random::Key;
use crate::simd::Isa;
use crate::{Backend, Call, Context, Cpu, Element, Reference, Region, Span};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::OnceLock;

/// An operand of a pass. Values are f32, so that every backend gets the same.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    /// Only read.
    In(Vec<f32>),
    /// Read and written.
    InOut(Vec<f32>),
    /// Written, this many elements.
    Out(usize),
}

impl Operand {
    /// An output that is set or added to.
    pub(crate) fn written(write: crate::Write, before: Vec<f32>) -> Operand {
        match write {
            crate::Write::Set => Operand::Out(before.len()),
            crate::Write::Add => Operand::InOut(before),
        }
    }

    fn len(&self) -> usize {
        match self {
            Operand::In(values) | Operand::InOut(values) => values.len(),
            Operand::Out(len) => *len,
        }
    }
}

/// How far a result may be from the reference's: a number of f32 roundings of a value of some magnitude. Both follow
/// from the algorithm: adding `n` terms one after another rounds `n` times, each time a value of at most the sum of
/// their absolute values.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// Roundings, each of half a unit in the last place.
    pub(crate) roundings: f64,
    /// The size of the rounded values.
    pub(crate) magnitude: Magnitude,
}

/// The size of the values that are rounded on the way to a result.
#[derive(Clone, Debug)]
pub(crate) enum Magnitude {
    /// That of the result itself.
    Result,
    /// The same for all elements.
    All(f64),
    /// One per element.
    Each(Vec<f64>),
}

impl Bound {
    /// `roundings` of the result.
    pub(crate) fn relative(roundings: f64) -> Bound {
        Bound { roundings, magnitude: Magnitude::Result }
    }

    /// `roundings` of values as large as `magnitude`.
    pub(crate) fn absolute(roundings: f64, magnitude: f64) -> Bound {
        Bound { roundings, magnitude: Magnitude::All(magnitude) }
    }

    /// `roundings` of values with one magnitude per element.
    pub(crate) fn each(roundings: f64, magnitude: Vec<f64>) -> Bound {
        Bound { roundings, magnitude: Magnitude::Each(magnitude) }
    }

    /// Asserts the bound for every element. NaN equals NaN, and an infinity equals itself. Results below the smallest
    /// normal f32 may be 0.
    pub(crate) fn assert(&self, what: &str, got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len(), "{what}: length");
        for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
            let magnitude = match &self.magnitude {
                Magnitude::Result => want.abs(),
                Magnitude::All(magnitude) => magnitude.max(want.abs()),
                Magnitude::Each(magnitudes) => magnitudes[i].max(want.abs()),
            };
            let bound = self.roundings * f64::from(f32::EPSILON) / 2.0 * magnitude + f64::from(f32::MIN_POSITIVE);
            let equal = got == want || got.is_nan() && want.is_nan();
            assert!(equal || (got - want).abs() <= bound, "{what}: element {i} is {got:e}, not {want:e} +- {bound:e}");
        }
    }
}

/// Key of the random numbers of every pass.
pub(crate) const KEY: Key = Key::ZERO;

/// Elements between operands: not a multiple of a vector, so that most operands are misaligned.
const GUARD: usize = 19;

/// Where operands lie.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// In one region, misaligned, with guards between them.
    Together,
    /// Each in its own region: fully aligned, and a sanitizer knows where it ends.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Apart,
}

/// Runs the pass that `make` makes from the operands' spans, and returns what every operand holds afterwards.
pub(crate) fn run<B: Backend, P: Into<Call>>(
    backend: &B,
    make: &impl Fn(&[Span]) -> P,
    operands: &[Operand],
) -> Vec<Vec<f64>> {
    run_in(backend, make, operands, Layout::Together)
}

fn run_in<B: Backend, P: Into<Call>>(
    backend: &B,
    make: &impl Fn(&[Span]) -> P,
    operands: &[Operand],
    layout: Layout,
) -> Vec<Vec<f64>> {
    let nan = B::Element::from_f64(f64::NAN);
    // The length of the scratch does not depend on where the operands are.
    let anywhere: Vec<Span> = operands.iter().map(|operand| Span::new(Region(0), 0, operand.len())).collect();
    let workspace_len = backend.prepare(&mut make(&anywhere).into());
    let lens = operands.iter().map(Operand::len).chain([workspace_len]);
    let mut spans = Vec::new();
    // Each region as a span.
    let regions: Vec<Span> = match layout {
        Layout::Together => {
            let mut end = GUARD;
            for len in lens {
                spans.push(Span::new(Region(0), end, len));
                end += len + GUARD;
            }
            vec![Span::new(Region(0), 0, end)]
        }
        Layout::Apart => {
            spans.extend(lens.enumerate().map(|(i, len)| Span::new(Region(i as u8), 0, len)));
            spans.clone()
        }
    };
    let lens: Vec<usize> = regions.iter().map(|region| region.len).collect();
    let mut memory = backend.allocate(&lens).expect("memory for a test");
    for region in &regions {
        backend.fill(&mut memory, *region, f64::NAN);
    }
    for (operand, span) in operands.iter().zip(&spans) {
        if let Operand::In(values) | Operand::InOut(values) = operand {
            let values: Vec<_> = values.iter().map(|&x| B::Element::from_f64(f64::from(x))).collect();
            backend.write(&mut memory, *span, &values);
        }
    }
    let workspace = spans.pop().expect("the last span");
    let mut call: Call = make(&spans).into();
    assert_eq!(backend.prepare(&mut call), workspace_len);
    backend.run(&mut memory, &call, Context { workspace, key: KEY });

    let read = |region: Span| -> Vec<f64> {
        let mut after = vec![nan; region.len];
        backend.read(&memory, region, &mut after);
        after.into_iter().map(Element::to_f64).collect()
    };
    let what = format!("{call:?} on {}", backend.name());
    let values: Vec<_> = match layout {
        Layout::Together => {
            let after = read(regions[0]);
            let mut position = 0;
            for (index, span) in spans.iter().chain([&workspace]).enumerate() {
                if !span.is_empty() {
                    let guard = &after[position..span.offset];
                    assert!(guard.iter().all(|x| x.is_nan()), "{what}: wrote before operand {index}");
                    position = span.offset + span.len;
                }
            }
            assert!(after[position..].iter().all(|x| x.is_nan()), "{what}: wrote after the last operand");
            spans.iter().map(|span| after[span.offset..span.offset + span.len].to_vec()).collect()
        }
        Layout::Apart => spans.iter().map(|&span| read(span)).collect(),
    };
    for (index, (operand, values)) in operands.iter().zip(&values).enumerate() {
        if let Operand::In(before) = operand {
            let same = before.iter().zip(values).all(|(a, b)| f64::from(*a).to_bits() == b.to_bits());
            assert!(same, "{what}: wrote to operand {index}");
        }
    }
    values
}

/// The CPU backend with every instruction set, and each with 1, 2 and 5 threads.
pub(crate) fn cpus() -> impl Iterator<Item = &'static [Cpu; 3]> {
    static CPUS: OnceLock<Vec<[Cpu; 3]>> = OnceLock::new();
    let make = |isa: Isa| [1, 2, 5].map(|threads| Cpu::with_isa(isa, threads).expect("an available instruction set"));
    CPUS.get_or_init(|| Isa::available().into_iter().map(make).collect()).iter()
}

/// One way to compute on this machine.
pub(crate) enum Path {
    /// An instruction set of the CPU, on 1, 2 and 5 threads.
    Cpu(&'static [Cpu; 3]),
    /// A GPU.
    #[cfg(feature = "cuda")]
    Cuda(Cuda),
}

impl Path {
    /// Runs a pass and returns what every operand holds afterwards.
    pub(crate) fn run<P: Into<Call>>(&self, make: &impl Fn(&[Span]) -> P, operands: &[Operand]) -> Vec<Vec<f64>> {
        match self {
            Path::Cpu([one, ..]) => run(one, make, operands),
            #[cfg(feature = "cuda")]
            Path::Cuda(cuda) => run(cuda, make, operands),
        }
    }

    /// Like [`run`](Self::run), and compares the runs whose bits must be equal. Calls `assert` with the name of the
    /// backend and each result that may have other bits.
    fn check<P: Into<Call>>(
        &self,
        make: &impl Fn(&[Span]) -> P,
        operands: &[Operand],
        assert: impl Fn(&str, &[Vec<f64>]),
    ) -> Vec<Vec<f64>> {
        let name = name(make, operands);
        let got = self.run(make, operands);
        match self {
            Path::Cpu([one, others @ ..]) => {
                assert(&one.name(), &got);
                for other in others {
                    let what = format!("{name} on {} with {} threads", other.name(), other.threads());
                    assert_bits(&what, &run(other, make, operands), &got);
                }
            }
            #[cfg(feature = "cuda")]
            Path::Cuda(cuda) => {
                assert(&cuda.name(), &got);
                assert_bits(&format!("{name} on {} again", cuda.name()), &self.run(make, operands), &got);
                // Aligned operands take other kernels.
                assert(&format!("{}, aligned", cuda.name()), &run_in(cuda, make, operands, Layout::Apart));
            }
        }
        got
    }
}

/// The call, for messages.
fn name<P: Into<Call>>(make: &impl Fn(&[Span]) -> P, operands: &[Operand]) -> String {
    let anywhere: Vec<Span> = operands.iter().map(|operand| Span::new(Region(0), 0, operand.len())).collect();
    let call: Call = make(&anywhere).into();
    format!("{call:?}")
}

/// Whether `KERNELS_TEST_PATHS=cuda`.
fn only_cuda() -> bool {
    std::env::var_os("KERNELS_TEST_PATHS").is_some_and(|paths| paths == "cuda")
}

/// Whether a case of `len` elements is tested. All are, unless `KERNELS_TEST_LARGEST` is smaller.
pub(crate) fn is_tested(len: usize) -> bool {
    static LARGEST: OnceLock<usize> = OnceLock::new();
    let largest = || match std::env::var("KERNELS_TEST_LARGEST") {
        Ok(largest) => largest.parse().expect("KERNELS_TEST_LARGEST is a number of elements"),
        Err(_) => usize::MAX,
    };
    len <= *LARGEST.get_or_init(largest)
}

/// Every way to compute on this machine.
pub(crate) fn paths() -> impl Iterator<Item = &'static Path> {
    static PATHS: OnceLock<Vec<Path>> = OnceLock::new();
    let make = || {
        #[cfg_attr(not(feature = "cuda"), expect(unused_mut, reason = "nothing is added"))]
        let mut paths: Vec<Path> = if only_cuda() { Vec::new() } else { cpus().map(Path::Cpu).collect() };
        #[cfg(feature = "cuda")]
        match Cuda::new(0) {
            Ok(cuda) => paths.push(Path::Cuda(cuda)),
            Err(error) => assert!(!only_cuda(), "{error}"),
        }
        paths
    };
    PATHS.get_or_init(make).iter()
}

/// Runs a pass on [`Reference`] and every [`Path`], and compares the results. `bounds` has one for each written
/// operand, in order. Returns what the operands hold afterwards, for each path.
pub(crate) fn check<P: Into<Call>>(
    make: &impl Fn(&[Span]) -> P,
    operands: &[Operand],
    bounds: &[Bound],
) -> Vec<Vec<Vec<f64>>> {
    let name = name(make, operands);
    let want = run(&Reference, make, operands);
    let written: Vec<_> = (0..operands.len()).filter(|&i| !matches!(operands[i], Operand::In(_))).collect();
    assert_eq!(written.len(), bounds.len(), "bounds of {name}");
    let assert = |backend: &str, got: &[Vec<f64>]| {
        for (&i, bound) in written.iter().zip(bounds) {
            bound.assert(&format!("{name} on {backend}, operand {i}"), &got[i], &want[i]);
        }
    };
    paths().map(|path| path.check(make, operands, assert)).collect()
}

/// Asserts that two results have the same bits.
pub(crate) fn assert_bits(what: &str, got: &[Vec<f64>], want: &[Vec<f64>]) {
    assert_eq!(got.len(), want.len(), "{what}: operands");
    for (operand, (got, want)) in got.iter().zip(want).enumerate() {
        assert_eq!(got.len(), want.len(), "{what}: length of operand {operand}");
        let different = (0..got.len()).find(|&i| got[i].to_bits() != want[i].to_bits());
        assert_eq!(different, None, "{what}: first element of operand {operand} that differs");
    }
}

/// `len` values of the standard normal distribution, always the same for a seed.
pub(crate) fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Box-Muller. `1 - u` is never 0.
    let value = |_| {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        ((-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    (0..len).map(value).collect()
}

/// Lengths at which flat loops go wrong: near a vector, a block and a task of every instruction set and of a GPU;
/// primes; several tasks.
pub(crate) fn lengths() -> impl Iterator<Item = usize> {
    let all = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 127, 257, 1009, 1025, 16 * 1024, 16 * 1024 + 1, 50_021];
    all.into_iter().filter(|&len| is_tested(len))
}

/// `cases` random cases of a property, the same in every run.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}
