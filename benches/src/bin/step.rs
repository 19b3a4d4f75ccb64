//! Times training steps (or forward passes) of ResConv on synthetic images, and prints one JSON object: for every step
//! the milliseconds of wall time, of CPU time and of time outside parallel tasks; the losses; and the peak memory.
//! `benches/peers/compare.py` and `step.py` run it in turn with its peers.
//!
//! ```text
//! cargo run --release -p benches --bin step -- --layers 15 --size 32 --batch 64
//! ```
#![forbid(unsafe_code)]

use anyhow::Result;
use benches::{Timing, measure, print_profile};
use clap::Parser;
use engine::{AdamW, Cpu, Graph, Plan, PlanId, Session, Statistics, Step};
use model::{ResConv, ResConvConfig};

#[derive(Parser)]
struct Arguments {
    /// Layers of the encoder, and of the decoder.
    #[arg(long, default_value_t = 15)]
    layers: usize,
    #[arg(long, default_value_t = 32)]
    channels: usize,
    #[arg(long, default_value_t = 3)]
    kernel_size: usize,
    /// Height and width of the images.
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Times forward passes with running statistics.
    #[arg(long)]
    inference: bool,
    /// MiB that the session may take; what does not fit is computed again. Without it, everything is kept.
    #[arg(long, value_name = "MIB")]
    memory_limit: Option<usize>,
    /// Records one node per operation instead of one per layer.
    #[arg(long)]
    unfused: bool,
    #[command(flatten)]
    timing: Timing,
}

fn main() -> Result<()> {
    let a = Arguments::parse();
    let config = ResConvConfig {
        layers: a.layers,
        channels: a.channels.into(),
        kernel_size: a.kernel_size.into(),
        ..ResConvConfig::default()
    };
    let backend = Cpu::new(a.timing.threads)?;
    let mut graph = Graph::new();
    let shape = [a.timing.batch, a.size, a.size, 1];
    let x = graph.input("image", shape)?;
    let target = graph.input("target", shape)?;
    let network = ResConv::new(config)?;
    let y = if a.unfused { network.record_unfused(&mut graph, x) } else { network.record(&mut graph, x) }?;
    let plan = if a.inference {
        Plan::inference(&graph, &[y], Statistics::Running)?
    } else {
        let loss = graph.l1_loss(y, target)?;
        Plan::training(&graph, loss)?
    };
    let plan = match a.memory_limit {
        None => plan,
        Some(mib) => plan.within(&backend, mib << 20)?,
    };
    let recomputed = plan.recomputed();
    let mut session = Session::new(backend, vec![plan])?;
    session.initialize(0);
    let len = shape.iter().product();
    let image: Vec<f32> = (0..len).map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin()).collect();
    let truth: Vec<f32> = (0..len).map(|i| 0.5 + 0.5 * (i as f32 * 0.3).cos()).collect();
    session.write_input(PlanId(0), x, &image)?;
    if !a.inference {
        session.write_input(PlanId(0), target, &truth)?;
    }
    if a.timing.profile {
        return print_profile(&mut session);
    }
    let times = measure(&mut session, a.timing.steps, |session| {
        session.run(PlanId(0))?;
        if a.inference {
            return Ok(None);
        }
        session.update(&Step::new(AdamW::default(), 3e-4))?;
        session.loss(PlanId(0)).map(Some)
    })?;
    let mut report = times.report(&session);
    report["recomputed_steps"] = recomputed.0.into();
    report["recomputed_flops"] = recomputed.1.into();
    println!("{report}");
    Ok(())
}
