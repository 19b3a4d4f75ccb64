//! [`Error`]

use crate::ids::PlanId;
use crate::shape::Shape;
use crate::units::mib;

/// What went wrong, and where. Messages name the operation, node and argument, and what was expected and found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Even the smallest plan needs more memory than allowed.
    #[error(
        "memory limit: {:.0} MiB are not enough: the smallest plan needs {:.0} MiB",
        mib(*limit), mib(*needed).ceil()
    )]
    MemoryLimit {
        /// Bytes allowed.
        limit: usize,
        /// Bytes that the smallest plan needs.
        needed: usize,
    },
    /// A rank that does not exist, or a batch with fewer images than ranks.
    #[error(
        "rank {rank} of {ranks} has no part of a batch of {batch} images: there must be at least one for each rank"
    )]
    Part {
        /// The rank, from 0.
        rank: usize,
        /// Ranks.
        ranks: usize,
        /// Images of the batch.
        batch: usize,
    },
    /// An input whose first dimension is not the number of images in the rank's part.
    #[error(
        "input `{node}` has shape {shape}, expected {images} as its first dimension, the images of this rank's part"
    )]
    PartOfInput {
        /// Name of the input.
        node: String,
        /// Its shape.
        shape: Shape,
        /// Images in the part.
        images: usize,
    },
    /// A plan for another rank, or number of ranks, than the session's.
    #[error("plan {plan} is for {}, the session is {}", rank_of(*expected), rank_of(*got))]
    OtherRank {
        /// Index of the plan.
        plan: usize,
        /// The plan's rank and number of ranks.
        expected: [usize; 2],
        /// The session's rank and number of ranks.
        got: [usize; 2],
    },
    /// An argument of an operation has the wrong shape, or is the wrong kind of node.
    #[error("{op} `{node}`: argument `{argument}` is {got}, expected {expected}")]
    Argument {
        /// Operation: `conv2d`.
        op: &'static str,
        /// Name of the node to be recorded.
        node: String,
        /// Name of the argument: `w`.
        argument: &'static str,
        /// What the operation takes.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// The parameters of an operation contradict each other or the shapes.
    #[error("{op} `{node}`: {message}")]
    Params {
        /// Operation: `conv2d`.
        op: &'static str,
        /// Name of the node to be recorded.
        node: String,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// A shape with a dimension of size 0, or with more elements than can be addressed.
    #[error("{op} `{node}`: shape {shape} has no elements, or too many")]
    Size {
        /// Operation: `input`, `parameter`, `conv2d`, ...
        op: &'static str,
        /// Name of the node to be recorded.
        node: String,
        /// The shape.
        shape: Shape,
    },
    /// Two inputs, parameters or states with the same name.
    #[error("there is already a node named `{name}`; names of inputs, parameters and states must be unique")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A node of another graph.
    #[error("node {index} is of another graph")]
    UnknownNode {
        /// Its index there.
        index: usize,
    },
    /// A loss with more than one element.
    #[error("the loss `{node}` has shape {shape}, expected a single element")]
    NotScalar {
        /// Name of the node.
        node: String,
        /// Its shape.
        shape: Shape,
    },
    /// There is no gradient to compute.
    #[error("`{node}` depends on no {kind}, so it has no gradient")]
    NoGradient {
        /// Name of the loss or output.
        node: String,
        /// `trained parameter` or `trained parameter or input`.
        kind: &'static str,
    },
    /// A node with respect to which the output has no gradient.
    #[error("`{node}` has no gradient here, expected an input or parameter that the output depends on")]
    NotDifferentiated {
        /// Name of the node.
        node: String,
    },
    /// An inference plan without outputs.
    #[error("an inference plan needs at least one output")]
    NoOutputs,
    /// A session without plans.
    #[error("a session needs at least one plan")]
    NoPlans,
    /// The plans of a session have different parameters or states.
    #[error("plan {plan} has {got} where plan 0 has {expected}; the plans of a session share parameters and states")]
    TensorsDiffer {
        /// Index of the plan that differs from the first.
        plan: usize,
        /// The tensor of the first plan, or `no tensor`.
        expected: String,
        /// The tensor that this plan has instead, or `no tensor`.
        got: String,
    },
    /// A plan that the session does not have.
    #[error("there is no plan {plan}; the session has {len} plans")]
    UnknownPlan {
        /// Its index.
        plan: usize,
        /// Number of plans in the session.
        len: usize,
    },
    /// A parameter or state that the session does not have.
    #[error("there is no {kind} `{name}`")]
    UnknownTensor {
        /// `parameter` or `parameter or state`.
        kind: &'static str,
        /// The name asked for.
        name: String,
    },
    /// A parameter whose group has a learning rate of 0.
    #[error("`{name}` is frozen, as its group's `lr` is 0: it has no gradient and no optimizer state")]
    Frozen {
        /// Name of the parameter.
        name: String,
    },
    /// The caller can write only inputs that the plan reads.
    #[error("`{node}` is {kind}, expected an input of the plan")]
    NotAnInput {
        /// Name of the node.
        node: String,
        /// What it is.
        kind: String,
    },
    /// Only the output of a gradient plan has a cotangent.
    #[error("plan {} takes no cotangent, as it is not made by `Plan::gradients`", plan.0)]
    NoCotangent {
        /// The plan.
        plan: PlanId,
    },
    /// A training step of a plan that is not for training.
    #[error("plan {} takes no training steps, as it is not made by `Plan::training`", plan.0)]
    NotTraining {
        /// The plan.
        plan: PlanId,
    },
    /// Too many training steps are started and not finished.
    #[error("{limit} training steps have been started, the most there can be: finish them first")]
    TooManySteps {
        /// The most steps that can be started before they are finished.
        limit: usize,
    },
    /// The caller passed too few or too many elements.
    #[error("`{name}` has {expected} elements (shape {shape}), got {got}")]
    Length {
        /// Name of the node or tensor.
        name: String,
        /// Its shape.
        shape: Shape,
        /// Its number of elements.
        expected: usize,
        /// Number of elements that the caller passed.
        got: usize,
    },
    /// An input that the plan reads was never written.
    #[error("input `{node}` of plan {} has not been written", plan.0)]
    InputNotWritten {
        /// Name of the input, or `cotangent of ...`.
        node: String,
        /// The plan.
        plan: PlanId,
    },
    /// A value that is not kept until the plan ends.
    #[error("{what} of `{node}` is not kept by plan {}: make it an output, or name it in `PlanOptions::keep`", plan.0)]
    NotKept {
        /// `the value` or `the gradient`.
        what: &'static str,
        /// Name of the node.
        node: String,
        /// The plan.
        plan: PlanId,
    },
    /// The plans of a session share one arena: the values of a plan are lost when another one runs.
    #[error("`{node}` of plan {} cannot be read: the plan has not run, or another one has run since", plan.0)]
    Stale {
        /// Name of the node.
        node: String,
        /// The plan.
        plan: PlanId,
    },
    /// A custom operation on a device. It runs only on backends whose memory is the host's.
    #[error("{op} `{node}`: custom operations run on the host alone, expected `Cpu` or `Reference`, got {backend}")]
    NoCustom {
        /// The operation's own name.
        op: &'static str,
        /// Name of the node.
        node: String,
        /// Name of the backend.
        backend: String,
    },
    /// An operation with a size that the device's kernels cannot count.
    #[error("{op} `{node}` is too large for {backend}: {reason}")]
    TooLarge {
        /// The operation.
        op: &'static str,
        /// Name of the node.
        node: String,
        /// Name of the backend.
        backend: String,
        /// Which size.
        reason: String,
    },
    /// An optimizer step without gradients.
    #[error("no gradients that an optimizer step has not used yet: run a plan of `Plan::training` first")]
    NoGradients,
    /// Gradients have been accumulated, and something else was asked for.
    #[error(
        "the gradients of {runs} micro-batches have been accumulated: use them first, with `start_accumulated_step` or \
         `update`"
    )]
    Accumulated {
        /// How many.
        runs: u64,
    },
    /// Something that a session keeps only if it is asked to.
    #[error("the session keeps no {what}: make it with `SessionOptions {{ {option}: true, .. }}`")]
    NotAllocated {
        /// What is missing.
        what: &'static str,
        /// The option.
        option: &'static str,
    },
    /// The averages are in the place of the parameters.
    #[error(
        "averages are in the place of the parameters: call `swap_averages` again before a training step or a checkpoint"
    )]
    Swapped,
    /// Training steps have been started, and their results are not known.
    #[error("{steps} training steps have been started: call `finish_steps` before a checkpoint")]
    NotFinished {
        /// How many.
        steps: usize,
    },
    /// Weights or a checkpoint cannot be written, read or used.
    #[error("{file}: {message}")]
    File {
        /// The file, or `weights` or `checkpoint` if they are bytes of the caller's.
        file: String,
        /// What is wrong with it, and what was expected.
        message: String,
    },
    /// The norm of gradients that no step has taken.
    #[error("no step with a `clip_norm` has been taken, so there is no norm of its gradients")]
    NoNorm,
    /// A constant of the optimizer is out of its range.
    #[error("{of}: `{argument}` is {value}, expected {expected}")]
    Optimizer {
        /// What it is a constant of: `AdamW`.
        of: &'static str,
        /// Name of the constant: `beta1`.
        argument: &'static str,
        /// What it is.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// The result of a plan that has not run.
    #[error("plan {} has not run yet", plan.0)]
    NotRun {
        /// The plan.
        plan: PlanId,
    },
    /// The CPU backend cannot be made.
    #[error("{message}")]
    Cpu {
        /// Why not.
        message: String,
    },
    /// The backend does not have enough memory.
    #[error(transparent)]
    OutOfMemory(#[from] kernels::OutOfMemory),
}

impl From<kernels::CpuError> for Error {
    fn from(error: kernels::CpuError) -> Error {
        Error::Cpu { message: error.to_string() }
    }
}

/// A result with this crate's [`Error`](enum@Error).
pub type Result<T> = std::result::Result<T, Error>;

fn rank_of([rank, ranks]: [usize; 2]) -> String {
    format!("rank {rank} of {ranks}")
}
