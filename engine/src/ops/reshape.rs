//! Other shapes of the same values.

use super::prelude::*;
use crate::Error;
use crate::mode::Mode;

impl Graph {
    /// The values of `x` in another shape of as many elements, in the same order. It is a view: nothing is copied.
    ///
    /// # Errors
    /// If the shape has another number of elements.
    pub fn reshape(&mut self, x: NodeId, shape: impl Into<Shape>) -> Result<NodeId> {
        self.record("reshape", Reshape { shape: shape.into() }, &[x])
    }

    /// `x [N, ..]` as `[N, features]`: a view, for a linear layer. The features of an image are in the order `H, W, C`;
    /// PyTorch's are in the order `C, H, W`, which matters only to weights that come from there
    /// ([`flattened_linear_weight`]).
    ///
    /// # Errors
    /// If `x` is not of this graph.
    pub fn flatten(&mut self, x: NodeId) -> Result<NodeId> {
        self.check(x)?;
        let (shape, images) = (self.shape(x), self.shape(x).dims()[0]);
        self.reshape(x, [images, shape.len() / images])
    }
}

/// The weight `[H W C, K]` of a linear layer behind [`Graph::flatten`], from that of a PyTorch `Linear` behind its
/// `flatten`, `[K, C H W]`. `image` is `[H, W, C]`.
///
/// # Errors
/// If `weight` has another number of elements.
pub fn flattened_linear_weight<T: Copy>(weight: &[T], image: [usize; 3], outputs: usize) -> Result<Vec<T>> {
    let [height, width, channels] = image;
    let shape = Shape::from([outputs, channels, height, width]);
    if weight.len() != shape.len() {
        let (name, expected, got) = ("weight".to_owned(), shape.len(), weight.len());
        return Err(Error::Length { name, shape, expected, got });
    }
    let at = |pixel: usize, c: usize, k: usize| weight[(k * channels + c) * height * width + pixel];
    let features = (0..height * width).flat_map(|pixel| (0..channels).map(move |c| (pixel, c)));
    Ok(features.flat_map(|(pixel, c)| (0..outputs).map(move |k| at(pixel, c, k))).collect())
}

/// The shape to give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reshape {
    shape: Shape,
}

impl Operation for Reshape {
    fn kind(&self) -> &'static str {
        "reshape"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let x = arguments.shape(0);
        match x.len() == self.shape.len() {
            true => Ok(self.shape),
            false => Err(arguments.wrong_params(format!("{x} has {} elements, {} has not", x.len(), self.shape))),
        }
    }

    fn is_view(&self, _: Mode) -> bool {
        true
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        cx.copy_unless_view();
    }

    fn backward(&self, cx: &mut Emitter<'_>) {
        cx.contribute_dy(0, 1.0);
    }
}

impl Cases for Reshape {
    fn cases() -> Vec<Case> {
        // The view of an input; of a computed value that others read and that is computed in place; of a view.
        let x = [("x", [2, 3, 2, 2].into())];
        let through = |graph: &mut Graph, x: NodeId| {
            let y = graph.activation(x, kernels::activation::Activation::Tanh)?;
            let flat = graph.flatten(y)?;
            let flat = graph.activation(flat, kernels::activation::Activation::Silu)?;
            let back = graph.reshape(flat, [2, 3, 2, 2])?;
            graph.add(y, back, 0.5)
        };
        let linear = |graph: &mut Graph, a: &[NodeId]| {
            let flat = graph.flatten(a[0])?;
            graph.linear(flat, a[1], None)
        };
        vec![
            case([2, 3, 2, 2].into(), [6, 4].into()),
            Case::new("reshape", "between other operations", &x, move |graph, a| through(graph, a[0])),
            Case::new("reshape", "before linear", &[x[0], ("w", [12, 3].into())], linear),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let [a, b] = random.pair(1..=5);
        let [c, d] = random.pair(1..=5);
        let to = [Shape::from([a * b * c * d]), [c * a, d * b].into(), [d, c, b, a].into()];
        vec![case([a, b, c, d].into(), to[random.within(0..=2)])]
    }
}

fn case(from: Shape, to: Shape) -> Case {
    Case::new("reshape", format!("{from} to {to}"), &[("x", from)], move |graph, a| graph.reshape(a[0], to))
        .linear_in(&[&[0]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, PlanId, PlanOptions, Reference, Session, Statistics};
    use kernels::activation::Activation;

    #[test]
    fn a_reshape_takes_no_step_and_no_memory() {
        let plan = |is_reshaped: bool| {
            let mut graph = Graph::new();
            let x = graph.input("x", [2, 3, 2, 2]).unwrap();
            let mut y = graph.activation(x, Activation::Tanh).unwrap();
            if is_reshaped {
                y = graph.flatten(y).unwrap();
            }
            let z = graph.activation(y, Activation::Silu).unwrap();
            Plan::gradients(&graph, z, true, &PlanOptions::default()).unwrap()
        };
        let [with, without] = [plan(true), plan(false)];
        assert_eq!((with.len(), with.memory(&Reference).arena), (without.len(), without.memory(&Reference).arena));
    }

    /// A loss must outlive the run, so it is no view of a value that does not.
    #[test]
    fn a_reshaped_loss_can_be_read_after_another_plan_has_run() {
        let mut graph = Graph::new();
        let x = graph.input("x", [1, 1]).unwrap();
        let y = graph.activation(x, Activation::Relu).unwrap();
        let loss = graph.reshape(y, [1]).unwrap();
        let plan = || Plan::inference(&graph, &[loss], Statistics::Running).unwrap();
        let mut session = Session::new(Reference, vec![plan(), plan()]).unwrap();
        for (id, value) in [(PlanId(0), 2.5), (PlanId(1), 7.0)] {
            session.write_input(id, x, &[value]).unwrap();
            session.run(id).unwrap();
        }
        assert_eq!((session.loss(PlanId(0)).unwrap(), session.loss(PlanId(1)).unwrap()), (2.5, 7.0));
    }

    /// `flatten` of PyTorch orders `[C, H, W]`, ours `[H, W, C]`.
    #[test]
    fn a_linear_weight_of_pytorch_meets_the_same_pixels() {
        let [h, w, c, k] = [2, 3, 2, 2];
        // The weight is the number of its feature in PyTorch, plus 100 for the second output.
        let weight: Vec<usize> = (0..k).flat_map(|k| (0..c * h * w).map(move |feature| 100 * k + feature)).collect();
        let ours = flattened_linear_weight(&weight, [h, w, c], k).unwrap();
        for (row, column, channel) in [(0, 0, 0), (0, 0, 1), (1, 2, 1), (1, 0, 0)] {
            let feature = (row * w + column) * c + channel;
            let theirs = (channel * h + row) * w + column;
            assert_eq!(ours[feature * k..][..k], [theirs, 100 + theirs]);
        }
        let error = flattened_linear_weight(&weight, [h, w, 3], k).unwrap_err().to_string();
        assert!(error.contains("36") && error.contains("24"), "{error}");
    }
}
