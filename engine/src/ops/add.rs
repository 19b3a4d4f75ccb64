//! Weighted addition.

use super::prelude::*;
use kernels::add;

/// `a + weight b`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Add {
    weight: f64,
}

impl Graph {
    /// `a + weight b`, of equal shapes.
    ///
    /// # Errors
    /// If the shapes differ or the weight is not finite.
    pub fn add(&mut self, a: NodeId, b: NodeId, weight: f64) -> Result<NodeId> {
        self.record("add", Add { weight }, &[a, b])
    }

    /// `a - b`, of equal shapes.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn sub(&mut self, a: NodeId, b: NodeId) -> Result<NodeId> {
        self.add(a, b, -1.0)
    }
}

impl Operation for Add {
    fn kind(&self) -> &'static str {
        "add"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        arguments.expect(1, "b", arguments.shape(0))?;
        if !self.weight.is_finite() {
            return Err(arguments.wrong_params(format!("the weight must be finite, not {}", self.weight)));
        }
        Ok(arguments.shape(0))
    }

    /// The output may take the place of either summand.
    fn forward(&self, cx: &mut Emitter<'_>) {
        let (a, b, y) = (cx.input(0), cx.input(1), cx.output());
        cx.emit(add::Add { weight: self.weight, a, b, y });
    }

    /// Reads only `dy`, which becomes the gradient of `a` if that has no other contribution yet.
    fn backward(&self, cx: &mut Emitter<'_>) {
        cx.contribute_dy(0, 1.0);
        cx.contribute_dy(1, self.weight);
    }
}

impl Cases for Add {
    fn cases() -> Vec<Case> {
        let twice = Case::new("add", "to itself", &[("a", [3, 2].into())], |graph, a| graph.add(a[0], a[0], 1.0));
        let mut cases: Vec<Case> = [1.0, -0.3, 0.0].map(|weight| case(weight, [2, 3, 2].into())).into();
        cases.push(twice.linear_in(&[&[0]]));
        cases
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        vec![case(random.number(2.0), random.shape())]
    }
}

fn case(weight: f64, shape: Shape) -> Case {
    let arguments = [("a", shape), ("b", shape)];
    let detail = format!("weight {weight:.3} {shape}");
    Case::new("add", detail, &arguments, move |graph, a| graph.add(a[0], a[1], weight)).linear_in(&[&[0, 1]])
}
