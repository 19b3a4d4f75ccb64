//! A classifier: LeNet-5 (LeCun et al. 1998, with ReLU and max pooling) tells the ten classes of Fashion-MNIST.
//!
//! ```text
//! cargo run --release -p resconv --example lenet            # 15 epochs, two minutes on two cores
//! cargo run --release -p resconv --example lenet -- 0.1     # a tenth of an epoch
//! ```
//!
//! It shows how a network is recorded, planned, trained and evaluated. `resnet20.rs` goes on with batch normalization,
//! parameter groups and SGD; `unet.rs` with images as output.

use engine::*;
use trainer::data::{self, Dataset, Sampler, Search};

/// Images of a training step, and of an evaluation step: shapes are fixed, so each has its own graph.
const BATCH: usize = 64;
const EVALUATED: usize = 500;
/// The plans, in the order in which the session is given them.
const TRAINING: PlanId = PlanId(0);
const EVALUATION: PlanId = PlanId(1);

pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) images: NodeId,
    pub(crate) classes: NodeId,
    pub(crate) logits: NodeId,
    pub(crate) loss: NodeId,
}

/// Weight and bias of a layer. Parameters are known by their names: graphs for other batch sizes have the same ones.
fn layer(graph: &mut Graph, name: &str, weight: impl Into<Shape>) -> Result<(NodeId, NodeId)> {
    let shape = weight.into();
    let init = Init::kaiming_uniform(shape.len() / shape.channels());
    let weight = graph.parameter(&format!("{name}.weight"), shape, init)?;
    Ok((weight, graph.parameter(&format!("{name}.bias"), [shape.channels()], init)?))
}

/// Two convolutions, each with pooling, and three linear layers.
pub(crate) fn network(batch: usize) -> Result<Network> {
    let mut graph = Graph::new();
    let images = graph.input("images", [batch, 28, 28, 1])?;
    let classes = graph.input("classes", [batch])?;
    let mut x = images;
    for (name, [inputs, outputs], padding) in [("conv1", [1, 6], 2), ("conv2", [6, 16], 0)] {
        let (weight, bias) = layer(&mut graph, name, [5, 5, inputs, outputs])?;
        x = graph.conv2d(x, weight, Some(bias), Conv2d { padding: [padding; 2], ..Conv2d::default() })?;
        x = graph.activation(x, Activation::Relu)?;
        x = graph.max_pool2d(x, Pool2d::square(2))?;
    }
    x = graph.flatten(x)?;
    for (name, [inputs, outputs]) in [("fc1", [400, 120]), ("fc2", [120, 84]), ("fc3", [84, 10])] {
        let (weight, bias) = layer(&mut graph, name, [inputs, outputs])?;
        x = graph.linear(x, weight, Some(bias))?;
        x = if name == "fc3" { x } else { graph.activation(x, Activation::Relu)? };
    }
    let loss = graph.softmax_cross_entropy(x, classes, CrossEntropy::default())?;
    Ok(Network { graph, images, classes, logits: x, loss })
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let epochs: f64 = std::env::args().nth(1).map_or(Ok(15.0), |epochs| epochs.parse())?;
    let data = data::load(&Search::new(None), &|status| eprintln!("{status}"))?;
    let [train, test] = [network(BATCH)?, network(EVALUATED)?];
    let plans = vec![
        Plan::training(&train.graph, train.loss)?,
        Plan::inference(&test.graph, &[test.logits], Statistics::Running)?,
    ];
    let mut session = Session::new(Cpu::new(0)?, plans)?;
    session.initialize(0);

    let steps = (epochs * (data.train.len() / BATCH) as f64).ceil() as u64;
    let schedule = Schedule { base_lr: 2e-3, kind: ScheduleKind::Cosine, warmup_steps: 100, total_steps: steps };
    let mut order = Sampler::new(data.train.len(), 0);
    let (mut pixels, mut classes) = (vec![0.0; BATCH * 784], vec![0.0; BATCH]);
    session.enter(|session| -> Result<()> {
        for step in 0..steps {
            let images = (0..BATCH as u64).map(|i| order.image(step * BATCH as u64 + i));
            data.train.write_batch(images, &mut pixels, &mut classes);
            session.write_input(TRAINING, train.images, &pixels)?;
            session.write_input(TRAINING, train.classes, &classes)?;
            session.run(TRAINING)?;
            session.update(&Step::new(AdamW::default(), schedule.lr(step)))?;
            if step % 1000 == 999 || step + 1 == steps {
                let (loss, right) = (session.loss(TRAINING)?, accuracy(session, &test, &data.validation)?);
                println!("step {:>5} of {steps}  loss {loss:.4}  test accuracy {right:.2} %", step + 1);
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
