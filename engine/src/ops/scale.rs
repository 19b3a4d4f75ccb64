//! Multiplication by a number, and weighted sums.

use super::prelude::*;
use crate::Error;
use kernels::Write;
use kernels::add;

impl Graph {
    /// `factor x`, of any shape.
    ///
    /// # Errors
    /// If the factor is not finite.
    pub fn scale(&mut self, x: NodeId, factor: f64) -> Result<NodeId> {
        self.record("scale", Scale { factor }, &[x])
    }

    /// The sum of nodes of equal shapes, each times a weight: several losses as one.
    ///
    /// # Errors
    /// If there are no terms, the shapes differ, or a weight is not finite.
    pub fn weighted_sum(&mut self, terms: &[(NodeId, f64)]) -> Result<NodeId> {
        let Some((&(first, weight), rest)) = terms.split_first() else {
            let (op, node, message) = ("weighted_sum", format!("weighted_sum_{}", self.len()), "there are no terms");
            return Err(Error::Params { op, node, message: message.to_owned() });
        };
        let first = if weight == 1.0 { first } else { self.scale(first, weight)? };
        rest.iter().try_fold(first, |sum, &(term, weight)| self.add(sum, term, weight))
    }
}

/// [`Graph::scale`]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    factor: f64,
}

impl Operation for Scale {
    fn kind(&self) -> &'static str {
        "scale"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        match self.factor.is_finite() {
            true => Ok(arguments.shape(0)),
            false => Err(arguments.wrong_params(format!("the factor must be finite, not {}", self.factor))),
        }
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (x, y) = (cx.input(0), cx.output());
        cx.emit(add::Scale { weight: self.factor, x, y, write: Write::Set });
    }

    /// Reads `dy` alone.
    fn backward(&self, cx: &mut Emitter<'_>) {
        cx.contribute_dy(0, self.factor);
    }
}

impl Cases for Scale {
    fn cases() -> Vec<Case> {
        let losses = Case::new("scale", "of losses", &[("a", [3, 2].into()), ("b", [3, 2].into())], |graph, a| {
            let losses = [graph.mse_loss(a[0], a[1])?, graph.mean(a[0])?, graph.mean(a[1])?];
            graph.weighted_sum(&[(losses[0], 2.0), (losses[1], -0.5), (losses[2], 1.0)])
        });
        vec![case(-0.3, [2, 3, 2].into()), case(0.0, [3].into()), losses]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        vec![case(random.number(2.0), random.shape())]
    }
}

fn case(factor: f64, x: Shape) -> Case {
    Case::new("scale", format!("{factor:.2} {x}"), &[("x", x)], move |graph, a| graph.scale(a[0], factor))
        .linear_in(&[&[0]])
}
