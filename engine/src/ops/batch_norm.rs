//! Batch normalization.

use super::conv2d::Conv2d;
use super::layout;
use super::prelude::*;
use crate::Init;
use crate::emit::Fused;
use crate::mode::{Mode, Statistics};
use kernels::Span;
use kernels::activation::Activation;
use kernels::batch_norm::{self, BatchNormParams};
use kernels::collective::Part;
use kernels::epilogue::NormGradient;

/// Parameters of [`Graph::batch_norm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance, for stability.
    pub eps: f64,
    /// Weight of a batch's statistics in the running ones, as in PyTorch: `running += momentum (batch - running)`.
    pub momentum: f64,
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm { eps: 1e-5, momentum: 0.1 }
    }
}

/// The nodes that [`Graph::batch_norm`] needs besides its input, each `[C]`, all different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormNodes {
    /// Scale, usually a parameter.
    pub gamma: NodeId,
    /// Offset, usually a parameter.
    pub beta: NodeId,
    /// Mean of past batches; a state.
    pub running_mean: NodeId,
    /// Unbiased variance of past batches; a state.
    pub running_var: NodeId,
}

impl Graph {
    /// Batch normalization of `x [.., C]` over all dimensions but the last: [`kernels::batch_norm`] has the equations.
    ///
    /// A training plan normalizes with the statistics of the batch, and updates the running statistics. An inference
    /// plan uses those that its [`Statistics`](crate::Statistics) name.
    ///
    /// # Errors
    /// If a node of `nodes` is not `[C]`, two are the same, or the running statistics are not states.
    pub fn batch_norm(&mut self, x: NodeId, nodes: BatchNormNodes, params: BatchNorm) -> Result<NodeId> {
        let BatchNormNodes { gamma, beta, running_mean, running_var } = nodes;
        self.record("batch_norm", params, &[x, gamma, beta, running_mean, running_var])
    }
}

/// Names of the arguments.
const ARGUMENTS: [&str; 5] = ["x", "gamma", "beta", "running_mean", "running_var"];

impl BatchNorm {
    fn params(&self, x: Shape, momentum: f64) -> BatchNormParams {
        let channels = x.channels();
        BatchNormParams { rows: x.len() / channels, channels, eps: self.eps, momentum }
    }
}

impl Operation for BatchNorm {
    fn kind(&self) -> &'static str {
        "batch_norm"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        check_nodes(self, arguments)
    }

    /// The running statistics.
    fn updates(&self) -> usize {
        2
    }

    /// Auxiliaries 0 and 1 are the mean and the reciprocal standard deviation of the batch.
    fn forward(&self, cx: &mut Emitter<'_>) {
        let [x, gamma, beta, running_mean, running_var] = [0, 1, 2, 3, 4].map(|i| cx.input(i));
        let y = cx.output();
        let momentum = match cx.mode() {
            Mode::Training => self.momentum,
            Mode::Inference(Statistics::Batch) => 0.0,
            Mode::Inference(Statistics::Running) => {
                let params = self.params(cx.shape(0), 0.0);
                cx.emit(batch_norm::Inference { params, x, gamma, beta, running_mean, running_var, y });
                return;
            }
        };
        let channels = cx.shape(1);
        let (mean, rstd) = (cx.new_auxiliary(channels), cx.new_auxiliary(channels));
        let params = self.params(cx.shape(0), momentum);
        if cx.part().is_some() {
            // Several passes: between them, the statistics of the ranks' parts become those of the batch.
            let [var, scale, shift] = [(); 3].map(|()| cx.new_value(channels));
            cx.emit(batch_norm::BatchStats { params, x, mean, var });
            cx.batch_stats_over_ranks([mean, var]);
            let params_of_batch = of_batch(params, cx.part());
            cx.emit(batch_norm::Fold {
                params: params_of_batch,
                gamma,
                beta,
                mean,
                var,
                running_mean,
                running_var,
                rstd,
                scale,
                shift,
            });
            cx.emit(batch_norm::Apply { params, x, gamma, beta, mean, rstd, y });
            return;
        }
        cx.emit(batch_norm::Forward { params, x, gamma, beta, running_mean, running_var, mean, rstd, y });
    }

    /// Reads `x`, `gamma` and the auxiliaries, not the output.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (dy, params) = (cx.dy(), self.params(cx.shape(0), self.momentum));
        if cx.part().is_some() {
            // Several passes: between them, the coefficients are averaged over the ranks.
            let statistics = [cx.auxiliary(0), cx.auxiliary(1)];
            if let Some(gradient) = gradients(cx, params, 1, statistics, dy) {
                cx.contribute_norm_now(0, gradient);
            }
            return;
        }
        let (dgamma, dgamma_write) = cx.gradient(1);
        let (dbeta, dbeta_write) = cx.gradient(2);
        let (dx, dx_write) = cx.gradient(0);
        cx.emit(batch_norm::Backward {
            params,
            x: cx.input(0),
            gamma: cx.input(1),
            mean: cx.auxiliary(0),
            rstd: cx.auxiliary(1),
            dy,
            dgamma,
            dgamma_write,
            dbeta,
            dbeta_write,
            dx,
            dx_write,
        });
    }

    /// One pass over `x` instead of a tensor as large as `x` that is kept until the backward phase.
    fn recompute(&self, cx: &mut Emitter<'_>) {
        let [x, gamma, beta] = [0, 1, 2].map(|i| cx.input(i));
        let (mean, rstd) = (cx.auxiliary(0), cx.auxiliary(1));
        let params = self.params(cx.shape(0), self.momentum);
        let (output, shape) = (cx.output(), cx.output_shape());
        cx.recomputable(output, shape, Effort::Normalization, |y| batch_norm::Apply {
            params,
            x,
            gamma,
            beta,
            mean,
            rstd,
            y,
        });
    }
}

/// The shape rule of both normalizations.
///
/// # Errors
/// If an argument or a constant is not what it should be.
pub(super) fn check_nodes(params: &BatchNorm, arguments: &Arguments<'_>) -> Result<Shape> {
    let x = arguments.shape(0);
    for (i, argument) in ARGUMENTS.into_iter().enumerate().skip(1) {
        expect_channels(arguments, i, argument)?;
        if i >= 3 && arguments.list[i].kind != "state" {
            let got = format!("the {} `{}`", arguments.list[i].kind, arguments.list[i].name);
            return Err(arguments.wrong(argument, "a state", got));
        }
    }
    expect_eps(arguments, params.eps)?;
    if !(0.0..=1.0).contains(&params.momentum) {
        return Err(arguments.wrong_params(format!("momentum must be from 0 to 1, not {}", params.momentum)));
    }
    Ok(x)
}

impl Cases for BatchNorm {
    fn cases() -> Vec<Case> {
        let default = BatchNorm::default();
        // The output is recomputed for the backward pass of the convolution after it.
        let arguments =
            [("x", [1, 3, 3, 2].into()), ("gamma", [2].into()), ("beta", [2].into()), ("w", [2, 2, 2, 3].into())];
        let recomputed = Case::new("batch_norm", "before conv2d", &arguments, move |graph, a| {
            let y = record(graph, &a[..3], default)?;
            graph.conv2d(y, a[3], None, Conv2d::default())
        });
        vec![
            case("images", [2, 3, 2, 3].into(), default),
            case("one channel", [1, 4, 3, 1].into(), BatchNorm { eps: 0.5, momentum: 0.3 }),
            case("vectors", [5, 7].into(), BatchNorm { eps: 1e-3, ..default }),
            recomputed,
            block(Activation::Tanh, 1.0, false),
            block(Activation::Tanh, -0.4, true),
            block(Activation::Sigmoid, 1.0, true),
            block(Activation::Gelu, 0.3, false),
            sums(),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let channels = random.within(1..=19);
        // With few rows, the variance can be so small that gradients are little but noise.
        let x = match random.within(0..=1) {
            0 => Shape::from([random.within(6..=60), channels]),
            _ => [random.within(2..=4), random.within(2..=5), random.within(2..=5), channels].into(),
        };
        let params = BatchNorm { eps: 1e-5 + random.number(1.0).max(0.0), momentum: random.number(1.0).abs() };
        // Without kinks: a step of a parameter moves many values, and may cross some of them on both sides.
        let smooth = [Activation::Gelu, Activation::Sigmoid, Activation::Tanh, Activation::Silu, Activation::Softplus];
        let f = smooth[random.within(0..=smooth.len() - 1)];
        let weight = if random.within(0..=1) == 0 { 1.0 } else { random.number(1.0) };
        vec![case("random", x, params), block(f, weight, random.within(0..=1) == 0)]
    }
}

/// An error unless argument `i` is `[C]`, for the channels of argument 0, and no argument before.
pub(super) fn expect_channels(arguments: &Arguments<'_>, i: usize, argument: &'static str) -> Result<()> {
    let x = arguments.shape(0);
    let hinted = |error| layout::hint_of_channels(error, x, arguments.shape(i));
    arguments.expect(i, argument, [x.channels()].into()).map_err(hinted)?;
    if arguments.list[..i].iter().any(|other| other.id == arguments.list[i].id) {
        let got = format!("`{}`, which is another argument too", arguments.list[i].name);
        return Err(arguments.wrong(argument, "a node of its own", got));
    }
    Ok(())
}

/// An error unless `eps` can keep a variance from 0.
pub(super) fn expect_eps(arguments: &Arguments<'_>, eps: f64) -> Result<()> {
    // NaN is not above 0.
    match eps > 0.0 && eps.is_finite() {
        true => Ok(()),
        false => Err(arguments.wrong_params(format!("eps must be above 0, not {eps}"))),
    }
}

/// Emits the pass from `dy`, the gradient of the normalized values, to the gradients of argument `gamma` and of beta,
/// the argument after it. Returns the gradient of argument 0 through the normalization, over the whole batch if there
/// are several ranks; none if it is not wanted.
pub(super) fn gradients(
    cx: &mut Emitter<'_>,
    params: BatchNormParams,
    gamma: usize,
    [mean, rstd]: [Span; 2],
    dy: Span,
) -> Option<NormGradient> {
    let x = cx.input(0);
    let (dgamma, dgamma_write) = cx.gradient(gamma);
    let (dbeta, dbeta_write) = cx.gradient(gamma + 1);
    let coefficients = match cx.wants(0) {
        true => cx.new_value([3, cx.shape(0).channels()].into()),
        false => Span::EMPTY,
    };
    cx.emit(batch_norm::Gradients {
        params,
        x,
        gamma: cx.input(gamma),
        mean,
        rstd,
        dy,
        dgamma,
        dgamma_write,
        dbeta,
        dbeta_write,
        coefficients,
    });
    cx.mean_over_ranks(coefficients);
    cx.wants(0).then_some(NormGradient { dy, x, mean, coefficients })
}

/// Replaces the number of rows in `params`, that of this rank's part, by that of the whole batch.
pub(super) fn of_batch(params: BatchNormParams, part: Option<Part>) -> BatchNormParams {
    match part {
        Some(part) => BatchNormParams { rows: params.rows / part.images().len() * part.batch, ..params },
        None => params,
    }
}

fn case(name: &str, x: Shape, params: BatchNorm) -> Case {
    let channels = Shape::from([x.channels()]);
    let arguments = [("x", x), ("gamma", channels), ("beta", channels)];
    Case::new("batch_norm", format!("{name} {x} eps {:.0e}", params.eps), &arguments, move |graph, a| {
        record(graph, a, params)
    })
}

/// Normalizations with activations after them, some of which are one pass with them: `f(norm(f(norm(x)) w) + weight
/// skip)`. The skip is `x`, or another normalization of it.
fn block(f: Activation, weight: f64, projects: bool) -> Case {
    let x = Shape::from([2, 3, 4, 3]);
    let arguments = [("x", x), ("gamma", [3].into()), ("beta", [3].into()), ("w", [1, 1, 3, 3].into())];
    let detail = format!("block {f:?} weight {weight:.3} projection {projects}");
    Case::new("batch_norm", detail, &arguments, move |graph, a| {
        // A large eps keeps rounding errors from growing from layer to layer.
        let params = BatchNorm { eps: 1.0, ..BatchNorm::default() };
        let norm = |graph: &mut Graph, x| record(graph, &[x, a[1], a[2]], params);
        let skip = if projects { norm(graph, a[0])? } else { a[0] };
        let y = norm(graph, a[0])?;
        let y = graph.activation(y, f)?;
        let y = graph.conv2d(y, a[3], None, Conv2d::default())?;
        let y = norm(graph, y)?;
        let y = graph.add(y, skip, weight)?;
        graph.activation(y, f)
    })
}

/// Sums of normalized values before an activation, which cannot all be one pass with it: the other summand's passes
/// write the same gradients, the normalized one has the weight, or is both.
fn sums() -> Case {
    let arguments = [("x", [2, 3, 4, 3].into()), ("gamma", [3].into()), ("beta", [3].into())];
    Case::new("batch_norm", "in sums", &arguments, move |graph, a| {
        let norm = |graph: &mut Graph| record(graph, &a[..3], BatchNorm { eps: 1.0, ..BatchNorm::default() });
        let (first, second) = (norm(graph)?, norm(graph)?);
        let second = graph.activation(second, Activation::Gelu)?;
        let sum = graph.add(first, second, 1.0)?;
        let first = graph.activation(sum, Activation::Sigmoid)?;
        let weighted = norm(graph)?;
        let sum = graph.add(a[0], weighted, 0.5)?;
        let second = graph.activation(sum, Activation::Tanh)?;
        let both = norm(graph)?;
        let sum = graph.add(both, both, 1.0)?;
        let third = graph.activation(sum, Activation::Tanh)?;
        let sum = graph.add(first, second, -1.0)?;
        graph.add(sum, third, 0.7)
    })
}

/// Batch normalization of `x`, `gamma` and `beta`, with new states.
fn record(graph: &mut Graph, arguments: &[NodeId], params: BatchNorm) -> Result<NodeId> {
    let &[x, gamma, beta] = arguments else { unreachable!("a case has three arguments") };
    let channels = graph.shape(gamma);
    let mut state = |name: &str, init| {
        let name = format!("{name}_{}", graph.len());
        graph.state(&name, channels, init)
    };
    let (running_mean, running_var) = (state("running_mean", Init::Zeros)?, state("running_var", Init::Ones)?);
    graph.batch_norm(x, BatchNormNodes { gamma, beta, running_mean, running_var }, params)
}
