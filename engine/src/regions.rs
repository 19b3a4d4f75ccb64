//! The regions of a session's memory.

use kernels::{Region, Span};

/// All parameters, one after another. Gradients and optimizer state have the same layout.
pub(crate) const PARAMETERS: Region = Region(0);
/// Gradients of the loss with respect to the parameters.
pub(crate) const GRADIENTS: Region = Region(1);
/// First moments of AdamW, `m`, or the momentum buffer of SGD.
pub(crate) const FIRST_MOMENTS: Region = Region(2);
/// Second moments of AdamW, `v`.
pub(crate) const SECOND_MOMENTS: Region = Region(3);
/// States, one after another.
pub(crate) const STATES: Region = Region(4);
/// Inputs, cotangents and scalar outputs of every plan, which outlive its runs.
pub(crate) const INPUTS: Region = Region(5);
/// All other values; shared by the plans.
pub(crate) const ARENA: Region = Region(6);
/// Scratch of the pass that is running.
pub(crate) const WORKSPACE: Region = Region(7);
/// Copy of the states from before a step that may have to be undone.
pub(crate) const KEPT_STATES: Region = Region(8);
/// Whether steps have failed, and other single numbers.
pub(crate) const FLAGS: Region = Region(9);
/// Averages of the parameters that are trained, if the session keeps them.
pub(crate) const AVERAGES: Region = Region(10);
/// Sums of the gradients of micro-batches, if the session accumulates.
pub(crate) const GRADIENT_SUMS: Region = Region(11);

/// Raised once a loss or gradient is not finite.
pub(crate) const FAILED: Span = Span::new(FLAGS, 0, 1);
/// Raised if the values of a query are not finite.
pub(crate) const QUERY: Span = Span::new(FLAGS, 1, 1);
/// Norm of the gradients of a step that clips them.
pub(crate) const NORM: Span = Span::new(FLAGS, 2, 1);
/// Sum of the losses of micro-batches.
pub(crate) const LOSS_SUM: Span = Span::new(FLAGS, 3, 1);
/// Where the results of steps begin in the flags' region: first, for each step, whether it or an earlier one failed;
/// then the loss of each step.
pub(crate) const STEP_RESULTS: usize = 4;

/// Elements of the flags' region.
pub(crate) const fn flags_len(steps_ahead: usize) -> usize {
    STEP_RESULTS + 2 * steps_ahead
}
