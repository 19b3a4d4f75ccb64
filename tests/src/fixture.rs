//! A network with its loss, ready to be planned, and its data.

use engine::{AdamW, Backend, Element, Graph, NodeId, PlanId, Session, Step};
use model::{ResConv, ResConvConfig};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A recorded network with the L1 loss of its output.
pub struct Fixture {
    /// The network.
    pub network: ResConv,
    /// The graph that it is recorded in.
    pub graph: Graph,
    /// The input `[N, H, W, in_channels]`.
    pub image: NodeId,
    /// What the output should be, `[N, H, W, out_channels]`.
    pub target: NodeId,
    /// The output.
    pub output: NodeId,
    /// The mean absolute error of the output.
    pub loss: NodeId,
}

impl Fixture {
    /// Records the network for a batch of `n` images.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub fn new(config: ResConvConfig, image: [usize; 3]) -> Fixture {
        Fixture::record(config, image, ResConv::record)
    }

    /// Like [`new`](Self::new), with one node per operation.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub fn unfused(config: ResConvConfig, image: [usize; 3]) -> Fixture {
        Fixture::record(config, image, ResConv::record_unfused)
    }

    fn record(
        config: ResConvConfig,
        [n, height, width]: [usize; 3],
        record: fn(&ResConv, &mut Graph, NodeId) -> model::Result<NodeId>,
    ) -> Fixture {
        let network = ResConv::new(config).unwrap();
        let mut graph = Graph::new();
        let image = graph.input("image", [n, height, width, network.config().in_channels]).unwrap();
        let output = record(&network, &mut graph, image).unwrap();
        let target = graph.input("target", graph.shape(output)).unwrap();
        let loss = graph.l1_loss(output, target).unwrap();
        Fixture { network, graph, image, target, output, loss }
    }
}

impl Fixture {
    /// Writes random images and targets, the same for the same seed.
    ///
    /// # Panics
    /// If the plan has other inputs.
    pub fn write_inputs<B: Backend>(&self, session: &mut Session<B>, plan: PlanId, seed: u64) {
        for (i, node) in [self.image, self.target].into_iter().enumerate() {
            let values = uniform(2 * seed + i as u64, self.graph.shape(node).len(), 0.0, 1.0);
            session.write_input(plan, node, &elements::<B>(&values)).unwrap();
        }
    }
}

/// Runs a training step on the plan's inputs, and returns its loss.
///
/// # Panics
/// If the plan has no inputs yet.
pub fn training_step<B: Backend>(session: &mut Session<B>, plan: PlanId) -> f64 {
    session.run(plan).unwrap();
    session.update(&Step::new(AdamW::default(), 3e-4)).unwrap();
    session.loss(plan).unwrap()
}

/// Initializes the session's tensors. Batch norms' scales and offsets are not 1 and 0, so that every path of the
/// gradient is used.
pub fn initialize<B: Backend>(session: &mut Session<B>, seed: u64) {
    session.initialize(seed);
    let batch_norms =
        session.tensors().iter().enumerate().filter(|(_, tensor)| tensor.trained && tensor.name.contains(".bn."));
    let values: Vec<(String, Vec<f64>)> = batch_norms
        .map(|(i, tensor)| {
            let [low, high] = if tensor.name.ends_with("weight") { [0.5, 1.5] } else { [-0.2, 0.2] };
            (tensor.name.clone(), uniform(seed + i as u64, tensor.shape.len(), low, high))
        })
        .collect();
    for (name, values) in values {
        session.set_tensor(&name, &elements::<B>(&values)).unwrap();
    }
}

/// Seeded numbers between `low` and `high`, exact in f32.
pub fn uniform(seed: u64, len: usize, low: f64, high: f64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let unit = |bits: u32| f64::from(bits) / 2f64.powi(32);
    (0..len).map(|_| f64::from((low + (high - low) * unit(rng.next_u32())) as f32)).collect()
}

/// Converts numbers to the backend's type.
pub fn elements<B: Backend>(values: &[f64]) -> Vec<B::Element> {
    values.iter().map(|value| B::Element::from_f64(*value)).collect()
}

/// Converts the backend's numbers to f64.
pub fn to_f64<E: Element>(values: &[E]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}
