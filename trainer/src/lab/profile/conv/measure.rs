//! Measures the passes.

use super::{ConvProfile, Layer, Request, Row};
use crate::lab::profile::quantile;
use cpu_time::ProcessTime;
use kernels::conv2d::{Affine, Algo, Conv2dParams, Forward, GradInput, GradWeight, PassKind};
use kernels::parallel::Pool;
use kernels::{Backend, Call, Context, Cpu, Element, OutOfMemory, Reference, Region, Span, Write, add, peak};
use std::fmt;
use std::time::{Duration, Instant};

/// Which time counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Clock {
    /// Elapsed time
    #[default]
    Wall,
    /// CPU time of the process divided by its threads: for machines that do other work, too
    Cpu,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Wall => "wall time",
            Clock::Cpu => "CPU time over threads",
        })
    }
}

/// Why convolutions cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The path cannot run.
    #[error("the CPU cannot be used as asked: {0}")]
    Cpu(String),
    /// The operands do not fit in memory.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// Nothing is left to measure.
    #[error("none of the algorithms takes any of the shapes")]
    Nothing,
}

/// Measures everything in the request. The algorithms of a pass and the loops that measure the peaks take turns, so
/// that a change of the machine's load affects all of them. `tell` is called with a line for every convolution.
///
/// # Errors
/// [`MeasureError`] if the CPU lacks the instruction set, there is not enough memory, or nothing is left to measure.
pub fn profile(request: &Request, tell: &mut dyn FnMut(&str)) -> Result<ConvProfile, MeasureError> {
    let cpu = Cpu::with_isa(request.isa, request.threads).map_err(|error| MeasureError::Cpu(error.to_string()))?;
    let pool = Pool::new(request.threads).map_err(|error| MeasureError::Cpu(error.to_string()))?;
    let mut roofs = Roofs::new(&cpu, &pool)?;
    let mut rows = Vec::new();
    for Layer { name, shape } in &request.layers {
        tell(&format!("{name} {}", super::presets::shape_text(shape)));
        let algos: Vec<Algo> = request.algos.iter().copied().filter(|algo| algo.supports(shape)).collect();
        for &kind in &request.passes {
            let prepared: Vec<Prepared> = algos.iter().map(|&algo| Prepared::new(&cpu, algo, kind, shape)).collect();
            let workspace_len = prepared.iter().map(|prepared| prepared.workspace_len).max().unwrap_or(0);
            let mut operands = cpu.allocate(&Operands::lens(shape, workspace_len))?;
            Operands::write(&cpu, &mut operands, shape);
            let mut jobs: Vec<Job> =
                prepared.into_iter().map(|prepared| Job::new(prepared, &mut operands, request.clock)).collect();
            for _ in 0..request.rounds.max(1) {
                jobs.iter_mut().for_each(|job| job.take_turn(&mut operands, request.clock));
                roofs.take_turn();
            }
            let chosen = Algo::choose(shape, kind, request.isa);
            let fastest = jobs.iter().map(Job::ms).fold(f64::INFINITY, f64::min);
            for job in &jobs {
                rows.push(Row {
                    layer: name.clone(),
                    shape: *shape,
                    pass: kind,
                    algo: job.prepared.algo,
                    ms: job.ms(),
                    spread_ms: [0.1, 0.9].map(|share| quantile(&job.ms, share)),
                    error: request.errors.then(|| error(&cpu, job.prepared.algo, shape, kind)).transpose()?,
                    chosen: job.prepared.algo == chosen,
                    best: job.ms() == fastest,
                });
            }
        }
    }
    if rows.is_empty() {
        return Err(MeasureError::Nothing);
    }
    let [peak_gflops, peak_gb_per_s] = roofs.best();
    Ok(ConvProfile {
        machine: machine(),
        isa: request.isa,
        threads: cpu.threads(),
        rounds: request.rounds,
        clock: request.clock,
        peak_gflops,
        peak_gb_per_s,
        rows,
    })
}

/// Milliseconds that `f` takes on `threads` threads.
fn timed(clock: Clock, threads: usize, f: impl FnOnce()) -> f64 {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    f();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    match clock {
        Clock::Wall => ms(wall.elapsed()),
        Clock::Cpu => ms(cpu.elapsed()) / threads as f64,
    }
}

/// Regions of the input, weight, output and workspace of a convolution. Every pass overwrites one of the first three
/// with a result of the others: numbers grow, but stay far from overflow.
struct Operands;

impl Operands {
    fn lens(p: &Conv2dParams, workspace_len: usize) -> [usize; 4] {
        [p.input_len(), p.weight_len(), p.output_len(), workspace_len]
    }

    /// Input, weight and output.
    fn spans(p: &Conv2dParams) -> [Span; 3] {
        let [x, w, y, _] = Operands::lens(p, 0);
        [Span::new(Region(0), 0, x), Span::new(Region(1), 0, w), Span::new(Region(2), 0, y)]
    }

    /// Fills all of them with values.
    fn write<B: Backend>(backend: &B, memory: &mut B::Memory, p: &Conv2dParams) {
        for (seed, span) in (1..).zip(Operands::spans(p)) {
            backend.write(memory, span, &values(span.len, seed));
        }
    }

    /// The call of a pass, and the span that it writes.
    fn call(kind: PassKind, params: &Conv2dParams) -> (Call, Span) {
        let ([x, w, y], none) = (Operands::spans(params), Affine::NONE);
        let (params, bias, write, algo) = (*params, Span::EMPTY, Write::Set, None);
        match kind {
            PassKind::Forward => (Forward { params, x, x_map: none, w, bias, y, write, algo }.into(), y),
            PassKind::GradInput => (GradInput { params, dy: y, dy_map: none, w, bias, dx: x, write, algo }.into(), x),
            PassKind::GradWeight => {
                (GradWeight { params, x, x_map: none, dy: y, dy_map: none, dw: w, write, algo }.into(), w)
            }
        }
    }
}

/// Pseudorandom numbers in [-1, 1): the top bits of a linear congruential generator.
fn values<T: Element>(len: usize, seed: u32) -> Vec<T> {
    let mut state = seed;
    let next = |_| {
        // Constants of "Numerical Recipes".
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        T::from_f64(f64::from(state >> 8) / f64::from(1 << 23) - 1.0)
    };
    (0..len).map(next).collect()
}

/// A pass that is prepared for an algorithm.
struct Prepared {
    cpu: Cpu,
    algo: Algo,
    call: Call,
    out: Span,
    workspace_len: usize,
}

impl Prepared {
    fn new(cpu: &Cpu, algo: Algo, kind: PassKind, shape: &Conv2dParams) -> Prepared {
        let cpu = cpu.clone().with_conv2d_algo(algo);
        let (mut call, out) = Operands::call(kind, shape);
        let workspace_len = cpu.prepare(&mut call);
        Prepared { cpu, algo, call, out, workspace_len }
    }

    fn run(&self, memory: &mut kernels::HostMemory<f32>) {
        let workspace = Span::new(Region(3), 0, self.workspace_len);
        self.cpu.run(memory, &self.call, Context::with_workspace(workspace));
    }
}

/// A pass that is timed.
struct Job {
    prepared: Prepared,
    /// Calls per turn: enough that a turn is not much shorter than [`TURN_MS`].
    calls: usize,
    ms: Vec<f64>,
}

const TURN_MS: f64 = 1.0;
const MOST_CALLS: usize = 200;

impl Job {
    fn new(prepared: Prepared, memory: &mut kernels::HostMemory<f32>, clock: Clock) -> Job {
        let mut job = Job { prepared, calls: 1, ms: Vec::new() };
        // The first turn touches the memory; the second measures how long a call takes.
        job.take_turn(memory, clock);
        job.take_turn(memory, clock);
        job.calls = ((TURN_MS / job.ms[1].max(1e-6)).ceil() as usize).clamp(1, MOST_CALLS);
        job.ms.clear();
        job
    }

    fn take_turn(&mut self, memory: &mut kernels::HostMemory<f32>, clock: Clock) {
        let Job { prepared, calls, .. } = self;
        let run = || timed(clock, prepared.cpu.threads(), || (0..*calls).for_each(|_| prepared.run(memory)));
        let ms = prepared.cpu.enter(run) / *calls as f64;
        self.ms.push(ms);
    }

    fn ms(&self) -> f64 {
        quantile(&self.ms, 0.5)
    }
}

/// Rows of the single image that errors are measured on: the reference takes a nanosecond per product.
const ERROR_ROWS: usize = 32;

/// The largest error of a pass divided by the largest element of the result, on the top rows of one image.
fn error(cpu: &Cpu, algo: Algo, p: &Conv2dParams, kind: PassKind) -> Result<f64, OutOfMemory> {
    let h = p.h.min(ERROR_ROWS.max(p.r));
    let stride = [p.stride_h, p.stride_w];
    let small = Conv2dParams::new([1, h, p.w, p.c], p.k, [p.r, p.s], stride, [p.pad_h, p.pad_w], p.groups)
        .expect("an image as high as the kernel has an output");
    let prepared = Prepared::new(cpu, algo, kind, &small);
    let mut memory = cpu.allocate(&Operands::lens(&small, prepared.workspace_len))?;
    Operands::write(cpu, &mut memory, &small);
    prepared.run(&mut memory);
    let mut exact = Reference.allocate(&Operands::lens(&small, 0))?;
    Operands::write(&Reference, &mut exact, &small);
    Reference.run(&mut exact, &prepared.call, Context::NONE);
    let (got, want) = (memory.get(prepared.out), exact.get(prepared.out));
    let largest = want.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let errors = got.iter().zip(want).map(|(&got, want)| (f64::from(got) - want).abs() / largest);
    // The largest, or NaN if there is one.
    Ok(errors.fold(0.0, |worst, error| if error <= worst { worst } else { error }))
}

/// Measures the peak throughput of the machine, in wall time: the CPU time of a thread that runs may be some
/// milliseconds old, and the best turn would be the one with the largest error.
struct Roofs<'a> {
    cpu: &'a Cpu,
    pool: &'a Pool,
    memory: kernels::HostMemory<f32>,
    gflops: Vec<f64>,
    gb_per_s: Vec<f64>,
}

/// Elements of each of the three arrays of the weighted addition: 64 MiB, larger than a cache.
const ARRAY: usize = 1 << 24;

impl<'a> Roofs<'a> {
    fn new(cpu: &'a Cpu, pool: &'a Pool) -> Result<Roofs<'a>, OutOfMemory> {
        let mut roofs =
            Roofs { cpu, pool, memory: cpu.allocate(&[3 * ARRAY])?, gflops: Vec::new(), gb_per_s: Vec::new() };
        // The first turn touches the memory.
        roofs.add();
        roofs.gb_per_s.clear();
        Ok(roofs)
    }

    /// Times the multiply-adds, and every fourth time the addition, which takes longer.
    fn take_turn(&mut self) {
        let Roofs { cpu, pool, gflops, .. } = self;
        let mut flops = 0;
        let ms = pool.enter(|| timed(Clock::Wall, pool.threads(), || flops = peak::multiply_adds(cpu.isa(), pool)));
        gflops.push(flops as f64 / ms / 1e6);
        if self.gflops.len() % 4 == 1 {
            self.add();
        }
    }

    fn add(&mut self) {
        let Roofs { cpu, memory, gb_per_s, .. } = self;
        let [a, b, y] = [0, 1, 2].map(|i| Span::new(Region(0), i * ARRAY, ARRAY));
        let ms = cpu.enter(|| {
            timed(Clock::Wall, cpu.threads(), || {
                cpu.run(memory, &add::Add { weight: 0.5, a, b, y }.into(), Context::NONE)
            })
        });
        gb_per_s.push((3 * ARRAY * size_of::<f32>()) as f64 / ms / 1e6);
    }

    /// The best turn of each: what the machine can do, whatever else it did in other turns.
    fn best(&self) -> [f64; 2] {
        [&self.gflops, &self.gb_per_s].map(|values| values.iter().copied().fold(0.0, f64::max))
    }
}

/// Name of the CPU, as Linux reports it.
fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown CPU".to_owned(), |(_, name)| name.trim().to_owned())
}
