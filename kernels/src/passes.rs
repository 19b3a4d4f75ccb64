//! The list of all passes: the table of contents of this crate.
//!
//! A new operation is a folder in `ops` and a line here. [`Call`] and the kernels that a GPU loads follow from the
//! list.

use crate::memory::Span;
use crate::ops;
use crate::pass::{Access, Aliasing, Operands, Pass};

/// Generates [`Call`] and its methods from the list. A line has what the operation does, its folder, and for each pass
/// its name in [`Call`] and its struct.
macro_rules! passes {
    (
        with CUDA kernels: [$(#[doc = $what:literal] $op:ident { $($name:ident($pass:ident)),* })*]
        of other passes: [$(#[doc = $sum_what:literal] $sum_op:ident { $($sum_name:ident($sum_pass:ident)),* })*]
        on the host alone: [$(#[doc = $host_what:literal] $host_op:ident { $($host_name:ident($host_pass:ident)),* })*]
    ) => {
        /// A call of any pass: the table of contents of this crate.
        ///
        /// | operation | what its passes compute |
        /// | --- | --- |
        $(#[doc = concat!("| [`", stringify!($op), "`](crate::", stringify!($op), ") |", $what, " |")])*
        $(#[doc = concat!("| [`", stringify!($sum_op), "`](crate::", stringify!($sum_op), ") |", $sum_what, " |")])*
        $(#[doc = concat!("| [`", stringify!($host_op), "`](crate::", stringify!($host_op), ") |", $host_what, " |")])*
        #[derive(Clone, Debug)]
        #[expect(clippy::large_enum_variant, reason = "a plan has some hundred calls, which are plain data")]
        pub enum Call {
            $($(#[allow(missing_docs)] $name(ops::$op::$pass),)*)*
            $($(#[allow(missing_docs)] $sum_name(ops::$sum_op::$sum_pass),)*)*
            $($(#[allow(missing_docs)] $host_name(ops::$host_op::$host_pass),)*)*
        }

        $($(
            impl From<ops::$op::$pass> for Call {
                fn from(pass: ops::$op::$pass) -> Call {
                    Call::$name(pass)
                }
            }
        )*)*
        $($(
            impl From<ops::$sum_op::$sum_pass> for Call {
                fn from(pass: ops::$sum_op::$sum_pass) -> Call {
                    Call::$sum_name(pass)
                }
            }
        )*)*
        $($(
            impl From<ops::$host_op::$host_pass> for Call {
                fn from(pass: ops::$host_op::$host_pass) -> Call {
                    Call::$host_name(pass)
                }
            }
        )*)*

        impl Call {
            /// The pass that is called.
            pub fn pass(&self) -> &dyn Pass {
                match self {
                    $($(Call::$name(pass) => pass,)*)*
                    $($(Call::$sum_name(pass) => pass,)*)*
                    $($(Call::$host_name(pass) => pass,)*)*
                }
            }

            fn pass_mut(&mut self) -> &mut dyn Pass {
                match self {
                    $($(Call::$name(pass) => pass,)*)*
                    $($(Call::$sum_name(pass) => pass,)*)*
                    $($(Call::$host_name(pass) => pass,)*)*
                }
            }
        }

        /// Loads the kernels of every operation onto a GPU.
        #[cfg(feature = "cuda")]
        pub(crate) fn load_kernels(gpu: &mut crate::gpu::Gpu) -> Result<(), crate::gpu::CudaError> {
            $(gpu.load::<ops::$op::cuda::Kernels>()?;)*
            Ok(())
        }

        /// The CUDA file of every operation, with its PTX.
        #[cfg(all(test, feature = "cuda"))]
        pub(crate) fn kernel_files() -> Vec<crate::gpu::KernelFile> {
            use crate::gpu::KernelSet;
            let of_operations = [$(ops::$op::cuda::Kernels::FILE,)*];
            of_operations.into_iter().chain(ops::conv2d::cuda::kernel_files()).collect()
        }
    };
}

passes! {
    with CUDA kernels: [
        /// convolution and transposed convolution: forward, input, weight and bias gradient
        conv2d {
            Conv2dForward(Forward), Conv2dGradInput(GradInput), Conv2dGradWeight(GradWeight), Conv2dGradBias(GradBias)
        }
        /// batch normalization: training and inference forward, backward; the same in steps, for fused layers
        batch_norm {
            BatchNormForward(Forward), BatchNormApply(Apply), BatchNormInference(Inference),
            BatchNormBackward(Backward), BatchNormBatchStats(BatchStats), BatchNormFold(Fold),
            BatchNormGradients(Gradients)
        }
        /// group normalization: forward, backward
        group_norm { GroupNormForward(Forward), GroupNormApply(Apply), GroupNormBackward(Backward) }
        /// what follows a convolution in a fused layer: forward, backward
        epilogue { EpilogueForward(Forward), EpilogueBackward(Backward) }
        /// GELU, sigmoid, ReLU and others: forward, backward
        activation { ActivationForward(Forward), ActivationBackward(Backward) }
        /// rectifier with a trained slope: forward, backward
        prelu { PreluForward(Forward), PreluBackward(Backward) }
        /// rectifier with random slopes: forward, backward
        rrelu { RreluForward(Forward), RreluBackward(Backward) }
        /// random elements become 0: forward and backward
        dropout { Dropout(Dropout) }
        /// weighted addition, scaled copy
        add { Add(Add), Scale(Scale) }
        /// product, element by element
        mul { Mul(Mul) }
        /// sum or mean of all elements: forward, backward
        sum { SumForward(Forward), SumBackward(Backward) }
        /// zeros at the bottom and right, and cutting them off
        pad { PadForward(Forward), PadBackward(Backward) }
        /// channels one after another; some channels: copied, and put among zeros
        concat { Concat(Concat), ConcatSlice(Slice), ConcatEmbed(Embed) }
        /// max and average pooling: forward, backward
        pool2d { Pool2dForward(Forward), Pool2dBackward(Backward) }
        /// images of another size: nearest pixels and bilinear, forward, backward
        upsample { UpsampleForward(Forward), UpsampleBackward(Backward) }
        /// L1, mean squared error, Charbonnier, binary cross-entropy: forward, backward
        loss { LossForward(Forward), LossBackward(Backward) }
        /// structural similarity of images: forward, backward
        ssim { SsimForward(Forward), SsimBackward(Backward) }
        /// softmax cross-entropy: forward, backward
        cross_entropy { CrossEntropyForward(Forward), CrossEntropyBackward(Backward) }
        /// one optimizer step over flat arrays, and whether it would leave a value that is not finite
        adamw { AdamWStep(Step), AdamWCheck(Check) }
        /// the same for gradient descent with momentum
        sgd { SgdStep(Step), SgdCheck(Check) }
        /// the norm of a gradient, and its reduction to a largest norm
        clip_norm { ClipNormNorm(Norm), ClipNormClip(Clip) }
        /// exponential moving average, and exchanging it with what it averages
        ema { EmaStep(Step), EmaSwap(Swap) }
        /// whether any value is NaN or infinite, and undoing a step if so
        finite { FindNonFinite(Find), CopyIf(CopyIf) }
        /// one value everywhere
        fill { Fill(Fill) }
    ]
    of other passes: [
        /// a convolution and what follows it, in one pass over memory: forward, backward with batch normalization
        conv_epilogue { ConvEpilogueForward(Forward), ConvEpilogueBackward(Backward) }
        /// batch normalization, skip connection and activation, in one pass over memory: forward, backward
        norm_act { NormActForward(Forward), NormActBackward(Backward) }
    ]
    on the host alone: [
        /// a pass that the caller defines, on host memory
        custom { Custom(Custom) }
    ]
}

impl From<ops::conv2d::Conv> for Call {
    fn from(conv: ops::conv2d::Conv) -> Call {
        match conv {
            ops::conv2d::Conv::Forward(pass) => pass.into(),
            ops::conv2d::Conv::GradInput(pass) => pass.into(),
        }
    }
}

/// The largest number of operands of any pass: that of a whole layer.
const MAX_OPERANDS: usize = ops::conv_epilogue::MAX_OPERANDS;
const _: () = assert!(MAX_OPERANDS >= 2 * ops::custom::MAX_OPERANDS);

impl Call {
    /// Visits every operand except the workspace, to read or change its span. Absent operands are skipped.
    pub fn operands_mut(&mut self, visit: &mut dyn FnMut(&mut Span, Access)) {
        self.pass_mut().operands(&mut Operands::new(&mut |span, access, _| visit(span, access)));
    }

    /// Every operand except the workspace, in the order of the pass's documentation.
    pub fn operands(&self) -> Vec<(Span, Access)> {
        let mut operands = Vec::new();
        self.clone().operands_mut(&mut |span, access| operands.push((*span, access)));
        operands
    }

    /// The output that may overwrite an operand, and the operands that it may overwrite.
    pub fn in_place(&self) -> Option<(Span, Vec<Span>)> {
        let (mut output, mut candidates) = (None, Vec::new());
        self.clone().pass_mut().operands(&mut Operands::new(&mut |span, access, aliasing| match aliasing {
            Aliasing::Output if access == Access::Set => output = Some(*span),
            Aliasing::Overwritable => candidates.push(*span),
            Aliasing::Output | Aliasing::Disjoint => {}
        }));
        output.map(|output| (output, candidates))
    }

    /// The calls that it computes as one, in their order: itself, if it is one alone.
    pub fn parts(&self) -> Vec<Call> {
        match self {
            Call::ConvEpilogueForward(pass) => vec![pass.conv.into(), pass.epilogue.into()],
            Call::ConvEpilogueBackward(pass) => {
                let (grad_weight, grad_input, gradients) = pass.norm_conv.passes();
                vec![grad_weight.into(), grad_input.into(), gradients.into(), pass.epilogue.into()]
            }
            Call::NormActForward(pass) => {
                let (norm, add, activation) = pass.passes();
                std::iter::once(norm.into()).chain(add.map(Call::from)).chain([activation.into()]).collect()
            }
            Call::NormActBackward(pass) => {
                let (activation, norm) = pass.passes();
                vec![activation.into(), norm.into()]
            }
            other => vec![other.clone()],
        }
    }

    /// Makes the choices that depend on the CPU.
    pub(crate) fn prepare_cpu(&mut self, cpu: &crate::Cpu) {
        self.pass_mut().prepare_cpu(cpu);
    }

    /// Asserts the contract of [`Pass`]: the lengths of the operands, and which may overlap; the workspace overlaps
    /// none. Allocates nothing.
    pub(crate) fn check(&self, workspace: Span) {
        self.pass().check();
        let mut operands = [(Span::EMPTY, Access::Read, Aliasing::Disjoint); MAX_OPERANDS];
        let mut len = 0;
        self.clone().pass_mut().operands(&mut Operands::new(&mut |span, access, aliasing| {
            operands[len] = (*span, access, aliasing);
            len += 1;
        }));
        let operands = &operands[..len];
        let in_workspace = operands.iter().position(|(operand, ..)| operand.overlaps(&workspace));
        assert_eq!(in_workspace, None, "{}: an operand overlaps the workspace: {self:?}", self.pass().name());
        for (i, &(written, access, aliasing)) in operands.iter().enumerate().filter(|(_, o)| o.1 != Access::Read) {
            for (j, &(other, _, of_other)) in operands.iter().enumerate().filter(|&(j, _)| j != i) {
                let in_place = aliasing == Aliasing::Output && of_other == Aliasing::Overwritable && written == other;
                assert!(
                    !written.overlaps(&other) || in_place,
                    "{}: operand {i}, which is written, overlaps operand {j}: {self:?}",
                    self.pass().name()
                );
                assert!(
                    !in_place || access == Access::Set,
                    "{}: an output that overwrites an operand must be set, not added to: {self:?}",
                    self.pass().name()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Call;
    use crate::ops::add::Scale;
    use crate::ops::prelu::Forward;
    use crate::pass::{Context, Write};
    use crate::{Backend, Cpu, Reference, Region, Span};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const fn span(offset: usize, len: usize) -> Span {
        Span::new(Region(0), offset, len)
    }

    /// What a backend says to a call, if it refuses it.
    fn refusal<B: Backend>(backend: &B, call: &Call, workspace: Span) -> Option<String> {
        let mut memory = backend.allocate(&[16]).unwrap();
        let run = || backend.run(&mut memory, call, Context::with_workspace(workspace));
        catch_unwind(AssertUnwindSafe(run)).err().map(|panic| *panic.downcast::<String>().unwrap())
    }

    /// The contract is the same on every backend of the host.
    #[test]
    fn operands_that_must_not_overlap_are_refused() {
        let scale = |y, write| Scale { weight: 2.0, x: span(0, 4), y, write };
        let forward = |slope, y| Forward { x: span(0, 4), slope, y };
        let (none, slope, cpu) = (Span::EMPTY, span(8, 1), Cpu::new(1).unwrap());
        for (call, workspace, expected) in [
            (scale(span(4, 4), Write::Add).into(), none, None),
            (scale(span(0, 4), Write::Set).into(), none, None),
            (scale(span(0, 4), Write::Add).into(), none, Some("must be set, not added to")),
            // In place is element by element: not one element further.
            (scale(span(1, 4), Write::Set).into(), none, Some("operand 1, which is written, overlaps operand 0")),
            (forward(slope, span(0, 4)).into(), none, None),
            // Only `x` may be overwritten.
            (forward(span(7, 1), span(4, 4)).into(), none, Some("operand 2, which is written, overlaps operand 1")),
            (forward(slope, span(4, 4)).into(), span(9, 4), None),
            (forward(slope, span(4, 4)).into(), span(7, 4), Some("an operand overlaps the workspace")),
        ] {
            for refused in [refusal(&cpu, &call, workspace), refusal(&Reference, &call, workspace)] {
                let is_right = match (&refused, expected) {
                    (Some(message), Some(expected)) => message.contains(expected),
                    (refused, expected) => refused.is_none() && expected.is_none(),
                };
                assert!(is_right, "{call:?}: {refused:?}, not {expected:?}");
            }
        }
    }
}
