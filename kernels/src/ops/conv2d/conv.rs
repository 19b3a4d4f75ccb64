//! [`Conv`]: a convolution or its adjoint, for passes that contain one.

use super::cpu::{self, Then};
use super::{Algo, Forward, GradInput};
use crate::host::Cpu;
use crate::memory::Span;
use crate::ops::conv2d::params::Direction;
use crate::pass::{Pass, Write};

/// A pass that computes images: a convolution, or its adjoint.
#[derive(Clone, Copy, Debug)]
pub enum Conv {
    /// A convolution.
    Forward(Forward),
    /// The adjoint of a convolution.
    GradInput(GradInput),
}

/// Evaluates `$body` with `$pass` standing for the pass.
macro_rules! with_pass {
    ($conv:expr, |$pass:ident| $body:expr) => {
        match $conv {
            Conv::Forward($pass) => $body,
            Conv::GradInput($pass) => $body,
        }
    };
}

impl Conv {
    /// The pass.
    pub(in crate::ops) fn pass(&self) -> &dyn Pass {
        with_pass!(self, |pass| pass)
    }

    /// The pass, to change it.
    pub(in crate::ops) fn pass_mut(&mut self) -> &mut dyn Pass {
        with_pass!(self, |pass| pass)
    }

    /// The CPU's algorithm, if it is chosen.
    pub(in crate::ops) fn algo(&self) -> Option<Algo> {
        with_pass!(self, |pass| pass.algo)
    }

    /// Pixels and channels of the images that it computes.
    pub(in crate::ops) fn rows_and_channels(&self) -> [usize; 2] {
        let (params, direction) = match self {
            Conv::Forward(pass) => (&pass.params, Direction::Forward),
            Conv::GradInput(pass) => (&pass.params, Direction::Adjoint),
        };
        let [_, [height, width, channels]] = params.images(direction);
        [params.n * height * width, channels]
    }

    /// The same pass with an algorithm of the CPU; `None` until it is chosen.
    pub(in crate::ops) fn with_algo(self, algo: Option<Algo>) -> Conv {
        match self {
            Conv::Forward(pass) => Conv::Forward(Forward { algo, ..pass }),
            Conv::GradInput(pass) => Conv::GradInput(GradInput { algo, ..pass }),
        }
    }

    /// What it reads: image, scale and shift of the image, weight, bias.
    pub(in crate::ops) fn reads_mut(&mut self) -> [&mut Span; 5] {
        match self {
            Conv::Forward(Forward { x, x_map: map, w, bias, .. })
            | Conv::GradInput(GradInput { dy: x, dy_map: map, w, bias, .. }) => {
                [x, &mut map.scale, &mut map.shift, w, bias]
            }
        }
    }

    /// The images that it computes, and whether they are set or added to.
    pub(in crate::ops) fn output(&self) -> (Span, Write) {
        match self {
            Conv::Forward(pass) => (pass.y, pass.write),
            Conv::GradInput(pass) => (pass.dx, pass.write),
        }
    }

    /// Where it writes the images.
    pub(in crate::ops) fn output_mut(&mut self) -> &mut Span {
        match self {
            Conv::Forward(pass) => &mut pass.y,
            Conv::GradInput(pass) => &mut pass.dx,
        }
    }

    /// The blocks in which the CPU's algorithm computes the images, if it does.
    pub(in crate::ops) fn blocks(&self, cpu: &Cpu) -> Option<usize> {
        let (algo, direction): (Algo, _) = match self {
            Conv::Forward(pass) => (pass.algo(cpu), Direction::Forward),
            Conv::GradInput(pass) => (pass.algo(cpu), Direction::Adjoint),
        };
        with_pass!(self, |pass| cpu::blocks(cpu, algo, &pass.params, direction))
    }

    /// Runs it on the CPU, and what is done with its output. It writes `out` in place of its [`output`](Self::output),
    /// and `reads` are the values of [`reads_mut`](Self::reads_mut).
    ///
    /// # Panics
    /// If the algorithm has no [`blocks`](Self::blocks).
    pub(in crate::ops) fn cpu_then(
        &self,
        cpu: &Cpu,
        reads: [&[f32]; 5],
        out: &mut [f32],
        then: Then<'_>,
        workspace: &mut [f32],
    ) {
        let workspace = &mut workspace[..self.pass().cpu_workspace_len(cpu)];
        with_pass!(self, |pass| cpu::convolve_then(cpu, pass.algo(cpu), pass.with(reads, out), then, workspace));
    }
}
