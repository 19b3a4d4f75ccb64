//! A backend that is wrong on purpose.

use engine::{Activation, Backend, Loss, OutOfMemory, Reference};
use kernels::activation;
use kernels::adamw::{self, AdamWParams};
use kernels::add;
use kernels::batch_norm::{self, BatchNormParams};
use kernels::conv2d::{self, Conv2dParams};
use kernels::epilogue::{self, EpilogueParams};
use kernels::finite;
use kernels::loss;
use kernels::pad::{self, PadParams};
use kernels::prelu;
use kernels::rrelu::{self, Slopes};
use kernels::{HostMemory, Span, Write};

/// A mistake that has been made in real libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bias gradient is a mean over the images, say, not a sum.
    BiasGradientScaled,
    /// A gradient that should be added replaces what was there.
    InputGradientOverwrites,
    WeightGradientOverwrites,
    NormGradientOverwrites,
    ActivationGradientOverwrites,
    ScaleOverwrites,
    /// A gradient that should be set is added to what the last run left.
    WeightGradientNeverReset,
    /// One tap of the kernel is off by one part in a hundred thousand.
    WeightGradientSlightlyOff,
    /// Batch normalization is differentiated as if its statistics were constants.
    StatisticsAreConstants,
    /// The slope of PReLU gets a gradient from elements above 0, too.
    SlopeGradientIgnoresSigns,
    /// The gradient of RReLU is that of other slopes than those of the forward pass.
    SlopesDrawnAgain,
    /// The derivative of GELU is that of its tanh approximation.
    GeluDerivativeApproximate,
    /// The margin is cut off at the top and left.
    PadCutsOffTheWrongSide,
    /// The mean over all elements is forgotten.
    LossGradientNotAveraged,
    /// Running statistics are not updated.
    RunningStatisticsStale,
}

impl Fault {
    /// Mistakes in gradients.
    pub(crate) const IN_GRADIENTS: [Fault; 14] = [
        Fault::BiasGradientScaled,
        Fault::InputGradientOverwrites,
        Fault::WeightGradientOverwrites,
        Fault::NormGradientOverwrites,
        Fault::ActivationGradientOverwrites,
        Fault::ScaleOverwrites,
        Fault::WeightGradientNeverReset,
        Fault::WeightGradientSlightlyOff,
        Fault::StatisticsAreConstants,
        Fault::SlopeGradientIgnoresSigns,
        Fault::SlopesDrawnAgain,
        Fault::GeluDerivativeApproximate,
        Fault::PadCutsOffTheWrongSide,
        Fault::LossGradientNotAveraged,
    ];
}

/// [`Reference`] with at most one fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faulty(pub(crate) Option<Fault>);

type Memory = HostMemory<f64>;

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }

    /// The write, or the opposite one if the fault is there.
    fn unless(&self, fault: Fault, write: Write, wrong: Write) -> Write {
        if self.has(fault) { wrong } else { write }
    }
}

/// Scratch that every pass with a workspace asks for, in bytes; no multiple of an element.
const WORKSPACE_BYTES: usize = 3 * 8 + 1;

/// Asserts that a pass got its scratch, and scribbles over it.
fn use_workspace(memory: &mut Memory, workspace: Span) {
    assert_eq!(workspace.len, WORKSPACE_BYTES.div_ceil(8));
    memory.get_mut(workspace).fill(f64::NAN);
}

/// Methods that only call [`Reference`].
macro_rules! delegate {
    ($($name:ident($($params:ident: $type:ty),+);)*) => {
        $(fn $name(&self, memory: &mut Memory, $($params: $type),+) {
            Reference.$name(memory, $($params),+);
        })*
    };
}

/// The queries for scratch.
macro_rules! workspaces {
    ($($name:ident($($type:ty),*);)*) => {
        $(fn $name(&self, $(_: $type),*) -> usize {
            WORKSPACE_BYTES
        })*
    };
}

impl Backend for Faulty {
    type Element = f64;
    type Memory = Memory;

    /// As a device that computes while the host goes on.
    const STEPS_AHEAD: usize = 3;

    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn threads(&self) -> usize {
        1
    }

    fn allocate(&self, lens: &[usize]) -> Result<Memory, OutOfMemory> {
        Reference.allocate(lens)
    }

    fn write(&self, memory: &mut Memory, dst: Span, src: &[f64]) {
        Reference.write(memory, dst, src);
    }

    fn read(&self, memory: &Memory, src: Span, dst: &mut [f64]) {
        Reference.read(memory, src, dst);
    }

    fn fill(&self, memory: &mut Memory, dst: Span, value: f64) {
        Reference.fill(memory, dst, value);
    }

    delegate! {
        batch_norm_apply(p: &BatchNormParams, operands: batch_norm::Apply);
        batch_norm_inference(p: &BatchNormParams, operands: batch_norm::Inference);
        batch_norm_fold(p: &BatchNormParams, operands: batch_norm::Fold);
        activation_forward(f: Activation, operands: activation::Forward);
        rrelu_forward(slopes: Slopes, operands: rrelu::Forward);
        add(weight: f64, operands: add::Add);
        pad_forward(p: &PadParams, operands: pad::Forward);
        adamw(p: &AdamWParams, operands: adamw::Step);
        find_non_finite(operands: finite::Find);
        copy_if_raised(operands: finite::CopyIf);
    }

    workspaces! {
        conv2d_forward_workspace_bytes(&Conv2dParams, bool);
        conv2d_grad_input_workspace_bytes(&Conv2dParams, bool);
        conv2d_grad_weight_workspace_bytes(&Conv2dParams, bool);
        conv2d_grad_bias_workspace_bytes(usize, usize);
        batch_norm_forward_workspace_bytes(&BatchNormParams);
        batch_norm_backward_workspace_bytes(&BatchNormParams);
        batch_norm_moments_workspace_bytes(&BatchNormParams);
        batch_norm_gradients_workspace_bytes(&BatchNormParams);
        epilogue_forward_workspace_bytes(&EpilogueParams);
        epilogue_backward_workspace_bytes(&EpilogueParams);
        prelu_backward_workspace_bytes(usize);
        loss_forward_workspace_bytes(usize);
    }

    fn conv2d_forward(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::Forward) {
        use_workspace(memory, o.workspace);
        Reference.conv2d_forward(memory, p, o);
    }

    fn loss_forward(&self, memory: &mut Memory, loss: Loss, o: loss::Forward) {
        use_workspace(memory, o.workspace);
        Reference.loss_forward(memory, loss, o);
    }

    fn conv2d_grad_input(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradInput) {
        use_workspace(memory, o.workspace);
        let write = self.unless(Fault::InputGradientOverwrites, o.write, Write::Set);
        Reference.conv2d_grad_input(memory, p, conv2d::GradInput { write, ..o });
    }

    fn conv2d_grad_weight(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradWeight) {
        use_workspace(memory, o.workspace);
        let write = self.unless(Fault::WeightGradientOverwrites, o.write, Write::Set);
        let write = self.unless(Fault::WeightGradientNeverReset, write, Write::Add);
        Reference.conv2d_grad_weight(memory, p, conv2d::GradWeight { write, ..o });
        if self.has(Fault::WeightGradientSlightlyOff) {
            memory.get_mut(o.dw)[0] *= 1.0 + 1e-5;
        }
    }

    fn conv2d_grad_bias(&self, memory: &mut Memory, o: conv2d::GradBias) {
        use_workspace(memory, o.workspace);
        Reference.conv2d_grad_bias(memory, o);
        if self.has(Fault::BiasGradientScaled) {
            memory.get_mut(o.db).iter_mut().for_each(|db| *db *= 0.5);
        }
    }

    fn batch_norm_forward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Forward) {
        use_workspace(memory, o.workspace);
        let momentum = if self.has(Fault::RunningStatisticsStale) { 0.0 } else { p.momentum };
        Reference.batch_norm_forward(memory, &BatchNormParams { momentum, ..*p }, o);
    }

    fn batch_norm_backward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Backward) {
        use_workspace(memory, o.workspace);
        let dx_write = self.unless(Fault::NormGradientOverwrites, o.dx_write, Write::Set);
        let dy = memory.get(o.dy).to_vec();
        let before = memory.get(o.dx).to_vec();
        Reference.batch_norm_backward(memory, p, batch_norm::Backward { dx_write, ..o });
        if self.has(Fault::StatisticsAreConstants) && !o.dx.is_empty() {
            let ([gamma, rstd], [dx]) = memory.views([o.gamma, o.rstd], [o.dx]);
            for (i, dx) in dx.iter_mut().enumerate() {
                *dx = before[i];
                o.dx_write.put(dx, dy[i] * gamma[i % p.channels] * rstd[i % p.channels]);
            }
        }
    }

    fn batch_norm_moments(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Moments) {
        use_workspace(memory, o.workspace);
        Reference.batch_norm_moments(memory, p, o);
    }

    fn batch_norm_gradients(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Gradients) {
        use_workspace(memory, o.workspace);
        Reference.batch_norm_gradients(memory, p, o);
    }

    fn epilogue_forward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Forward) {
        use_workspace(memory, o.workspace);
        Reference.epilogue_forward(memory, p, o);
    }

    fn epilogue_backward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Backward) {
        use_workspace(memory, o.workspace);
        Reference.epilogue_backward(memory, p, o);
    }

    fn activation_backward(&self, memory: &mut Memory, f: Activation, o: activation::Backward) {
        let write = self.unless(Fault::ActivationGradientOverwrites, o.write, Write::Set);
        let dy = memory.get(o.dy).to_vec();
        let before = memory.get(o.dx).to_vec();
        Reference.activation_backward(memory, f, activation::Backward { write, ..o });
        if self.has(Fault::GeluDerivativeApproximate) && f == Activation::Gelu {
            let ([saved], [dx]) = memory.views([o.saved], [o.dx]);
            for (i, dx) in dx.iter_mut().enumerate() {
                let (x, a) = (saved[i], (2.0 / std::f64::consts::PI).sqrt());
                let t = (a * (x + 0.044715 * x.powi(3))).tanh();
                let derivative = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * a * (1.0 + 3.0 * 0.044715 * x * x);
                *dx = before[i];
                o.write.put(dx, dy[i] * derivative);
            }
        }
    }

    fn prelu_forward(&self, memory: &mut Memory, o: prelu::Forward) {
        Reference.prelu_forward(memory, o);
    }

    fn prelu_backward(&self, memory: &mut Memory, o: prelu::Backward) {
        use_workspace(memory, o.workspace);
        let dx_write = self.unless(Fault::ActivationGradientOverwrites, o.dx_write, Write::Set);
        Reference.prelu_backward(memory, prelu::Backward { dx_write, ..o });
        if self.has(Fault::SlopeGradientIgnoresSigns) && !o.dslope.is_empty() {
            let ([x, dy], [dslope]) = memory.views([o.x, o.dy], [o.dslope]);
            dslope[0] = x.iter().zip(dy).map(|(x, dy)| x * dy).sum();
        }
    }

    fn rrelu_backward(&self, memory: &mut Memory, slopes: Slopes, o: rrelu::Backward) {
        let write = self.unless(Fault::ActivationGradientOverwrites, o.write, Write::Set);
        let slopes = match slopes {
            Slopes::Random { key, first } if self.has(Fault::SlopesDrawnAgain) => {
                Slopes::Random { key: key.fold_in(1), first }
            }
            slopes => slopes,
        };
        Reference.rrelu_backward(memory, slopes, rrelu::Backward { write, ..o });
    }

    fn scale(&self, memory: &mut Memory, weight: f64, o: add::Scale) {
        let write = self.unless(Fault::ScaleOverwrites, o.write, Write::Set);
        Reference.scale(memory, weight, add::Scale { write, ..o });
    }

    fn pad_backward(&self, memory: &mut Memory, p: &PadParams, o: pad::Backward) {
        Reference.pad_backward(memory, p, o);
        if self.has(Fault::PadCutsOffTheWrongSide) {
            let dy = memory.get(o.dy).to_vec();
            let dx = memory.get_mut(o.dx);
            let skipped = ((p.h1 - p.h0) * p.w1 + p.w1 - p.w0) * p.c;
            for (i, dx) in dx.iter_mut().enumerate() {
                let (n, h, rest) = (i / (p.h0 * p.w0 * p.c), i / (p.w0 * p.c) % p.h0, i % (p.w0 * p.c));
                *dx = dy[(n * p.h1 + h) * p.w1 * p.c + rest + skipped];
            }
        }
    }

    fn loss_backward(&self, memory: &mut Memory, loss: Loss, o: loss::Backward) {
        Reference.loss_backward(memory, loss, o);
        if self.has(Fault::LossGradientNotAveraged) {
            let m = o.target.len as f64;
            memory.get_mut(o.dprediction).iter_mut().for_each(|x| *x *= m);
        }
    }
}
