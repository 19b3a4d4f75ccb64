//! What only the fused layer ([`Graph::norm_conv_act`](crate::Graph::norm_conv_act)) needs from the emission.
//!
//! A fused layer leaves work to the passes of its neighbours, which saves passes over memory:
//!
//! - If a later layer normalizes a node, the pass that computes the node also computes the batch statistics of its
//!   channels.
//! - The gradient of a fused layer's output comes as separate terms ([`Gradient`]): a gradient whose weight is not
//!   applied yet, and a gradient through a batch normalization that is not evaluated yet. The layer's own backward pass
//!   does both.

use super::emission::Emission;
use super::emitter::Emitter;
use super::fused_facts::{Deferred, Gradient};
use crate::ids::NodeId;
use kernels::collective::{BatchStats, RankStep};
use kernels::conv_epilogue::NormConvBackward;
use kernels::epilogue::{Backward, EpilogueParams, NormGradient};
use kernels::{Span, Write};

/// What a fused layer needs from its [`Emitter`], besides what every operation needs.
pub(crate) trait Fused {
    /// Mean and variance of the channels of input `i`, if an earlier pass writes them.
    fn batch_stats(&self, i: usize) -> Option<[Span; 2]>;

    /// New values for mean and variance of the channels of input `i`, which the next pass writes.
    fn new_batch_stats(&mut self, i: usize) -> [Span; 2];

    /// The same for the output.
    fn new_output_batch_stats(&mut self) -> [Span; 2];

    /// Whether a reader of the output uses its batch statistics.
    fn norm_reads_output(&self) -> bool;

    /// If there are several ranks, emits the step from the statistics of this rank's part to those of the whole batch.
    fn batch_stats_over_ranks(&mut self, stats: [Span; 2]);

    /// If there are several ranks, emits the step from a mean over this rank's rows to the mean over all rows of the
    /// batch.
    fn mean_over_ranks(&mut self, value: Span);

    /// Gradient of the output as separate terms, for operations that take it so.
    fn output_gradient(&self) -> Gradient;

    /// Adds a gradient through a batch normalization to the gradient of input `i`. If the input's operation takes
    /// separate terms, its own backward pass evaluates it.
    fn contribute_norm(&mut self, i: usize, norm: NormGradient);

    /// The same, but always by a pass of this node.
    fn contribute_norm_now(&mut self, i: usize, norm: NormGradient);

    /// Whether [`defer_norm`](Self::defer_norm) may leave the passes to the operation of input `i`: it takes separate
    /// terms, and has none yet. With several ranks, sums over them come between the passes.
    fn can_defer_norm(&self, i: usize) -> bool;

    /// Adds a gradient through a normalization to the gradient of input `i`, and leaves the passes to the input's
    /// operation, whose own backward pass is then one with them.
    fn defer_norm(&mut self, i: usize, passes: NormConvBackward);

    /// The passes that were left to this node. If one of their gradients is that of input `bias`, which the node's own
    /// pass writes, they cannot be one: then they are emitted first.
    fn take_deferred_norm(&mut self, bias: Option<usize>) -> Option<NormConvBackward>;
}

impl Fused for Emitter<'_> {
    fn batch_stats(&self, i: usize) -> Option<[Span; 2]> {
        self.emission.program.fused[self.input_node(i).index()].batch_stats
    }

    fn new_batch_stats(&mut self, i: usize) -> [Span; 2] {
        self.emission.new_batch_stats(self.input_node(i))
    }

    fn new_output_batch_stats(&mut self) -> [Span; 2] {
        self.emission.new_batch_stats(self.node)
    }

    fn norm_reads_output(&self) -> bool {
        use crate::mode::{Mode, Statistics};
        let Emission { nodes, needed, mode, .. } = &*self.emission;
        let mut readers = nodes.iter().zip(needed).filter(|(node, needed)| **needed && node.reads_batch_stats);
        *mode != Mode::Inference(Statistics::Running) && readers.any(|(node, _)| node.inputs[0] == self.node)
    }

    fn batch_stats_over_ranks(&mut self, [mean, var]: [Span; 2]) {
        if let Some(part) = self.emission.part {
            let operands = BatchStats { mean, var };
            self.emission.step_over_ranks(self.node, RankStep::BatchStats { part, operands });
        }
    }

    fn mean_over_ranks(&mut self, value: Span) {
        if let Some(part) = self.emission.part.filter(|_| !value.is_empty()) {
            self.emission.step_over_ranks(self.node, RankStep::Sum { weight: part.share(), x: value });
        }
    }

    fn output_gradient(&self) -> Gradient {
        let (program, index) = (&self.emission.program, self.node.index());
        debug_assert!(self.emission.facts(self.node).takes_gradient_terms);
        Gradient {
            norm: program.fused[index].norm.unwrap_or(NormGradient::NONE),
            dy: program.gradients[index].unwrap_or(Span::EMPTY),
            weight: program.fused[index].weight,
        }
    }

    fn contribute_norm(&mut self, i: usize, norm: NormGradient) {
        let input = self.input_node(i);
        let takes_parts = self.emission.facts(input).takes_gradient_terms;
        let part = &mut self.emission.program.fused[input.index()].norm;
        if takes_parts && part.is_none() {
            *part = Some(norm);
        } else {
            self.contribute_norm_now(i, norm);
        }
    }

    fn can_defer_norm(&self, i: usize) -> bool {
        let input = self.input_node(i);
        let takes_terms = self.wants(i) && self.emission.facts(input).takes_gradient_terms;
        takes_terms && self.emission.program.fused[input.index()].norm.is_none() && self.emission.part.is_none()
    }

    fn defer_norm(&mut self, i: usize, passes: NormConvBackward) {
        let (from, target) = (self.node, self.input_node(i));
        self.emission.program.fused[target.index()].norm = Some(passes.gradient());
        self.emission.deferred = Some(Deferred { from, target, passes });
    }

    fn take_deferred_norm(&mut self, bias: Option<usize>) -> Option<NormConvBackward> {
        let Deferred { from, passes, .. } = self.emission.deferred.take_if(|deferred| deferred.target == self.node)?;
        let shared = bias.map(|bias| self.input_node(bias));
        if shared.is_some_and(|bias| self.emission.facts(from).inputs.contains(&bias)) {
            self.emission.emit_deferred(from, passes);
            return None;
        }
        Some(passes)
    }

    fn contribute_norm_now(&mut self, i: usize, norm: NormGradient) {
        let input = self.input_node(i);
        let shape = self.shape(i);
        let (dz, channels) = (self.new_value(shape), shape.channels());
        let rows = shape.len() / channels;
        let params = EpilogueParams { rows, channels, activation: None, skip_weight: 0.0, dy_weight: 0.0 };
        let none = Span::EMPTY;
        self.emit(Backward { params, saved: none, norm, dy: none, total: none, dz, db: none, db_write: Write::Set });
        self.emission.contribute(self.node, input, dz, 1.0);
    }
}

impl Emission {
    /// To be called before the backward passes of a node: emits passes that were left to another one. So no passes of
    /// other nodes come between, which may add to the same gradients.
    pub(crate) fn emit_deferred_unless(&mut self, node: Option<NodeId>) {
        if let Some(Deferred { from, passes, .. }) = self.deferred.take_if(|deferred| Some(deferred.target) != node) {
            self.emit_deferred(from, passes);
        }
    }

    fn emit_deferred(&mut self, from: NodeId, passes: NormConvBackward) {
        let (grad_weight, grad_input, gradients) = passes.passes();
        self.step(from, grad_weight);
        self.step(from, grad_input);
        self.step(from, gradients);
    }

    fn new_batch_stats(&mut self, node: NodeId) -> [Span; 2] {
        let channels = [self.facts(node).shape.channels()].into();
        let stats = [(); 2].map(|()| self.program.value(channels));
        self.program.fused[node.index()].batch_stats = Some(stats);
        stats
    }
}
