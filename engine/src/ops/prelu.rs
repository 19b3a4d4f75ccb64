//! Rectifier with a trained slope.

use super::prelude::*;
use kernels::prelu;

impl Graph {
    /// PReLU, `x` where it is above 0 and `slope x` elsewhere, of any shape, with one slope `[1]` for all elements:
    /// [`kernels::prelu`] has the equations. PyTorch's initial slope is 0.25.
    ///
    /// # Errors
    /// If the slope has another shape, or is `x` itself.
    pub fn prelu(&mut self, x: NodeId, slope: NodeId) -> Result<NodeId> {
        self.record("prelu", Prelu, &[x, slope])
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
        if arguments.list[0].id == arguments.list[1].id {
            let got = format!("`{}`, which is argument `x` too", arguments.list[1].name);
            return Err(arguments.wrong("slope", "a node of its own", got));
        }
        Ok(arguments.shape(0))
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (x, slope, y) = (cx.input(0), cx.input(1), cx.output());
        cx.emit(prelu::Forward { x, slope, y });
    }

    /// Reads both inputs.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (dslope, dslope_write) = cx.gradient(1);
        let (dx, dx_write) = cx.gradient(0);
        let (x, slope, dy) = (cx.input(0), cx.input(1), cx.dy());
        cx.emit(prelu::Backward { x, slope, dy, dx, dx_write, dslope, dslope_write });
    }

    /// One pass over `x`, which the backward pass needs anyway.
    fn recompute(&self, cx: &mut Emitter<'_>) {
        let (x, slope, output, shape) = (cx.input(0), cx.input(1), cx.output(), cx.output_shape());
        cx.recomputable(output, shape, Effort::Elementwise, |y| prelu::Forward { x, slope, y });
    }
}

impl Cases for Prelu {
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
