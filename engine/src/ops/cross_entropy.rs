//! Softmax cross-entropy.

use super::prelude::*;
use crate::Init;
use kernels::cross_entropy::{self, CrossEntropyParams};

/// Parameters of [`Graph::softmax_cross_entropy`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// Share of the target that is spread over all classes, from 0 to 1.
    pub label_smoothing: f64,
    /// A class whose rows do not count; may be none of the classes. Several ranks weigh their parts by images,
    /// however many rows of each count.
    pub ignored: Option<i32>,
}

impl Graph {
    /// Mean cross-entropy between the softmax of `logits [.., K]` and `classes [..]`, giving `[1]`:
    /// [`kernels::cross_entropy`] has the equations. Classes are whole numbers from 0 to `K - 1`, in an input of
    /// floats; any other number makes the loss NaN. With logits `[N, H, W, K]` and classes `[N, H, W]`, every pixel has
    /// a class.
    ///
    /// # Errors
    /// If the shapes do not match, or the label smoothing is not from 0 to 1. Classes have no gradient: a
    /// [`Plan::gradients`](crate::Plan::gradients) of inputs leaves them at 0.
    pub fn softmax_cross_entropy(&mut self, logits: NodeId, classes: NodeId, params: CrossEntropy) -> Result<NodeId> {
        self.record("softmax_cross_entropy", params, &[logits, classes])
    }
}

impl CrossEntropy {
    fn params(&self, logits: Shape) -> CrossEntropyParams {
        let classes = logits.channels();
        let CrossEntropy { label_smoothing, ignored } = *self;
        CrossEntropyParams { rows: logits.len() / classes, classes, label_smoothing, ignored }
    }
}

impl Operation for CrossEntropy {
    fn kind(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        arguments.expect(1, "classes", arguments.shape(0).without_channels())?;
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(
                arguments.wrong_params(format!("label_smoothing must be from 0 to 1, not {}", self.label_smoothing))
            );
        }
        Ok([1].into())
    }

    /// Auxiliary 0 is the number of rows that count.
    fn forward(&self, cx: &mut Emitter<'_>) {
        let (params, [logits, targets]) = (self.params(cx.shape(0)), [0, 1].map(|i| cx.input(i)));
        let (out, count) = (cx.output(), cx.new_auxiliary([1].into()));
        cx.emit(cross_entropy::Forward { params, logits, targets, out, count });
    }

    /// Reads both inputs. Classes have no gradient.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (params, [logits, targets]) = (self.params(cx.shape(0)), [0, 1].map(|i| cx.input(i)));
        let (dloss, count) = (cx.dy(), cx.auxiliary(0));
        if cx.wants(0) {
            let (dlogits, write) = cx.gradient(0);
            cx.emit(cross_entropy::Backward { params, logits, targets, count, dloss, dlogits, write });
        }
    }
}

impl Cases for CrossEntropy {
    fn cases() -> Vec<Case> {
        let smooth = CrossEntropy { label_smoothing: 0.2, ignored: None };
        vec![
            case([3, 4].into(), 1, CrossEntropy::default()),
            case([17, 10].into(), 9, smooth),
            // A class for every pixel
            case([2, 3, 2, 3].into(), 0, CrossEntropy { ignored: Some(-100), ..smooth }),
            case([2, 1].into(), 0, CrossEntropy::default()),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let (rows, classes) = (random.within(1..=40), random.within(1..=20));
        let params = CrossEntropy { label_smoothing: random.number(1.0).max(0.0), ignored: None };
        vec![case([rows, classes].into(), random.within(1..=classes) - 1, params)]
    }
}

/// All rows have the same class, which is a state: it has no gradient.
fn case(logits: Shape, class: usize, params: CrossEntropy) -> Case {
    let detail = format!("{logits} class {class} smoothing {:.1}", params.label_smoothing);
    Case::new("softmax_cross_entropy", detail, &[("logits", logits)], move |graph, a| {
        let name = format!("classes_{}", graph.len());
        let classes = graph.state(&name, logits.without_channels(), Init::Constant(class as f64))?;
        graph.softmax_cross_entropy(a[0], classes, params)
    })
}
