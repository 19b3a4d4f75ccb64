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
//! uses the statistics of the batch. Where an element looks wrong and has no kink, a second difference, over half the
//! step, tells whether only the curvature of the slope was to blame.
//!
//! **Kinks.** Where `f` has a kink between `x - h` and `x + h` (ReLU, L1), any value between the one-sided slopes is
//! right. More than that is if several calls have a kink there: each may take any slope between its own two, as the
//! conventions for derivatives at kinks are those of each operation, and not all sums of such slopes are between those
//! of the sum. (`relu(x) - relu(-x)` is `x`, but its gradient at 0 is 0 if that of ReLU is.) So the calls are compared
//! with their own linear parts: a call has a kink if its second difference `F(a + d) - 2 F(a) + F(a - d)` does not fall
//! to a quarter for half the step. From the slope on either side of `x`, each kink by itself is given its other slope;
//! the sum of all decreases is the lowest that is right, and the sum of all increases the highest:
//!
//! ```text
//! [s + sum_k min(0, s_k - s), s + sum_k max(0, s_k - s)],   s the slope of f, s_k with the other slope of kink k
//! ```
//!
//! An element fails if its gradient is outside these two ranges and what is between them. [`Row::kinks`] says how many
//! elements have kinks.
//!
//! [`check_backend`] compares the results of another backend, for example in f32, with those of [`Reference`], for the
//! same numbers. What rounding may change is found by running [`Reference`] with random rounding errors: see
//! [`Oracle`], which compares several backends.
//!
//! [`check_adjoint`] needs no differences: if `y` is linear in some inputs, then
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
mod altered;
mod cases;
mod check;
mod differences;
mod kinks;
mod options;
mod oracle;
mod outcome;
mod report;
mod rounding;
mod values;

pub use cases::{Case, cases, random_cases};
pub use check::{check, check_adjoint, check_backend, check_on};
pub use options::GradcheckOptions;
pub use oracle::Oracle;
pub use report::{Report, Row, Worst};
