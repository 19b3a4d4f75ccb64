//! Batch normalization with constant statistics.

use super::batch_norm::{BatchNorm, BatchNormNodes, check_nodes};
use super::prelude::*;
use crate::Init;
use kernels::Span;
use kernels::activation::Activation;
use kernels::batch_norm::{self, BatchNormParams};
use kernels::fill::Fill;

impl Graph {
    /// Batch normalization of `x [.., C]` with the running statistics in every plan, also in training: that of a
    /// network that is trained further with the statistics that it has, PyTorch's `BatchNorm2d` in evaluation mode. The
    /// statistics are only read, and have no gradients; `params.momentum` is not used.
    ///
    /// # Errors
    /// As [`batch_norm`](Graph::batch_norm).
    pub fn frozen_batch_norm(&mut self, x: NodeId, nodes: BatchNormNodes, params: BatchNorm) -> Result<NodeId> {
        let BatchNormNodes { gamma, beta, running_mean, running_var } = nodes;
        self.record(KIND, FrozenBatchNorm { params }, &[x, gamma, beta, running_mean, running_var])
    }
}

const KIND: &str = "frozen_batch_norm";

/// [`Graph::frozen_batch_norm`]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FrozenBatchNorm {
    params: BatchNorm,
}

impl FrozenBatchNorm {
    fn params(self, rows: usize, channels: usize) -> BatchNormParams {
        BatchNormParams { rows, channels, eps: self.params.eps, momentum: 0.0 }
    }

    /// `gamma x / sqrt(var + eps)`: the pass of the normalization, without mean and offset.
    fn scaled(self, cx: &mut Emitter<'_>, x: Span, [gamma, zeros]: [Span; 2], y: Span) {
        let (running_var, channels) = (cx.input(4), cx.shape(1).len());
        let params = self.params(x.len / channels, channels);
        cx.emit(batch_norm::Inference { params, x, gamma, beta: zeros, running_mean: zeros, running_var, y });
    }
}

impl Operation for FrozenBatchNorm {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        check_nodes(&self.params, arguments)
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let [x, gamma, beta, running_mean, running_var] = [0, 1, 2, 3, 4].map(|i| cx.input(i));
        let (y, channels) = (cx.output(), cx.shape(1).len());
        let params = self.params(x.len / channels, channels);
        cx.emit(batch_norm::Inference { params, x, gamma, beta, running_mean, running_var, y });
    }

    /// Reads `x`, `gamma` and the statistics. `dx = gamma rstd dy` and `rstd` itself are normalizations, too.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (dy, channels, shape) = (cx.dy(), cx.shape(1), cx.shape(0));
        let constant = |cx: &mut Emitter<'_>, value: f64| {
            let out = cx.new_value(channels);
            cx.emit(Fill { value, out });
            out
        };
        let zeros = constant(cx, 0.0);
        if cx.wants(1) || cx.wants(2) {
            let [ones, scale] = [(); 2].map(|()| constant(cx, 1.0));
            let rstd = cx.new_value(channels);
            self.scaled(cx, ones, [scale, zeros], rstd);
            let ((dgamma, dgamma_write), (dbeta, dbeta_write)) = (cx.gradient(1), cx.gradient(2));
            cx.emit(batch_norm::Gradients {
                params: self.params(shape.len() / channels.len(), channels.len()),
                x: cx.input(0),
                gamma: cx.input(1),
                mean: cx.input(3),
                rstd,
                dy,
                dgamma,
                dgamma_write,
                dbeta,
                dbeta_write,
                coefficients: Span::EMPTY,
            });
        }
        if cx.wants(0) {
            let (gamma, dx) = (cx.input(1), cx.new_value(shape));
            self.scaled(cx, dy, [gamma, zeros], dx);
            cx.contribute(0, dx, 1.0);
        }
    }
}

impl Cases for FrozenBatchNorm {
    fn cases() -> Vec<Case> {
        vec![
            case([2, 3, 2, 3].into(), 0.25, 1e-5, None),
            case([5, 7].into(), 2.0, 1e-3, None),
            case([1, 4, 3, 1].into(), 1.0, 0.5, None),
            // One pass with the normalization, whose output is recomputed where the backward pass reads it.
            case([2, 3, 2, 3].into(), 0.25, 1e-5, Some(Activation::Tanh)),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        vec![case(random.shape(), random.within(1..=16) as f64 / 8.0, 1e-5, None)]
    }
}

fn case(x: Shape, variance: f64, eps: f64, f: Option<Activation>) -> Case {
    let channels = Shape::from([x.channels()]);
    let arguments = [("x", x), ("gamma", channels), ("beta", channels)];
    let before = f.map_or(String::new(), |f| format!(" before {f:?}"));
    let detail = format!("{x} variance {variance} eps {eps:.0e}{before}");
    Case::new(KIND, detail, &arguments, move |graph, a| {
        let mut state = |name: &str, value| {
            let name = format!("{name}_{}", graph.len());
            graph.state(&name, channels, Init::Constant(value))
        };
        let (running_mean, running_var) = (state("running_mean", 0.125)?, state("running_var", variance)?);
        let nodes = BatchNormNodes { gamma: a[1], beta: a[2], running_mean, running_var };
        let y = graph.frozen_batch_norm(a[0], nodes, BatchNorm { eps, ..BatchNorm::default() })?;
        f.map_or(Ok(y), |f| graph.activation(y, f))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, PlanId, PlanOptions, Reference, Session, Statistics};

    /// In training it gives what an ordinary normalization gives in inference, with every constant, and leaves the
    /// statistics as they are.
    #[test]
    fn training_is_the_inference_of_an_ordinary_normalization() {
        let mut graph = Graph::new();
        let x = graph.input("x", [2, 3]).unwrap();
        let mut tensor = |name: &str, value, is_state: bool| {
            let init = Init::Constant(value);
            if is_state { graph.state(name, [3], init) } else { graph.parameter(name, [3], init) }.unwrap()
        };
        let nodes = BatchNormNodes {
            gamma: tensor("gamma", 3.0, false),
            beta: tensor("beta", 0.5, false),
            running_mean: tensor("running_mean", -1.0, true),
            running_var: tensor("running_var", 4.0, true),
        };
        let params = BatchNorm { eps: 0.25, momentum: 0.5 };
        let frozen = graph.frozen_batch_norm(x, nodes, params).unwrap();
        let ordinary = graph.batch_norm(x, nodes, params).unwrap();
        let options = PlanOptions { keep: vec![frozen], ..PlanOptions::default() };
        let plans = vec![
            Plan::gradients(&graph, frozen, true, &options).unwrap(),
            Plan::inference(&graph, &[ordinary], Statistics::Running).unwrap(),
        ];
        let mut session = Session::new(Reference, plans).unwrap();
        session.initialize(0);
        session.write_cotangent(PlanId(0), &[1.0; 6]).unwrap();
        let got = [(PlanId(0), frozen), (PlanId(1), ordinary)].map(|(plan, node)| {
            session.write_input(plan, x, &[1.0, 2.0, 3.0, -4.0, 0.0, 7.5]).unwrap();
            session.run(plan).unwrap();
            let mut values = vec![0.0; 6];
            session.read(plan, node, &mut values).unwrap();
            values
        });
        assert_eq!(got[0], got[1]);
        // gamma (x - mean) / sqrt(var + eps) + beta
        assert!((got[0][0] - (3.0 * 2.0 / 4.25f64.sqrt() + 0.5)).abs() < 1e-12, "{got:?}");
        assert_eq!(["running_mean", "running_var"].map(|name| session.tensor(name).unwrap()[0]), [-1.0, 4.0]);
    }
}
