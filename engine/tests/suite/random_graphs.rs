//! Random graphs: gradients against finite differences, and the same bits for all memory options.

use crate::common::{norm_nodes, numbers};
use engine::gradcheck::check;
use engine::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// One node to record: what, on which earlier values, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    op: u8,
    a: usize,
    b: usize,
    how: usize,
}

pub(crate) fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = (0u8..14, 0usize..1000, 0usize..1000, 0usize..1000);
    prop::collection::vec(choice.prop_map(|(op, a, b, how)| Choice { op, a, b, how }), 1..14)
}

/// Element-wise functions without kinks, so that differences are meaningful everywhere.
const SMOOTH: [Activation; 5] =
    [Activation::Gelu, Activation::Sigmoid, Activation::Tanh, Activation::Silu, Activation::Mish];

/// Largest value that is recorded, in elements per image. It bounds the time of a check.
const MAX_LEN: usize = 120;

pub(crate) struct Builder {
    graph: Graph,
    /// Values of four dimensions.
    values: Vec<NodeId>,
    /// Weights that may be used again.
    weights: Vec<NodeId>,
}

impl Builder {
    /// The graph of these choices, and its output: the last value, or its loss. Choices without a valid node are
    /// skipped.
    fn build(choices: &[Choice], scalar: bool) -> (Graph, NodeId) {
        let parameter = |graph: &mut Graph, shape| graph.parameter("p", shape, Init::Uniform { bound: 1.0 });
        Builder::build_with(choices, scalar, 2, parameter)
    }

    /// The graph of these choices for `images` images, with `p` as an input instead of a parameter, and its loss.
    pub(crate) fn build_loss(choices: &[Choice], images: usize) -> (Graph, NodeId) {
        Builder::build_with(choices, true, images, |graph, shape| graph.input("p", shape))
    }

    fn build_with(
        choices: &[Choice],
        scalar: bool,
        images: usize,
        p: impl FnOnce(&mut Graph, [usize; 4]) -> Result<NodeId>,
    ) -> (Graph, NodeId) {
        let mut graph = Graph::new();
        let shape = [images, 4, 3, 2];
        let x = graph.input("x", shape).unwrap();
        let p = p(&mut graph, shape).unwrap();
        let mut builder = Builder { graph, values: vec![x, p], weights: Vec::new() };
        for choice in choices {
            let node = builder.record(*choice);
            builder.values.extend(node.filter(|&node| builder.graph.shape(node).len() <= MAX_LEN * images));
        }
        let Builder { mut graph, values, .. } = builder;
        let last = *values.last().unwrap();
        // Never a leaf, so that there is something to run.
        let output = graph.add(last, last, 0.5).unwrap();
        if !scalar {
            return (graph, output);
        }
        let target = graph.input("target", *graph.shape(output).dims().first_chunk::<4>().unwrap()).unwrap();
        let loss = graph.mse_loss(output, target).unwrap();
        (graph, loss)
    }

    fn record(&mut self, Choice { op, a, b, how }: Choice) -> Option<NodeId> {
        let x = self.values[a % self.values.len()];
        let graph = &mut self.graph;
        let &[_, h, w, c] = graph.shape(x).dims() else { unreachable!("values have four dimensions") };
        let fresh = graph.len();
        let (small, stride, padding) = (1 + b % 3, [1 + how % 2, 1 + how / 2 % 2], [how / 4 % 2, how / 8 % 2]);
        let groups = if c % 2 == 0 && how % 5 == 0 { 2 } else { 1 };
        let kernel = [1 + how / 16 % 3, 1 + how / 48 % 3];
        let name = |kind: &str| format!("{kind}_{fresh}");
        let init = Init::Uniform { bound: 0.6 };
        let node = match op {
            0 => graph.activation(x, SMOOTH[how % SMOOTH.len()]),
            1 | 2 => {
                let same: Vec<NodeId> =
                    self.values.iter().copied().filter(|&value| graph.shape(value) == graph.shape(x)).collect();
                graph.add(x, same[b % same.len()], [1.0, 1.0, -0.5, 0.3][how % 4])
            }
            3 => {
                let k = small * groups;
                let weight = graph.parameter(&name("w"), [kernel[0], kernel[1], c / groups, k], init).unwrap();
                let bias = graph.parameter(&name("bias"), [k], init).unwrap();
                self.weights.push(weight);
                graph.conv2d(x, weight, (how % 3 > 0).then_some(bias), Conv2d { stride, padding, groups })
            }
            4 => {
                let weight = graph.parameter(&name("w"), [kernel[0], kernel[1], small, c], init).unwrap();
                let bias = graph.parameter(&name("bias"), [small * groups], init).unwrap();
                let output_padding = [(stride[0] - 1) * (how / 7 % 2), 0];
                let params = ConvTranspose2d { stride, padding, output_padding, groups };
                graph.conv_transpose2d(x, weight, (how % 3 > 0).then_some(bias), params)
            }
            5 => {
                let nodes = norm_nodes(graph, &name("bn"), c);
                // A large eps keeps the second derivative small.
                graph.batch_norm(x, nodes, BatchNorm { eps: 0.1, momentum: 0.1 })
            }
            8 => {
                let slope = graph.parameter(&name("slope"), [1], init).unwrap();
                graph.prelu(x, slope)
            }
            9 => graph.rrelu(x),
            6 => graph.pad(x, h + how % 2, w + how / 2 % 2),
            10 => {
                let is_beside = |value: &NodeId| graph.shape(*value).dims()[..3] == graph.shape(x).dims()[..3];
                let beside: Vec<NodeId> = self.values.iter().copied().filter(is_beside).collect();
                // Now and then more than a pass takes
                let other = beside[b % beside.len()];
                graph.concat(&[x, other].repeat(if how % 8 == 0 { 5 } else { 1 }))
            }
            11 => graph.slice_channels(x, b % c..c - how % (c - b % c)),
            12 => graph.upsample(x, [small, 1 + how % 5], [Upsampling::Nearest, Upsampling::Bilinear][how % 2]),
            13 => {
                let [gamma, beta] = ["gamma", "beta"].map(|kind| graph.parameter(&name(kind), [c], init).unwrap());
                graph.group_norm(x, gamma, beta, GroupNorm { groups, eps: 0.1 })
            }
            _ => {
                let weight = *self.weights.get(b % self.weights.len().max(1))?;
                graph.conv2d(x, weight, None, Conv2d::default())
            }
        };
        node.ok()
    }
}

/// The bits of the output, all gradients and all states after two runs.
fn outcome<B: Backend>(backend: B, graph: &Graph, output: NodeId, options: &PlanOptions) -> Vec<u64> {
    let random = |node: NodeId| -> Vec<B::Element> {
        let len = graph.shape(node).len();
        numbers(len, node.index() as u64).into_iter().map(B::Element::from_f64).collect()
    };
    let zeros = |node: NodeId| vec![B::Element::from_f64(0.0); graph.shape(node).len()];
    let plan = Plan::gradients(graph, output, true, options).unwrap();
    let mut session = Session::new(backend, vec![plan]).unwrap();
    let id = PlanId(0);
    session.initialize(11);
    session.write_cotangent(id, &random(output)).unwrap();
    // The plan may not read every input.
    let inputs = ["x", "target"].into_iter().filter_map(|name| graph.node(name));
    let inputs: Vec<NodeId> = inputs.filter(|&input| session.write_input(id, input, &random(input)).is_ok()).collect();
    session.run(id).unwrap();
    session.run(id).unwrap();
    let mut all = zeros(output);
    session.read(id, output, &mut all).unwrap();
    for tensor in graph.tensors() {
        all.extend(session.tensor(&tensor.name).unwrap());
        if tensor.trained {
            all.extend(session.gradient(&tensor.name).unwrap());
        }
    }
    for input in inputs {
        let mut gradient = zeros(input);
        session.read_gradient(id, input, &mut gradient).unwrap();
        all.extend(gradient);
    }
    assert!(all.iter().all(|x| x.to_f64().is_finite()), "poison was read");
    all.into_iter().map(|x| x.to_f64().to_bits()).collect()
}

/// Fails unless all memory options give the same bits.
fn check_memory_options<B: Backend + Clone>(
    backend: &B,
    graph: &Graph,
    output: NodeId,
) -> std::result::Result<(), TestCaseError> {
    let plain = PlanOptions { reuse: false, recompute: false, poison: false, ..PlanOptions::default() };
    let want = outcome(backend.clone(), graph, output, &plain);
    let none = None;
    for (reuse, recompute, arena_limit) in
        [(true, true, none), (true, false, none), (false, true, none), (true, true, Some(0)), (true, false, Some(300))]
    {
        let options = PlanOptions { reuse, recompute, arena_limit, poison: true, ..PlanOptions::default() };
        let got = outcome(backend.clone(), graph, output, &options);
        prop_assert!(got == want, "reuse {reuse}, recompute {recompute}, limit {arena_limit:?}, {}", backend.name());
    }
    Ok(())
}

/// The same graphs in every run.
pub(crate) fn config() -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(0);
    ProptestConfig { cases: 150, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn gradients_equal_finite_differences(choices in choices(), scalar: bool, seed in 0u64..100) {
        let (graph, output) = Builder::build(&choices, scalar);
        let options = GradcheckOptions { seed, samples: Some(6), ..GradcheckOptions::default() };
        let report = check(&graph, output, &options).unwrap();
        prop_assert!(report.passed(), "{report}");
    }

    #[test]
    fn memory_options_change_no_bit(choices in choices(), scalar: bool) {
        let (graph, output) = Builder::build(&choices, scalar);
        check_memory_options(&Reference, &graph, output)?;
        check_memory_options(&Cpu::new(1).unwrap(), &graph, output)?;
    }
}
