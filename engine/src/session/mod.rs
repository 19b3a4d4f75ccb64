//! [`Session`]: memory, and plans that run in it.

mod checkpoint;
mod finite;
mod non_finite;
mod optimizer;
mod options;
mod ready;
mod schedule;
mod step;
mod tensor_file;
mod tensors;
mod update;

pub use non_finite::NonFinite;
pub use optimizer::{AdamW, Optimizer, Sgd, Step};
pub use options::SessionOptions;
pub use schedule::{Schedule, ScheduleKind};

use crate::graph::{Op, TensorInfo};
use crate::ids::{NodeId, PlanId};
use crate::mode::{Mode, Phase};
use crate::plan::{Layout, MemoryReport, Plan, Purpose};
use crate::regions::{ARENA, GRADIENTS, WORKSPACE, flags_len};
use crate::{Error, Result};
use kernels::collective::{Alone, Collective};
use kernels::random::Key;
use kernels::{Backend, Element, Span};
use ready::{Ready, check_len, check_plan};
use std::sync::Arc;
use step::Started;

/// Time and work of one step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// Index of the step in the plan.
    pub step: usize,
    /// The pass: `conv2d.grad_weight`.
    pub op: &'static str,
    /// Name of the node that it belongs to.
    pub node: String,
    /// Phase of the step.
    pub phase: Phase,
    /// Time that it took.
    pub seconds: f64,
    /// Floating-point operations of convolutions (see [`kernels::conv2d::Conv2dParams::flops`]); 0 for passes that are
    /// bound by memory.
    pub flops: usize,
    /// Bytes that it reads plus those that it writes: every operand once, no scratch.
    pub bytes: usize,
}

/// A backend, its memory, and plans that share the parameters, gradients, optimizer state and states in it.
///
/// Plans of different graphs (another batch size, a section of the network) can share a session if their graphs have
/// the same parameters and states in the same order. They also share one arena, so what a run computes can be read
/// until another plan runs; only scalar outputs stay.
///
/// Parameters and states are 0 until [`initialize`](Session::initialize) or [`set_tensor`](Session::set_tensor).
pub struct Session<B: Backend> {
    backend: Arc<B>,
    /// The ranks that run the plans of [`Plan::training_part`] together.
    ranks: Arc<dyn Collective<B>>,
    memory: B::Memory,
    plans: Vec<Ready>,
    tensors: Vec<TensorInfo>,
    layout: Layout,
    optimizer_step: u64,
    training_runs: u64,
    options: SessionOptions,
    /// The training steps that have been started and not finished.
    steps_ahead: Vec<Started>,
    /// The training step that failed last, until another is finished.
    failed_step: Option<Started>,
    /// Runs whose gradients have been accumulated, and not used.
    accumulated: u64,
    /// Whether the averages are in the place of the parameters.
    is_swapped: bool,
    /// Whether a step has taken the norm of its gradients.
    has_norm: bool,
    /// The host's copy of the flags' region.
    flags: Vec<B::Element>,
    /// The seed of the last initialization, from which training plans draw random numbers.
    seed: u64,
    /// Whether there are gradients that no optimizer step has used.
    has_gradients: bool,
    /// The plan whose values are in the arena.
    last_run: Option<PlanId>,
    /// The whole arena and the whole workspace.
    arena: Span,
    workspace: Span,
}

impl<B: Backend> Session<B> {
    /// Allocates the memory that the plans need.
    ///
    /// # Errors
    /// If there is no plan, their parameters and states differ, one has a custom operation that the backend cannot run,
    /// or the memory cannot be allocated.
    pub fn new(backend: B, plans: Vec<Plan>) -> Result<Session<B>> {
        Session::with_options(backend, Arc::new(Alone), plans, SessionOptions::default())
    }

    /// As [`new`](Session::new), for one of several ranks. They run the plans of [`Plan::training_part`] in lockstep; a
    /// rank may run other plans by itself.
    ///
    /// # Errors
    /// As [`new`](Session::new); also if a plan is for another rank.
    pub fn distributed(backend: B, ranks: Arc<dyn Collective<B>>, plans: Vec<Plan>) -> Result<Session<B>> {
        Session::with_options(backend, ranks, plans, SessionOptions::default())
    }

    /// As [`distributed`](Session::distributed), with options. One rank is [`Alone`].
    ///
    /// # Errors
    /// As [`distributed`](Session::distributed).
    pub fn with_options(
        backend: B,
        ranks: Arc<dyn Collective<B>>,
        plans: Vec<Plan>,
        options: SessionOptions,
    ) -> Result<Session<B>> {
        let first = plans.first().ok_or(Error::NoPlans)?;
        for (i, plan) in plans.iter().enumerate() {
            check_plan(&backend, i, plan, first, [ranks.rank(), ranks.ranks()])?;
        }
        let (tensors, layout) = (first.graph.tensors().to_vec(), first.layout.clone());
        let arena = plans.iter().map(|plan| plan.placement.arena).max().unwrap_or(0);
        let mut inputs = 0;
        let ready = |plan: Plan| {
            let begin = inputs;
            inputs += plan.program.inputs_len;
            Ready::new(&backend, plan, begin)
        };
        let plans: Vec<Ready> = plans.into_iter().map(ready).collect();
        let workspace = plans.iter().map(Ready::workspace_len).max().unwrap_or(0);
        let workspace = workspace.max(backend.prepare(&mut layout.norm(GRADIENTS).into()));
        let (parameters, trained, states) = (layout.parameters, layout.trained, layout.states);
        let flags = flags_len(B::STEPS_AHEAD);
        // In the order of the regions' numbers.
        let [averages, sums] = [options.average, options.accumulate].map(|is_kept| if is_kept { trained } else { 0 });
        let lens =
            [parameters, trained, trained, trained, states, inputs, arena, workspace, states, flags, averages, sums];
        Ok(Session {
            memory: backend.allocate(&lens)?,
            backend: Arc::new(backend),
            ranks,
            plans,
            tensors,
            layout,
            optimizer_step: 0,
            training_runs: 0,
            steps_ahead: Vec::with_capacity(B::STEPS_AHEAD),
            options,
            failed_step: None,
            accumulated: 0,
            is_swapped: false,
            has_norm: false,
            flags: vec![B::Element::from_f64(0.0); flags],
            seed: 0,
            has_gradients: false,
            last_run: None,
            arena: Span::new(ARENA, 0, arena),
            workspace: Span::new(WORKSPACE, 0, workspace),
        })
    }

    /// The backend that computes.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// A plan.
    ///
    /// # Errors
    /// If there is no such plan.
    pub fn plan(&self, plan: PlanId) -> Result<&Plan> {
        Ok(&self.ready(plan)?.plan)
    }

    /// The memory that is allocated.
    pub fn memory(&self) -> MemoryReport {
        let size = size_of::<B::Element>();
        let [parameters, trained] = [self.layout.parameters, self.layout.trained].map(|len| len * size);
        let [averages, sums] =
            [self.options.average, self.options.accumulate].map(|is_kept| if is_kept { trained } else { 0 });
        MemoryReport {
            parameters: parameters + averages,
            gradients: trained + sums,
            optimizer_state: 2 * trained,
            state: 2 * self.layout.states * size,
            inputs: self.plans.iter().map(|ready| ready.plan.program.inputs_len * size).sum(),
            arena: self.arena.len * size,
            workspace: self.workspace.len * size,
        }
    }

    /// Runs `f` where the backend's passes start fastest: wrap a training loop in it. If ranks are threads of this
    /// process, it just calls `f`: ranks that share a thread pool would wait for each other in it for good.
    pub fn enter<R: Send>(&mut self, f: impl FnOnce(&mut Session<B>) -> R + Send) -> R
    where
        B: Send + Sync,
    {
        if self.ranks.shares_process() {
            return f(self);
        }
        let backend = Arc::clone(&self.backend);
        backend.enter(|| f(self))
    }

    /// Writes an input of a plan. It stays until it is written again.
    ///
    /// # Errors
    /// If the node is not an input that the plan reads, or `data` has another length.
    pub fn write_input(&mut self, plan: PlanId, node: NodeId, data: &[B::Element]) -> Result<()> {
        let graph = &self.ready(plan)?.plan.graph;
        graph.check(node)?;
        let place = self.place_of_node(plan, node);
        let not_an_input = |kind: &str| Error::NotAnInput { node: graph.name(node).to_owned(), kind: kind.to_owned() };
        match (&graph.get(node).op, place) {
            (Op::Input, Some(place)) => self.write(plan, place, node, data),
            (Op::Input, None) => Err(not_an_input("an input that the plan does not read")),
            (op, _) => Err(not_an_input(&format!("the result of {}", op.kind()))),
        }
    }

    /// Writes the cotangent of a [`Plan::gradients`] plan: the weights of the output's elements in the sum that is
    /// differentiated.
    ///
    /// # Errors
    /// If the plan is not made by [`Plan::gradients`], or `data` has another length than the output.
    pub fn write_cotangent(&mut self, plan: PlanId, data: &[B::Element]) -> Result<()> {
        let ready = self.ready(plan)?;
        let output = ready.plan.purpose.outputs()[0];
        match ready.plan.program.cotangent {
            Some(cotangent) => self.write(plan, ready.place_of(cotangent), output, data),
            None => Err(Error::NoCotangent { plan }),
        }
    }

    /// Runs every step of a plan. It allocates nothing, but a GPU may in the first two runs.
    ///
    /// # Errors
    /// If there is no such plan, or one of its inputs has never been written.
    pub fn run(&mut self, plan: PlanId) -> Result<()> {
        self.begin(plan)?;
        let (ready, key) = (&self.plans[plan.0], self.key(plan));
        let (backend, ranks) = (&*self.backend, &*self.ranks);
        let mut passes = |memory: &mut B::Memory| {
            for (i, action) in ready.actions.iter().enumerate() {
                action.run(backend, ranks, memory, ready.context(i, key));
                if let Some(freed) = ready.freed.get(i) {
                    poison(backend, memory, freed);
                }
            }
        };
        if ready.is_repeatable {
            backend.replay(&mut self.memory, plan.0, &mut passes);
        } else {
            passes(&mut self.memory);
        }
        self.count_run(plan);
        Ok(())
    }

    /// As [`run`](Session::run), and measures every step: on a GPU by its own clock, without waiting in between.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn run_timed(&mut self, plan: PlanId) -> Result<Vec<StepTime>> {
        self.begin(plan)?;
        let (ready, key) = (&self.plans[plan.0], self.key(plan));
        let mut marks = Vec::with_capacity(ready.actions.len());
        for (i, action) in ready.actions.iter().enumerate() {
            let start = self.backend.mark();
            action.run(&*self.backend, &*self.ranks, &mut self.memory, ready.context(i, key));
            marks.push([start, self.backend.mark()]);
            if let Some(freed) = ready.freed.get(i) {
                poison(&*self.backend, &mut self.memory, freed);
            }
        }
        let steps = ready.actions.iter().zip(&ready.plan.program.steps).zip(marks).enumerate();
        let times = steps.map(|(i, ((action, step), [start, end]))| StepTime {
            step: i,
            op: action.name(),
            node: ready.plan.graph.name(step.node).to_owned(),
            phase: step.phase,
            seconds: end.seconds_since(&start),
            flops: action.call().map_or(0, |call| call.pass().flops()),
            bytes: action.elements_moved() * size_of::<B::Element>(),
        });
        let times = times.collect();
        self.count_run(plan);
        Ok(times)
    }

    /// The loss of a training plan, or the first output of another plan, as its last run left it.
    ///
    /// # Errors
    /// If there is no such plan, it has not run, or its first output has more than one element.
    pub fn loss(&self, plan: PlanId) -> Result<f64> {
        let ready = self.ready(plan)?;
        let output = ready.plan.purpose.outputs()[0];
        let place = self.place_of_node(plan, output).expect("outputs are computed");
        if place.len != 1 {
            let (node, shape) = (ready.plan.graph.name(output).to_owned(), ready.plan.graph.shape(output));
            return Err(Error::NotScalar { node, shape });
        }
        if !ready.has_run {
            return Err(Error::NotRun { plan });
        }
        let mut loss = [B::Element::from_f64(0.0)];
        self.backend.read(&self.memory, place, &mut loss);
        Ok(loss[0].to_f64())
    }

    /// Reads the value of a node after a run: an output, a node that is kept, an input, parameter or state.
    ///
    /// # Errors
    /// If the plan does not keep the node, another plan has run since, or `out` has another length.
    pub fn read(&self, plan: PlanId, node: NodeId, out: &mut [B::Element]) -> Result<()> {
        let ready = self.ready(plan)?;
        ready.plan.graph.check(node)?;
        let value = ready.plan.program.of_node[node.index()];
        self.read_value(plan, node, value, "the value", out)
    }

    /// Reads the gradient of an input after a run of a [`Plan::gradients`] plan.
    ///
    /// # Errors
    /// If the plan has no gradient of the node, another plan has run since, or `out` has another length.
    pub fn read_gradient(&self, plan: PlanId, node: NodeId, out: &mut [B::Element]) -> Result<()> {
        let ready = self.ready(plan)?;
        ready.plan.graph.check(node)?;
        let gradient = ready.plan.program.gradients[node.index()];
        self.read_value(plan, node, gradient, "the gradient", out)
    }

    fn read_value(
        &self,
        plan: PlanId,
        node: NodeId,
        value: Option<Span>,
        what: &'static str,
        out: &mut [B::Element],
    ) -> Result<()> {
        let ready = self.ready(plan)?;
        let node_name = || ready.plan.graph.name(node).to_owned();
        let readable = |value: &Span| {
            let value = &ready.plan.program.values[value.offset];
            value.kept || value.fixed.is_some()
        };
        let Some(value) = value.filter(readable) else {
            return Err(Error::NotKept { what, node: node_name(), plan });
        };
        let place = ready.place_of(value);
        if place.region == ARENA && self.last_run != Some(plan) {
            return Err(Error::Stale { node: node_name(), plan });
        }
        check_len(&node_name(), ready.plan.graph.shape(node), out.len())?;
        self.backend.read(&self.memory, place, out);
        Ok(())
    }

    fn write(&mut self, plan: PlanId, place: Span, node: NodeId, data: &[B::Element]) -> Result<()> {
        let ready = &mut self.plans[plan.0];
        check_len(ready.plan.graph.name(node), ready.plan.graph.shape(node), data.len())?;
        ready.written.iter_mut().filter(|(span, _)| *span == place).for_each(|(_, written)| *written = true);
        self.backend.write(&mut self.memory, place, data);
        Ok(())
    }

    /// Checks that a plan can run, and poisons its memory if the options say so.
    fn begin(&mut self, plan: PlanId) -> Result<()> {
        let ready = self.ready(plan)?;
        if let Some(&(missing, _)) = ready.written.iter().find(|(_, written)| !written) {
            return Err(Error::InputNotWritten { node: ready.input_name(missing), plan });
        }
        if ready.plan.options.poison {
            poison(&*self.backend, &mut self.memory, &[self.arena, self.workspace]);
        }
        self.last_run = Some(plan);
        let ready = &mut self.plans[plan.0];
        ready.has_run = true;
        self.has_gradients |= ready.plan.purpose.mode() == Mode::Training;
        Ok(())
    }

    /// Counts a run that has ended.
    fn count_run(&mut self, plan: PlanId) {
        if matches!(self.plans[plan.0].plan.purpose, Purpose::Training { .. }) {
            self.training_runs += 1;
        }
    }

    /// The key of the random numbers that the next run of a plan draws. In training it depends on the seed and the
    /// number of runs, so that a resumed or repeated run draws the same numbers. In inference it is constant, so that
    /// results depend on nothing but inputs, parameters and states.
    fn key(&self, plan: PlanId) -> Key {
        match self.plans[plan.0].plan.purpose.mode() {
            Mode::Training => Key::new(self.seed).fold_in(self.training_runs),
            Mode::Inference(_) => Key::new(0).fold_in(0),
        }
    }

    fn ready(&self, plan: PlanId) -> Result<&Ready> {
        self.plans.get(plan.0).ok_or(Error::UnknownPlan { plan: plan.0, len: self.plans.len() })
    }

    /// Where a node's value lies, if the plan has it.
    fn place_of_node(&self, plan: PlanId, node: NodeId) -> Option<Span> {
        let ready = &self.plans[plan.0];
        ready.plan.program.of_node[node.index()].map(|value| ready.place_of(value))
    }
}

/// Fills memory with NaN.
fn poison<B: Backend>(backend: &B, memory: &mut B::Memory, spans: &[Span]) {
    for span in spans {
        backend.fill(memory, *span, f64::NAN);
    }
}
