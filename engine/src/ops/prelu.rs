//! Rectifier with a trained slope.

use super::case::{Case, Random};
use super::{Arguments, Op, Operation};
use crate::graph::{Graph, NodeId};
use crate::plan::{Call, Effort, Emitter};
use crate::{Result, Shape};
use kernels::{Span, prelu};

impl Graph {
    /// PReLU, `x` where it is above 0 and `slope x` elsewhere, of any shape, with one slope `[1]` for all elements:
    /// [`kernels::prelu`] has the equations. PyTorch begins with slope 0.25.
    ///
    /// # Errors
    /// If the slope has another shape, or is `x` itself.
    pub fn prelu(&mut self, x: NodeId, slope: NodeId) -> Result<NodeId> {
        self.record("prelu", Op::Prelu(Prelu), &[x, slope])
    }
}

/// [`Graph::prelu`]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prelu;

impl Operation for Prelu {
    fn kind(&self) -> &'static str {
        "prelu"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        arguments.expect(1, "slope", [1].into())?;
        if arguments.ids[0] == arguments.ids[1] {
            let got = format!("`{}`, which is argument `x` too", arguments.nodes[1].name);
            return Err(arguments.wrong("slope", "a node of its own", got));
        }
        Ok(arguments.shape(0))
    }

    /// The output may take the place of `x`.
    fn forward(&self, cx: &mut Emitter<'_, '_>) {
        let (x, slope, y) = (cx.input(0), cx.input(1), cx.output());
        cx.emit_over(Call::PreluForward(prelu::Forward { x, slope, y }), y, &[x]);
    }

    /// Reads both inputs; the gradient of `x` may take the place of `dy`.
    fn backward(&self, cx: &mut Emitter<'_, '_>) {
        let (dslope, dslope_write) = cx.gradient(1);
        let (dx, dx_write) = cx.gradient(0);
        let (x, slope, dy) = (cx.input(0), cx.input(1), cx.dy());
        let workspace = Span::EMPTY;
        let operands = prelu::Backward { x, slope, dy, dx, dx_write, dslope, dslope_write, workspace };
        cx.emit_over(Call::PreluBackward(operands), dx, &[dy]);
    }

    /// One pass over `x`, which the backward pass keeps alive.
    fn recompute(&self, cx: &mut Emitter<'_, '_>) {
        let (x, slope, output, shape) = (cx.input(0), cx.input(1), cx.output(), cx.output_shape());
        cx.recomputable(output, shape, Effort::Pass, |y| Call::PreluForward(prelu::Forward { x, slope, y }));
    }

    fn cases() -> Vec<Case> {
        vec![case([2, 3, 5].into()), case([1].into())]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        vec![case(random.shape())]
    }
}

fn case(x: Shape) -> Case {
    Case::new("prelu", x, &[("x", x), ("slope", [1].into())], |graph, a| graph.prelu(a[0], a[1])).linear_in(&[&[0]])
}
