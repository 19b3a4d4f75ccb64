//! Dropout.

use super::draws::{draws, number};
use super::prelude::*;
use crate::mode::{Mode, Statistics};
use kernels::Write;
use kernels::dropout;

impl Graph {
    /// Dropout of single elements of any shape: with probability `p` an element becomes 0, else it is divided by
    /// `1 - p`. [`kernels::dropout`] has the equations.
    ///
    /// Plans with gradients draw anew in every step. What is dropped depends only on the seed of
    /// [`Session::initialize`](crate::Session::initialize), the [number of training
    /// runs](crate::Session::training_runs), the number of the node among the dropout nodes, and the element: not on
    /// the backend or the number of threads. One of several ranks ([`Plan::training_part`](crate::Plan::training_part))
    /// drops of its images what a single rank would; the first dimension of `x` must be the images. In inference
    /// plans, [`Statistics`] decides: with the running statistics the output is `x`, and costs nothing; with those of
    /// the batch elements are dropped as for seed 0 and step 0.
    ///
    /// # Errors
    /// If `p` is not from 0 to below 1.
    pub fn dropout(&mut self, x: NodeId, p: f64) -> Result<NodeId> {
        let stream = STREAMS + number(self, KIND);
        self.record(KIND, Dropout { p, stream }, &[x])
    }
}

const KIND: &str = "dropout";

/// The streams before it are those of RReLU nodes.
const STREAMS: u64 = 1 << 32;

/// [`Graph::dropout`]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dropout {
    p: f64,
    /// No two nodes draw the same random numbers.
    stream: u64,
}

impl Operation for Dropout {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        match (0.0..1.0).contains(&self.p) {
            true => Ok(arguments.shape(0)),
            false => Err(arguments.wrong_params(format!("p must be at least 0 and below 1, not {}", self.p))),
        }
    }

    fn is_view(&self, mode: Mode) -> bool {
        mode == Mode::Inference(Statistics::Running)
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        if self.is_view(cx.mode()) {
            return cx.copy_unless_view();
        }
        let (x, y) = (cx.input(0), cx.output());
        cx.emit(dropout::Dropout { p: self.p, draws: draws(cx, self.stream), x, y, write: Write::Set });
    }

    /// Reads `dy` alone, and draws what the forward pass drew.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (dx, write) = cx.gradient(0);
        let dy = cx.dy();
        cx.emit(dropout::Dropout { p: self.p, draws: draws(cx, self.stream), x: dy, y: dx, write });
    }

    /// One pass over `x`.
    fn recompute(&self, cx: &mut Emitter<'_>) {
        let (x, output, shape) = (cx.input(0), cx.output(), cx.output_shape());
        let (p, draws) = (self.p, draws(cx, self.stream));
        cx.recomputable(output, shape, Effort::Elementwise, |y| dropout::Dropout { p, draws, x, y, write: Write::Set });
    }
}

impl Cases for Dropout {
    fn cases() -> Vec<Case> {
        // 131 elements need more than one block of random numbers.
        vec![case([2, 3, 5].into(), 0.5), case([131].into(), 0.1), case([4].into(), 0.0)]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        vec![case(random.shape(), random.number(0.9).abs())]
    }
}

fn case(x: Shape, p: f64) -> Case {
    Case::new(KIND, format!("{x} p {p:.2}"), &[("x", x)], move |graph, a| graph.dropout(a[0], p)).linear_in(&[&[0]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, Plan, PlanId, PlanOptions, Session};

    const N: usize = 600;

    /// Dropout twice and RReLU, all of -1: `[dropped, dropped, slopes]`.
    fn graph() -> (Graph, [NodeId; 3], NodeId) {
        let mut graph = Graph::new();
        let x = graph.input("x", [1, N]).unwrap();
        let nodes = [graph.dropout(x, 0.5), graph.dropout(x, 0.5), graph.rrelu(x)].map(|node| node.unwrap());
        let sum = graph.weighted_sum(&nodes.map(|node| (node, 1.0))).unwrap();
        (graph, nodes, sum)
    }

    /// The values of the three nodes in a run of a plan.
    fn values(session: &mut Session<Cpu>, plan: PlanId, x: NodeId, nodes: [NodeId; 3]) -> [Vec<f32>; 3] {
        session.write_input(plan, x, &[-1.0; N]).unwrap();
        session.run(plan).unwrap();
        nodes.map(|node| {
            let mut values = vec![0.0; N];
            session.read(plan, node, &mut values).unwrap();
            values
        })
    }

    /// How many elements of both are on the same side: nearly half of them, if neither says anything about the other.
    fn agreeing(a: &[f32], b: &[f32], is_low: impl Fn(f32) -> bool) -> f64 {
        a.iter().zip(b).filter(|(a, b)| (**a == 0.0) == is_low(**b)).count() as f64
    }

    #[test]
    fn nodes_and_runs_drop_other_elements_and_rrelu_draws_other_numbers() {
        let (graph, nodes, sum) = graph();
        let options = PlanOptions { keep: nodes.into(), ..PlanOptions::default() };
        let plan = Plan::gradients(&graph, sum, true, &options).unwrap();
        let mut session = Session::new(Cpu::new(1).unwrap(), vec![plan]).unwrap();
        session.write_cotangent(PlanId(0), &[1.0; N]).unwrap();
        session.initialize(7);
        let x = graph.node("x").unwrap();
        let mut of_run = |run| {
            session.set_training_runs(run);
            values(&mut session, PlanId(0), x, nodes)
        };
        let [first, second] = [0, 1].map(&mut of_run);
        assert_eq!(of_run(0), first);
        let half = |count: f64| (count - N as f64 / 2.0).abs() < 4.0 * (N as f64 / 4.0).sqrt();
        assert!(first[0].iter().all(|y| *y == 0.0 || *y == -2.0), "{:?}", first[0]);
        assert!(half(agreeing(&first[0], &first[1], |y| y == 0.0)), "two nodes");
        assert!(half(agreeing(&first[0], &second[0], |y| y == 0.0)), "two runs");
        // The slopes of small words are small, and elements of small words are dropped.
        assert!(half(agreeing(&first[0], &first[2], |y| -y < 11.0 / 48.0)), "RReLU");
    }

    #[test]
    fn inference_is_the_identity_and_takes_no_step() {
        let (graph, nodes, sum) = graph();
        let x = graph.node("x").unwrap();
        let plan = |outputs: &[NodeId]| Plan::inference(&graph, outputs, Statistics::Running).unwrap();
        assert_eq!(plan(&nodes[..2]).len(), 0);
        let mut session = Session::new(Cpu::new(1).unwrap(), vec![plan(&[&nodes[..], &[sum]].concat())]).unwrap();
        let [first, second, _] = values(&mut session, PlanId(0), x, nodes);
        assert_eq!([first, second], [[-1.0; N], [-1.0; N]]);
    }
}
