//! Times training steps (or forward passes) of ResConv on synthetic images, and prints one JSON object: for every step
//! the milliseconds of wall time, of CPU time and of time outside parallel tasks; the losses; and the peak memory.
//! `benches/peers/compare.py` and `step.py` run it in turn with its peers.
//!
//! ```text
//! cargo run --release -p benches --bin step -- --layers 15 --size 32 --batch 64
//! ```
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use engine::{AdamW, Backend, Cpu, Graph, Plan, PlanId, Session, Statistics, Step};
use model::{ResConv, ResConvConfig};
use std::time::Instant;

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
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Timed steps, after one that is not timed.
    #[arg(long, default_value_t = 8)]
    steps: usize,
    /// 0 means one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Times forward passes with running statistics.
    #[arg(long)]
    inference: bool,
    /// MiB that the session may take; what does not fit is computed again. Without it, everything is kept.
    #[arg(long, value_name = "MIB")]
    memory_limit: Option<usize>,
    /// Records one node per operation instead of one per layer.
    #[arg(long)]
    unfused: bool,
    /// Prints where the time of one step goes instead.
    #[arg(long)]
    profile: bool,
}

fn main() -> Result<()> {
    let a = Arguments::parse();
    let config = ResConvConfig {
        layers: a.layers,
        channels: a.channels.into(),
        kernel_size: a.kernel_size.into(),
        ..ResConvConfig::default()
    };
    let backend = Cpu::new(a.threads)?;
    let mut graph = Graph::new();
    let shape = [a.batch, a.size, a.size, 1];
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
    if a.profile {
        return profile(&mut session);
    }
    let (mut wall, mut cpu, mut serial, mut losses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    session.enter(|session| -> engine::Result<()> {
        for step in 0..=a.steps {
            let (start, cpu_start) = (Instant::now(), cpu_time::ProcessTime::now());
            let in_tasks = session.backend().time_in_tasks();
            session.run(PlanId(0))?;
            if !a.inference {
                losses.push(session.loss(PlanId(0))?);
                session.update(&Step::new(AdamW::default(), 3e-4))?;
            }
            if step > 0 {
                let elapsed = start.elapsed();
                wall.push(elapsed.as_secs_f64() * 1e3);
                serial.push((elapsed + in_tasks - session.backend().time_in_tasks()).as_secs_f64() * 1e3);
                cpu.push(cpu_start.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok(())
    })?;
    let report = serde_json::json!({
        "backend": session.backend().name(),
        "threads": session.backend().threads(),
        "parameters": session.tensors().iter().filter(|tensor| tensor.trained).map(|tensor| tensor.shape.len()).sum::<usize>(),
        "wall_ms": wall,
        "cpu_ms": cpu,
        "serial_ms": serial,
        "losses": losses,
        "recomputed_steps": recomputed.0,
        "recomputed_flops": recomputed.1,
        "planned_mib": session.memory().total() as f64 / f64::from(1 << 20),
        "peak_rss_mib": peak_rss_mib().ok(),
    });
    println!("{report}");
    Ok(())
}

/// Prints the share of each kind of step in a training step, as medians of several runs.
fn profile(session: &mut Session<Cpu>) -> Result<()> {
    const RUNS: usize = 7;
    let runs =
        session.enter(|session| (0..RUNS).map(|_| session.run_timed(PlanId(0))).collect::<engine::Result<Vec<_>>>())?;
    let mut kinds: Vec<(String, f64, usize)> = Vec::new();
    for step in 0..runs[0].len() {
        let mut seconds: Vec<f64> = runs.iter().map(|run| run[step].seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let name = format!("{} {}", runs[0][step].op, runs[0][step].phase);
        match kinds.iter_mut().find(|kind| kind.0 == name) {
            Some(kind) => (kind.1, kind.2) = (kind.1 + seconds[RUNS / 2], kind.2 + 1),
            None => kinds.push((name, seconds[RUNS / 2], 1)),
        }
    }
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = kinds.iter().map(|kind| kind.1).sum();
    for (name, seconds, count) in &kinds {
        println!("{:>9.3} ms  {:>5.1} %  {count:>3} x  {name}", seconds * 1e3, seconds / total * 100.0);
    }
    println!("{:>9.3} ms", total * 1e3);
    Ok(())
}

/// Peak resident memory of this process, as the kernel counts it (Linux).
fn peak_rss_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no value of VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}
