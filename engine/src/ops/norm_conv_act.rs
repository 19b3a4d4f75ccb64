//! A whole layer as one node: batch normalization, convolution, activation, skip connection.
//!
//! It computes what the nodes of these operations compute, with fewer passes over memory:
//!
//! | unfused | fused |
//! | --- | --- |
//! | batch statistics of x; normalize | statistics come from the pass that computes x; the convolution normalizes x |
//! | activation; add the skip | the convolution's pass, with the batch statistics that the next layer needs |
//! | normalization backward: sums; input gradient | sums; the input gradient is evaluated by the layer before |
//! | activation backward; bias gradient | one pass for both; with the convolution and the normalization after it |
//! | the normalized x again for the weight gradient | the weight gradient normalizes x |
//!
//! Tests compare it with the unfused nodes. Those are more general: here the batch normalization comes before the
//! convolution.

use super::batch_norm::{self as norm_op, BatchNorm, BatchNormNodes};
use super::case::MOST_FLOPS;
use super::conv_transpose2d::ConvTranspose2d;
use super::conv2d::Conv2d;
use super::convolution::Convolution;
use super::prelude::*;
use crate::Init;
use crate::emit::{Fused, Gradient};
use crate::graph::Argument;
use crate::mode::{Mode, Statistics};
use kernels::activation::{self, Activation, Saved};
use kernels::batch_norm::{self, BatchNormParams};
use kernels::conv_epilogue::{self, NormConvBackward};
use kernels::conv2d::{self, Affine, Conv2dParams, ConvPasses};
use kernels::epilogue::{self, EpilogueParams, NormGradient};
use kernels::{Span, Write};

/// Parameters of [`Graph::norm_conv_act`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConvAct {
    /// The convolution.
    pub conv: Convolution,
    /// Batch normalization of its input, if the nodes name its parameters; ignored otherwise.
    pub norm: BatchNorm,
    /// Activation of its output, if any.
    pub activation: Option<Activation>,
    /// Weight of the skip connection, if the nodes name one; ignored otherwise.
    pub skip_weight: f64,
}

/// The nodes that [`Graph::norm_conv_act`] needs besides its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormConvActNodes {
    /// Parameters and running statistics of the batch normalization, `[C]` each, or none.
    pub norm: Option<BatchNormNodes>,
    /// Weight of the convolution, as for [`Graph::conv2d`] and [`Graph::conv_transpose2d`].
    pub w: NodeId,
    /// Bias of the convolution.
    pub bias: Option<NodeId>,
    /// What is added to the output; it has the output's shape.
    pub skip: Option<NodeId>,
}

/// What the engine records: the parameters, and which optional nodes there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NormConvActOp {
    params: NormConvAct,
    has_norm: bool,
    has_bias: bool,
    has_skip: bool,
}

impl Graph {
    /// A layer as one node: `activation(conv(batch_norm(x)) + bias) + skip_weight skip`. Everything but the convolution
    /// is optional. Up to rounding it equals [`batch_norm`](Graph::batch_norm), [`conv2d`](Graph::conv2d) or
    /// [`conv_transpose2d`](Graph::conv_transpose2d), [`activation`](Graph::activation) and [`add`](Graph::add), in
    /// fewer passes over memory.
    ///
    /// # Errors
    /// As those operations.
    pub fn norm_conv_act(&mut self, x: NodeId, nodes: NormConvActNodes, params: NormConvAct) -> Result<NodeId> {
        let NormConvActNodes { norm, w, bias, skip } = nodes;
        let norm_inputs = norm.map(|norm| [norm.gamma, norm.beta, norm.running_mean, norm.running_var]);
        let inputs = [Some(x), Some(w), bias, skip].into_iter().flatten().chain(norm_inputs.into_iter().flatten());
        let inputs: Vec<NodeId> = inputs.collect();
        let op = NormConvActOp { params, has_norm: norm.is_some(), has_bias: bias.is_some(), has_skip: skip.is_some() };
        self.record("norm_conv_act", op, &inputs)
    }
}

/// Indices of the auxiliaries that the forward passes write.
const SCALE: usize = 0;
const SHIFT: usize = 1;
const RSTD: usize = 2;

impl NormConvActOp {
    /// Index of the bias among the inputs.
    fn bias(&self) -> Option<usize> {
        self.has_bias.then_some(2)
    }

    /// Index of the skip among the inputs.
    fn skip(&self) -> Option<usize> {
        self.has_skip.then_some(2 + usize::from(self.has_bias))
    }

    /// Index of gamma among the inputs; beta and the running statistics follow.
    fn gamma(&self) -> Option<usize> {
        self.has_norm.then_some(2 + usize::from(self.has_bias) + usize::from(self.has_skip))
    }

    /// Whether the backward passes read the convolution's output, or the activation's if that has a pass of its own.
    fn keeps_saved(&self, mode: Mode) -> bool {
        let saves_input = self.params.activation.is_some_and(|f| f.saved() == Saved::Input);
        self.separate_activation().is_some() || (mode == Mode::Training && saves_input)
    }

    /// Index of the auxiliary that holds the convolution's output, or the activation's if that has a pass of its own.
    fn saved(&self) -> usize {
        if self.has_norm { RSTD + 1 } else { 0 }
    }

    /// The activation, if it needs a pass of its own: its derivative is a function of its output, and the node's output
    /// also contains the skip.
    fn separate_activation(&self) -> Option<Activation> {
        self.params.activation.filter(|f| self.has_skip && f.saved() == Saved::Output)
    }

    /// Whether anything follows the convolution.
    fn has_epilogue(&self) -> bool {
        self.params.activation.is_some() || self.has_skip
    }

    fn norm_params(&self, x: Shape, mode: Mode) -> BatchNormParams {
        let momentum = if mode == Mode::Training { self.params.norm.momentum } else { 0.0 };
        let channels = x.channels();
        BatchNormParams { rows: x.len() / channels, channels, eps: self.params.norm.eps, momentum }
    }

    fn epilogue_params(&self, y: Shape, dy_weight: f64) -> EpilogueParams {
        let channels = y.channels();
        let activation = self.params.activation.filter(|_| self.separate_activation().is_none());
        EpilogueParams {
            rows: y.len() / channels,
            channels,
            activation,
            skip_weight: self.params.skip_weight,
            dy_weight,
        }
    }

    /// The affine map that the convolution applies to its input as it reads it.
    fn map(&self, cx: &Emitter<'_>) -> Affine {
        match self.has_norm {
            true => Affine { scale: cx.auxiliary(SCALE), shift: cx.auxiliary(SHIFT) },
            false => Affine::NONE,
        }
    }

    /// Emits the passes that compute the affine map of the batch normalization.
    fn fold(&self, cx: &mut Emitter<'_>, gamma: usize) {
        let [gamma, beta, running_mean, running_var] = [0, 1, 2, 3].map(|i| cx.input(gamma + i));
        let channels = [cx.shape(0).channels()].into();
        let (mode, params) = (cx.mode(), self.norm_params(cx.shape(0), cx.mode()));
        let [mean, var] = match mode {
            Mode::Inference(Statistics::Running) => [running_mean, running_var],
            Mode::Training | Mode::Inference(Statistics::Batch) => cx.batch_stats(0).unwrap_or_else(|| {
                let [mean, var] = cx.new_batch_stats(0);
                cx.emit(batch_norm::BatchStats { params, x: cx.input(0), mean, var });
                cx.batch_stats_over_ranks([mean, var]);
                [mean, var]
            }),
        };
        let [scale, shift, rstd] = [(); 3].map(|()| cx.new_auxiliary(channels));
        let [running_mean, running_var, rstd] = match mode {
            Mode::Training => [running_mean, running_var, rstd],
            Mode::Inference(_) => [Span::EMPTY; 3],
        };
        let params = norm_op::of_batch(params, cx.part());
        cx.emit(batch_norm::Fold { params, gamma, beta, mean, var, running_mean, running_var, rstd, scale, shift });
    }

    /// The pass from `z`, the output of the convolution or of the separate activation, to the node's output.
    fn epilogue(&self, cx: &Emitter<'_>, z: Span, y: Span, [mean, var]: [Span; 2]) -> epilogue::Forward {
        let skip = self.skip().map_or(Span::EMPTY, |i| cx.input(i));
        epilogue::Forward { params: self.epilogue_params(cx.output_shape(), 1.0), z, skip, y, mean, var }
    }

    /// The passes of the convolution.
    fn conv(&self, cx: &Emitter<'_>) -> ConvPasses {
        self.params.conv.passes(cx.shape(0), cx.shape(1))
    }

    /// What the convolution reads: input, weight and bias.
    fn conv_operands(&self, cx: &Emitter<'_>) -> [Span; 3] {
        [cx.input(0), cx.input(1), self.bias().map_or(Span::EMPTY, |i| cx.input(i))]
    }
}

impl Operation for NormConvActOp {
    fn kind(&self) -> &'static str {
        "norm_conv_act"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        if let Some(gamma) = self.gamma() {
            let list: Vec<Argument<'_>> =
                arguments.list[..1].iter().chain(&arguments.list[gamma..gamma + 4]).cloned().collect();
            self.params.norm.shape(&Arguments { list: &list, ..*arguments })?;
        }
        let of_conv = &arguments.list[..2 + usize::from(self.has_bias)];
        let y = self.params.conv.shape(&Arguments { list: of_conv, ..*arguments })?;
        if let Some(skip) = self.skip() {
            arguments.expect(skip, "skip", y)?;
            if !self.params.skip_weight.is_finite() {
                return Err(
                    arguments.wrong_params(format!("skip_weight must be finite, not {}", self.params.skip_weight))
                );
            }
        }
        Ok(y)
    }

    fn reads_batch_stats(&self) -> bool {
        self.has_norm
    }

    fn takes_gradient_terms(&self) -> bool {
        true
    }

    /// The running statistics.
    fn updates(&self) -> usize {
        if self.has_norm { 2 } else { 0 }
    }

    /// If there is a batch normalization, auxiliaries 0 to 2 are its scale, its shift and the reciprocal standard
    /// deviation. If the backward passes read the convolution's output, or the activation's if that has a pass of its
    /// own, it is the next auxiliary.
    fn forward(&self, cx: &mut Emitter<'_>) {
        if let Some(gamma) = self.gamma() {
            self.fold(cx, gamma);
        }
        let (conv, operands, map, y) = (self.conv(cx), self.conv_operands(cx), self.map(cx), cx.output());
        if !self.has_epilogue() {
            cx.emit(conv.forward(operands, map, y));
            return;
        }
        let shape = cx.output_shape();
        let saved = if self.keeps_saved(cx.mode()) { cx.new_auxiliary(shape) } else { y };
        let stats = if cx.norm_reads_output() { cx.new_output_batch_stats() } else { [Span::EMPTY; 2] };
        let epilogue = self.epilogue(cx, saved, y, stats);
        match self.separate_activation() {
            None => cx.emit(conv_epilogue::Forward { conv: conv.forward(operands, map, saved), epilogue }),
            Some(f) => {
                let z = cx.new_value(shape);
                cx.emit(conv.forward(operands, map, z));
                cx.emit(activation::Forward { activation: f, x: z, y: saved });
                cx.emit(epilogue);
            }
        }
        if !stats[0].is_empty() {
            cx.batch_stats_over_ranks(stats);
        }
    }

    fn backward(&self, cx: &mut Emitter<'_>) {
        let (conv, map) = (self.conv(cx), self.map(cx));
        let (x, w) = (cx.input(0), cx.input(1));
        let BackwardValues { dz, dz_sum, total } = self.backward_epilogue(cx);
        let deferred = self.gamma().filter(|_| cx.wants(1) && cx.can_defer_norm(0));
        if let Some(gamma) = deferred {
            self.defer_norm(cx, gamma, [dz, dz_sum]);
            self.contribute_to_skip(cx, total);
            return;
        }
        if cx.wants(1) {
            let gradient = cx.gradient(1);
            cx.emit(conv.grad_weight(x, map, dz, gradient));
        }
        match self.gamma() {
            Some(gamma) if cx.wants(0) || cx.wants(gamma) || cx.wants(gamma + 1) => {
                let g = cx.new_value(cx.shape(0));
                cx.emit(conv.grad_input(dz, w, (g, Write::Set)));
                self.backward_norm(cx, gamma, g);
            }
            None if cx.wants(0) => {
                let gradient = cx.gradient(0);
                cx.emit(conv.grad_input(dz, w, gradient));
            }
            _ => {}
        }
        self.contribute_to_skip(cx, total);
    }

    /// One pass recomputes the output from the convolution's output, and a convolution recomputes the latter.
    fn recompute(&self, cx: &mut Emitter<'_>) {
        if !self.has_epilogue() || !self.keeps_saved(cx.mode()) {
            return;
        }
        let (shape, z) = (cx.output_shape(), cx.auxiliary(self.saved()));
        if self.separate_activation().is_none() {
            let (conv, operands, map) = (self.conv(cx), self.conv_operands(cx), self.map(cx));
            cx.recomputable(z, shape, Effort::Convolution, |copy| conv.forward(operands, map, copy));
        }
        let (output, epilogue) = (cx.output(), self.epilogue(cx, z, cx.output(), [Span::EMPTY; 2]));
        cx.recomputable(output, shape, Effort::Elementwise, |y| epilogue::Forward { y, ..epilogue });
    }
}

impl Cases for NormConvActOp {
    fn cases() -> Vec<Case> {
        let conv = Convolution::Conv2d(Conv2d { padding: [1, 1], ..Conv2d::default() });
        let transposed = Convolution::Transposed(ConvTranspose2d { padding: [1, 1], ..ConvTranspose2d::default() });
        let mut cases = Vec::new();
        for conv in [conv, transposed] {
            for activation in [Some(Activation::Gelu), None, Some(Activation::Sigmoid)] {
                for parts in 0..8 {
                    cases.push(one_layer([2, 3, 4, 3], [3, 3], 2, conv, activation, parts));
                }
            }
            cases.push(one_layer([1, 8, 16, 4], [3, 3], 4, conv, Some(Activation::Silu), 7)); // a GPU's tile
        }
        cases.push(chain(conv, transposed));
        for (transposed, kernel) in [(false, [3, 3]), (true, [3, 3]), (false, [5, 5])] {
            cases.push(two_layers([2, 6, 5, 3], kernel, transposed, Some(Activation::Gelu), true, false));
        }
        cases.push(two_layers([2, 6, 5, 3], [3, 3], false, Some(Activation::Gelu), false, true));
        // Larger kernels have algorithms of their own.
        let conv = Convolution::Conv2d(Conv2d { padding: [2, 2], ..Conv2d::default() });
        let transposed = Convolution::Transposed(ConvTranspose2d { padding: [3, 3], ..ConvTranspose2d::default() });
        cases.push(one_layer([2, 6, 5, 3], [5, 5], 4, conv, Some(Activation::Gelu), 7));
        cases.push(one_layer([2, 5, 6, 3], [7, 7], 4, transposed, Some(Activation::Gelu), 7));
        cases
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        loop {
            // About half of the cases have a shape that all algorithms support.
            let kernel = if random.within(0..=1) == 0 { [3, 3] } else { random.pair(1..=5) };
            let (stride, padding) = match kernel {
                [3, 3] => ([1, 1], random.pair(0..=2)),
                _ => (random.pair(1..=2), random.pair(0..=2)),
            };
            let ([h, w], [c, k], n) = (random.pair(2..=12), random.pair(1..=35), random.within(2..=3));
            let conv = match random.within(0..=1) {
                0 => Convolution::Conv2d(Conv2d { stride, padding, groups: 1 }),
                _ => Convolution::Transposed(ConvTranspose2d { stride, padding, ..ConvTranspose2d::default() }),
            };
            let x = [n, h, w, c];
            let params = match conv {
                Convolution::Conv2d(_) => Conv2dParams::new(x, k, kernel, stride, padding, 1),
                Convolution::Transposed(_) => Conv2dParams::transposed(x, k, kernel, stride, padding, [0, 0], 1),
            };
            if params.is_ok_and(|p| p.flops() <= MOST_FLOPS) {
                let activation = [Some(Activation::Gelu), None, Some(Activation::Sigmoid)][random.within(0..=2)];
                let one = one_layer(x, kernel, k, conv, activation, random.within(0..=7));
                let kernel = random.pair(0..=2).map(|half| 2 * half + 1);
                let [transposed, skip] = random.pair(0..=1).map(|is| is == 1);
                let [h, w] = random.pair(2..=12);
                let two = two_layers([2, h, w, random.within(1..=19)], kernel, transposed, activation, skip, false);
                return vec![one, two];
            }
        }
    }
}

/// What the first of the backward passes write.
struct BackwardValues {
    /// Gradient of the convolution's output.
    dz: Span,
    /// The sum of its pixels, or empty.
    dz_sum: Span,
    /// Gradient of the node's output, if the skip wants it.
    total: Span,
}

impl NormConvActOp {
    /// Emits the passes from the gradient of the output to those of the convolution's output and the bias.
    fn backward_epilogue(&self, cx: &mut Emitter<'_>) -> BackwardValues {
        let Gradient { norm, dy, weight } = cx.output_gradient();
        let shape = cx.output_shape();
        let params = self.epilogue_params(shape, weight);
        let wants_skip = self.skip().is_some_and(|skip| cx.wants(skip));
        let plain = norm == NormGradient::NONE && weight == 1.0;
        let separate = self.separate_activation();
        let wants_bias = self.bias().is_some_and(|bias| cx.wants(bias));
        let mut total = Span::EMPTY;
        let mut dz = dy;
        let mut dz_sum = Span::EMPTY;
        let mut fused_bias = false;
        if params.activation.is_some() || !plain {
            dz = cx.new_value(shape);
            if params.activation.is_some() && wants_skip {
                total = cx.new_value(shape);
            }
            let saved = match params.activation.map(Activation::saved) {
                None => Span::EMPTY,
                Some(Saved::Output) => cx.output(),
                Some(Saved::Input) => cx.auxiliary(self.saved()),
            };
            fused_bias = wants_bias && separate.is_none();
            let (db, db_write) = match self.bias() {
                Some(bias) if fused_bias => cx.gradient(bias),
                _ => (Span::EMPTY, Write::Set),
            };
            if db_write == Write::Set {
                dz_sum = db;
            }
            let epilogue = epilogue::Backward { params, saved, norm, dy, total, dz, db, db_write };
            match cx.take_deferred_norm(self.bias().filter(|_| fused_bias)) {
                Some(norm_conv) => {
                    let norm_conv = NormConvBackward { g: dz, ..norm_conv };
                    let epilogue = epilogue::Backward { norm: norm_conv.gradient(), ..epilogue };
                    cx.emit(conv_epilogue::Backward { norm_conv, epilogue });
                }
                None => cx.emit(epilogue),
            }
        }
        if total.is_empty() {
            total = dz;
        }
        if let Some(f) = separate {
            let dx = cx.new_value(shape);
            let saved = cx.auxiliary(self.saved());
            cx.emit(activation::Backward { activation: f, saved, dy: dz, dx, write: Write::Set });
            dz = dx;
        }
        if let Some(bias) = self.bias().filter(|_| wants_bias && !fused_bias) {
            let (db, write) = cx.gradient(bias);
            cx.emit(conv2d::GradBias { dy: dz, db, write });
            if write == Write::Set {
                dz_sum = db;
            }
        }
        BackwardValues { dz, dz_sum, total }
    }

    /// Adds to the gradient of the skip.
    fn contribute_to_skip(&self, cx: &mut Emitter<'_>, total: Span) {
        if let Some(skip) = self.skip() {
            cx.contribute(skip, total, self.params.skip_weight);
        }
    }

    /// Leaves all passes from the gradient of the convolution's output on to the layer before.
    fn defer_norm(&self, cx: &mut Emitter<'_>, gamma: usize, [dz, dz_sum]: [Span; 2]) {
        let [mean, _] = cx.batch_stats(0).expect("the forward passes took them");
        let pass = NormConvBackward {
            conv: self.conv(cx),
            norm: self.norm_params(cx.shape(0), Mode::Training),
            x: cx.input(0),
            map: self.map(cx),
            gamma: cx.input(gamma),
            beta: cx.input(gamma + 1),
            mean,
            rstd: cx.auxiliary(RSTD),
            w: cx.input(1),
            dz,
            dz_sum,
            dw: cx.gradient(1),
            dgamma: cx.gradient(gamma),
            dbeta: cx.gradient(gamma + 1),
            g: cx.new_value(cx.shape(0)),
            coefficients: cx.new_value([3, cx.shape(0).channels()].into()),
            algos: [None; 2],
        };
        cx.defer_norm(0, pass);
    }

    /// Emits the passes from `g`, the gradient of the normalized values, to those of the normalization's parameters and
    /// input.
    fn backward_norm(&self, cx: &mut Emitter<'_>, gamma: usize, g: Span) {
        let [mean, _] = cx.batch_stats(0).expect("the forward passes took them");
        let params = self.norm_params(cx.shape(0), Mode::Training);
        let statistics = [mean, cx.auxiliary(RSTD)];
        if let Some(gradient) = norm_op::gradients(cx, params, gamma, statistics, g) {
            cx.contribute_norm(0, gradient);
        }
    }
}

fn case_params(conv: Convolution, activation: Option<Activation>) -> NormConvAct {
    let norm = BatchNorm { eps: 0.1, ..BatchNorm::default() };
    NormConvAct { conv, norm, activation, skip_weight: 0.6 }
}

/// The nodes of a batch normalization with running statistics of its own.
fn norm_of(graph: &mut Graph, gamma: NodeId, beta: NodeId) -> Result<BatchNormNodes> {
    let (shape, number) = (graph.shape(gamma), graph.len());
    let running_mean = graph.state(&format!("running_mean_{number}"), shape, Init::Zeros)?;
    let running_var = graph.state(&format!("running_var_{number}"), shape, Init::Ones)?;
    Ok(BatchNormNodes { gamma, beta, running_mean, running_var })
}

/// A layer with some of its options: bit 0 of `parts` is the batch normalization, bit 1 the bias, bit 2 the skip
/// connection.
fn one_layer(
    x: [usize; 4],
    [r, s]: [usize; 2],
    k: usize,
    conv: Convolution,
    activation: Option<Activation>,
    parts: usize,
) -> Case {
    let [has_norm, has_bias, has_skip] = [1, 2, 4].map(|bit| parts & bit != 0);
    let c = x[3];
    let (kind, w) = match conv {
        Convolution::Conv2d(_) => ("conv2d", [r, s, c, k]),
        Convolution::Transposed(_) => ("conv_transpose2d", [r, s, k, c]),
    };
    let p = conv.passes(x.into(), w.into()).params;
    let y = match conv {
        Convolution::Conv2d(_) => [p.n, p.p, p.q, p.k],
        Convolution::Transposed(_) => [p.n, p.h, p.w, p.c],
    };
    let mut arguments = vec![("x", Shape::from(x)), ("w", w.into())];
    let padding = [p.pad_h, p.pad_w];
    let mut name = format!("{kind} x {x:?} w {w:?} stride {:?} padding {padding:?}", [p.stride_h, p.stride_w]);
    let mut part = |is_there: bool, new: &[(&'static str, Shape)]| {
        is_there.then(|| {
            name += &format!(", {}", new[0].0);
            arguments.extend(new);
            arguments.len() - new.len()
        })
    };
    let norm = part(has_norm, &[("gamma", [c].into()), ("beta", [c].into())]);
    let bias = part(has_bias, &[("bias", [k].into())]);
    let skip = part(has_skip, &[("skip", y.into())]);
    if let Some(f) = activation {
        name += &format!(", {f}");
    }
    Case::new("norm_conv_act", &name, &arguments, move |graph, a| {
        let norm = norm.map(|gamma| norm_of(graph, a[gamma], a[gamma + 1])).transpose()?;
        let nodes = NormConvActNodes { norm, w: a[1], bias: bias.map(|i| a[i]), skip: skip.map(|i| a[i]) };
        graph.norm_conv_act(a[0], nodes, case_params(conv, activation))
    })
}

/// Two layers with the same weight, whose output has the input's shape. The second one has batch normalization, and its
/// backward passes are one with those of the first. The input may be the skip of the first. The second may have the
/// bias of the first: then the passes stay apart, as one reads the gradient that the other adds to.
fn two_layers(
    x: [usize; 4],
    [r, s]: [usize; 2],
    transposed: bool,
    activation: Option<Activation>,
    skip: bool,
    shares_bias: bool,
) -> Case {
    let (c, padding) = (x[3], [r / 2, s / 2]);
    let conv = match transposed {
        false => Convolution::Conv2d(Conv2d { padding, ..Conv2d::default() }),
        true => Convolution::Transposed(ConvTranspose2d { padding, ..ConvTranspose2d::default() }),
    };
    let channels = Shape::from([c]);
    let arguments = [
        ("x", Shape::from(x)),
        ("w", [r, s, c, c].into()),
        ("bias", channels),
        ("gamma", channels),
        ("beta", channels),
    ];
    let kind = format!("transposed {transposed} skip {skip} same bias {shares_bias}, {activation:?}");
    let name = format!("two layers x {x:?} kernel {:?} {kind}", [r, s]);
    Case::new("norm_conv_act", &name, &arguments, move |graph, a| {
        let nodes = NormConvActNodes { norm: None, w: a[1], bias: Some(a[2]), skip: skip.then_some(a[0]) };
        let y = graph.norm_conv_act(a[0], nodes, case_params(conv, activation))?;
        let norm = Some(norm_of(graph, a[3], a[4])?);
        let nodes = NormConvActNodes { norm, w: a[1], bias: shares_bias.then_some(a[2]), skip: None };
        graph.norm_conv_act(y, nodes, case_params(conv, Some(Activation::Gelu)))
    })
}

/// A chain of layers, which pass batch statistics and gradients through a normalization from node to node. Outputs are
/// read by two normalizations, by a normalization and a skip, and by a normalization and another operation; one is both
/// input and skip of a layer.
fn chain(conv: Convolution, transposed: Convolution) -> Case {
    let channels = Shape::from([2]);
    let arguments = [
        ("x", Shape::from([2, 3, 4, 2])),
        ("w", [3, 3, 2, 2].into()),
        ("bias", channels),
        ("gamma", channels),
        ("beta", channels),
    ];
    Case::new("norm_conv_act", "several", &arguments, move |graph, a| {
        let layer = |graph: &mut Graph, x, skip, conv, activation| {
            let norm = Some(norm_of(graph, a[3], a[4])?);
            let nodes = NormConvActNodes { norm, w: a[1], bias: Some(a[2]), skip };
            // A large eps keeps rounding errors from growing from layer to layer.
            let norm = BatchNorm { eps: 1.0, ..BatchNorm::default() };
            graph.norm_conv_act(x, nodes, NormConvAct { norm, ..case_params(conv, activation) })
        };
        let gelu = Some(Activation::Gelu);
        let first = layer(graph, a[0], None, conv, gelu)?;
        let second = layer(graph, first, Some(first), transposed, None)?;
        let third = layer(graph, second, Some(first), conv, gelu)?;
        let other = graph.activation(second, Activation::Tanh)?;
        let fourth = layer(graph, third, Some(second), transposed, Some(Activation::Tanh))?;
        let fifth = layer(graph, third, None, conv, None)?;
        let sum = graph.add(fourth, other, 0.5)?;
        graph.add(sum, fifth, -0.3)
    })
}
