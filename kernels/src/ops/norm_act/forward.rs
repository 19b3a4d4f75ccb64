//! [`Forward`]: `y`, with the statistics of the batch or with the running ones.

use super::cpu;
use crate::ops::activation::{self, Activation};
use crate::ops::add::Add;
use crate::ops::batch_norm::{self, BatchNormParams};
use crate::ops::prelude::*;
use crate::passes::Call;

/// The normalization.
#[derive(Clone, Copy, Debug)]
pub enum Norm {
    /// With the statistics of the batch.
    Batch(batch_norm::Forward),
    /// With given statistics, those of the batch once more.
    Given(batch_norm::Apply),
    /// With the running statistics.
    Running(batch_norm::Inference),
}

/// Evaluates `$body` with `$pass` standing for the pass.
macro_rules! with_pass {
    ($norm:expr, |$pass:ident| $body:expr) => {
        match $norm {
            Norm::Batch($pass) => $body,
            Norm::Given($pass) => $body,
            Norm::Running($pass) => $body,
        }
    };
}

/// A normalization, and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// The normalization. Its output is the same span as that of the whole.
    pub norm: Norm,
    /// What is added to the normalized values `[rows, channels]`, or empty.
    pub skip: Span,
    /// Factor of `skip`.
    pub weight: f64,
    /// The function.
    pub activation: Activation,
}

impl Norm {
    fn pass(&self) -> &dyn Pass {
        with_pass!(self, |norm| norm)
    }

    fn pass_mut(&mut self) -> &mut dyn Pass {
        with_pass!(self, |norm| norm)
    }

    fn params(&self) -> &BatchNormParams {
        with_pass!(self, |norm| &norm.params)
    }

    /// The normalized values.
    pub fn output(&self) -> Span {
        with_pass!(self, |norm| norm.y)
    }

    /// The same with another output.
    #[must_use]
    pub fn with_output(mut self, y: Span) -> Norm {
        with_pass!(&mut self, |norm| norm.y = y);
        self
    }

    /// The same once more, with the statistics that it has written.
    #[must_use]
    pub fn again(self) -> Norm {
        match self {
            Norm::Batch(batch_norm::Forward { params, x, gamma, beta, mean, rstd, y, .. }) => {
                Norm::Given(batch_norm::Apply { params, x, gamma, beta, mean, rstd, y })
            }
            other => other,
        }
    }
}

impl From<Norm> for Call {
    fn from(norm: Norm) -> Call {
        with_pass!(norm, |norm| norm.into())
    }
}

impl Forward {
    /// The passes one after another. Each but the first works in place.
    pub fn passes(&self) -> (Norm, Option<Add>, activation::Forward) {
        let y = self.norm.output();
        let add = Add { weight: self.weight, a: y, b: self.skip, y };
        let activation = activation::Forward { activation: self.activation, x: y, y };
        (self.norm, (!self.skip.is_empty()).then_some(add), activation)
    }

    fn each(&self, mut f: impl FnMut(&dyn Pass)) {
        let (norm, add, activation) = self.passes();
        f(norm.pass());
        if let Some(add) = add {
            f(&add);
        }
        f(&activation);
    }
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "norm_act.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.skip]);
        self.norm.pass_mut().operands(visit);
    }

    fn check(&self) {
        self.each(|pass| pass.check());
    }

    fn longest_sum(&self) -> usize {
        self.norm.pass().longest_sum()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        self.each(|pass| pass.reference(memory, cx));
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        self.norm.pass().cpu_workspace_len(cpu)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let (p, then) = (self.norm.params(), cpu::Then { activation: self.activation, weight: self.weight });
        match &self.norm {
            Norm::Batch(norm) => {
                let writes = [norm.y, norm.running_mean, norm.running_var, norm.mean, norm.rstd, cx.workspace];
                let ([x, gamma, beta, skip], [y, running_mean, running_var, mean, rstd, workspace]) =
                    memory.views_in_place([norm.x, norm.gamma, norm.beta, self.skip], writes);
                let [gamma, beta, skip] = [gamma, beta, skip].map(distinct);
                let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
                let stats = batch_norm::cpu::ForwardStats { running_mean, running_var, mean, rstd };
                batch_norm::cpu::forward_stats(cpu, p, x.unwrap_or(y), stats, workspace);
                let coefficients = batch_norm::cpu::of_batch([gamma, beta, mean, rstd]);
                cpu::forward(cpu, p, &coefficients, then, [x, Some(skip)], y);
            }
            Norm::Given(norm) => {
                let reads = [norm.x, norm.gamma, norm.beta, norm.mean, norm.rstd, self.skip];
                let ([x, channels @ .., skip], [y]) = memory.views_in_place(reads, [norm.y]);
                let coefficients = batch_norm::cpu::of_batch(channels.map(distinct));
                cpu::forward(cpu, p, &coefficients, then, [x, Some(distinct(skip))], y);
            }
            Norm::Running(norm) => {
                let reads = [norm.x, norm.gamma, norm.beta, norm.running_mean, norm.running_var, self.skip];
                let ([x, channels @ .., skip], [y]) = memory.views_in_place(reads, [norm.y]);
                let coefficients = batch_norm::cpu::of_running(p, channels.map(distinct));
                cpu::forward(cpu, p, &coefficients, then, [x, Some(distinct(skip))], y);
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        self.norm.pass().cuda_workspace_len()
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        self.each(|pass| pass.cuda(gpu, memory, cx));
    }
}
