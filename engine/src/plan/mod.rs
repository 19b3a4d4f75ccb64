//! [`Plan`]: how a graph is computed, and where its values lie.

pub(crate) mod arena;
mod build;
mod display;
mod join;
mod layout;
mod memory;
mod place;
mod purpose;
mod recompute;
#[cfg(test)]
mod tests;

pub(crate) use layout::Layout;
pub use memory::MemoryReport;
pub use purpose::PlanOptions;
pub(crate) use purpose::Purpose;

use crate::emit::{Action, Program, Step, VALUE};
use crate::graph::{Graph, Op};
use crate::ids::NodeId;
use crate::mode::{Phase, Statistics};
use crate::regions::GRADIENTS;
use crate::{Error, Result};
use kernels::collective::Part;
use kernels::{Backend, Span};
use place::Placement;

/// The steps that compute outputs of a [`Graph`] and their gradients, and the place of every value in memory.
///
/// A plan is made once, before anything runs, and replayed by a [`Session`](crate::Session). Printing it shows every
/// step with what it writes and where, and the bytes it needs.
///
/// - The first contribution to a gradient is set and later ones are added, so nothing is zeroed first.
/// - The gradients of parameters go to a region of their own, with the layout of the parameters. A parameter that the
///   loss does not depend on has gradient 0, and one that is [frozen](crate::Group) has none.
/// - The arguments of [`Graph::add`] share the gradient of the sum, without a copy, where possible.
/// - A value's memory is free for others after the last step that reads it. Element-wise steps write in place where
///   they can.
/// - The output of a batch normalization is recomputed for the backward passes of its readers
///   ([`PlanOptions::recompute`]).
/// - A convolution and what follows it in a fused layer are one step, and so are a batch normalization and the
///   activation after it, with a skip connection between them or not ([`PlanOptions::fuse`]).
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) graph: Graph,
    pub(crate) layout: Layout,
    pub(crate) purpose: Purpose,
    pub(crate) program: Program,
    pub(crate) placement: Placement,
    pub(crate) options: PlanOptions,
}

impl Plan {
    /// Computes the loss, which has one element, and its gradient with respect to every parameter. Batch normalization
    /// uses the statistics of the batch, and updates the running ones.
    ///
    /// # Errors
    /// If the loss is not of the graph, has more than one element or depends on no parameter that is trained.
    pub fn training(graph: &Graph, loss: NodeId) -> Result<Plan> {
        Plan::training_with(graph, loss, &PlanOptions::default())
    }

    /// As [`training`](Plan::training), with options.
    ///
    /// # Errors
    /// As [`training`](Plan::training); also if a node to keep is not of the graph.
    pub fn training_with(graph: &Graph, loss: NodeId, options: &PlanOptions) -> Result<Plan> {
        Plan::new(graph, Purpose::Training { loss, part: None }, options)
    }

    /// The training plan of one of several ranks, each of which has a part of every batch. Up to rounding it computes
    /// what [`training`](Plan::training) computes with the whole batch. Every rank gets the same loss, gradients and
    /// running statistics, bit for bit. The printed plan shows where ranks wait for each other:
    /// `collective.batch_stats` and `collective.sum`.
    ///
    /// The batch of `graph` is the rank's part: the first dimension of every input is the number of images in the part.
    /// The loss must be a mean over the images, and only it and batch normalization may mix images. The ranks run plans
    /// of the same network in lockstep, in [`Session::distributed`](crate::Session::distributed).
    ///
    /// # Errors
    /// As [`training`](Plan::training); also if a rank has no images, or the first dimension of an input is not the
    /// number of images in the part.
    pub fn training_part(graph: &Graph, loss: NodeId, part: Part, options: &PlanOptions) -> Result<Plan> {
        let Part { rank, ranks, batch } = part;
        if rank >= ranks || batch < ranks {
            return Err(Error::Part { rank, ranks, batch });
        }
        let images = part.images().len();
        for id in graph.ids().filter(|&id| matches!(graph.get(id).op, Op::Input)) {
            let node = graph.get(id);
            if node.shape.dims().first() != Some(&images) {
                return Err(Error::PartOfInput { node: node.name.clone(), shape: node.shape, images });
            }
        }
        Plan::new(graph, Purpose::Training { loss, part: Some(part) }, options)
    }

    /// Computes the values of `outputs`.
    ///
    /// # Errors
    /// If there is no output, or one is not of the graph.
    pub fn inference(graph: &Graph, outputs: &[NodeId], statistics: Statistics) -> Result<Plan> {
        Plan::inference_with(graph, outputs, statistics, &PlanOptions::default())
    }

    /// As [`inference`](Plan::inference), with options.
    ///
    /// # Errors
    /// As [`inference`](Plan::inference); also if a node to keep is not of the graph.
    pub fn inference_with(
        graph: &Graph,
        outputs: &[NodeId],
        statistics: Statistics,
        options: &PlanOptions,
    ) -> Result<Plan> {
        if outputs.is_empty() {
            return Err(Error::NoOutputs);
        }
        Plan::new(graph, Purpose::Inference { outputs: outputs.to_vec(), statistics }, options)
    }

    /// Computes a node of any shape, and the gradients of its sum weighted by a cotangent, which the caller writes with
    /// [`Session::write_cotangent`](crate::Session::write_cotangent). The gradients are those with respect to the
    /// parameters and, if `wrt_inputs`, to the inputs. Batch normalization works as in [`training`](Plan::training).
    ///
    /// # Errors
    /// If a node is not of the graph, or the output depends on nothing that has a gradient.
    pub fn gradients(graph: &Graph, output: NodeId, wrt_inputs: bool, options: &PlanOptions) -> Result<Plan> {
        Plan::new(graph, Purpose::Gradients { output, wrt_inputs }, options)
    }

    fn new(graph: &Graph, purpose: Purpose, options: &PlanOptions) -> Result<Plan> {
        let layout = Layout::of(graph);
        let mut program = build::build(graph, &layout, &purpose, &options.keep)?;
        match options.fuse {
            true => join::join(&mut program),
            false => program.separate(),
        }
        let recomputable = std::mem::take(&mut program.recomputable);
        let program = recompute::choose(&program, &recomputable, options);
        let placement = place::place(&program, &place::lifetimes(&program), options.reuse);
        Ok(Plan { graph: graph.clone(), layout, purpose, program, placement, options: options.clone() })
    }

    /// The same plan, but it recomputes as much in the backward phase as it takes for a session of this plan alone to
    /// need at most `limit` bytes on the backend: see [`PlanOptions::arena_limit`].
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] if even the smallest plan needs more.
    pub fn within<B: Backend>(&self, backend: &B, limit: usize) -> Result<Plan> {
        let mut plan = self.clone();
        // What it needs besides the arena may change with the steps.
        for _ in 0..2 {
            let memory = plan.memory(backend);
            if memory.total() <= limit {
                return Ok(plan);
            }
            let arena = limit.saturating_sub(memory.total() - memory.arena) / size_of::<B::Element>();
            let options = PlanOptions { arena_limit: Some(arena), ..self.options.clone() };
            plan = Plan::new(&self.graph, self.purpose.clone(), &options)?;
        }
        let needed = plan.memory(backend).total();
        if needed <= limit { Ok(plan) } else { Err(Error::MemoryLimit { limit, needed }) }
    }

    /// The same plan with [`PlanOptions::fuse`] or without.
    ///
    /// # Errors
    /// None that making this plan did not have.
    pub fn fused(&self, fuse: bool) -> Result<Plan> {
        Plan::new(&self.graph, self.purpose.clone(), &PlanOptions { fuse, ..self.options.clone() })
    }

    /// What a small arena costs: the number of recompute steps, and their share of the plan's floating-point operations
    /// in convolutions.
    pub fn recomputed(&self) -> (usize, f64) {
        let flops = |step: &Step| step.action.call().map_or(0, |call| call.pass().flops());
        let steps = || self.program.steps.iter().filter(|step| step.phase == Phase::Recompute);
        let total: usize = self.program.steps.iter().map(flops).sum();
        let again: usize = steps().map(flops).sum();
        (steps().count(), again as f64 / total.max(1) as f64)
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.program.steps.len()
    }

    /// Whether there is nothing to compute: all outputs are leaves.
    pub fn is_empty(&self) -> bool {
        self.program.steps.is_empty()
    }

    /// Elements of the arena in use at every step, by values that are written then or before and read then or later.
    pub fn arena_use(&self) -> &[usize] {
        &self.placement.in_use
    }

    /// The most elements of the arena in use at any step.
    pub(crate) fn arena_peak(&self) -> usize {
        self.placement.in_use.iter().copied().max().unwrap_or(0)
    }

    /// The place of the value that a symbolic span stands for.
    pub(crate) fn place_of(&self, value: Span) -> Span {
        debug_assert_eq!(value.region, VALUE);
        self.placement.spans[value.offset]
    }

    /// The steps, and their actions with places in memory for operands.
    pub(crate) fn actions(&self) -> impl Iterator<Item = (&Step, Action)> {
        self.program.steps.iter().map(|step| {
            let mut action = step.action.clone();
            action.operands_mut(&mut |span, _| *span = self.place_of(*span));
            (step, action)
        })
    }

    /// What a session that runs this plan alone allocates on the backend. Plans in one session share everything but the
    /// inputs; arena and workspace are as large as the largest plan needs.
    pub fn memory<B: Backend>(&self, backend: &B) -> MemoryReport {
        let size = size_of::<B::Element>();
        let [parameters, trained] = [self.layout.parameters, self.layout.trained].map(|len| len * size);
        let steps = self.program.steps.iter();
        let workspace = steps.map(|step| step.action.clone().prepare(backend)).max().unwrap_or(0);
        let workspace = workspace.max(backend.prepare(&mut self.layout.norm(GRADIENTS).into()));
        MemoryReport {
            parameters,
            gradients: trained,
            optimizer_state: 2 * trained,
            state: 2 * self.layout.states * size,
            inputs: self.program.inputs_len * size,
            arena: self.placement.arena * size,
            workspace: workspace * size,
        }
    }
}
