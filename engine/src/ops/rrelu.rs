//! Rectifier with random slopes.

use super::draws::{draws, number};
use super::prelude::*;
use crate::mode::{Mode, Statistics};
use kernels::rrelu;

impl Graph {
    /// RReLU, `x` where it is above 0 and a slope times `x` elsewhere, of any shape: [`kernels::rrelu`] has the
    /// equations.
    ///
    /// Plans with gradients draw the slope of every element in every step, from 1/8 to 1/3. The slope depends only on
    /// the seed of [`Session::initialize`](crate::Session::initialize), the [number of training
    /// runs](crate::Session::training_runs), the number of the node among the RReLU nodes, and the element. One of
    /// several ranks ([`Plan::training_part`](crate::Plan::training_part)) draws for its images what a single rank
    /// would draw for them; the first dimension of `x` must be the images. In inference plans, [`Statistics`] decides:
    /// with the running statistics all slopes are the mean, 11/48; with those of the batch they are drawn as for seed 0
    /// and step 0, so that equal inputs give equal results in every run.
    ///
    /// # Errors
    /// If the node is not of this graph.
    pub fn rrelu(&mut self, x: NodeId) -> Result<NodeId> {
        self.record(KIND, Rrelu { stream: number(self, KIND) }, &[x])
    }
}

const KIND: &str = "rrelu";

/// [`Graph::rrelu`]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rrelu {
    /// Number of the node among the RReLU nodes: no two draw the same random numbers.
    stream: u64,
}

impl Operation for Rrelu {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (x, y) = (cx.input(0), cx.output());
        let draws = (cx.mode() != Mode::Inference(Statistics::Running)).then(|| draws(cx, self.stream));
        cx.emit(rrelu::Forward { draws, x, y });
    }

    /// Reads `x`, and draws what the forward pass drew.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (dx, write) = cx.gradient(0);
        let (x, dy) = (cx.input(0), cx.dy());
        let draws = Some(draws(cx, self.stream));
        cx.emit(rrelu::Backward { draws, x, dy, dx, write });
    }

    /// One pass over `x`, which the backward pass needs anyway.
    fn recompute(&self, cx: &mut Emitter<'_>) {
        let (x, output, shape) = (cx.input(0), cx.output(), cx.output_shape());
        let draws = Some(draws(cx, self.stream));
        cx.recomputable(output, shape, Effort::Elementwise, |y| rrelu::Forward { draws, x, y });
    }
}

impl Cases for Rrelu {
    fn cases() -> Vec<Case> {
        // 131 elements need more than one block of random numbers.
        vec![case([2, 3, 5].into()), case([131].into())]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        vec![case(random.shape())]
    }
}

fn case(x: Shape) -> Case {
    Case::new("rrelu", x, &[("x", x)], |graph, a| graph.rrelu(a[0])).linear_in(&[&[0]])
}
