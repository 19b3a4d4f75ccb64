//! The table of contents of this crate: one method a pass.

use crate::activation::{self, Activation};
use crate::adamw::{self, AdamWParams};
use crate::add;
use crate::batch_norm::{self, BatchNormParams};
use crate::collective::{Collective, CollectiveError, Communicator, Staged};
use crate::conv2d::{self, Conv2dParams};
use crate::custom;
use crate::epilogue::{self, EpilogueParams};
use crate::finite;
use crate::loss::{self, Loss};
use crate::pad::{self, PadParams};
use crate::prelu;
use crate::rrelu;
use crate::{OutOfMemory, Span};
use std::ops::{Add, Div, Mul, Neg, Sub};
use std::sync::Arc;

/// A number that a backend computes with: f32, or f64 in [`Reference`](crate::Reference).
pub trait Element:
    bytemuck::Pod
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// Runs the version of a custom pass for this type, which a pass behind a pointer cannot choose by itself.
    fn run_custom(
        pass: &dyn custom::Pass,
        reads: [&[Self]; custom::MAX_OPERANDS],
        writes: [&mut [Self]; custom::MAX_OPERANDS],
    );
}

impl Element for f32 {
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn run_custom(
        pass: &dyn custom::Pass,
        reads: [&[f32]; custom::MAX_OPERANDS],
        writes: [&mut [f32]; custom::MAX_OPERANDS],
    ) {
        pass.run_f32(reads, writes);
    }
}

impl Element for f64 {
    fn from_f64(x: f64) -> f64 {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn run_custom(
        pass: &dyn custom::Pass,
        reads: [&[f64]; custom::MAX_OPERANDS],
        writes: [&mut [f64]; custom::MAX_OPERANDS],
    ) {
        pass.run_f64(reads, writes);
    }
}

/// Whether a pass overwrites its output or adds to it. Gradients of a value that is used twice are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// `out = value`; what was there is not read.
    Set,
    /// `out += value`
    Add,
}

impl Write {
    /// Writes one value.
    #[inline(always)]
    pub fn put<T: std::ops::Add<Output = T> + Copy>(self, out: &mut T, value: T) {
        *out = match self {
            Write::Set => value,
            Write::Add => *out + value,
        };
    }
}

/// A device that computes the passes. Every method is one pass over operands named by [`Span`]s; the `mod.rs` of the
/// operation's folder gives the equations.
///
/// # Contracts
/// - Spans have the lengths that the parameters say, and do not overlap except as the operation's documentation allows. Both are
///   checked at entry, once; a violation panics: it is a bug of the caller, not of its input.
/// - The caller owns all memory. A pass that needs scratch has a `..._workspace_bytes` query, and takes a span of at least that many
///   bytes; its contents before and after are unspecified.
/// - The same call on the same bits gives the same bits, on any number of threads.
/// - Outputs are written completely, and nothing else is.
pub trait Backend {
    /// What it computes with.
    type Element: Element;
    /// Its memory.
    type Memory: Send;

    /// Training steps that the host should start before it reads what came of them. A device that computes while the host goes on would
    /// have nothing to do while the host reads; on the host itself there is nothing to be gained.
    const STEPS_AHEAD: usize = 1;

    /// The device and path, for reports: `reference`, `cpu-avx2`.
    fn name(&self) -> String;

    /// Threads that compute, for reports.
    fn threads(&self) -> usize;

    /// Runs `f` where passes start fastest, and without allocating. Wrap a training loop in it.
    fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        f()
    }

    /// Waits until every pass that was called has ended, for one who times them: a GPU's run while the host goes on.
    fn synchronize(&self) {}

    /// Calls `passes`, which calls the same passes with the same operands whenever it is given with this number for this memory. A
    /// device that can repeat them without being told each again may do so, to the same bits, and not call it.
    ///
    /// The passes must not read to the host or write from it.
    fn replay(&self, memory: &mut Self::Memory, _number: usize, passes: &mut dyn FnMut(&mut Self::Memory)) {
        passes(memory);
    }

    /// Zero-initialised memory; region `i` has `lens[i]` elements.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the device has not enough.
    fn allocate(&self, lens: &[usize]) -> Result<Self::Memory, OutOfMemory>;

    /// Copies `src` from the host to `dst`, of the same length.
    fn write(&self, memory: &mut Self::Memory, dst: Span, src: &[Self::Element]);

    /// Copies `src` to `dst` on the host, of the same length.
    fn read(&self, memory: &Self::Memory, src: Span, dst: &mut [Self::Element]);

    /// Sets every element of `dst`.
    fn fill(&self, memory: &mut Self::Memory, dst: Span, value: Self::Element);

    /// Raises a flag if a value is NaN or infinite.
    fn find_non_finite(&self, memory: &mut Self::Memory, operands: finite::Find);

    /// Copies, if a flag is up.
    fn copy_if_raised(&self, memory: &mut Self::Memory, operands: finite::CopyIf);

    /// Convolution: `y (+)= conv(x, w) + bias`. Also the input gradient of a transposed convolution.
    fn conv2d_forward(&self, memory: &mut Self::Memory, params: &Conv2dParams, operands: conv2d::Forward);

    /// Scratch that [`conv2d_forward`](Self::conv2d_forward) needs, if an operand is mapped or if not.
    fn conv2d_forward_workspace_bytes(&self, params: &Conv2dParams, mapped: bool) -> usize;

    /// Input gradient of a convolution: `dx (+)= conv^T(dy, w) + bias`. Also the forward pass of a transposed convolution, which
    /// is why it takes a bias.
    fn conv2d_grad_input(&self, memory: &mut Self::Memory, params: &Conv2dParams, operands: conv2d::GradInput);

    /// Scratch that [`conv2d_grad_input`](Self::conv2d_grad_input) needs, if an operand is mapped or if not.
    fn conv2d_grad_input_workspace_bytes(&self, params: &Conv2dParams, mapped: bool) -> usize;

    /// Weight gradient of a convolution, and of a transposed one: `dw (+)= x^T dy` for every tap.
    fn conv2d_grad_weight(&self, memory: &mut Self::Memory, params: &Conv2dParams, operands: conv2d::GradWeight);

    /// Scratch that [`conv2d_grad_weight`](Self::conv2d_grad_weight) needs, if an operand is mapped or if not.
    fn conv2d_grad_weight_workspace_bytes(&self, params: &Conv2dParams, mapped: bool) -> usize;

    /// Bias gradient of a convolution or transposed convolution: `db (+)= sum of the rows of dy`; `db.len` channels.
    fn conv2d_grad_bias(&self, memory: &mut Self::Memory, operands: conv2d::GradBias);

    /// Scratch that [`conv2d_grad_bias`](Self::conv2d_grad_bias) needs for `rows` of `channels` values.
    fn conv2d_grad_bias_workspace_bytes(&self, rows: usize, channels: usize) -> usize;

    /// Batch normalization with the statistics of the batch, which it writes, and running statistics, which it updates.
    fn batch_norm_forward(&self, memory: &mut Self::Memory, params: &BatchNormParams, operands: batch_norm::Forward);

    /// Scratch that [`batch_norm_forward`](Self::batch_norm_forward) needs.
    fn batch_norm_forward_workspace_bytes(&self, params: &BatchNormParams) -> usize;

    /// Batch normalization with given statistics: the output of [`batch_norm_forward`](Self::batch_norm_forward) once more.
    fn batch_norm_apply(&self, memory: &mut Self::Memory, params: &BatchNormParams, operands: batch_norm::Apply);

    /// Batch normalization with the running statistics.
    fn batch_norm_inference(
        &self,
        memory: &mut Self::Memory,
        params: &BatchNormParams,
        operands: batch_norm::Inference,
    );

    /// Gradients of [`batch_norm_forward`](Self::batch_norm_forward), through the statistics too.
    fn batch_norm_backward(&self, memory: &mut Self::Memory, params: &BatchNormParams, operands: batch_norm::Backward);

    /// Scratch that [`batch_norm_backward`](Self::batch_norm_backward) needs.
    fn batch_norm_backward_workspace_bytes(&self, params: &BatchNormParams) -> usize;

    /// Mean and variance of every channel.
    fn batch_norm_moments(&self, memory: &mut Self::Memory, params: &BatchNormParams, operands: batch_norm::Moments);

    /// Scratch that [`batch_norm_moments`](Self::batch_norm_moments) needs.
    fn batch_norm_moments_workspace_bytes(&self, params: &BatchNormParams) -> usize;

    /// Batch normalization as an affine map a channel; updates the running statistics, if they are given.
    fn batch_norm_fold(&self, memory: &mut Self::Memory, params: &BatchNormParams, operands: batch_norm::Fold);

    /// Gradients of scale and offset, and the coefficients of the gradient of the input.
    fn batch_norm_gradients(
        &self,
        memory: &mut Self::Memory,
        params: &BatchNormParams,
        operands: batch_norm::Gradients,
    );

    /// Scratch that [`batch_norm_gradients`](Self::batch_norm_gradients) needs.
    fn batch_norm_gradients_workspace_bytes(&self, params: &BatchNormParams) -> usize;

    /// What follows a convolution in a layer: activation, addition of a skip connection, moments for the next batch
    /// normalization.
    fn epilogue_forward(&self, memory: &mut Self::Memory, params: &EpilogueParams, operands: epilogue::Forward);

    /// Scratch that [`epilogue_forward`](Self::epilogue_forward) needs.
    fn epilogue_forward_workspace_bytes(&self, params: &EpilogueParams) -> usize;

    /// Gradients of what follows a convolution, of the next batch normalization and of the bias.
    fn epilogue_backward(&self, memory: &mut Self::Memory, params: &EpilogueParams, operands: epilogue::Backward);

    /// Scratch that [`epilogue_backward`](Self::epilogue_backward) needs.
    fn epilogue_backward_workspace_bytes(&self, params: &EpilogueParams) -> usize;

    /// Activation: `y = f(x)`.
    fn activation_forward(&self, memory: &mut Self::Memory, f: Activation, operands: activation::Forward);

    /// Gradient of an activation: `dx (+)= dy f'(x)`.
    fn activation_backward(&self, memory: &mut Self::Memory, f: Activation, operands: activation::Backward);

    /// Rectifier with a trained slope: `y = x` where `x > 0`, else `slope x`.
    fn prelu_forward(&self, memory: &mut Self::Memory, operands: prelu::Forward);

    /// Gradients of [`prelu_forward`](Self::prelu_forward), of the slope too.
    fn prelu_backward(&self, memory: &mut Self::Memory, operands: prelu::Backward);

    /// Scratch that [`prelu_backward`](Self::prelu_backward) needs for `len` elements.
    fn prelu_backward_workspace_bytes(&self, len: usize) -> usize;

    /// Rectifier with random slopes: `y = x` where `x > 0`, else `x` times the element's slope.
    fn rrelu_forward(&self, memory: &mut Self::Memory, slopes: rrelu::Slopes, operands: rrelu::Forward);

    /// Gradient of [`rrelu_forward`](Self::rrelu_forward) with the same slopes.
    fn rrelu_backward(&self, memory: &mut Self::Memory, slopes: rrelu::Slopes, operands: rrelu::Backward);

    /// Weighted addition: `y = a + weight b`.
    fn add(&self, memory: &mut Self::Memory, weight: f64, operands: add::Add);

    /// Gradients of [`add`](Self::add), and copying: `y (+)= weight x`.
    fn scale(&self, memory: &mut Self::Memory, weight: f64, operands: add::Scale);

    /// Zeros at the bottom and right of an image.
    fn pad_forward(&self, memory: &mut Self::Memory, params: &PadParams, operands: pad::Forward);

    /// Gradient of [`pad_forward`](Self::pad_forward): cuts the margin off.
    fn pad_backward(&self, memory: &mut Self::Memory, params: &PadParams, operands: pad::Backward);

    /// Mean loss over all elements.
    fn loss_forward(&self, memory: &mut Self::Memory, loss: Loss, operands: loss::Forward);

    /// Scratch that [`loss_forward`](Self::loss_forward) needs for `len` elements.
    fn loss_forward_workspace_bytes(&self, len: usize) -> usize;

    /// Gradient of the loss with respect to the prediction.
    fn loss_backward(&self, memory: &mut Self::Memory, loss: Loss, operands: loss::Backward);

    /// One AdamW step over flat arrays; none if a flag is up.
    fn adamw(&self, memory: &mut Self::Memory, params: &AdamWParams, operands: adamw::Step);

    /// Sums over the ranks of a communicator, in this backend's memory. All ranks call it at the same time.
    ///
    /// # Errors
    /// [`CollectiveError`] if the ranks' devices cannot reach each other.
    fn collective(&self, communicator: Arc<dyn Communicator>) -> Result<Arc<dyn Collective<Self>>, CollectiveError>
    where
        Self: Sized,
    {
        Ok(Arc::new(Staged::new(communicator)))
    }

    /// Whether [`custom`](Self::custom) runs: only if the memory is the host's.
    fn runs_custom(&self) -> bool {
        false
    }

    /// A pass of the caller's own.
    ///
    /// # Panics
    /// Always, unless the backend [runs custom passes](Self::runs_custom).
    fn custom(&self, _memory: &mut Self::Memory, _pass: &dyn custom::Pass, operands: custom::Operands) {
        panic!("{} runs no custom passes: {operands:?}", self.name());
    }
}
