//! [`Rounding`]: the rounding errors that a backend may make.

use super::altered::Alteration;
use crate::init::Uniform;
use kernels::conv2d::{Algo, Precision, Tile};
use kernels::{Access, Backend, Call, Context, Element, HostMemory, Reference, Span};
use std::cell::RefCell;

/// Unit roundoff of f32, for which [`Rounding`] draws errors.
pub(super) const F32_UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Unit roundoff of a number type: the largest relative error of one rounding.
pub(super) fn unit_roundoff<T: Element>() -> f64 {
    let is_f64 = T::from_f64(1.0 + f64::EPSILON).to_f64() > 1.0;
    if is_f64 { f64::EPSILON / 2.0 } else { F32_UNIT }
}

/// Relative errors of a call, in the root mean square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Errors {
    /// Of every element that it reads.
    operand: f64,
    /// Of every element that it writes.
    result: f64,
    /// Whether the error of an operand's element is as large as that of a typical one, even if the element is not:
    /// Winograd's algorithm adds and subtracts the elements of a tile.
    mixes: bool,
}

impl Errors {
    /// The errors of a call that the backend has prepared, in f32.
    ///
    /// A scalar product of `n` terms is computed as if its operands were off by `sqrt(n) u` (Higham & Mary, "A new
    /// approach to probabilistic rounding error analysis", 2019, theorem 2.4 with `lambda = 1`; `n` instead of `sqrt n`
    /// is the worst case of Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1). More
    /// roundings are for what is around the sum. Winograd's algorithm makes larger errors: see [`amplification`].
    pub(super) fn of(call: &Call, precision: Precision) -> Errors {
        let (conv, algo) = match call {
            Call::Conv2dForward(pass) => (Some(&pass.params), pass.algo),
            Call::Conv2dGradInput(pass) => (Some(&pass.params), pass.algo),
            Call::Conv2dGradWeight(pass) => (Some(&pass.params), pass.algo),
            _ => (None, None),
        };
        let roundings = call.pass().longest_sum() + if evaluates_a_function(call) { FUNCTION_ROUNDINGS } else { 1 };
        let result = algo.map_or(1.0, amplification) * (roundings as f64).sqrt() * F32_UNIT;
        let operand = conv.map_or(result, |p| result.max(precision.operand_error(p)));
        Errors { operand, result, mixes: matches!(algo, Some(Algo::Winograd(_))) }
    }
}

/// Operations, one after another, of an activation function: a polynomial, and often an exponential function and a
/// division.
const FUNCTION_ROUNDINGS: usize = 16;

fn evaluates_a_function(call: &Call) -> bool {
    match call {
        Call::ActivationForward(_) | Call::ActivationBackward(_) => true,
        Call::EpilogueForward(pass) => pass.params.activation.is_some(),
        Call::EpilogueBackward(pass) => pass.params.activation.is_some(),
        _ => false,
    }
}

/// How many times as large the sums of an algorithm's products are as those of a direct convolution, in the root mean
/// square, and with them the rounding errors. For Winograd's algorithm `y = A^T [(G w) . (B^T d)]` with `M` outputs of
/// `R` taps, the mean square in one dimension, for independent elements of equal variance, is
///
/// ```text
/// 1/(M R) sum_ij A_ij^2 |row i of G|^2 |row i of B^T|^2
/// ```
///
/// which is the root mean square in two dimensions. It is the same for the weight gradient. (Bounds of this form are in
/// Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks",
/// 2020.)
fn amplification(algo: Algo) -> f64 {
    match algo {
        Algo::Im2col | Algo::Direct => 1.0,
        Algo::Winograd(Tile::F2x3) => 1.7,
        Algo::Winograd(Tile::F4x3) => 10.8,
        Algo::Winograd(Tile::F4x4) => 15.9,
        Algo::Winograd(Tile::F4x5) => 19.1,
    }
}

/// [`Reference`] with errors that the rounding of another backend may cause: Monte Carlo arithmetic (Parker, 1997), on
/// whole calls. Every call gets operands, and gives results, whose elements are off by about the call's [`Errors`],
/// up or down at random. The errors take the same way through later calls as those of the backend do, and a sum that
/// cancels keeps those of its terms.
pub(super) struct Rounding<'a, B> {
    backend: &'a B,
    random: RefCell<Uniform>,
}

/// First stream of the random errors.
const ERRORS: u64 = 1 << 60;

impl<'a, B: Backend> Rounding<'a, B> {
    /// The errors of `backend`.
    pub(super) fn new(backend: &'a B, seed: u64) -> Rounding<'a, B> {
        Rounding { backend, random: RefCell::new(Uniform::new(seed, ERRORS)) }
    }

    /// Adds a random error to every value, relative to its magnitude or to `smallest` if that is more. The root mean
    /// square of its uniform distribution is `error`. (With two equally likely values, those of operands and result
    /// would often be 0 together.)
    fn disturb(&self, values: &mut [f64], error: f64, smallest: f64) {
        let mut random = self.random.borrow_mut();
        values.iter_mut().for_each(|x| *x += x.abs().max(smallest) * random.next(error * 3.0_f64.sqrt()));
    }
}

impl<B: Backend> Alteration for Rounding<'_, B> {
    fn name(&self) -> String {
        format!("{} with the rounding errors of {}", Reference.name(), self.backend.name())
    }

    /// Makes the choices of the other backend.
    fn prepare(&self, call: &mut Call) {
        self.backend.prepare(call);
    }

    fn run(&self, memory: &mut HostMemory<f64>, call: &Call, cx: Context) {
        let mut parts = call.parts();
        if let Call::ConvEpilogueBackward(pass) = call
            && matches!(pass.norm_conv.algos[1], Some(Algo::Winograd(_)))
        {
            // The sums over `g` are not those of the `g` that the epilogue reads, but come from the weight: their
            // errors do not cancel each other. So they get an own `g`, with errors of its own.
            parts.insert(3, parts[1].clone());
        }
        if parts.len() > 1 {
            return parts.iter().for_each(|part| self.run(memory, part, cx));
        }
        let (operands, errors) = (call.operands(), Errors::of(call, self.backend.precision()));
        let written: Vec<Span> = operands.iter().filter(|(_, access)| *access != Access::Read).map(|o| o.0).collect();
        // Others read the same operands without these errors.
        let kept = operands.iter().map(|(span, _)| *span).filter(|span| !written.contains(span));
        let kept: Vec<(Span, Vec<f64>)> = kept.map(|span| (span, memory.get(span).to_vec())).collect();
        for (span, _) in operands.iter().filter(|(span, access)| *access != Access::Set && !is_whole(call, *span)) {
            let values = memory.get_mut(*span);
            let smallest = if errors.mixes { root_mean_square(values) } else { 0.0 };
            self.disturb(values, errors.operand, smallest);
        }
        Reference.run(memory, call, cx);
        for (span, values) in kept {
            memory.get_mut(span).copy_from_slice(&values);
        }
        for span in written.into_iter().filter(|span| !is_whole(call, *span)) {
            self.disturb(memory.get_mut(span), errors.result, 0.0);
        }
    }
}

/// Whether an operand holds whole numbers, which are exact: classes, and how many rows have one.
fn is_whole(call: &Call, operand: Span) -> bool {
    match call {
        Call::CrossEntropyForward(pass) => [pass.targets, pass.count].contains(&operand),
        Call::CrossEntropyBackward(pass) => [pass.targets, pass.count].contains(&operand),
        _ => false,
    }
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
}
