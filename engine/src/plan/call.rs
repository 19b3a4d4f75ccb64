//! [`Call`]: one pass of a backend and its operands.

use crate::ops::CustomPass;
use kernels::activation::{self, Activation};
use kernels::add;
use kernels::batch_norm::{self, BatchNormParams};
use kernels::collective::{self, Collective, Part};
use kernels::conv2d::{self, Conv2dParams};
use kernels::custom;
use kernels::epilogue::{self, EpilogueParams};
use kernels::loss::{self, Loss};
use kernels::pad::{self, PadParams};
use kernels::prelu;
use kernels::random::Key;
use kernels::rrelu::{self, Slopes};
use kernels::{Backend, Element, Span, Write};

/// A method of [`Backend`] with its arguments, as data.
///
/// Its spans are symbols for values while a plan is made, and places in memory when a session runs it. Workspaces are
/// empty until the session has made one.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Conv2dForward(Conv2dParams, conv2d::Forward),
    Conv2dGradInput(Conv2dParams, conv2d::GradInput),
    Conv2dGradWeight(Conv2dParams, conv2d::GradWeight),
    Conv2dGradBias(conv2d::GradBias),
    BatchNormForward(BatchNormParams, batch_norm::Forward),
    BatchNormApply(BatchNormParams, batch_norm::Apply),
    BatchNormInference(BatchNormParams, batch_norm::Inference),
    BatchNormBackward(BatchNormParams, batch_norm::Backward),
    BatchNormMoments(BatchNormParams, batch_norm::Moments),
    BatchNormFold(BatchNormParams, batch_norm::Fold),
    BatchNormGradients(BatchNormParams, batch_norm::Gradients),
    EpilogueForward(EpilogueParams, epilogue::Forward),
    EpilogueBackward(EpilogueParams, epilogue::Backward),
    ActivationForward(Activation, activation::Forward),
    ActivationBackward(Activation, activation::Backward),
    PreluForward(prelu::Forward),
    PreluBackward(prelu::Backward),
    /// Without draws, slopes are their mean.
    RreluForward(Option<Draws>, rrelu::Forward),
    RreluBackward(Draws, rrelu::Backward),
    Add(f64, add::Add),
    Scale(f64, add::Scale),
    PadForward(PadParams, pad::Forward),
    PadBackward(PadParams, pad::Backward),
    LossForward(Loss, loss::Forward),
    LossBackward(Loss, loss::Backward),
    Fill(f64, Span),
    /// Each rank's values, times its weight, become their sum over the ranks.
    SumOverRanks(f64, Span),
    MomentsOverRanks(Part, collective::Moments),
    Custom(CustomPass, custom::Operands),
}

/// The random numbers of a pass: those of a stream, from that of the first element on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draws {
    /// Number of the stream: another for every node.
    pub(crate) stream: u64,
    /// Number of the first element in the batch, which is not 0 if other ranks have those before.
    pub(crate) first: u64,
}

/// What a call does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Overwrites all of it.
    Set,
    /// Reads it and writes it.
    Update,
}

impl From<Write> for Access {
    fn from(write: Write) -> Access {
        match write {
            Write::Set => Access::Set,
            Write::Add => Access::Update,
        }
    }
}

impl Call {
    /// Name of the pass, in reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Call::Conv2dForward(..) => "conv2d.forward",
            Call::Conv2dGradInput(..) => "conv2d.grad_input",
            Call::Conv2dGradWeight(..) => "conv2d.grad_weight",
            Call::Conv2dGradBias(..) => "conv2d.grad_bias",
            Call::BatchNormForward(..) => "batch_norm.forward",
            Call::BatchNormApply(..) => "batch_norm.apply",
            Call::BatchNormInference(..) => "batch_norm.inference",
            Call::BatchNormBackward(..) => "batch_norm.backward",
            Call::BatchNormMoments(..) => "batch_norm.moments",
            Call::BatchNormFold(..) => "batch_norm.fold",
            Call::BatchNormGradients(..) => "batch_norm.gradients",
            Call::EpilogueForward(..) => "epilogue.forward",
            Call::EpilogueBackward(..) => "epilogue.backward",
            Call::ActivationForward(..) => "activation.forward",
            Call::ActivationBackward(..) => "activation.backward",
            Call::PreluForward(..) => "prelu.forward",
            Call::PreluBackward(..) => "prelu.backward",
            Call::RreluForward(..) => "rrelu.forward",
            Call::RreluBackward(..) => "rrelu.backward",
            Call::Add(..) => "add",
            Call::Scale(..) => "scale",
            Call::PadForward(..) => "pad.forward",
            Call::PadBackward(..) => "pad.backward",
            Call::LossForward(..) => "loss.forward",
            Call::LossBackward(..) => "loss.backward",
            Call::Fill(..) => "fill",
            Call::SumOverRanks(..) => "collective.sum",
            Call::MomentsOverRanks(..) => "collective.moments",
            Call::Custom(pass, _) => pass.name(),
        }
    }

    /// Runs the pass; what it draws is of the key.
    pub(crate) fn run<B: Backend>(&self, backend: &B, ranks: &dyn Collective<B>, memory: &mut B::Memory, random: Key) {
        let drawn = |draws: Draws| Slopes::Random { key: random.fold_in(draws.stream), first: draws.first };
        match *self {
            Call::Conv2dForward(ref p, o) => backend.conv2d_forward(memory, p, o),
            Call::Conv2dGradInput(ref p, o) => backend.conv2d_grad_input(memory, p, o),
            Call::Conv2dGradWeight(ref p, o) => backend.conv2d_grad_weight(memory, p, o),
            Call::Conv2dGradBias(o) => backend.conv2d_grad_bias(memory, o),
            Call::BatchNormForward(ref p, o) => backend.batch_norm_forward(memory, p, o),
            Call::BatchNormApply(ref p, o) => backend.batch_norm_apply(memory, p, o),
            Call::BatchNormInference(ref p, o) => backend.batch_norm_inference(memory, p, o),
            Call::BatchNormBackward(ref p, o) => backend.batch_norm_backward(memory, p, o),
            Call::BatchNormMoments(ref p, o) => backend.batch_norm_moments(memory, p, o),
            Call::BatchNormFold(ref p, o) => backend.batch_norm_fold(memory, p, o),
            Call::BatchNormGradients(ref p, o) => backend.batch_norm_gradients(memory, p, o),
            Call::EpilogueForward(ref p, o) => backend.epilogue_forward(memory, p, o),
            Call::EpilogueBackward(ref p, o) => backend.epilogue_backward(memory, p, o),
            Call::ActivationForward(f, o) => backend.activation_forward(memory, f, o),
            Call::ActivationBackward(f, o) => backend.activation_backward(memory, f, o),
            Call::PreluForward(o) => backend.prelu_forward(memory, o),
            Call::PreluBackward(o) => backend.prelu_backward(memory, o),
            Call::RreluForward(draws, o) => backend.rrelu_forward(memory, draws.map_or(Slopes::Mean, drawn), o),
            Call::RreluBackward(draws, o) => backend.rrelu_backward(memory, drawn(draws), o),
            Call::Add(weight, o) => backend.add(memory, weight, o),
            Call::Scale(weight, o) => backend.scale(memory, weight, o),
            Call::PadForward(ref p, o) => backend.pad_forward(memory, p, o),
            Call::PadBackward(ref p, o) => backend.pad_backward(memory, p, o),
            Call::LossForward(loss, o) => backend.loss_forward(memory, loss, o),
            Call::LossBackward(loss, o) => backend.loss_backward(memory, loss, o),
            Call::Fill(value, span) => backend.fill(memory, span, B::Element::from_f64(value)),
            Call::SumOverRanks(weight, span) => ranks.sum(backend, memory, weight, span),
            Call::MomentsOverRanks(ref part, o) => ranks.moments(backend, memory, part, o),
            Call::Custom(ref pass, o) => backend.custom(memory, pass, o),
        }
    }

    /// Whether it does the same whenever it is run: its arguments are the same, and it does not wait for other ranks on the host.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Call::RreluForward(Some(_), _)
                | Call::RreluBackward(..)
                | Call::SumOverRanks(..)
                | Call::MomentsOverRanks(..)
                | Call::Custom(..)
        )
    }

    /// Visits every operand but the workspace; those that are absent are skipped.
    pub(crate) fn operands_mut(&mut self, visit: &mut impl FnMut(&mut Span, Access)) {
        use Access::{Read, Set, Update};
        let mut visit = |spans: &mut [&mut Span], access| {
            for span in spans.iter_mut().filter(|span| !span.is_empty()) {
                visit(span, access);
            }
        };
        match self {
            Call::Conv2dForward(_, o) => {
                visit(&mut [&mut o.x, &mut o.x_map.scale, &mut o.x_map.shift, &mut o.w, &mut o.bias], Read);
                visit(&mut [&mut o.y], o.write.into());
            }
            Call::Conv2dGradInput(_, o) => {
                visit(&mut [&mut o.dy, &mut o.dy_map.scale, &mut o.dy_map.shift, &mut o.w, &mut o.bias], Read);
                visit(&mut [&mut o.dx], o.write.into());
            }
            Call::Conv2dGradWeight(_, o) => {
                let [x_map, dy_map] = [&mut o.x_map, &mut o.dy_map];
                visit(&mut [&mut o.x, &mut x_map.scale, &mut x_map.shift], Read);
                visit(&mut [&mut o.dy, &mut dy_map.scale, &mut dy_map.shift], Read);
                visit(&mut [&mut o.dw], o.write.into());
            }
            Call::Conv2dGradBias(o) => {
                visit(&mut [&mut o.dy], Read);
                visit(&mut [&mut o.db], o.write.into());
            }
            Call::BatchNormForward(_, o) => {
                visit(&mut [&mut o.x, &mut o.gamma, &mut o.beta], Read);
                visit(&mut [&mut o.running_mean, &mut o.running_var], Update);
                visit(&mut [&mut o.mean, &mut o.rstd, &mut o.y], Set);
            }
            Call::BatchNormApply(_, o) => {
                visit(&mut [&mut o.x, &mut o.gamma, &mut o.beta, &mut o.mean, &mut o.rstd], Read);
                visit(&mut [&mut o.y], Set);
            }
            Call::BatchNormInference(_, o) => {
                visit(&mut [&mut o.x, &mut o.gamma, &mut o.beta, &mut o.running_mean, &mut o.running_var], Read);
                visit(&mut [&mut o.y], Set);
            }
            Call::BatchNormBackward(_, o) => {
                visit(&mut [&mut o.x, &mut o.gamma, &mut o.mean, &mut o.rstd, &mut o.dy], Read);
                visit(&mut [&mut o.dgamma], o.dgamma_write.into());
                visit(&mut [&mut o.dbeta], o.dbeta_write.into());
                visit(&mut [&mut o.dx], o.dx_write.into());
            }
            Call::BatchNormMoments(_, o) => {
                visit(&mut [&mut o.x], Read);
                visit(&mut [&mut o.mean, &mut o.var], Set);
            }
            Call::BatchNormFold(_, o) => {
                visit(&mut [&mut o.gamma, &mut o.beta, &mut o.mean, &mut o.var], Read);
                visit(&mut [&mut o.running_mean, &mut o.running_var], Update);
                visit(&mut [&mut o.rstd, &mut o.scale, &mut o.shift], Set);
            }
            Call::BatchNormGradients(_, o) => {
                visit(&mut [&mut o.x, &mut o.gamma, &mut o.mean, &mut o.rstd, &mut o.dy], Read);
                visit(&mut [&mut o.dgamma], o.dgamma_write.into());
                visit(&mut [&mut o.dbeta], o.dbeta_write.into());
                visit(&mut [&mut o.coefficients], Set);
            }
            Call::EpilogueForward(_, o) => {
                visit(&mut [&mut o.z, &mut o.skip], Read);
                visit(&mut [&mut o.y, &mut o.mean, &mut o.var], Set);
            }
            Call::EpilogueBackward(_, o) => {
                let norm = &mut o.norm;
                visit(&mut [&mut o.saved], Read);
                visit(&mut [&mut norm.dy, &mut norm.x, &mut norm.mean, &mut norm.coefficients], Read);
                visit(&mut [&mut o.dy], Read);
                visit(&mut [&mut o.db], o.db_write.into());
                visit(&mut [&mut o.total, &mut o.dz], Set);
            }
            Call::ActivationForward(_, o) => {
                visit(&mut [&mut o.x], Read);
                visit(&mut [&mut o.y], Set);
            }
            Call::ActivationBackward(_, o) => {
                visit(&mut [&mut o.saved, &mut o.dy], Read);
                visit(&mut [&mut o.dx], o.write.into());
            }
            Call::PreluForward(o) => {
                visit(&mut [&mut o.x, &mut o.slope], Read);
                visit(&mut [&mut o.y], Set);
            }
            Call::PreluBackward(o) => {
                visit(&mut [&mut o.x, &mut o.slope, &mut o.dy], Read);
                visit(&mut [&mut o.dslope], o.dslope_write.into());
                visit(&mut [&mut o.dx], o.dx_write.into());
            }
            Call::RreluForward(_, o) => {
                visit(&mut [&mut o.x], Read);
                visit(&mut [&mut o.y], Set);
            }
            Call::RreluBackward(_, o) => {
                visit(&mut [&mut o.x, &mut o.dy], Read);
                visit(&mut [&mut o.dx], o.write.into());
            }
            Call::Add(_, o) => {
                visit(&mut [&mut o.a, &mut o.b], Read);
                visit(&mut [&mut o.y], Set);
            }
            Call::Scale(_, o) => {
                visit(&mut [&mut o.x], Read);
                visit(&mut [&mut o.y], o.write.into());
            }
            Call::PadForward(_, o) => {
                visit(&mut [&mut o.x], Read);
                visit(&mut [&mut o.y], Set);
            }
            Call::PadBackward(_, o) => {
                visit(&mut [&mut o.dy], Read);
                visit(&mut [&mut o.dx], o.write.into());
            }
            Call::LossForward(_, o) => {
                visit(&mut [&mut o.prediction, &mut o.target], Read);
                visit(&mut [&mut o.loss], Set);
            }
            Call::LossBackward(_, o) => {
                visit(&mut [&mut o.prediction, &mut o.target, &mut o.dloss], Read);
                visit(&mut [&mut o.dprediction], o.write.into());
            }
            Call::Fill(_, span) => visit(&mut [span], Set),
            Call::SumOverRanks(_, span) => visit(&mut [span], Update),
            Call::MomentsOverRanks(_, o) => visit(&mut [&mut o.mean, &mut o.var], Update),
            Call::Custom(_, o) => {
                visit(&mut o.reads.each_mut(), Read);
                visit(&mut o.writes.each_mut(), Set);
            }
        }
    }

    /// Every operand but the workspace, in the order of the documentation.
    pub(crate) fn operands(&self) -> Vec<(Span, Access)> {
        let mut operands = Vec::new();
        let mut copy = self.clone();
        copy.operands_mut(&mut |span, access| operands.push((*span, access)));
        operands
    }

    /// Scratch that the pass needs on this backend.
    pub(crate) fn workspace_bytes(&self, backend: &impl Backend) -> usize {
        match self {
            Call::Conv2dForward(p, o) => backend.conv2d_forward_workspace_bytes(p, !o.x_map.is_none()),
            Call::Conv2dGradInput(p, o) => backend.conv2d_grad_input_workspace_bytes(p, !o.dy_map.is_none()),
            Call::Conv2dGradWeight(p, o) => {
                backend.conv2d_grad_weight_workspace_bytes(p, !(o.x_map.is_none() && o.dy_map.is_none()))
            }
            Call::Conv2dGradBias(o) => backend.conv2d_grad_bias_workspace_bytes(o.dy.len / o.db.len, o.db.len),
            Call::BatchNormForward(p, _) => backend.batch_norm_forward_workspace_bytes(p),
            Call::BatchNormBackward(p, _) => backend.batch_norm_backward_workspace_bytes(p),
            Call::BatchNormMoments(p, _) => backend.batch_norm_moments_workspace_bytes(p),
            Call::BatchNormGradients(p, _) => backend.batch_norm_gradients_workspace_bytes(p),
            Call::EpilogueForward(p, _) => backend.epilogue_forward_workspace_bytes(p),
            Call::EpilogueBackward(p, _) => backend.epilogue_backward_workspace_bytes(p),
            Call::PreluBackward(o) => backend.prelu_backward_workspace_bytes(o.x.len),
            Call::LossForward(_, o) => backend.loss_forward_workspace_bytes(o.prediction.len),
            Call::BatchNormApply(..)
            | Call::BatchNormInference(..)
            | Call::BatchNormFold(..)
            | Call::ActivationForward(..)
            | Call::ActivationBackward(..)
            | Call::PreluForward(..)
            | Call::RreluForward(..)
            | Call::RreluBackward(..)
            | Call::Add(..)
            | Call::Scale(..)
            | Call::PadForward(..)
            | Call::PadBackward(..)
            | Call::LossBackward(..)
            | Call::Fill(..)
            | Call::SumOverRanks(..)
            | Call::MomentsOverRanks(..)
            | Call::Custom(..) => 0,
        }
    }

    /// Gives the pass its scratch; only passes whose [`workspace_bytes`](Self::workspace_bytes) may be above 0 take
    /// one.
    pub(crate) fn set_workspace(&mut self, workspace: Span) {
        match self {
            Call::Conv2dForward(_, o) => o.workspace = workspace,
            Call::Conv2dGradInput(_, o) => o.workspace = workspace,
            Call::Conv2dGradWeight(_, o) => o.workspace = workspace,
            Call::Conv2dGradBias(o) => o.workspace = workspace,
            Call::BatchNormForward(_, o) => o.workspace = workspace,
            Call::BatchNormBackward(_, o) => o.workspace = workspace,
            Call::BatchNormMoments(_, o) => o.workspace = workspace,
            Call::BatchNormGradients(_, o) => o.workspace = workspace,
            Call::EpilogueForward(_, o) => o.workspace = workspace,
            Call::EpilogueBackward(_, o) => o.workspace = workspace,
            Call::PreluBackward(o) => o.workspace = workspace,
            Call::LossForward(_, o) => o.workspace = workspace,
            call => assert!(workspace.is_empty(), "{} takes no workspace", call.name()),
        }
    }

    /// Floating-point operations of a convolution pass; 0 for the other passes, whose time is that of moving bytes.
    pub(crate) fn flops(&self) -> usize {
        self.conv2d().map_or(0, Conv2dParams::flops)
    }

    /// Terms of the longest sum that the pass takes: rounding errors grow with it.
    pub(crate) fn longest_sum(&self) -> usize {
        match self {
            Call::Conv2dForward(p, _) => p.r * p.s * p.c / p.groups,
            Call::Conv2dGradInput(p, _) => p.r * p.s * p.k / p.groups,
            Call::Conv2dGradWeight(p, _) => p.n * p.p * p.q,
            Call::Conv2dGradBias(o) => o.dy.len / o.db.len,
            Call::BatchNormForward(p, _)
            | Call::BatchNormBackward(p, _)
            | Call::BatchNormMoments(p, _)
            | Call::BatchNormGradients(p, _) => p.rows,
            Call::EpilogueForward(p, _) | Call::EpilogueBackward(p, _) => p.rows,
            Call::PreluBackward(o) => o.x.len,
            Call::LossForward(_, o) => o.prediction.len,
            Call::Custom(_, o) => o.reads.iter().map(|span| span.len).max().unwrap_or(1),
            Call::BatchNormApply(..)
            | Call::BatchNormInference(..)
            | Call::BatchNormFold(..)
            | Call::ActivationForward(..)
            | Call::ActivationBackward(..)
            | Call::PreluForward(..)
            | Call::RreluForward(..)
            | Call::RreluBackward(..)
            | Call::Add(..)
            | Call::Scale(..)
            | Call::PadForward(..)
            | Call::PadBackward(..)
            | Call::LossBackward(..)
            | Call::Fill(..)
            | Call::SumOverRanks(..)
            | Call::MomentsOverRanks(..) => 1,
        }
    }

    /// Shape of the convolution, if the pass is one of those with a choice of algorithm.
    pub(crate) fn conv2d(&self) -> Option<&Conv2dParams> {
        match self {
            Call::Conv2dForward(p, _) | Call::Conv2dGradInput(p, _) | Call::Conv2dGradWeight(p, _) => Some(p),
            _ => None,
        }
    }

    /// Elements that the pass must read and write once, scratch aside.
    pub(crate) fn elements_moved(&self) -> usize {
        let moved = |(span, access): (Span, Access)| match access {
            Access::Read | Access::Set => span.len,
            Access::Update => 2 * span.len,
        };
        self.operands().into_iter().map(moved).sum()
    }
}
