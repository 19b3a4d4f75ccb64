//! Fault injection: backends with one deliberate mistake, which the checks must find.
//!
//! [`Faulty`] runs every call on a host backend, and changes the operands or the results of one kind of pass.

use crate::activation::Activation;
use crate::backend::{Backend, Refusal};
use crate::conv2d::Conv2dParams;
use crate::element::Element;
use crate::loss::Loss;
use crate::memory::{HostMemory, OutOfMemory, Span};
use crate::pass::{Access, Context};
use crate::passes::Call;
use crate::upsample::{UpsampleParams, Upsampling};
use std::fmt;
use std::str::FromStr;

/// Defines [`Fault`] from one list.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident => $name:literal,)*) => {
        /// A mistake that has been made in real libraries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: [Fault; [$($name),*].len()] = [$(Fault::$fault),*];

            /// The name on the command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Fault::$fault => $name,)*
                }
            }
        }
    };
}

faults! {
    /// The input gradient of a convolution is shifted by one column, as if the padding were larger by one.
    OffByOnePadding => "off-by-one-padding",
    /// The weight gradient of a convolution misses the last tile of 4x4 pixels of every image.
    MissedBoundaryTile => "missed-boundary-tile",
    /// The input gradient of a convolution reads every tap of the weight transposed.
    TransposedWeight => "transposed-weight",
    /// Every pass overwrites the gradients that it should add to.
    OverwriteInsteadOfAdd => "overwrite-instead-of-add",
    /// The same, only in the input gradient of convolutions.
    InputGradientOverwrites => "input-gradient-overwrites",
    /// The same, only in the weight gradient of convolutions.
    WeightGradientOverwrites => "weight-gradient-overwrites",
    /// The same, only in the backward passes of normalizations.
    NormGradientOverwrites => "norm-gradient-overwrites",
    /// The same, only in the backward passes of activations.
    ActivationGradientOverwrites => "activation-gradient-overwrites",
    /// The same, only where a gradient is multiplied by a weight.
    ScaleOverwrites => "scale-overwrites",
    /// A weight gradient that should be set is added to that of the last run.
    WeightGradientNeverReset => "weight-gradient-never-reset",
    /// One tap of a weight gradient is off by one part in a hundred thousand.
    WeightGradientSlightlyOff => "weight-gradient-slightly-off",
    /// The bias gradient is half of what it should be.
    ScaledBiasGradient => "scaled-bias-gradient",
    /// Batch normalization does not update its running statistics.
    StaleRunningStatistic => "stale-running-statistic",
    /// The input gradient of group normalization is that of one without scale.
    GroupScaleForgotten => "group-scale-forgotten",
    /// A normalization is differentiated as if its statistics were constants.
    StatisticsAreConstants => "statistics-are-constants",
    /// The slope of PReLU gets a gradient from elements above 0, too.
    SlopeGradientIgnoresSigns => "slope-gradient-ignores-signs",
    /// The gradient of RReLU uses other slopes than the forward pass did.
    SlopesDrawnAgain => "slopes-drawn-again",
    /// The derivative of GELU is that of its tanh approximation.
    GeluDerivativeApproximate => "gelu-derivative-approximate",
    /// The gradient of padding is cut off at the top and left, not at the bottom and right.
    PadCutsOffTheWrongSide => "pad-cuts-off-the-wrong-side",
    /// Some channels of a tensor are taken from, or put to, its first ones.
    ChannelOffsetForgotten => "channel-offset-forgotten",
    /// The gradient of a bilinear upsampling misses what is taken from the last row for want of a next one.
    UpsampleForgetsTheEdge => "upsample-forgets-the-edge",
    /// The gradient of an upsampling to other sizes is that of the nearest pixels, or of a bilinear one.
    UpsampleOfTheOtherKind => "upsample-of-the-other-kind",
    /// The gradient of a loss is not divided by the number of elements, or of windows.
    LossGradientNotAveraged => "loss-gradient-not-averaged",
    /// The gradient of Charbonnier's loss is that of L1.
    CharbonnierEpsilonForgotten => "charbonnier-epsilon-forgotten",
    /// The gradient of binary cross-entropy forgets the target.
    BceForgetsTheTarget => "bce-forgets-the-target",
    /// The gradient of softmax cross-entropy takes the next class for the right one.
    CrossEntropyNextClass => "cross-entropy-next-class",
    /// The gradient of the structural similarity is that of the other image.
    SsimOfTheOtherImage => "ssim-of-the-other-image",
    /// The gradient of the structural similarity is shifted by one column, as if the windows were.
    SsimWindowsShifted => "ssim-windows-shifted",
    /// The gradient of pooling is shifted by one column.
    PoolGradientShifted => "pool-gradient-shifted",
    /// The gradient of dropout drops other elements than the forward pass did.
    DroppedAgain => "dropped-again",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No fault has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault `{0}`: expected one of {names}", names = Fault::ALL.map(Fault::name).join(", "))]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;
    fn from_str(name: &str) -> Result<Fault, UnknownFault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

impl Fault {
    /// Whether this fault makes the call overwrite a gradient that it should add to.
    fn overwrites(self, call: &Call) -> bool {
        match self {
            // The passes left out update running statistics, the optimizer's state or a flag, not gradients.
            Fault::OverwriteInsteadOfAdd => !matches!(
                call,
                Call::BatchNormForward(_)
                    | Call::BatchNormFold(_)
                    | Call::AdamWStep(_)
                    | Call::AdamWCheck(_)
                    | Call::SgdStep(_)
                    | Call::SgdCheck(_)
                    | Call::ClipNormClip(_)
                    | Call::EmaStep(_)
                    | Call::EmaSwap(_)
                    | Call::FindNonFinite(_)
            ),
            Fault::InputGradientOverwrites => matches!(call, Call::Conv2dGradInput(_)),
            Fault::WeightGradientOverwrites => matches!(call, Call::Conv2dGradWeight(_)),
            Fault::NormGradientOverwrites => {
                matches!(call, Call::BatchNormBackward(_) | Call::GroupNormBackward(_))
            }
            Fault::ActivationGradientOverwrites => {
                matches!(call, Call::ActivationBackward(_) | Call::PreluBackward(_) | Call::RreluBackward(_))
            }
            Fault::ScaleOverwrites => matches!(call, Call::Scale(_)),
            _ => false,
        }
    }

    /// The gradient of images that this fault shifts by one column, their width and channels.
    fn shifts(self, call: &Call) -> Option<(Span, usize, usize)> {
        match (self, call) {
            (Fault::OffByOnePadding, Call::Conv2dGradInput(o)) => Some((o.dx, o.params.w, o.params.c)),
            (Fault::PoolGradientShifted, Call::Pool2dBackward(o)) => Some((o.dx, o.params.input[1], o.params.c)),
            (Fault::SsimWindowsShifted, Call::SsimBackward(o)) => Some((o.dx, o.params.w, o.params.c)),
            _ => None,
        }
    }

    /// The call that this fault makes in place of another one.
    fn instead_of(self, call: &Call) -> Option<Call> {
        let mut other = call.clone();
        match (self, &mut other) {
            (Fault::StaleRunningStatistic, Call::BatchNormForward(o)) => o.params.momentum = 0.0,
            (Fault::StaleRunningStatistic, Call::BatchNormFold(o)) => o.params.momentum = 0.0,
            (Fault::ChannelOffsetForgotten, Call::ConcatSlice(o)) => o.params.begin = 0,
            (Fault::ChannelOffsetForgotten, Call::ConcatEmbed(o)) => o.params.begin = 0,
            (Fault::CharbonnierEpsilonForgotten, Call::LossBackward(o)) if o.loss == Loss::Charbonnier => {
                o.loss = Loss::L1;
            }
            (Fault::SsimOfTheOtherImage, Call::SsimBackward(o)) => std::mem::swap(&mut o.x, &mut o.y),
            (Fault::UpsampleOfTheOtherKind, Call::UpsampleBackward(o)) => {
                o.params.upsampling = match o.params.upsampling {
                    Upsampling::Nearest => Upsampling::Bilinear,
                    Upsampling::Bilinear => Upsampling::Nearest,
                };
            }
            _ => return None,
        }
        Some(other)
    }
}

/// A host backend with one fault.
#[derive(Clone, Debug)]
pub struct Faulty<B> {
    inner: B,
    fault: Fault,
}

/// Memory of a host backend.
type Memory<B> = HostMemory<<B as Backend>::Element>;

impl<B: Backend<Memory = Memory<B>>> Faulty<B> {
    /// The backend with a fault.
    pub fn new(inner: B, fault: Fault) -> Faulty<B> {
        Faulty { inner, fault }
    }

    /// Runs a call, and applies `distort` to its result before that is set in `out` or added to it.
    fn distorted(
        &self,
        memory: &mut Memory<B>,
        call: &Call,
        cx: Context,
        out: Span,
        distort: impl FnOnce(&Memory<B>, &mut [f64]),
    ) {
        let is_added = call.operands().contains(&(out, Access::Update));
        let before = values(memory, out);
        if is_added {
            fill(memory, out, 0.0);
        }
        self.inner.run(memory, call, cx);
        let mut after = values(memory, out);
        distort(memory, &mut after);
        if is_added {
            after.iter_mut().zip(before).for_each(|(after, before)| *after += before);
        }
        write(memory, out, &after);
    }

    /// The operand of which the fault reads other values, and these.
    fn wrong_operand(&self, memory: &Memory<B>, call: &Call) -> Option<(Span, Vec<f64>)> {
        Some(match (self.fault, call) {
            (Fault::MissedBoundaryTile, Call::Conv2dGradWeight(o)) => {
                (o.dy, without_last_tile(&o.params, &values(memory, o.dy)))
            }
            (Fault::TransposedWeight, Call::Conv2dGradInput(o)) => (o.w, transposed(&o.params, &values(memory, o.w))),
            (Fault::BceForgetsTheTarget, Call::LossBackward(o)) if o.loss == Loss::BceWithLogits => {
                (o.target, vec![0.0; o.target.len])
            }
            (Fault::CrossEntropyNextClass, Call::CrossEntropyBackward(o)) => {
                let next = |class: &f64| (class + 1.0) % o.params.classes as f64;
                (o.targets, values(memory, o.targets).iter().map(next).collect())
            }
            _ => return None,
        })
    }

    /// Runs a call while one of its operands holds the values `of_call`, and restores the operand.
    fn with_operand(&self, memory: &mut Memory<B>, call: &Call, cx: Context, operand: Span, of_call: &[f64]) {
        let before = values(memory, operand);
        write(memory, operand, of_call);
        self.inner.run(memory, call, cx);
        write(memory, operand, &before);
    }
}

fn values<T: Element>(memory: &HostMemory<T>, span: Span) -> Vec<f64> {
    memory.get(span).iter().map(|x| x.to_f64()).collect()
}

fn write<T: Element>(memory: &mut HostMemory<T>, span: Span, values: &[f64]) {
    memory.get_mut(span).iter_mut().zip(values).for_each(|(out, x)| *out = T::from_f64(*x));
}

fn fill<T: Element>(memory: &mut HostMemory<T>, span: Span, value: f64) {
    memory.get_mut(span).fill(T::from_f64(value));
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

    fn refusal(&self, call: &Call) -> Option<Refusal> {
        self.inner.refusal(call)
    }

    fn prepare(&self, call: &mut Call) -> usize {
        let of_parts = call.parts().into_iter().map(|mut part| self.inner.prepare(&mut part)).max();
        self.inner.prepare(call).max(of_parts.unwrap_or(0))
    }

    /// Parts of a call run one after another, as the fault may be in one of them.
    fn run(&self, memory: &mut Memory<B>, call: &Call, cx: Context) {
        if let parts @ [_, _, ..] = &call.parts()[..] {
            return parts.iter().for_each(|part| self.run(memory, part, cx));
        }
        if self.fault.overwrites(call) {
            let updated = call.operands().into_iter().filter(|(_, access)| *access == Access::Update);
            updated.for_each(|(span, _)| fill(memory, span, 0.0));
        }
        if let Some((operand, values)) = self.wrong_operand(memory, call) {
            return self.with_operand(memory, call, cx, operand, &values);
        }
        if let Some((dx, w, c)) = self.fault.shifts(call) {
            return self.distorted(memory, call, cx, dx, |_, dx| shift_columns(w, c, dx));
        }
        match (self.fault, call) {
            (Fault::WeightGradientNeverReset, Call::Conv2dGradWeight(o)) => {
                let before = values(memory, o.dw);
                self.distorted(memory, call, cx, o.dw, |_, dw| {
                    dw.iter_mut().zip(before).for_each(|(dw, before)| *dw += before);
                });
            }
            (Fault::WeightGradientSlightlyOff, Call::Conv2dGradWeight(o)) => {
                self.distorted(memory, call, cx, o.dw, |_, dw| dw[0] *= 1.0 + 1e-5);
            }
            (Fault::ScaledBiasGradient, Call::Conv2dGradBias(o)) => {
                self.distorted(memory, call, cx, o.db, |_, db| halve(db));
            }
            (Fault::ScaledBiasGradient, Call::EpilogueBackward(o)) => {
                self.distorted(memory, call, cx, o.db, |_, db| halve(db));
            }
            (Fault::StatisticsAreConstants, Call::BatchNormBackward(o)) => {
                let dy = values(memory, o.dy);
                self.distorted(memory, call, cx, o.dx, |memory, dx| {
                    let [gamma, rstd] = [o.gamma, o.rstd].map(|span| values(memory, span));
                    let channel = |i: usize| i % o.params.channels;
                    dx.iter_mut().enumerate().for_each(|(i, dx)| *dx = dy[i] * gamma[channel(i)] * rstd[channel(i)]);
                });
            }
            (Fault::StatisticsAreConstants, Call::GroupNormBackward(o)) => {
                let (p, dy) = (o.params, values(memory, o.dy));
                self.distorted(memory, call, cx, o.dx, |memory, dx| {
                    let [gamma, rstd] = [o.gamma, o.rstd].map(|span| values(memory, span));
                    for (i, dx) in dx.iter_mut().enumerate() {
                        let (image, c) = (i / (p.rows * p.channels), i % p.channels);
                        *dx = dy[i] * gamma[c] * rstd[image * p.groups + c * p.groups / p.channels];
                    }
                });
            }
            (Fault::GroupScaleForgotten, Call::GroupNormBackward(o)) => {
                self.with_operand(memory, call, cx, o.gamma, &vec![1.0; o.gamma.len]);
            }
            (Fault::SlopeGradientIgnoresSigns, Call::PreluBackward(o)) => {
                let dy = values(memory, o.dy);
                self.distorted(memory, call, cx, o.dslope, |memory, dslope| {
                    let sum = values(memory, o.x).iter().zip(dy).map(|(x, dy)| x * dy).sum();
                    dslope.fill(sum);
                });
            }
            (Fault::SlopesDrawnAgain, Call::RreluBackward(_)) => {
                self.inner.run(memory, call, Context { key: cx.key.fold_in(1), ..cx });
            }
            (Fault::GeluDerivativeApproximate, Call::ActivationBackward(o)) if o.activation == Activation::Gelu => {
                let dy = values(memory, o.dy);
                self.distorted(memory, call, cx, o.dx, |memory, dx| {
                    let saved = values(memory, o.saved);
                    dx.iter_mut()
                        .enumerate()
                        .for_each(|(i, dx)| *dx = dy[i] * derivative_of_approximate_gelu(saved[i]));
                });
            }
            (Fault::PadCutsOffTheWrongSide, Call::PadBackward(o)) => {
                self.distorted(memory, call, cx, o.dx, |memory, dx| {
                    let (p, dy) = (o.params, values(memory, o.dy));
                    let skipped = ((p.h1 - p.h0) * p.w1 + p.w1 - p.w0) * p.c;
                    for (i, dx) in dx.iter_mut().enumerate() {
                        let (n, h, rest) = (i / (p.h0 * p.w0 * p.c), i / (p.w0 * p.c) % p.h0, i % (p.w0 * p.c));
                        *dx = dy[(n * p.h1 + h) * p.w1 * p.c + rest + skipped];
                    }
                });
            }
            (Fault::UpsampleForgetsTheEdge, Call::UpsampleBackward(o)) => {
                let dy = without_edge(&o.params, &values(memory, o.dy));
                self.with_operand(memory, call, cx, o.dy, &dy);
            }
            (Fault::LossGradientNotAveraged, Call::LossBackward(o)) => {
                let elements = o.target.len as f64;
                self.distorted(memory, call, cx, o.dprediction, |_, dx| dx.iter_mut().for_each(|dx| *dx *= elements));
            }
            (Fault::LossGradientNotAveraged, Call::SsimBackward(o)) => {
                let windows = o.params.windows() as f64;
                self.distorted(memory, call, cx, o.dx, |_, dx| dx.iter_mut().for_each(|dx| *dx *= windows));
            }
            (Fault::DroppedAgain, Call::Dropout(o)) => {
                // The operands of the two directions lie elsewhere.
                self.inner.run(memory, call, Context { key: cx.key.fold_in(o.x.offset as u64), ..cx });
            }
            _ => self.inner.run(memory, self.fault.instead_of(call).as_ref().unwrap_or(call), cx),
        }
    }
}

fn halve(values: &mut [f64]) {
    values.iter_mut().for_each(|x| *x *= 0.5);
}

/// Moves the columns of images `[n,h,w,c]` to the left by one; the last becomes 0.
fn shift_columns(w: usize, c: usize, images: &mut [f64]) {
    for row in images.chunks_exact_mut(w * c) {
        row.copy_within(c.., 0);
        row[(w - 1) * c..].fill(0.0);
    }
}

/// Images `[n,p,q,k]` with zeros in the last tile of 4x4 pixels.
fn without_last_tile(p: &Conv2dParams, images: &[f64]) -> Vec<f64> {
    let (first_row, first_column) = ((p.p - 1) / 4 * 4, (p.q - 1) / 4 * 4);
    let in_tile = |i: usize| i / (p.q * p.k) % p.p >= first_row && i / p.k % p.q >= first_column;
    images.iter().enumerate().map(|(i, &x)| if in_tile(i) { 0.0 } else { x }).collect()
}

/// Images `[n,p,q,c]` with zeros where the row that they come from lies below the middle of the last one.
fn without_edge(p: &UpsampleParams, images: &[f64]) -> Vec<f64> {
    let [[h, _], [rows, columns]] = [p.input, p.output];
    let is_below = |row: usize| (2 * row + 1) * h > (2 * h - 1) * rows;
    images.iter().enumerate().map(|(i, &x)| if is_below(i / (columns * p.c) % rows) { 0.0 } else { x }).collect()
}

/// A weight `[r,s,c,k]` as it looks to code that takes it for `[r,s,k,c]`.
fn transposed(p: &Conv2dParams, weight: &[f64]) -> Vec<f64> {
    let (rows, columns) = (p.c / p.groups, p.k);
    let tap = |tap: &[f64]| (0..rows * columns).map(|i| tap[i % columns * rows + i / columns]).collect::<Vec<_>>();
    weight.chunks_exact(rows * columns).flat_map(tap).collect()
}

/// The derivative of `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
fn derivative_of_approximate_gelu(x: f64) -> f64 {
    let a = (2.0 / std::f64::consts::PI).sqrt();
    let t = (a * (x + 0.044715 * x.powi(3))).tanh();
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * a * (1.0 + 3.0 * 0.044715 * x * x)
}
