//! Sum and mean of all elements.

use super::prelude::*;
use kernels::sum;

impl Graph {
    /// The sum of all elements of `x`, giving `[1]`: [`kernels::sum`] has the equations. Over several ranks
    /// ([`Plan::training_part`](crate::Plan::training_part)), it is that of the batch.
    ///
    /// # Errors
    /// If `x` is not of this graph.
    pub fn sum(&mut self, x: NodeId) -> Result<NodeId> {
        self.record("sum", Total { is_mean: false }, &[x])
    }

    /// The mean of all elements of `x`, giving `[1]`.
    ///
    /// # Errors
    /// As [`sum`](Graph::sum).
    pub fn mean(&mut self, x: NodeId) -> Result<NodeId> {
        self.record("mean", Total { is_mean: true }, &[x])
    }
}

/// [`Graph::sum`] and [`Graph::mean`]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total {
    is_mean: bool,
}

impl Total {
    /// The ranks' losses are averaged, weighted by their shares of the batch. The sum of a part is that of so small a
    /// share.
    fn factor(self, cx: &Emitter<'_>) -> f64 {
        match cx.part() {
            _ if self.is_mean => 1.0 / cx.shape(0).len() as f64,
            Some(part) if cx.depends_on_inputs(0) => 1.0 / part.share(),
            _ => 1.0,
        }
    }
}

impl Operation for Total {
    fn kind(&self) -> &'static str {
        if self.is_mean { "mean" } else { "sum" }
    }

    fn shape(&self, _: &Arguments<'_>) -> Result<Shape> {
        Ok([1].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (factor, x, y) = (self.factor(cx), cx.input(0), cx.output());
        cx.emit(sum::Forward { factor, x, y });
    }

    /// Reads `dy` alone.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (factor, dy, (dx, write)) = (self.factor(cx), cx.dy(), cx.gradient(0));
        cx.emit(sum::Backward { factor, dy, dx, write });
    }
}

impl Cases for Total {
    fn cases() -> Vec<Case> {
        [false, true].map(|is_mean| case(is_mean, [2, 3, 2, 3].into())).into()
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        [false, true].map(|is_mean| case(is_mean, random.shape())).into()
    }
}

fn case(is_mean: bool, x: Shape) -> Case {
    let record = if is_mean { Graph::mean } else { Graph::sum };
    let op = Total { is_mean }.kind();
    Case::new(op, x, &[("x", x)], move |graph, a| record(graph, a[0])).linear_in(&[&[0]])
}
