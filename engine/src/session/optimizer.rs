//! [`Optimizer`], and [`Step`]: how a step changes the parameters.

use crate::graph::Group;
use crate::{Error, Result};
use kernels::adamw::{self, AdamWParams};
use kernels::sgd::{self, SgdParams};
use kernels::{Call, Span};

/// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019), as in PyTorch: [`kernels::adamw`] has
/// the equations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment (mean of gradients), per step.
    pub beta1: f64,
    /// Decay of the second moment (mean of squared gradients), per step.
    pub beta2: f64,
    /// Added to the denominator, for stability; above 0.
    pub eps: f64,
    /// Share of a parameter that is subtracted per step, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

/// Stochastic gradient descent with momentum, as in PyTorch with dampening 0: [`kernels::sgd`] has the equations. The
/// default is plain gradient descent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd {
    /// Decay of the sum of gradients that a parameter moves by, per step. 0 means that it moves by the gradient.
    pub momentum: f64,
    /// Nesterov's momentum; needs a momentum above 0.
    pub nesterov: bool,
    /// Share of a parameter that is added to its gradient.
    pub weight_decay: f64,
}

/// An optimizer and its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// AdamW.
    AdamW(AdamW),
    /// Stochastic gradient descent.
    Sgd(Sgd),
}

impl From<AdamW> for Optimizer {
    fn from(adamw: AdamW) -> Optimizer {
        Optimizer::AdamW(adamw)
    }
}

impl From<Sgd> for Optimizer {
    fn from(sgd: Sgd) -> Optimizer {
        Optimizer::Sgd(sgd)
    }
}

/// How a step changes the parameters: an optimizer, and what happens before and after it.
///
/// ```
/// use engine::{Sgd, Step};
///
/// let step = Step::new(Sgd { momentum: 0.9, ..Sgd::default() }, 0.1);
/// let clipped = Step { clip_norm: Some(1.0), ..step };
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Learning rate of this step, which the [group](crate::Group) of a parameter multiplies.
    pub lr: f64,
    /// Largest norm of all gradients together: larger ones are scaled down to it, as by PyTorch's `clip_grad_norm_`.
    /// May be infinite: then [`Session::gradient_norm`](crate::Session::gradient_norm) is all that it is for.
    pub clip_norm: Option<f64>,
    /// Weight of the old value in the exponential moving average of the parameters, such as 0.999:
    /// `average = decay average + (1 - decay) parameter` after the optimizer's step. It begins as the
    /// parameter. The session must keep [averages](crate::SessionOptions::average).
    pub average: Option<f64>,
}

/// A range of constants, and what a message says was expected.
type Range = (fn(f64) -> bool, &'static str);

const AMOUNT: Range = (|x| x >= 0.0 && x.is_finite(), "at least 0 and finite");
const SHARE: Range = (|x| (0.0..1.0).contains(&x), "at least 0 and below 1");
const ABOVE_0: Range = (|x| x > 0.0 && x < 1.0, "above 0 and below 1 with Nesterov");
const POSITIVE: Range = (|x| x > 0.0, "above 0");
// Otherwise a parameter without gradient would change by 0 / 0.
const DIVISOR: Range = (|x| x as f32 > 0.0 && x.is_finite(), "above 0 in 32 bits, and finite");

impl Step {
    /// A step with nothing but the optimizer.
    pub fn new(optimizer: impl Into<Optimizer>, lr: f64) -> Step {
        Step { optimizer: optimizer.into(), lr, clip_norm: None, average: None }
    }

    /// # Errors
    /// If a constant is out of its range: parameters would become NaN.
    pub(super) fn check(&self) -> Result<()> {
        let clip_norm = self.clip_norm.map(|max_norm| ("clip_norm", max_norm, POSITIVE));
        let average = self.average.map(|decay| ("average", decay, SHARE));
        for constant in [clip_norm, average].into_iter().flatten() {
            check("step", &[constant])?;
        }
        match self.optimizer {
            Optimizer::AdamW(AdamW { beta1, beta2, eps, weight_decay }) => check(
                "AdamW",
                &[
                    ("lr", self.lr, AMOUNT),
                    ("beta1", beta1, SHARE),
                    ("beta2", beta2, SHARE),
                    ("eps", eps, DIVISOR),
                    ("weight_decay", weight_decay, AMOUNT),
                ],
            ),
            Optimizer::Sgd(Sgd { momentum, nesterov, weight_decay }) => {
                let momentum = ("momentum", momentum, if nesterov { ABOVE_0 } else { SHARE });
                check("SGD", &[("lr", self.lr, AMOUNT), momentum, ("weight_decay", weight_decay, AMOUNT)])
            }
        }
    }

    /// The pass that takes step `number`, from 1, for parameters of a group, unless the flag is raised. Operands are
    /// parameters, gradients, and first and second moments.
    pub(super) fn pass(&self, number: u64, group: Group, operands: [Span; 4], unless: Span) -> Call {
        let [param, grad, first, second] = operands;
        match self.params(number, group) {
            Params::AdamW(params) => adamw::Step { params, param, grad, m: first, v: second, unless }.into(),
            Params::Sgd(params) => sgd::Step { params, param, grad, buffer: buffer(params, first), unless }.into(),
        }
    }

    /// The pass that raises the flag if step `number` would leave a value that is not finite.
    pub(super) fn check_pass(&self, number: u64, group: Group, operands: [Span; 4], flag: Span) -> Call {
        let [param, grad, first, second] = operands;
        match self.params(number, group) {
            Params::AdamW(params) => adamw::Check { params, param, grad, m: first, v: second, flag }.into(),
            Params::Sgd(params) => sgd::Check { params, param, grad, buffer: buffer(params, first), flag }.into(),
        }
    }

    fn params(&self, step: u64, group: Group) -> Params {
        let lr = self.lr * group.lr;
        match self.optimizer {
            Optimizer::AdamW(AdamW { beta1, beta2, eps, weight_decay }) => {
                let weight_decay = weight_decay * group.weight_decay;
                Params::AdamW(AdamWParams { lr, beta1, beta2, eps, weight_decay, step })
            }
            Optimizer::Sgd(Sgd { momentum, nesterov, weight_decay }) => {
                let weight_decay = weight_decay * group.weight_decay;
                Params::Sgd(SgdParams { lr, momentum, nesterov, weight_decay })
            }
        }
    }
}

/// What a kernel needs.
enum Params {
    AdamW(AdamWParams),
    Sgd(SgdParams),
}

/// The momentum buffer, if there is momentum: as in PyTorch, there is no state without it.
fn buffer(params: SgdParams, first: Span) -> Span {
    if params.momentum == 0.0 { Span::EMPTY } else { first }
}

/// # Errors
/// If a constant of `of`, by its name, is out of its range.
fn check(of: &'static str, constants: &[(&'static str, f64, Range)]) -> Result<()> {
    match constants.iter().find(|(_, value, (is_right, _))| !is_right(*value)) {
        Some(&(argument, value, (_, expected))) => Err(Error::Optimizer { of, argument, value, expected }),
        None => Ok(()),
    }
}
