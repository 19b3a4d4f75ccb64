//! Time and memory of a training step, by step of its plan.

use super::quantile;
use crate::output::table::Table;
use crate::settings::Settings;
use crate::train::backend::{self, DeviceError, ImageBackend, with_backend};
use crate::train::plans::{NetworkPlan, PlanError, PlanKind, Plans};
use engine::mib;
use engine::{AdamW, MemoryReport, Phase, Session, StepTime};
use serde_json::{Value, json};
use std::fmt;
use std::time::Instant;

/// Times of the steps of a training plan, and the memory that they use.
#[derive(Clone, Debug)]
pub struct StepProfile {
    /// The backend: `cpu-avx2`.
    pub backend: String,
    /// Number of computing threads.
    pub threads: usize,
    /// What was trained: `15 layers, 32x32, batch 64`.
    pub title: String,
    /// Number of timed runs.
    pub runs: usize,
    /// The steps, in order; the last one is the optimizer's.
    pub steps: Vec<Step>,
    /// Median time in ms of a training step as a run takes it: with copies of the images and checks of the gradients,
    /// but without waiting for every step of the plan, which a GPU does not need.
    pub whole_ms: f64,
    /// Memory that the session allocated.
    pub memory: MemoryReport,
    /// What the backend has to say.
    pub remark: Option<String>,
}

/// A step of a training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The pass: `conv2d.grad_weight`.
    pub op: String,
    /// Name of the node that it belongs to: `encoder.layer_1.conv`.
    pub node: String,
    /// The layer of the node: `encoder.layer_1`.
    pub layer: String,
    /// `forward`, `recompute`, `backward` or `optimizer`.
    pub phase: String,
    /// Median over the runs.
    pub ms: f64,
    /// Time in the run that the trace shows, which has the median total.
    pub traced_ms: f64,
    /// Floating-point operations of convolutions, counted as direct ones; 0 for passes that are bound by memory.
    pub flops: usize,
    /// Bytes of the operands, each counted once.
    pub bytes: usize,
    /// Bytes of the arena in use.
    pub arena_bytes: usize,
}

/// A training step that cannot be profiled.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The network cannot be built, or there is not enough memory.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// What [`StepProfile::table`] has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// A pass of an operation, the slowest first
    Op,
    /// A layer, in order
    Layer,
    /// A step of the plan, in order
    Step,
}

/// Times every step of the plan of a training step of the settings' network. The step runs `runs` times on synthetic
/// images, after a run that is not counted. If `separate`, the passes of a fused layer run one after another.
///
/// # Errors
/// If the device is missing, the network's settings contradict each other, or there is not enough memory.
pub fn profile(settings: &Settings, runs: usize, separate: bool) -> Result<StepProfile, ProfileError> {
    let chosen = backend::open(&settings.run, &mut |_| ())?;
    Ok(with_backend!(chosen, |backend| profile_on(backend, settings, runs.max(1), separate))?)
}

fn profile_on<B: ImageBackend>(
    backend: B,
    settings: &Settings,
    runs: usize,
    separate: bool,
) -> Result<StepProfile, PlanError> {
    let training = &settings.training;
    let mut plans = Plans::new(settings)?;
    let plan = plans.add(PlanKind::Training, training.batch)?;
    if separate {
        plans.separate_passes()?;
    }
    plans.limit_memory(&backend, settings.run.memory_limit)?;
    let element = size_of::<B::Element>();
    let mut arena: Vec<usize> = plans.plan(&plan).arena_use().iter().map(|len| len * element).collect();
    arena.push(0);
    let (backend_name, threads) = (backend.name(), backend.threads());
    let parameters = plans.network().parameter_count();
    let mut session = plans.session(backend)?;
    session.initialize(training.seed);
    let wave = |i: usize| 0.5 + 0.5 * (i as f32 * 0.7).sin();
    let network = &settings.network;
    let [input, target] = [network.in_channels, network.out_channels].map(|channels| {
        (0..training.batch * training.size * training.size * channels).map(|i| wave(i).into()).collect::<Vec<_>>()
    });
    plan.train(&mut session, &input, &target)?;

    let times = session.enter(|session| -> engine::Result<Vec<Vec<StepTime>>> {
        let mut times = Vec::new();
        for _ in 0..runs {
            let mut run = session.run_timed(plan.id)?;
            let start = session.backend().mark();
            session.update(&engine::Step::new(AdamW::default(), 1e-4))?;
            let end = session.backend().mark();
            run.push(StepTime {
                step: run.len(),
                op: "adamw",
                node: "parameters".to_owned(),
                phase: Phase::Backward,
                seconds: end.seconds_since(&start),
                flops: 0,
                // Parameter, gradient and two moments are read; all but the gradient are written.
                bytes: 7 * parameters * element,
            });
            times.push(run);
        }
        Ok(times)
    })?;
    let whole = session.enter(|session| whole_steps(session, &plan, [&input, &target], runs))?;
    let totals: Vec<f64> = times.iter().map(|run| run.iter().map(|step| step.seconds).sum()).collect();
    let median = quantile(&totals, 0.5);
    let traced = &times[totals.iter().position(|&total| total == median).unwrap_or(0)];
    let steps = traced.iter().enumerate().map(|(i, step)| {
        let all: Vec<f64> = times.iter().map(|run| run[i].seconds * 1e3).collect();
        Step {
            op: step.op.to_owned(),
            node: step.node.clone(),
            layer: layer_of(&step.node).to_owned(),
            phase: if step.op == "adamw" { "optimizer".to_owned() } else { step.phase.to_string() },
            ms: quantile(&all, 0.5),
            traced_ms: step.seconds * 1e3,
            flops: step.flops,
            bytes: step.bytes,
            arena_bytes: arena[i],
        }
    });
    let layers = settings.network.layers;
    let title = format!("{layers} layers, {0}x{0}, batch {1}", training.size, training.batch);
    let steps = steps.collect();
    let (whole_ms, memory, remark) = (quantile(&whole, 0.5), session.memory(), session.backend().remark());
    Ok(StepProfile { backend: backend_name, threads, title, runs, steps, whole_ms, memory, remark })
}

/// Milliseconds of a training step in each of `runs` series of steps, which are started as in a run.
fn whole_steps<B: ImageBackend>(
    session: &mut Session<B>,
    plan: &NetworkPlan,
    [input, target]: [&[B::Element]; 2],
    runs: usize,
) -> engine::Result<Vec<f64>> {
    let mut losses = Vec::new();
    let mut series = |steps: usize| -> engine::Result<f64> {
        let start = Instant::now();
        for _ in 0..steps {
            plan.write(session, input, target)?;
            session.start_step(plan.id, &engine::Step::new(AdamW::default(), 1e-4))?;
        }
        // Steps whose loss is not finite take as long.
        let _ = session.finish_steps(&mut losses);
        Ok(start.elapsed().as_secs_f64() * 1e3 / steps as f64)
    };
    // The first steps are not timed: a GPU records them.
    for _ in 0..2 {
        series(1)?;
    }
    (0..runs).map(|_| series(B::STEPS_AHEAD)).collect()
}

/// The sums of some steps.
#[derive(Clone, Debug, Default)]
struct Group {
    cells: Vec<String>,
    count: usize,
    ms: f64,
    flops: usize,
    bytes: usize,
}

impl StepProfile {
    /// Sum of the steps' medians.
    pub fn ms(&self) -> f64 {
        self.steps.iter().map(|step| step.ms).sum()
    }

    /// Time, throughput and share of every operation, layer or step.
    pub fn table(&self, by: By) -> Table {
        let headings: &[&str] = match by {
            By::Op => &["op", "phase", ">steps", ">ms", ">share", ">GFLOP/s", ">GB/s"],
            By::Layer => &["layer", "phase", ">steps", ">ms", ">share", ">GFLOP/s", ">GB/s"],
            By::Step => &["op", "phase", "node", ">arena MiB", ">steps", ">ms", ">share", ">GFLOP/s", ">GB/s"],
        };
        let mut groups: Vec<Group> = Vec::new();
        for step in &self.steps {
            let cells = match by {
                By::Op => vec![step.op.clone(), step.phase.clone()],
                By::Layer => vec![step.layer.clone(), step.phase.clone()],
                By::Step => {
                    vec![
                        step.op.clone(),
                        step.phase.clone(),
                        step.node.clone(),
                        format!("{:.2}", mib(step.arena_bytes)),
                    ]
                }
            };
            let found = groups.iter().position(|group| by != By::Step && group.cells == cells);
            let i = found.unwrap_or_else(|| {
                groups.push(Group { cells, ..Group::default() });
                groups.len() - 1
            });
            let group = &mut groups[i];
            group.count += 1;
            group.ms += step.ms;
            group.flops += step.flops;
            group.bytes += step.bytes;
        }
        if by == By::Op {
            groups.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        }
        let mut table = Table::new(headings);
        let total = self.ms();
        for Group { cells, count, ms, flops, bytes } in groups {
            let per_second =
                |amount: usize| if amount == 0 { String::new() } else { format!("{:.1}", giga(amount, ms)) };
            let share = format!("{:.1}%", ms / total * 100.0);
            let numbers = [count.to_string(), format!("{ms:.3}"), share, per_second(flops), per_second(bytes)];
            table.push(cells.into_iter().chain(numbers));
        }
        table
    }

    /// The steps of one run, and the arena's use, in the Trace Event Format that <https://ui.perfetto.dev> and
    /// chrome://tracing open: one track of steps, one of layers, and a counter.
    pub fn trace(&self) -> Value {
        const STEPS: u32 = 1;
        const LAYERS: u32 = 2;
        let name = |kind: &str, tid: u32, name: &str| json!({"name": kind, "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}});
        let process = format!("training step: {}, {} on {} threads", self.title, self.backend, self.threads);
        let mut events = vec![
            name("process_name", STEPS, &process),
            name("thread_name", STEPS, "steps"),
            name("thread_name", LAYERS, "layers"),
        ];
        let mut start = 0.0;
        let mut layer: Option<(String, f64)> = None;
        for step in &self.steps {
            let duration = step.traced_ms * 1e3;
            events.push(json!({
                "name": step.op, "cat": step.phase, "ph": "X", "pid": 1, "tid": STEPS, "ts": start, "dur": duration,
                "args": {
                    "node": step.node,
                    "phase": step.phase,
                    "gflops": giga(step.flops, step.traced_ms),
                    "gb_per_s": giga(step.bytes, step.traced_ms),
                },
            }));
            events.push(json!({
                "name": "arena in use", "ph": "C", "pid": 1, "tid": STEPS, "ts": start, "args": {"MiB": mib(step.arena_bytes)},
            }));
            let of_layer = format!("{} {}", step.layer, if step.phase == "forward" { "forward" } else { "backward" });
            match &layer {
                Some((current, _)) if *current == of_layer => {}
                _ => {
                    events.extend(
                        layer.replace((of_layer, start)).map(|(name, from)| layer_event(&name, LAYERS, from, start)),
                    );
                }
            }
            start += duration;
        }
        events.extend(layer.map(|(name, from)| layer_event(&name, LAYERS, from, start)));
        json!({"traceEvents": events, "displayTimeUnit": "ms"})
    }

    /// The arena's use over the steps as a line of bars, and its peak.
    fn arena_line(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const WIDTH: usize = 100;
        let uses: Vec<usize> = self.steps.iter().map(|step| step.arena_bytes).collect();
        let peak = uses.iter().copied().max().unwrap_or(0).max(1);
        let piece = uses.len().div_ceil(WIDTH).max(1);
        let most = uses.chunks(piece).map(|piece| piece.iter().copied().max().unwrap_or(0));
        let bars: String = most.map(|bytes| BARS[(bytes * (BARS.len() - 1)).div_ceil(peak).min(7)]).collect();
        format!("arena in use, from the first step to the last; at most {:.2} MiB\n{bars}", mib(peak))
    }
}

/// The layer that a node is or belongs to: `encoder.layer_1` of `encoder.layer_1.conv`.
fn layer_of(node: &str) -> &str {
    node.match_indices('.').nth(1).map_or(node, |(end, _)| &node[..end])
}

fn layer_event(name: &str, tid: u32, from: f64, to: f64) -> Value {
    json!({"name": name, "cat": "layer", "ph": "X", "pid": 1, "tid": tid, "ts": from, "dur": to - from})
}

/// The amount per second, in units of 10^9.
fn giga(amount: usize, ms: f64) -> f64 {
    if ms > 0.0 { amount as f64 / ms / 1e6 } else { 0.0 }
}

/// The heading and the memory, without the tables.
impl fmt::Display for StepProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepProfile { backend, threads, title, runs, steps, whole_ms, memory, remark } = self;
        writeln!(f, "training step: {title}, {backend} on {threads} threads, medians of {runs} runs")?;
        let flops: usize = steps.iter().map(|step| step.flops).sum();
        writeln!(
            f,
            "{} steps, {:.3} ms, {:.1} GFLOP/s of direct convolutions",
            steps.len(),
            self.ms(),
            giga(flops, self.ms())
        )?;
        writeln!(
            f,
            "as a run takes it: {whole_ms:.3} ms, with copies and checks, without waiting for each step of the plan"
        )?;
        if let Some(remark) = remark {
            writeln!(f, "{remark}")?;
        }
        write!(f, "\n{}\n\n{memory}", self.arena_line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Device;
    use crate::settings::Settings;

    fn small(separate: bool) -> StepProfile {
        let mut settings = Settings::default();
        settings.network.layers = 2;
        settings.network.channels = 4.into();
        (settings.training.size, settings.training.batch) = (8, 2);
        (settings.run.device, settings.run.threads) = (Device::Cpu, 1);
        profile(&settings, 3, separate).unwrap()
    }

    #[test]
    fn every_step_is_in_every_table_once() {
        let profile = small(false);
        assert!(profile.steps.len() > 10 && profile.steps.last().unwrap().op == "adamw");
        assert!(profile.whole_ms > 0.0 && profile.to_string().contains("as a run takes it"));
        for by in [By::Op, By::Layer, By::Step] {
            let table = profile.table(by);
            let column = table.rows()[0].len() - 5;
            let steps: usize = table.rows().iter().map(|row| row[column].parse::<usize>().unwrap()).sum();
            assert_eq!(steps, profile.steps.len(), "{table}");
            let share: f64 =
                table.rows().iter().map(|row| row[column + 2].trim_end_matches('%').parse::<f64>().unwrap()).sum();
            assert!((share - 100.0).abs() < 0.06 * table.rows().len() as f64, "{table}");
        }
        let layers = profile.table(By::Layer).to_string();
        for layer in ["encoder.layer_1", "encoder.layer_2", "decoder.layer_1", "decoder.layer_2"] {
            for phase in ["forward", "backward"] {
                let has = |line: &str| line.starts_with(layer) && line.contains(phase);
                assert!(layers.lines().any(has), "{layer} {phase}\n{layers}");
            }
        }
    }

    #[test]
    fn separate_passes_are_those_of_the_operations() {
        let ops = |separate| small(separate).steps.into_iter().map(|step| step.op).collect::<Vec<_>>();
        let (together, apart) = (ops(false), ops(true));
        assert!(together.iter().any(|op| op.starts_with("conv_epilogue.")), "{together:?}");
        assert!(apart.iter().all(|op| !op.starts_with("conv_epilogue.")), "{apart:?}");
        for pass in ["forward", "grad_input", "grad_weight"] {
            assert!(apart.contains(&format!("conv2d.{pass}")), "{pass} in {apart:?}");
        }
    }

    #[test]
    fn convolutions_have_operations_and_all_steps_bytes() {
        let profile = small(false);
        // Layer 1 of the encoder: 2 images, 8x8 pixels, 9 taps, 1 to 4 channels.
        let first = profile.steps.iter().find(|step| step.op == "conv_epilogue.forward").unwrap();
        assert_eq!((first.layer.as_str(), first.flops), ("encoder.layer_1", 2 * 2 * 8 * 8 * 9 * 4));
        // Images in and out, before and after the activation; weight and bias, scale and shift of the batch
        // normalization, mean and variance for the next one.
        assert_eq!(first.bytes, 4 * (2 * 8 * 8 * (1 + 4 + 4) + 9 * 4 + 4 + 2 + 2 * 4));
        assert!(profile.steps.iter().all(|step| step.bytes > 0 && step.ms >= 0.0));
        let peak = profile.steps.iter().map(|step| step.arena_bytes).max().unwrap();
        assert!(peak > 0 && peak <= profile.memory.arena, "{peak}");
    }

    #[test]
    fn the_trace_has_the_steps_end_to_end_and_layers_around_them() {
        let profile = small(false);
        let trace = profile.trace();
        let events = trace["traceEvents"].as_array().unwrap();
        let on = |tid: u32| events.iter().filter(move |event| event["ph"] == "X" && event["tid"] == tid);
        assert_eq!(on(1).count(), profile.steps.len());
        let end = |event: &Value| event["ts"].as_f64().unwrap() + event["dur"].as_f64().unwrap();
        for tid in [1, 2] {
            let track: Vec<&Value> = on(tid).collect();
            for pair in track.windows(2) {
                assert!((end(pair[0]) - pair[1]["ts"].as_f64().unwrap()).abs() < 1e-6, "{pair:?}");
            }
            let total: f64 = profile.steps.iter().map(|step| step.traced_ms * 1e3).sum();
            assert!((end(track[track.len() - 1]) - total).abs() < 1e-6);
        }
        assert!(on(2).any(|event| event["name"] == "encoder.layer_2 forward"));
        let counters = events.iter().filter(|event| event["ph"] == "C");
        assert_eq!(counters.count(), profile.steps.len());
        assert!(events.iter().any(|event| event["ph"] == "M" && event["args"]["name"] == "layers"));
    }
}
