//! Product, element by element.

use super::prelude::*;
use kernels::Write;
use kernels::mul;

impl Graph {
    /// `a b`, element by element, of equal shapes.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn mul(&mut self, a: NodeId, b: NodeId) -> Result<NodeId> {
        self.record("mul", Mul, &[a, b])
    }
}

/// [`Graph::mul`]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mul;

impl Operation for Mul {
    fn kind(&self) -> &'static str {
        "mul"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        arguments.expect(1, "b", arguments.shape(0))?;
        Ok(arguments.shape(0))
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (a, b, y) = (cx.input(0), cx.input(1), cx.output());
        cx.emit(mul::Mul { a, b, y, write: Write::Set });
    }

    /// Reads both inputs.
    fn backward(&self, cx: &mut Emitter<'_>) {
        for (i, j) in [(0, 1), (1, 0)] {
            if cx.wants(i) {
                let (y, write) = cx.gradient(i);
                let (a, b) = (cx.dy(), cx.input(j));
                cx.emit(mul::Mul { a, b, y, write });
            }
        }
    }
}

impl Cases for Mul {
    fn cases() -> Vec<Case> {
        let square = Case::new("mul", "by itself", &[("a", [3, 2].into())], |graph, a| graph.mul(a[0], a[0]));
        vec![case([2, 3, 2].into()), case([19].into()), square]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        vec![case(random.shape())]
    }
}

fn case(shape: Shape) -> Case {
    let arguments = [("a", shape), ("b", shape)];
    Case::new("mul", shape, &arguments, |graph, a| graph.mul(a[0], a[1])).linear_in(&[&[0], &[1]])
}
