//! Element-wise activation functions.

use super::prelude::*;
use kernels::activation::{self, Activation, Saved};

impl Graph {
    /// Applies a function to every element of `x`, of any shape: [`kernels::activation`] has the equations.
    ///
    /// # Errors
    /// If the node is not of this graph.
    pub fn activation(&mut self, x: NodeId, f: Activation) -> Result<NodeId> {
        self.record("activation", f, &[x])
    }
}

impl Operation for Activation {
    fn kind(&self) -> &'static str {
        "activation"
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (x, y) = (cx.input(0), cx.output());
        cx.emit(activation::Forward { activation: *self, x, y });
    }

    /// Reads `x` or the output, depending on the function.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let saved = match self.saved() {
            Saved::Input => cx.input(0),
            Saved::Output => cx.output(),
        };
        let (dx, write) = cx.gradient(0);
        let dy = cx.dy();
        cx.emit(activation::Backward { activation: *self, saved, dy, dx, write });
    }
}

impl Cases for Activation {
    fn cases() -> Vec<Case> {
        Activation::ALL.map(|f| case(f, [2, 3, 5].into())).into()
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        Activation::ALL.map(|f| case(f, random.shape())).into()
    }
}

fn case(f: Activation, x: Shape) -> Case {
    Case::new(f, x, &[("x", x)], move |graph, a| graph.activation(a[0], f))
}
