//! ResNet-20 (He et al. 2016, section 4.2) on Fashion-MNIST: batch normalization, identity and projection shortcuts,
//! global average pooling, SGD with momentum, weight decay for weights alone, and images that are flipped at random.
//!
//! ```text
//! cargo run --release -p resconv --example resnet20            # 10 epochs, a quarter of an hour on two cores
//! cargo run --release -p resconv --example resnet20 -- 0.02    # a fiftieth of an epoch
//! ```
//!
//! `lenet.rs` explains what a graph, a plan and a session are.

use engine::*;
use trainer::data::{self, Dataset, Sampler, Search};

const BATCH: usize = 128;
const EVALUATED: usize = 500;
const TRAINING: PlanId = PlanId(0);
const EVALUATION: PlanId = PlanId(1);
/// Channels of the three stages, each of which has three blocks.
const WIDTHS: [usize; 3] = [16, 32, 64];

pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) images: NodeId,
    pub(crate) classes: NodeId,
    pub(crate) logits: NodeId,
    pub(crate) loss: NodeId,
}

/// Convolution without bias, and batch normalization. Weight decay is for weights: scales and offsets get none.
fn conv_norm(
    graph: &mut Graph,
    name: &str,
    x: NodeId,
    [size, inputs, outputs]: [usize; 3],
    stride: usize,
) -> Result<NodeId> {
    let init = Init::kaiming_uniform(size * size * inputs);
    let weight = graph.parameter(&format!("{name}.conv.weight"), [size, size, inputs, outputs], init)?;
    let params = Conv2d { stride: [stride; 2], padding: [size / 2; 2], ..Conv2d::default() };
    let x = graph.conv2d(x, weight, None, params)?;
    let nodes = BatchNormNodes {
        gamma: graph.parameter(&format!("{name}.bn.weight"), [outputs], Init::Ones)?,
        beta: graph.parameter(&format!("{name}.bn.bias"), [outputs], Init::Zeros)?,
        running_mean: graph.state(&format!("{name}.bn.running_mean"), [outputs], Init::Zeros)?,
        running_var: graph.state(&format!("{name}.bn.running_var"), [outputs], Init::Ones)?,
    };
    for parameter in [nodes.gamma, nodes.beta] {
        graph.set_group(parameter, Group { weight_decay: 0.0, ..Group::default() })?;
    }
    graph.batch_norm(x, nodes, BatchNorm::default())
}

/// Two convolutions, and what they are added to: the input, or a projection of it where the size changes.
fn block(graph: &mut Graph, name: &str, x: NodeId, [inputs, outputs]: [usize; 2], stride: usize) -> Result<NodeId> {
    let shortcut = match inputs == outputs {
        true => x,
        false => conv_norm(graph, &format!("{name}.shortcut"), x, [1, inputs, outputs], stride)?,
    };
    let y = conv_norm(graph, &format!("{name}.1"), x, [3, inputs, outputs], stride)?;
    let y = graph.activation(y, Activation::Relu)?;
    let y = conv_norm(graph, &format!("{name}.2"), y, [3, outputs, outputs], 1)?;
    let sum = graph.add(y, shortcut, 1.0)?;
    graph.activation(sum, Activation::Relu)
}

pub(crate) fn network(batch: usize) -> Result<Network> {
    let mut graph = Graph::new();
    let images = graph.input("images", [batch, 28, 28, 1])?;
    let classes = graph.input("classes", [batch])?;
    let mut x = conv_norm(&mut graph, "stem", images, [3, 1, WIDTHS[0]], 1)?;
    x = graph.activation(x, Activation::Relu)?;
    let mut inputs = WIDTHS[0];
    for (stage, outputs) in WIDTHS.into_iter().enumerate() {
        for number in 0..3 {
            let stride = if inputs == outputs { 1 } else { 2 };
            x = block(&mut graph, &format!("stage{stage}.block{number}"), x, [inputs, outputs], stride)?;
            inputs = outputs;
        }
    }
    x = graph.global_avg_pool2d(x)?;
    x = graph.flatten(x)?;
    let init = Init::kaiming_uniform(inputs);
    let weight = graph.parameter("fc.weight", [inputs, 10], init)?;
    let bias = graph.parameter("fc.bias", [10], init)?;
    let logits = graph.linear(x, weight, Some(bias))?;
    let loss = graph.softmax_cross_entropy(logits, classes, CrossEntropy::default())?;
    Ok(Network { graph, images, classes, logits, loss })
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let epochs: f64 = std::env::args().nth(1).map_or(Ok(10.0), |epochs| epochs.parse())?;
    let data = data::load(&Search::new(None), &|status| eprintln!("{status}"))?;
    let [train, test] = [network(BATCH)?, network(EVALUATED)?];
    let plans = vec![
        Plan::training(&train.graph, train.loss)?,
        Plan::inference(&test.graph, &[test.logits], Statistics::Running)?,
    ];
    let mut session = Session::new(Cpu::new(0)?, plans)?;
    session.initialize(0);

    let steps = (epochs * (data.train.len() / BATCH) as f64).ceil() as u64;
    let schedule = Schedule { base_lr: 0.1, kind: ScheduleKind::Cosine, warmup_steps: 100, total_steps: steps };
    let sgd = Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    // Of every two images, one is flipped: which of them, the second sampler says.
    let (mut order, mut coin) = (Sampler::new(data.train.len(), 0), Sampler::new(2, 1));
    let (mut pixels, mut classes) = (vec![0.0; BATCH * 784], vec![0.0; BATCH]);
    session.enter(|session| -> Result<()> {
        for step in 0..steps {
            let positions = step * BATCH as u64..(step + 1) * BATCH as u64;
            data.train.write_batch(positions.clone().map(|i| order.image(i)), &mut pixels, &mut classes);
            let flipped = pixels.chunks_mut(784).zip(positions).filter(|(_, i)| coin.image(*i) == 1);
            flipped.for_each(|(image, _)| image.chunks_mut(28).for_each(<[f32]>::reverse));
            session.write_input(TRAINING, train.images, &pixels)?;
            session.write_input(TRAINING, train.classes, &classes)?;
            session.run(TRAINING)?;
            session.update(&Step::new(sgd, schedule.lr(step)))?;
            if step % 100 == 99 || step + 1 == steps {
                println!("step {:>5} of {steps}  loss {:.4}", step + 1, session.loss(TRAINING)?);
            }
            if step % 1000 == 999 || step + 1 == steps {
                println!("test accuracy {:.2} %", accuracy(session, &test, &data.validation)?);
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Percentage of the images whose largest logit is that of their class.
fn accuracy<B: Backend<Element = f32>>(session: &mut Session<B>, test: &Network, data: &Dataset) -> Result<f64> {
    let (mut pixels, mut classes) = (vec![0.0; EVALUATED * 784], vec![0.0; EVALUATED]);
    let (mut logits, mut right) = (vec![0.0; EVALUATED * 10], 0);
    for start in (0..data.len()).step_by(EVALUATED) {
        data.write_batch(start..start + EVALUATED, &mut pixels, &mut classes);
        session.write_input(EVALUATION, test.images, &pixels)?;
        session.run(EVALUATION)?;
        session.read(EVALUATION, test.logits, &mut logits)?;
        let predicted = logits.chunks(10).map(|row| (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])));
        right += predicted.zip(&classes).filter(|(predicted, class)| *predicted == Some(**class as usize)).count();
    }
    Ok(100.0 * right as f64 / data.len() as f64)
}
