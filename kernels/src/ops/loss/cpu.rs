//! SIMD implementation of the [module documentation](super)'s equations.

use super::function::{CHARBONNIER_EPSILON, Loss};
use crate::host::Cpu;
use crate::loops::{Lanewise, map, total};
use crate::pass::Write;
use crate::simd::Simd;
use crate::simd::math::{exp_nonpositive, log1p_unit};

/// The loss.
pub(super) fn forward(cpu: &Cpu, loss: Loss, prediction: &[f32], target: &[f32], workspace: &mut [f32]) -> f32 {
    let inputs = [prediction, target];
    let sum = match loss {
        Loss::L1 => total(cpu, Absolute, inputs, workspace),
        Loss::Mse => total(cpu, Square, inputs, workspace),
        Loss::Charbonnier => total(cpu, Root, inputs, workspace),
        Loss::BceWithLogits => total(cpu, BinaryCrossEntropy, inputs, workspace),
    };
    (sum / prediction.len() as f64) as f32
}

/// `dprediction (+)= dloss l'(prediction)`
pub(super) fn backward(
    cpu: &Cpu,
    loss: Loss,
    [prediction, target]: [&[f32]; 2],
    dloss: f32,
    dprediction: &mut [f32],
    write: Write,
) {
    let scale = f64::from(dloss) / prediction.len() as f64;
    let inputs = [Some(prediction), Some(target)];
    match loss {
        Loss::L1 => map(cpu, AbsoluteSlope(scale as f32), inputs, dprediction, write),
        Loss::Mse => map(cpu, SquareSlope((2.0 * scale) as f32), inputs, dprediction, write),
        Loss::Charbonnier => map(cpu, RootSlope(scale as f32), inputs, dprediction, write),
        Loss::BceWithLogits => map(cpu, BinaryCrossEntropySlope(scale as f32), inputs, dprediction, write),
    }
}

/// What one element adds to the loss.
#[derive(Clone, Copy)]
struct Absolute;

impl Lanewise<2> for Absolute {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        s.abs(s.sub(prediction, target))
    }
}

/// What one element adds to the loss.
#[derive(Clone, Copy)]
struct Square;

impl Lanewise<2> for Square {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        let error = s.sub(prediction, target);
        s.mul(error, error)
    }
}

/// What one element adds to the loss.
#[derive(Clone, Copy)]
struct Root;

impl Lanewise<2> for Root {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        root(s, s.sub(prediction, target))
    }
}

/// `sqrt(error^2 + e^2)` of Charbonnier's loss.
#[inline(always)]
fn root<S: Simd>(s: S, error: S::F32) -> S::F32 {
    s.sqrt(s.mul_add(error, error, s.splat((CHARBONNIER_EPSILON * CHARBONNIER_EPSILON) as f32)))
}

/// What one element adds to the loss.
#[derive(Clone, Copy)]
struct BinaryCrossEntropy;

impl Lanewise<2> for BinaryCrossEntropy {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [logit, target]: [S::F32; 2]) -> S::F32 {
        let rest = log1p_unit(s, exp_of_minus_magnitude(s, logit));
        s.add(s.neg_mul_add(logit, target, s.max(s.splat(0.0), logit)), rest)
    }
}

/// `exp(-|x|)`, at least `exp(-87)`, which makes no difference beside 1; NaN where `x` is.
#[inline(always)]
fn exp_of_minus_magnitude<S: Simd>(s: S, x: S::F32) -> S::F32 {
    exp_nonpositive(s, s.neg(s.min(s.splat(87.0), s.abs(x))))
}

/// `scale sign(prediction - target)`
#[derive(Clone, Copy)]
struct AbsoluteSlope(f32);

impl Lanewise<2> for AbsoluteSlope {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        let error = s.sub(prediction, target);
        // What is neither less nor greater: 0 where the error is 0, NaN where it is NaN.
        let neither = s.mul(error, s.splat(0.0));
        let negative = s.select(s.less(prediction, target), s.splat(-self.0), neither);
        s.select(s.less(target, prediction), s.splat(self.0), negative)
    }
}

/// `scale (prediction - target)`
#[derive(Clone, Copy)]
struct SquareSlope(f32);

impl Lanewise<2> for SquareSlope {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        s.mul(s.splat(self.0), s.sub(prediction, target))
    }
}

/// `scale (prediction - target) / sqrt((prediction - target)^2 + e^2)`
#[derive(Clone, Copy)]
struct RootSlope(f32);

impl Lanewise<2> for RootSlope {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        let error = s.sub(prediction, target);
        s.mul(s.splat(self.0), s.div(error, root(s, error)))
    }
}

/// `scale (sigmoid(prediction) - target)`
#[derive(Clone, Copy)]
struct BinaryCrossEntropySlope(f32);

impl Lanewise<2> for BinaryCrossEntropySlope {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        let (one, u) = (s.splat(1.0), exp_of_minus_magnitude(s, prediction));
        let is_negative = s.less(prediction, s.splat(0.0));
        let sigmoid = s.div(s.select(is_negative, u, one), s.add(one, u));
        s.mul(s.splat(self.0), s.sub(sigmoid, target))
    }
}
