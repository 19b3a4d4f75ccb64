//! Throughput of whole training steps, and comparison with peers; see the programs in `src/bin`, the scripts in
//! `peers`, and the kit for a machine with a GPU in `gpu`. Here is what the programs have in common.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Args;
use cpu_time::ProcessTime;
use engine::{Backend, Cpu, PlanId, Session};
use std::time::Instant;

/// What is run, and for how long.
#[derive(Args)]
pub struct Timing {
    /// Images of a step.
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Timed steps, after one that is not timed.
    #[arg(long, default_value_t = 8)]
    pub steps: usize,
    /// 0 means one per core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Prints where the time of one step goes instead.
    #[arg(long)]
    pub profile: bool,
}

/// What was measured of every timed step.
#[derive(Default)]
pub struct Times {
    /// Milliseconds of wall time.
    pub wall_ms: Vec<f64>,
    /// Milliseconds of CPU time.
    pub cpu_ms: Vec<f64>,
    /// Milliseconds of wall time outside parallel tasks.
    pub serial_ms: Vec<f64>,
    /// The losses of all steps, those that are not timed too.
    pub losses: Vec<f64>,
}

impl Times {
    /// The times as a JSON object, with what the session is and needs.
    pub fn report(&self, session: &Session<Cpu>) -> serde_json::Value {
        let trained = session.tensors().iter().filter(|tensor| tensor.trained);
        serde_json::json!({
            "backend": session.backend().name(),
            "threads": session.backend().threads(),
            "parameters": trained.map(|tensor| tensor.shape.len()).sum::<usize>(),
            "wall_ms": self.wall_ms,
            "cpu_ms": self.cpu_ms,
            "serial_ms": self.serial_ms,
            "losses": self.losses,
            "planned_mib": session.memory().total() as f64 / f64::from(1 << 20),
            "peak_rss_mib": peak_rss_mib().ok(),
        })
    }
}

/// Times `steps` steps, after one that is not timed. A step returns its loss, if it has one.
///
/// # Errors
/// If a step fails.
pub fn measure(
    session: &mut Session<Cpu>,
    steps: usize,
    mut step: impl FnMut(&mut Session<Cpu>) -> engine::Result<Option<f64>> + Send,
) -> Result<Times> {
    let mut times = Times::default();
    session.enter(|session| -> engine::Result<()> {
        for i in 0..=steps {
            let (start, cpu_start) = (Instant::now(), ProcessTime::now());
            let in_tasks = session.backend().time_in_tasks();
            times.losses.extend(step(session)?);
            if i > 0 {
                let elapsed = start.elapsed();
                times.wall_ms.push(elapsed.as_secs_f64() * 1e3);
                let in_tasks = session.backend().time_in_tasks() - in_tasks;
                times.serial_ms.push(elapsed.saturating_sub(in_tasks).as_secs_f64() * 1e3);
                times.cpu_ms.push(cpu_start.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok(())
    })?;
    Ok(times)
}

/// Prints the share of each kind of step in a run of the first plan, as medians of several runs.
///
/// # Errors
/// If a run fails.
pub fn print_profile(session: &mut Session<Cpu>) -> Result<()> {
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

/// Peak resident memory of this process in MiB, as the kernel counts it (Linux).
fn peak_rss_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no value of VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}
