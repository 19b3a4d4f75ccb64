//! Networks that several tests use.

use engine::*;

/// The nodes of a batch normalization: new tensors, named `name.weight` and so on.
pub(crate) fn norm_nodes(graph: &mut Graph, name: &str, channels: usize) -> BatchNormNodes {
    let gamma = graph.parameter(&format!("{name}.weight"), [channels], Init::Ones).unwrap();
    let beta = graph.parameter(&format!("{name}.bias"), [channels], Init::Zeros).unwrap();
    let running_mean = graph.state(&format!("{name}.running_mean"), [channels], Init::Zeros).unwrap();
    let running_var = graph.state(&format!("{name}.running_var"), [channels], Init::Ones).unwrap();
    BatchNormNodes { gamma, beta, running_mean, running_var }
}

/// A network with every operation, a residual connection, a weight that is used twice and a value with four readers.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) x: NodeId,
    pub(crate) target: NodeId,
    pub(crate) output: NodeId,
    pub(crate) loss: NodeId,
}

pub(crate) fn network(batch: usize) -> Network {
    let mut graph = Graph::new();
    let g = &mut graph;
    let x = g.input("x", [batch, 6, 5, 2]).unwrap();
    let target = g.input("target", [batch, 6, 6, 1]).unwrap();
    let same = Conv2d { padding: [1, 1], ..Conv2d::default() };

    let norm = norm_nodes(g, "stem.bn", 2);
    let w = g.parameter("stem.conv.weight", [3, 3, 2, 4], Init::kaiming_uniform(18)).unwrap();
    let bias = g.parameter("stem.conv.bias", [4], Init::kaiming_uniform(18)).unwrap();
    let y = g.batch_norm(x, norm, BatchNorm::default()).unwrap();
    let y = g.conv2d(y, w, Some(bias), same).unwrap();
    let stem = g.activation(y, Activation::Gelu).unwrap();

    let w = g.parameter("gate.weight", [1, 1, 4, 4], Init::kaiming_uniform(4)).unwrap();
    let gate = g.conv2d(stem, w, None, Conv2d::default()).unwrap();
    g.set_name(gate, "gate.conv");
    let gate = g.activation(gate, Activation::Tanh).unwrap();

    let w = g.parameter("shared.weight", [3, 3, 2, 4], Init::kaiming_uniform(18)).unwrap();
    let grouped = Conv2d { groups: 2, ..same };
    let norm = norm_nodes(g, "block.bn", 4);
    let y = g.batch_norm(stem, norm, BatchNorm { eps: 1e-3, momentum: 0.2 }).unwrap();
    let y = g.conv2d(y, w, None, grouped).unwrap();
    let y = g.activation(y, Activation::Silu).unwrap();
    let y = g.conv2d(y, w, None, grouped).unwrap();
    let y = g.add(stem, y, 1.0).unwrap();
    let y = g.add(y, gate, -0.5).unwrap();
    let y = g.add(y, stem, 0.25).unwrap();
    let y = g.concat(&[gate, y]).unwrap();
    let y = g.slice_channels(y, 3..7).unwrap();
    let [gamma, beta] = ["weight", "bias"]
        .map(|name| g.parameter(&format!("groups.{name}"), [4], Init::Uniform { bound: 1.0 }).unwrap());
    let y = g.group_norm(y, gamma, beta, GroupNorm { groups: 2, eps: 1e-3 }).unwrap();

    let down = g.parameter("down.weight", [3, 3, 4, 3], Init::kaiming_uniform(36)).unwrap();
    let y = g.conv2d(y, down, None, Conv2d { stride: [2, 2], padding: [1, 1], groups: 1 }).unwrap();
    let slope = g.parameter("down.slope", [1], Init::Constant(0.25)).unwrap();
    let y = g.prelu(y, slope).unwrap();
    let y = g.rrelu(y).unwrap();
    let mish = g.activation(y, Activation::Mish).unwrap();
    let y = g.add(mish, y, 0.3).unwrap();
    let up = g.parameter("up.weight", [3, 3, 1, 3], Init::kaiming_uniform(9)).unwrap();
    let bias = g.parameter("up.bias", [1], Init::kaiming_uniform(9)).unwrap();
    let params = ConvTranspose2d { stride: [2, 2], padding: [1, 1], ..ConvTranspose2d::default() };
    let y = g.conv_transpose2d(y, up, Some(bias), params).unwrap();
    let y = g.upsample(y, [6, 4], Upsampling::Bilinear).unwrap();
    let y = g.pad(y, 6, 6).unwrap();
    let output = g.activation(y, Activation::Sigmoid).unwrap();
    g.set_name(output, "output");
    let loss = g.mse_loss(output, target).unwrap();
    Network { graph, x, target, output, loss }
}

/// Numbers in `[-1, 1)` that look random.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        // SplitMix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 11
    };
    (0..len).map(|_| next() as f64 / (1u64 << 52) as f64 - 1.0).collect()
}

/// Every tensor by its name, and the optimizer state and average of those that are trained.
pub(crate) fn snapshot<B: Backend>(session: &Session<B>) -> Vec<(String, Vec<Vec<B::Element>>)> {
    let of = |tensor: &TensorInfo| {
        let mut values = vec![session.tensor(&tensor.name).unwrap()];
        if tensor.trained {
            values.extend(session.optimizer_state(&tensor.name).unwrap());
            values.extend(session.average(&tensor.name));
        }
        (tensor.name.clone(), values)
    };
    session.tensors().iter().map(of).collect()
}
