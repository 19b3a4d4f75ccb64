//! Backends that are wrong on purpose, to see that the checks find it.

use engine::{Activation, Backend, Element, Loss, OutOfMemory};
use kernels::activation;
use kernels::adamw::{self, AdamWParams};
use kernels::add;
use kernels::batch_norm::{self, BatchNormParams};
use kernels::conv2d::{self, Conv2dParams};
use kernels::custom;
use kernels::epilogue::{self, EpilogueParams};
use kernels::finite;
use kernels::loss;
use kernels::pad::{self, PadParams};
use kernels::prelu;
use kernels::rrelu;
use kernels::{HostMemory, Span, Write};
use std::fmt;
use std::str::FromStr;

/// A mistake that has been made in real libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input gradient of a convolution is that of a padding larger by one column.
    OffByOnePadding,
    /// The weight gradient of a convolution lacks the last tile of 4x4 pixels of every image.
    MissedBoundaryTile,
    /// Gradients that should be added replace what was there.
    OverwriteInsteadOfAdd,
    /// The bias gradient is half of what it should be.
    ScaledBiasGradient,
    /// The input gradient of a convolution reads every tap of the weight as its transpose.
    TransposedWeight,
    /// Batch normalization does not update its running statistics.
    StaleRunningStatistic,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 6] = [
        Fault::OffByOnePadding,
        Fault::MissedBoundaryTile,
        Fault::OverwriteInsteadOfAdd,
        Fault::ScaledBiasGradient,
        Fault::TransposedWeight,
        Fault::StaleRunningStatistic,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::OffByOnePadding => "off-by-one-padding",
            Fault::MissedBoundaryTile => "missed-boundary-tile",
            Fault::OverwriteInsteadOfAdd => "overwrite-instead-of-add",
            Fault::ScaledBiasGradient => "scaled-bias-gradient",
            Fault::TransposedWeight => "transposed-weight",
            Fault::StaleRunningStatistic => "stale-running-statistic",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not that of a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault `{0}`: expected one of {names}", names = Fault::ALL.map(Fault::name).join(", "))]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;
    fn from_str(name: &str) -> Result<Fault, UnknownFault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

/// A backend of the host with one fault.
#[derive(Clone, Debug)]
pub(super) struct Faulty<B> {
    inner: B,
    fault: Fault,
}

type Memory<B> = HostMemory<<B as Backend>::Element>;

impl<B: Backend<Memory = Memory<B>>> Faulty<B> {
    pub(super) fn new(inner: B, fault: Fault) -> Faulty<B> {
        Faulty { inner, fault }
    }

    /// How a gradient that should be written as `write` is written.
    fn gradient(&self, write: Write) -> Write {
        if self.fault == Fault::OverwriteInsteadOfAdd { Write::Set } else { write }
    }

    /// The parameters of a pass that updates running statistics.
    fn statistics(&self, p: &BatchNormParams) -> BatchNormParams {
        let momentum = if self.fault == Fault::StaleRunningStatistic { 0.0 } else { p.momentum };
        BatchNormParams { momentum, ..*p }
    }

    /// Runs a pass that writes the bias gradient `db`.
    fn with_bias_gradient(
        &self,
        memory: &mut Memory<B>,
        db: Span,
        write: Write,
        run: impl FnOnce(&mut Memory<B>, Write),
    ) {
        if self.fault != Fault::ScaledBiasGradient {
            return run(memory, write);
        }
        let half = |db: &mut [B::Element]| db.iter_mut().for_each(|x| *x = *x * Element::from_f64(0.5));
        Self::distorted(memory, db, write, |memory| run(memory, Write::Set), half);
    }

    /// Runs a pass that writes `out`, and passes its result through `distort` before it is set or added.
    fn distorted(
        memory: &mut Memory<B>,
        out: Span,
        write: Write,
        run: impl FnOnce(&mut Memory<B>),
        distort: impl FnOnce(&mut [B::Element]),
    ) {
        let mut result = memory.get(out).to_vec();
        run(memory);
        let out = memory.get_mut(out);
        result.swap_with_slice(out);
        // now `result` is what the pass has set, and `out` what was there before
        distort(&mut result);
        out.iter_mut().zip(result).for_each(|(out, value)| write.put(out, value));
    }

    /// Runs a pass while an operand of it has other values.
    fn with_operand(memory: &mut Memory<B>, operand: Span, values: Vec<B::Element>, run: impl FnOnce(&mut Memory<B>)) {
        let before = memory.get(operand).to_vec();
        memory.get_mut(operand).copy_from_slice(&values);
        run(memory);
        memory.get_mut(operand).copy_from_slice(&before);
    }
}

/// Moves the columns of images `[n,h,w,c]` one to the left; the last becomes 0.
fn shift_columns<T: Element>(p: &Conv2dParams, images: &mut [T]) {
    for row in images.chunks_exact_mut(p.w * p.c) {
        row.copy_within(p.c.., 0);
        row[(p.w - 1) * p.c..].fill(T::from_f64(0.0));
    }
}

/// Images `[n,p,q,k]` with zeros in the last tile of 4x4 pixels.
fn without_last_tile<T: Element>(p: &Conv2dParams, images: &[T]) -> Vec<T> {
    let (first_row, first_column) = ((p.p - 1) / 4 * 4, (p.q - 1) / 4 * 4);
    let in_tile = |i: usize| i / (p.q * p.k) % p.p >= first_row && i / p.k % p.q >= first_column;
    images.iter().enumerate().map(|(i, &x)| if in_tile(i) { T::from_f64(0.0) } else { x }).collect()
}

/// A weight `[r,s,c,k]` as it looks to code that takes it for `[r,s,k,c]`.
fn transposed<T: Element>(p: &Conv2dParams, weight: &[T]) -> Vec<T> {
    let (rows, columns) = (p.c / p.groups, p.k);
    let tap = |tap: &[T]| (0..rows * columns).map(|i| tap[i % columns * rows + i / columns]).collect::<Vec<_>>();
    weight.chunks_exact(rows * columns).flat_map(tap).collect()
}

/// Methods that only call the backend inside.
macro_rules! delegate {
    ($($name:ident($($params:ident: $type:ty),+);)*) => {
        $(fn $name(&self, memory: &mut Memory<B>, $($params: $type),+) {
            self.inner.$name(memory, $($params),+);
        })*
    };
}

/// The queries for scratch.
macro_rules! workspaces {
    ($($name:ident($($params:ident: $type:ty),*);)*) => {
        $(fn $name(&self, $($params: $type),*) -> usize {
            self.inner.$name($($params),*)
        })*
    };
}

impl<B: Backend<Memory = Memory<B>>> Backend for Faulty<B> {
    type Element = B::Element;
    type Memory = Memory<B>;

    fn name(&self) -> String {
        format!("{} with {}", self.inner.name(), self.fault)
    }

    fn threads(&self) -> usize {
        self.inner.threads()
    }

    fn allocate(&self, lens: &[usize]) -> Result<Memory<B>, OutOfMemory> {
        self.inner.allocate(lens)
    }

    fn write(&self, memory: &mut Memory<B>, dst: Span, src: &[B::Element]) {
        self.inner.write(memory, dst, src);
    }

    fn read(&self, memory: &Memory<B>, src: Span, dst: &mut [B::Element]) {
        self.inner.read(memory, src, dst);
    }

    fn fill(&self, memory: &mut Memory<B>, dst: Span, value: B::Element) {
        self.inner.fill(memory, dst, value);
    }

    fn runs_custom(&self) -> bool {
        self.inner.runs_custom()
    }

    delegate! {
        batch_norm_apply(p: &BatchNormParams, operands: batch_norm::Apply);
        batch_norm_inference(p: &BatchNormParams, operands: batch_norm::Inference);
        batch_norm_moments(p: &BatchNormParams, operands: batch_norm::Moments);
        epilogue_forward(p: &EpilogueParams, operands: epilogue::Forward);
        activation_forward(f: Activation, operands: activation::Forward);
        rrelu_forward(slopes: rrelu::Slopes, operands: rrelu::Forward);
        add(weight: f64, operands: add::Add);
        pad_forward(p: &PadParams, operands: pad::Forward);
        loss_forward(loss: Loss, operands: loss::Forward);
        adamw(p: &AdamWParams, operands: adamw::Step);
        find_non_finite(operands: finite::Find);
        copy_if_raised(operands: finite::CopyIf);
        custom(pass: &dyn custom::Pass, operands: custom::Operands);
    }

    workspaces! {
        conv2d_forward_workspace_bytes(p: &Conv2dParams, mapped: bool);
        conv2d_grad_input_workspace_bytes(p: &Conv2dParams, mapped: bool);
        conv2d_grad_weight_workspace_bytes(p: &Conv2dParams, mapped: bool);
        conv2d_grad_bias_workspace_bytes(rows: usize, channels: usize);
        batch_norm_forward_workspace_bytes(p: &BatchNormParams);
        batch_norm_backward_workspace_bytes(p: &BatchNormParams);
        batch_norm_moments_workspace_bytes(p: &BatchNormParams);
        batch_norm_gradients_workspace_bytes(p: &BatchNormParams);
        epilogue_forward_workspace_bytes(p: &EpilogueParams);
        epilogue_backward_workspace_bytes(p: &EpilogueParams);
        prelu_backward_workspace_bytes(len: usize);
        loss_forward_workspace_bytes(len: usize);
    }

    fn conv2d_forward(&self, memory: &mut Memory<B>, p: &Conv2dParams, o: conv2d::Forward) {
        self.inner.conv2d_forward(memory, p, conv2d::Forward { write: self.gradient(o.write), ..o });
    }

    fn conv2d_grad_input(&self, memory: &mut Memory<B>, p: &Conv2dParams, o: conv2d::GradInput) {
        let o = conv2d::GradInput { write: self.gradient(o.write), ..o };
        match self.fault {
            Fault::OffByOnePadding => {
                let set = conv2d::GradInput { write: Write::Set, ..o };
                let run = |memory: &mut Memory<B>| self.inner.conv2d_grad_input(memory, p, set);
                Self::distorted(memory, o.dx, o.write, run, |dx| shift_columns(p, dx));
            }
            Fault::TransposedWeight => {
                let weight = transposed(p, memory.get(o.w));
                Self::with_operand(memory, o.w, weight, |memory| self.inner.conv2d_grad_input(memory, p, o));
            }
            _ => self.inner.conv2d_grad_input(memory, p, o),
        }
    }

    fn conv2d_grad_weight(&self, memory: &mut Memory<B>, p: &Conv2dParams, o: conv2d::GradWeight) {
        let o = conv2d::GradWeight { write: self.gradient(o.write), ..o };
        if self.fault == Fault::MissedBoundaryTile {
            let dy = without_last_tile(p, memory.get(o.dy));
            Self::with_operand(memory, o.dy, dy, |memory| self.inner.conv2d_grad_weight(memory, p, o));
        } else {
            self.inner.conv2d_grad_weight(memory, p, o);
        }
    }

    fn conv2d_grad_bias(&self, memory: &mut Memory<B>, o: conv2d::GradBias) {
        let o = conv2d::GradBias { write: self.gradient(o.write), ..o };
        self.with_bias_gradient(memory, o.db, o.write, |memory, write| {
            self.inner.conv2d_grad_bias(memory, conv2d::GradBias { write, ..o });
        });
    }

    fn batch_norm_forward(&self, memory: &mut Memory<B>, p: &BatchNormParams, o: batch_norm::Forward) {
        self.inner.batch_norm_forward(memory, &self.statistics(p), o);
    }

    fn batch_norm_fold(&self, memory: &mut Memory<B>, p: &BatchNormParams, o: batch_norm::Fold) {
        self.inner.batch_norm_fold(memory, &self.statistics(p), o);
    }

    fn batch_norm_gradients(&self, memory: &mut Memory<B>, p: &BatchNormParams, o: batch_norm::Gradients) {
        let [dgamma_write, dbeta_write] = [o.dgamma_write, o.dbeta_write].map(|write| self.gradient(write));
        self.inner.batch_norm_gradients(memory, p, batch_norm::Gradients { dgamma_write, dbeta_write, ..o });
    }

    fn epilogue_backward(&self, memory: &mut Memory<B>, p: &EpilogueParams, o: epilogue::Backward) {
        let o = epilogue::Backward { db_write: self.gradient(o.db_write), ..o };
        self.with_bias_gradient(memory, o.db, o.db_write, |memory, db_write| {
            self.inner.epilogue_backward(memory, p, epilogue::Backward { db_write, ..o });
        });
    }

    fn batch_norm_backward(&self, memory: &mut Memory<B>, p: &BatchNormParams, o: batch_norm::Backward) {
        let [dx_write, dgamma_write, dbeta_write] =
            [o.dx_write, o.dgamma_write, o.dbeta_write].map(|write| self.gradient(write));
        let o = batch_norm::Backward { dx_write, dgamma_write, dbeta_write, ..o };
        self.inner.batch_norm_backward(memory, p, o);
    }

    fn activation_backward(&self, memory: &mut Memory<B>, f: Activation, o: activation::Backward) {
        self.inner.activation_backward(memory, f, activation::Backward { write: self.gradient(o.write), ..o });
    }

    fn prelu_forward(&self, memory: &mut Memory<B>, o: prelu::Forward) {
        self.inner.prelu_forward(memory, o);
    }

    fn prelu_backward(&self, memory: &mut Memory<B>, o: prelu::Backward) {
        let [dx_write, dslope_write] = [o.dx_write, o.dslope_write].map(|write| self.gradient(write));
        self.inner.prelu_backward(memory, prelu::Backward { dx_write, dslope_write, ..o });
    }

    fn rrelu_backward(&self, memory: &mut Memory<B>, slopes: rrelu::Slopes, o: rrelu::Backward) {
        self.inner.rrelu_backward(memory, slopes, rrelu::Backward { write: self.gradient(o.write), ..o });
    }

    fn scale(&self, memory: &mut Memory<B>, weight: f64, o: add::Scale) {
        self.inner.scale(memory, weight, add::Scale { write: self.gradient(o.write), ..o });
    }

    fn pad_backward(&self, memory: &mut Memory<B>, p: &PadParams, o: pad::Backward) {
        self.inner.pad_backward(memory, p, pad::Backward { write: self.gradient(o.write), ..o });
    }

    fn loss_backward(&self, memory: &mut Memory<B>, loss: Loss, o: loss::Backward) {
        self.inner.loss_backward(memory, loss, loss::Backward { write: self.gradient(o.write), ..o });
    }
}
