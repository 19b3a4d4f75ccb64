//! Checks gradients: of any graph against finite differences, and of any backend against [`Reference`].
//!
//! [`check`] takes a node `y` of a graph, a random cotangent `c`, and random parameters and inputs. It compares the
//! gradients of `f = sum_i c_i y_i` that a [`Plan::gradients`] plan computes in f64 with central differences,
//!
//! ```text
//! df/dx ~ (f(x + h) - f(x - h)) / 2h
//! ```
//!
//! element by element, where `f` comes from an inference plan, which has no backward passes. An element is right if
//!
//! ```text
//! |analytic - numeric| <= tolerance (max(|analytic|, |numeric|) + 1e-4 sum_i |c_i y_i|)
//! ```
//!
//! The last term is there because `f` is a sum, and carries the rounding errors of all its terms. Batch normalization
//! uses the statistics of the batch.
//!
//! **Kinks.** Where `f` has a kink between `x - h` and `x + h` (ReLU, L1), a central difference equals neither of its
//! slopes. An element that looks wrong is skipped if the slopes on its two sides differ by more than the error:
//!
//! ```text
//! |(f(x + h) - f(x)) / h - (f(x) - f(x - h)) / h| > |analytic - numeric|
//! ```
//!
//! For one kink the left side is twice the right. Where `f` is smooth, the left side is about `h |f''|`, so hardly any
//! error can hide. At most a twentieth of a tensor's checked elements may be skipped, or one if that is more; otherwise
//! the check fails.
//!
//! [`check_backend`] compares the results of another backend, for example in f32, with those of [`Reference`], for the
//! same numbers.
//!
//! [`check_adjoint`] needs no other backend and no differences: if `y` is linear in some inputs, then
//! `<c, y> = sum <x, dx>` over these, because the forward and backward passes are adjoint to each other.
//!
//! [`cases`] and [`random_cases`] are graphs of every operation, each alone and with a fan-out of two. The command
//! `resconv gradcheck` runs all checks on all of them, on every path of the CPU.
//!
//! ```
//! # use engine::*;
//! # fn main() -> Result<()> {
//! let mut graph = Graph::new();
//! let x = graph.input("x", [3, 4])?;
//! let w = graph.parameter("w", [4, 2], Init::kaiming_uniform(4))?;
//! let h = graph.linear(x, w, None)?;
//! let y = graph.activation(h, Activation::Gelu)?;
//! let report = gradcheck::check(&graph, y, &GradcheckOptions::default())?;
//! assert!(report.passed(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! Operations of your own are checked in the same way: [`CustomOp`](crate::CustomOp) has an example.
//!
//! [`Reference`]: crate::Reference
//! [`Plan::gradients`]: crate::Plan::gradients

mod adjoint;
mod cases;
mod check;
mod differences;
mod options;
mod outcome;
mod report;
mod values;

pub use adjoint::check_adjoint;
pub use cases::{Case, cases, random_cases};
pub use check::{check, check_backend, check_on};
pub use options::GradcheckOptions;
pub use report::{Report, Row, Worst};
