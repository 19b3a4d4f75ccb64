//! What the tests of all passes share: one way to run a pass on any backend, and to compare backends.
//!
//! A test describes a pass once as a [`Pass`] and lists its operands; [`check`] then runs it on [`Reference`] and on every
//! instruction set of this CPU with 1, 2 and 5 threads, and asserts that
//! - results are within a bound of the reference's, and bit-equal for any number of threads;
//! - outputs are written completely and never read: they are NaN before;
//! - nothing else is written or read: between operands are NaNs, which must be there afterwards.

use crate::simd::Isa;
use crate::{Backend, Cpu, Element, Reference, Region, Span};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::OnceLock;

/// One call of a backend.
pub(crate) trait Pass {
    /// What to call it in messages, with its parameters.
    fn name(&self) -> String;

    /// Scratch that the call needs.
    fn workspace_bytes<B: Backend>(&self, _backend: &B) -> usize {
        0
    }

    /// The call. `operands` are in the order of the test's list.
    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], workspace: Span);
}

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

/// How far a result may be from the reference's: this many f32 roundings of a value of some magnitude. Both follow from
/// the algorithm: a sum of `n` terms one after another rounds `n` times what is at most the sum of their absolute values.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// Roundings, each of half a unit in the last place.
    pub(crate) roundings: f64,
    /// What is rounded.
    pub(crate) magnitude: Magnitude,
}

/// The size of the values that are rounded on the way to a result.
#[derive(Clone, Debug)]
pub(crate) enum Magnitude {
    /// That of the result itself.
    Result,
    /// The same for all elements.
    All(f64),
    /// One an element.
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

    /// `roundings` of values of one magnitude an element.
    pub(crate) fn each(roundings: f64, magnitude: Vec<f64>) -> Bound {
        Bound { roundings, magnitude: Magnitude::Each(magnitude) }
    }

    /// Asserts it of every element. NaN equals NaN, and an infinity itself; results below the smallest normal f32 may be 0.
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

/// Elements between operands: no multiple of a vector, so that most operands are misaligned.
const GUARD: usize = 19;

/// Runs a pass and returns what every operand holds afterwards.
pub(crate) fn run<B: Backend>(backend: &B, pass: &impl Pass, operands: &[Operand]) -> Vec<Vec<f64>> {
    let region = Region(0);
    let nan = B::Element::from_f64(f64::NAN);
    let workspace_len = pass.workspace_bytes(backend).div_ceil(size_of::<B::Element>());
    let mut spans = Vec::new();
    let mut end = GUARD;
    for len in operands.iter().map(Operand::len).chain([workspace_len]) {
        spans.push(Span::new(region, end, len));
        end += len + GUARD;
    }
    let all = Span::new(region, 0, end);
    let mut memory = backend.allocate(&[end]).expect("memory for a test");
    backend.fill(&mut memory, all, nan);
    for (operand, span) in operands.iter().zip(&spans) {
        if let Operand::In(values) | Operand::InOut(values) = operand {
            let values: Vec<_> = values.iter().map(|&x| B::Element::from_f64(f64::from(x))).collect();
            backend.write(&mut memory, *span, &values);
        }
    }
    let workspace = spans.pop().expect("the last span");
    pass.run(backend, &mut memory, &spans, workspace);

    let mut after = vec![nan; end];
    backend.read(&memory, all, &mut after);
    let after: Vec<f64> = after.into_iter().map(Element::to_f64).collect();
    let what = format!("{} on {}", pass.name(), backend.name());
    let mut position = 0;
    for (index, span) in spans.iter().chain([&workspace]).enumerate() {
        if !span.is_empty() {
            assert!(after[position..span.offset].iter().all(|x| x.is_nan()), "{what}: wrote before operand {index}");
            position = span.offset + span.len;
        }
    }
    assert!(after[position..].iter().all(|x| x.is_nan()), "{what}: wrote after the last operand");
    let values = |span: &Span| after[span.offset..span.offset + span.len].to_vec();
    let values: Vec<_> = spans.iter().map(values).collect();
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

/// Runs a pass on [`Reference`] and every [`cpus`], and compares: `bounds` are those of the written operands, in order.
/// Returns what the operands hold afterwards, for each instruction set.
pub(crate) fn check(pass: &impl Pass, operands: &[Operand], bounds: &[Bound]) -> Vec<Vec<Vec<f64>>> {
    let want = run(&Reference, pass, operands);
    let written: Vec<_> = (0..operands.len()).filter(|&i| !matches!(operands[i], Operand::In(_))).collect();
    assert_eq!(written.len(), bounds.len(), "bounds of {}", pass.name());
    cpus()
        .map(|[one, others @ ..]| {
            let got = run(one, pass, operands);
            for (&i, bound) in written.iter().zip(bounds) {
                bound.assert(&format!("{} on {}, operand {i}", pass.name(), one.name()), &got[i], &want[i]);
            }
            for other in others {
                let what = format!("{} on {} with {} threads", pass.name(), other.name(), other.threads());
                assert_bits(&what, &run(other, pass, operands), &got);
            }
            got
        })
        .collect()
}

/// Asserts that two results are the same bits.
pub(crate) fn assert_bits(what: &str, got: &[Vec<f64>], want: &[Vec<f64>]) {
    assert_eq!(got.len(), want.len(), "{what}: operands");
    for (operand, (got, want)) in got.iter().zip(want).enumerate() {
        assert_eq!(got.len(), want.len(), "{what}: length of operand {operand}");
        let different = (0..got.len()).find(|&i| got[i].to_bits() != want[i].to_bits());
        assert_eq!(different, None, "{what}: first element of operand {operand} that differs");
    }
}

/// `len` values of the standard normal distribution, the same for a seed.
pub(crate) fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Box-Muller; `1 - u` is never 0
    let value = |_| {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        ((-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    (0..len).map(value).collect()
}

/// Lengths at which flat loops go wrong: around a vector, a block and a task of every instruction set, primes, and a layer.
pub(crate) const LENGTHS: [usize; 16] =
    [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 127, 1009, 16 * 1024, 16 * 1024 + 1, 50_021];

/// As many cases of a property, the same in every run.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}
