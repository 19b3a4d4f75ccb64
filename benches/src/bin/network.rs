//! Times training steps of the networks of `trainer/examples` on synthetic images, and prints one JSON object: for
//! every step the milliseconds of wall time and of CPU time; and the losses. `benches/peers/networks.py` runs it in
//! turn with PyTorch.
//!
//! ```text
//! cargo run --release -p benches --bin network -- resnet20 --batch 64
//! ```
#![forbid(unsafe_code)]

#[allow(dead_code)]
#[path = "../../../trainer/examples/lenet.rs"]
mod lenet;
#[allow(dead_code)]
#[path = "../../../trainer/examples/resnet20.rs"]
mod resnet20;
#[allow(dead_code)]
#[path = "../../../trainer/examples/unet.rs"]
mod unet;

use anyhow::Result;
use benches::{Timing, measure, print_profile};
use clap::{Parser, ValueEnum};
use engine::{AdamW, Cpu, Graph, NodeId, Plan, PlanId, Session, Sgd, Step};

#[derive(Parser)]
struct Arguments {
    #[arg(value_enum)]
    network: Network,
    #[command(flatten)]
    timing: Timing,
}

#[derive(Clone, Copy, ValueEnum)]
enum Network {
    /// Classifies; AdamW.
    Lenet,
    /// Classifies; SGD with Nesterov momentum.
    Resnet20,
    /// Removes noise; AdamW.
    Unet,
}

/// A network as it is timed.
struct Recorded {
    graph: Graph,
    /// What it reads, and what its output is compared with.
    inputs: [NodeId; 2],
    loss: NodeId,
    step: Step,
}

impl Network {
    fn record(self, batch: usize) -> engine::Result<Recorded> {
        let adamw = Step::new(AdamW::default(), 1e-3);
        let sgd = Step::new(Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 }, 0.01);
        Ok(match self {
            Network::Lenet => {
                let network = lenet::network(batch)?;
                let inputs = [network.images, network.classes];
                Recorded { graph: network.graph, inputs, loss: network.loss, step: adamw }
            }
            Network::Resnet20 => {
                let network = resnet20::network(batch)?;
                let inputs = [network.images, network.classes];
                Recorded { graph: network.graph, inputs, loss: network.loss, step: sgd }
            }
            Network::Unet => {
                let network = unet::network(batch)?;
                let inputs = [network.noisy, network.clean];
                Recorded { graph: network.graph, inputs, loss: network.loss, step: adamw }
            }
        })
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Recorded { graph, inputs: [images, target], loss, step } = arguments.network.record(arguments.timing.batch)?;
    let mut session = Session::new(Cpu::new(arguments.timing.threads)?, vec![Plan::training(&graph, loss)?])?;
    session.initialize(0);
    let wave = |len: usize, step: f32| -> Vec<f32> { (0..len).map(|i| 0.5 + 0.5 * (i as f32 * step).sin()).collect() };
    session.write_input(PlanId(0), images, &wave(graph.shape(images).len(), 0.7))?;
    let truth = match arguments.network {
        Network::Unet => wave(graph.shape(target).len(), 0.3),
        Network::Lenet | Network::Resnet20 => (0..arguments.timing.batch).map(|i| (i % 10) as f32).collect(),
    };
    session.write_input(PlanId(0), target, &truth)?;
    if arguments.timing.profile {
        return print_profile(&mut session);
    }
    let times = measure(&mut session, arguments.timing.steps, |session| {
        session.run(PlanId(0))?;
        session.update(&step)?;
        session.loss(PlanId(0)).map(Some)
    })?;
    println!("{}", times.report(&session));
    Ok(())
}
