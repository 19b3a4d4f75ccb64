//! What only the fused layer ([`Graph::norm_conv_act`](crate::Graph::norm_conv_act)) needs of the emission.
//!
//! A fused layer leaves work to its neighbours, so that no pass over memory is made for it:
//!
//! - The batch statistics of a node's channels are taken by the pass that makes the node, if a later layer normalizes
//!   it.
//! - The gradient of a fused layer's output comes in parts ([`Gradient`]): a weight that is not applied yet, and a
//!   gradient through a batch normalization that is not added up yet. The layer's own backward pass does both.

use super::emission::Emission;
use super::emitter::Emitter;
use super::node_parts::Gradient;
use crate::ids::NodeId;
use kernels::collective::{BatchStats, RankStep};
use kernels::epilogue::{Backward, EpilogueParams, NormGradient};
use kernels::{Span, Write};

/// What a fused layer asks of its [`Emitter`], beside what every operation does.
pub(crate) trait Fused {
    /// Mean and variance of the channels of input `i`, if a pass before has written them.
    fn batch_stats(&self, i: usize) -> Option<[Span; 2]>;

    /// Values for mean and variance of the channels of input `i`, which the next pass writes.
    fn new_batch_stats(&mut self, i: usize) -> [Span; 2];

    /// The same of the output.
    fn new_output_batch_stats(&mut self) -> [Span; 2];

    /// Whether a reader of the output would take over its batch statistics.
    fn norm_reads_output(&self) -> bool;

    /// Emits the step from the statistics of this rank's part of the batch to those of the whole batch, if there are
    /// other ranks.
    fn batch_stats_over_ranks(&mut self, stats: [Span; 2]);

    /// Emits the step from a value that was divided by this rank's number of rows to one that is divided by that of the
    /// whole batch, if there are other ranks.
    fn mean_over_ranks(&mut self, value: Span);

    /// Gradient of the output in parts; for operations that take it so.
    fn output_gradient(&self) -> Gradient;

    /// Makes what comes from a batch normalization the gradient of input `i`, or adds it: later, where the operation of
    /// the input takes gradients in parts.
    fn contribute_norm(&mut self, i: usize, norm: NormGradient);

    /// The same by a pass of this node, whatever the operation of the input takes.
    fn contribute_norm_now(&mut self, i: usize, norm: NormGradient);
}

impl Fused for Emitter<'_> {
    fn batch_stats(&self, i: usize) -> Option<[Span; 2]> {
        self.emission.program.parts[self.input_node(i).index()].batch_stats
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
        debug_assert!(self.emission.facts(self.node).takes_gradient_in_parts);
        Gradient {
            norm: program.parts[index].norm.unwrap_or(NormGradient::NONE),
            dy: program.gradients[index].unwrap_or(Span::EMPTY),
            weight: program.parts[index].weight,
        }
    }

    fn contribute_norm(&mut self, i: usize, norm: NormGradient) {
        let input = self.input_node(i);
        let takes_parts = self.emission.facts(input).takes_gradient_in_parts;
        let part = &mut self.emission.program.parts[input.index()].norm;
        if takes_parts && part.is_none() {
            *part = Some(norm);
        } else {
            self.contribute_norm_now(i, norm);
        }
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
    fn new_batch_stats(&mut self, node: NodeId) -> [Span; 2] {
        let channels = [self.facts(node).shape.channels()].into();
        let stats = [(); 2].map(|()| self.program.value(channels));
        self.program.parts[node.index()].batch_stats = Some(stats);
        stats
    }
}
