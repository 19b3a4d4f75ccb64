//! Mean losses.

use super::prelude::*;
use crate::Init;
use kernels::loss::{self, Loss};

impl Graph {
    /// Mean loss over all elements of `prediction` and `target`, of equal shapes, giving `[1]`: [`kernels::loss`] has
    /// the equations.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn loss(&mut self, loss: Loss, prediction: NodeId, target: NodeId) -> Result<NodeId> {
        self.record(&loss.to_string(), loss, &[prediction, target])
    }

    /// Mean absolute error.
    ///
    /// # Errors
    /// As [`loss`](Graph::loss).
    pub fn l1_loss(&mut self, prediction: NodeId, target: NodeId) -> Result<NodeId> {
        self.loss(Loss::L1, prediction, target)
    }

    /// Mean squared error.
    ///
    /// # Errors
    /// As [`loss`](Graph::loss).
    pub fn mse_loss(&mut self, prediction: NodeId, target: NodeId) -> Result<NodeId> {
        self.loss(Loss::Mse, prediction, target)
    }

    /// Mean of `sqrt((prediction - target)^2 + e^2)`, with `e` =
    /// [`CHARBONNIER_EPSILON`](kernels::loss::CHARBONNIER_EPSILON).
    ///
    /// # Errors
    /// As [`loss`](Graph::loss).
    pub fn charbonnier_loss(&mut self, prediction: NodeId, target: NodeId) -> Result<NodeId> {
        self.loss(Loss::Charbonnier, prediction, target)
    }

    /// Mean binary cross-entropy between the sigmoid of `logits` and `targets`, probabilities from 0 to 1, of equal
    /// shapes. It is right for large logits, too. Targets have no gradient.
    ///
    /// # Errors
    /// As [`loss`](Graph::loss).
    pub fn bce_with_logits(&mut self, logits: NodeId, targets: NodeId) -> Result<NodeId> {
        self.loss(Loss::BceWithLogits, logits, targets)
    }
}

impl Operation for Loss {
    fn kind(&self) -> &'static str {
        self.name()
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        arguments.expect(1, "target", arguments.shape(0))?;
        Ok([1].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (prediction, target, loss) = (cx.input(0), cx.input(1), cx.output());
        cx.emit(loss::Forward { loss: *self, prediction, target, out: loss });
    }

    /// Reads both inputs. All but cross-entropy are symmetric: the gradient of the target is that of the prediction
    /// with both exchanged.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let is_symmetric = *self != Loss::BceWithLogits;
        for (i, j) in [(0, 1), (1, 0)] {
            if cx.wants(i) && (i == 0 || is_symmetric) {
                let (dprediction, write) = cx.gradient(i);
                let (prediction, target) = (cx.input(i), cx.input(j));
                let dloss = cx.dy();
                cx.emit(loss::Backward { loss: *self, prediction, target, dloss, dprediction, write });
            }
        }
    }
}

impl Cases for Loss {
    fn cases() -> Vec<Case> {
        let itself = Case::new("mse_loss", "of itself", &[("x", [4].into())], |graph, a| graph.mse_loss(a[0], a[0]));
        let of = |loss| case(loss, [2, 3, 2, 2].into());
        vec![
            of(Loss::L1),
            of(Loss::Mse),
            itself,
            of(Loss::Charbonnier),
            of_small_errors(),
            of_logits([2, 3, 2, 2].into(), 0.375),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let mut cases: Vec<Case> =
            [Loss::L1, Loss::Mse, Loss::Charbonnier].map(|loss| case(loss, random.shape())).into();
        cases.push(of_logits(random.shape(), random.within(0..=8) as f64 / 8.0));
        cases
    }
}

fn case(loss: Loss, shape: Shape) -> Case {
    let arguments = [("prediction", shape), ("target", shape)];
    Case::new(loss.kind(), shape, &arguments, move |graph, a| graph.loss(loss, a[0], a[1]))
}

/// Errors about as large as where the slope of Charbonnier's loss bends, which others are seldom near.
fn of_small_errors() -> Case {
    let arguments = [("prediction", [3, 7].into()), ("target", [3, 7].into())];
    Case::new("charbonnier_loss", "of small errors", &arguments, |graph, a| {
        let [prediction, target] = [graph.scale(a[0], 0.002)?, graph.scale(a[1], 0.002)?];
        graph.charbonnier_loss(prediction, target)
    })
}

/// All targets are the same, and a state: they have no gradient.
fn of_logits(shape: Shape, target: f64) -> Case {
    let loss = Loss::BceWithLogits;
    Case::new(loss.kind(), format!("{shape} target {target}"), &[("logits", shape)], move |graph, a| {
        let name = format!("targets_{}", graph.len());
        let targets = graph.state(&name, shape, Init::Constant(target))?;
        graph.loss(loss, a[0], targets)
    })
}
