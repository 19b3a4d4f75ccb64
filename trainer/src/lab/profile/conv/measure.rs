//! Times the passes.

use super::{ConvProfile, Layer, Request, Row};
use crate::lab::profile::quantile;
use cpu_time::ProcessTime;
use kernels::conv2d::cpu::{self, Algo, Pass};
use kernels::conv2d::reference;
use kernels::conv2d::{Conv2dParams, Mapped};
use kernels::memory::AlignedBuffer;
use kernels::parallel::Pool;
use kernels::{Backend, Cpu, OutOfMemory, Region, Span, Write, add, peak};
use std::fmt;
use std::time::{Duration, Instant};

/// Which time counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Clock {
    /// Time that passes
    #[default]
    Wall,
    /// Time that the process computes, divided by its threads: for machines that do other work, too
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

/// Convolutions that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The path cannot run.
    #[error("the CPU cannot be used as asked: {0}")]
    Cpu(String),
    /// The operands do not fit.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// Nothing is left to measure.
    #[error("none of the algorithms takes any of the shapes")]
    Nothing,
}

/// Measures all that was asked for. The algorithms of a pass, and the loops that give the peaks, take turns, so that a change of
/// the machine's load meets all of them. `tell` gets a line for every convolution.
///
/// # Errors
/// [`MeasureError`] if the instruction set is not to be had, memory does not suffice or nothing is left to measure.
pub fn profile(request: &Request, tell: &mut dyn FnMut(&str)) -> Result<ConvProfile, MeasureError> {
    let cpu = Cpu::with_isa(request.isa, request.threads).map_err(|error| MeasureError::Cpu(error.to_string()))?;
    let pool = Pool::new(request.threads).map_err(|error| MeasureError::Cpu(error.to_string()))?;
    let mut roofs = Roofs::new(&cpu, &pool)?;
    let mut rows = Vec::new();
    for Layer { name, shape } in &request.layers {
        tell(&format!("{name} {}", super::presets::shape_text(shape)));
        let algos: Vec<Algo> = request.algos.iter().copied().filter(|algo| algo.supports(shape)).collect();
        let mut operands = Operands::new(shape)?;
        for &pass in &request.passes {
            let mut jobs = Vec::new();
            for &algo in &algos {
                jobs.push(Job::new(
                    cpu.clone().with_conv2d_algo(algo),
                    algo,
                    pass,
                    shape,
                    &mut operands,
                    request.clock,
                )?);
            }
            for _ in 0..request.rounds.max(1) {
                jobs.iter_mut().for_each(|job| job.take_turn(&mut operands, request.clock));
                roofs.take_turn(request.clock);
            }
            let chosen = Algo::choose(shape, pass, request.isa);
            let fastest = jobs.iter().map(Job::ms).fold(f64::INFINITY, f64::min);
            for job in &jobs {
                rows.push(Row {
                    layer: name.clone(),
                    shape: *shape,
                    pass,
                    algo: job.algo,
                    ms: job.ms(),
                    spread_ms: [0.1, 0.9].map(|share| quantile(&job.ms, share)),
                    error: request.errors.then(|| error(&job.cpu, shape, pass)).transpose()?,
                    chosen: job.algo == chosen,
                    best: job.ms() == fastest,
                });
            }
        }
    }
    if rows.is_empty() {
        return Err(MeasureError::Nothing);
    }
    let [peak_gflops, peak_gb_per_s] = roofs.medians();
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

/// Times what runs on so many threads, in milliseconds.
fn timed(clock: Clock, threads: usize, f: impl FnOnce()) -> f64 {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    f();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    match clock {
        Clock::Wall => ms(wall.elapsed()),
        Clock::Cpu => ms(cpu.elapsed()) / threads as f64,
    }
}

/// Input, weight and output of a convolution. Every pass overwrites one of them with what it computes of the others: over the
/// three passes numbers grow, but stay far from the largest.
struct Operands {
    x: AlignedBuffer<f32>,
    w: AlignedBuffer<f32>,
    y: AlignedBuffer<f32>,
}

impl Operands {
    fn new(p: &Conv2dParams) -> Result<Operands, OutOfMemory> {
        Ok(Operands { x: values(p.input_len(), 1)?, w: values(p.weight_len(), 2)?, y: values(p.output_len(), 3)? })
    }
}

/// Numbers in [-1, 1) that look random: the top bits of multiples of an odd number.
fn values(len: usize, seed: u32) -> Result<AlignedBuffer<f32>, OutOfMemory> {
    let mut values = AlignedBuffer::<f32>::zeroed(len)?;
    let mut state = seed;
    for value in values.iter_mut() {
        // constants of "Numerical Recipes"
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
    }
    Ok(values)
}

/// A pass with an algorithm.
struct Job<'a> {
    cpu: Cpu,
    algo: Algo,
    pass: Pass,
    shape: &'a Conv2dParams,
    workspace: AlignedBuffer<f32>,
    /// Calls of a turn: so many that a turn is not much shorter than a millisecond.
    calls: usize,
    ms: Vec<f64>,
}

const TURN_MS: f64 = 1.0;
const MOST_CALLS: usize = 200;

impl<'a> Job<'a> {
    fn new(
        cpu: Cpu,
        algo: Algo,
        pass: Pass,
        shape: &'a Conv2dParams,
        operands: &mut Operands,
        clock: Clock,
    ) -> Result<Job<'a>, OutOfMemory> {
        let workspace = AlignedBuffer::zeroed(workspace_len(&cpu, shape, pass))?;
        let mut job = Job { cpu, algo, pass, shape, workspace, calls: 1, ms: Vec::new() };
        // the first touches memory, the second tells how long one takes
        job.take_turn(operands, clock);
        job.take_turn(operands, clock);
        job.calls = ((TURN_MS / job.ms[1].max(1e-6)).ceil() as usize).clamp(1, MOST_CALLS);
        job.ms.clear();
        Ok(job)
    }

    fn take_turn(&mut self, operands: &mut Operands, clock: Clock) {
        let Job { cpu, pass, shape, workspace, calls, .. } = self;
        let run = || {
            timed(clock, cpu.threads(), || {
                for _ in 0..*calls {
                    let Operands { x, w, y } = operands;
                    match pass {
                        Pass::Forward => cpu::forward(cpu, shape, (&**x).into(), w, &[], y, Write::Set, workspace),
                        Pass::GradInput => cpu::grad_input(cpu, shape, (&**y).into(), w, &[], x, Write::Set, workspace),
                        Pass::GradWeight => {
                            cpu::grad_weight(cpu, shape, (&**x).into(), (&**y).into(), w, Write::Set, workspace)
                        }
                    }
                }
            })
        };
        let ms = cpu.enter(run) / *calls as f64;
        self.ms.push(ms);
    }

    fn ms(&self) -> f64 {
        quantile(&self.ms, 0.5)
    }
}

fn workspace_len(cpu: &Cpu, p: &Conv2dParams, pass: Pass) -> usize {
    match pass {
        Pass::Forward => cpu::forward_workspace_len(cpu, p, false),
        Pass::GradInput => cpu::grad_input_workspace_len(cpu, p, false),
        Pass::GradWeight => cpu::grad_weight_workspace_len(cpu, p, false),
    }
}

/// Rows of the one image that errors are taken of: the reference takes a nanosecond a product.
const ERROR_ROWS: usize = 32;

/// The largest error of a pass over the largest element of the result, on the top rows of one image.
fn error(cpu: &Cpu, p: &Conv2dParams, pass: Pass) -> Result<f64, OutOfMemory> {
    let h = p.h.min(ERROR_ROWS.max(p.r));
    let stride = [p.stride_h, p.stride_w];
    let small = Conv2dParams::new([1, h, p.w, p.c], p.k, [p.r, p.s], stride, [p.pad_h, p.pad_w], p.groups)
        .expect("an image as high as the kernel has an output");
    let Operands { x, w, y } = Operands::new(&small)?;
    let mut workspace = AlignedBuffer::<f32>::zeroed(workspace_len(cpu, &small, pass))?;
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let [x64, w64, y64] = [&x, &w, &y].map(|values| wide(values));
    let ([x, y], [x64, y64]) = ([&*x, &*y].map(Mapped::from), [&*x64, &*y64].map(Mapped::from));
    let mut got = match pass {
        Pass::Forward => AlignedBuffer::<f32>::zeroed(small.output_len())?,
        Pass::GradInput => AlignedBuffer::zeroed(small.input_len())?,
        Pass::GradWeight => AlignedBuffer::zeroed(small.weight_len())?,
    };
    let mut want = vec![0.0; got.len()];
    match pass {
        Pass::Forward => {
            cpu::forward(cpu, &small, x, &w, &[], &mut got, Write::Set, &mut workspace);
            reference::forward(&small, x64, &w64, &[], &mut want, Write::Set);
        }
        Pass::GradInput => {
            cpu::grad_input(cpu, &small, y, &w, &[], &mut got, Write::Set, &mut workspace);
            reference::grad_input(&small, y64, &w64, &[], &mut want, Write::Set);
        }
        Pass::GradWeight => {
            cpu::grad_weight(cpu, &small, x, y, &mut got, Write::Set, &mut workspace);
            reference::grad_weight(&small, x64, y64, &mut want, Write::Set);
        }
    }
    let largest = want.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let errors = got.iter().zip(&want).map(|(&got, want)| (f64::from(got) - want).abs() / largest);
    // the larger one, or NaN if there is one
    Ok(errors.fold(0.0, |worst, error| if error <= worst { worst } else { error }))
}

/// What the machine can do at most.
struct Roofs<'a> {
    cpu: &'a Cpu,
    pool: &'a Pool,
    memory: kernels::HostMemory<f32>,
    gflops: Vec<f64>,
    gb_per_s: Vec<f64>,
}

/// Elements of each of the three arrays of the weighted addition: 64 MiB, more than a cache.
const ARRAY: usize = 1 << 24;

impl<'a> Roofs<'a> {
    fn new(cpu: &'a Cpu, pool: &'a Pool) -> Result<Roofs<'a>, OutOfMemory> {
        let mut roofs =
            Roofs { cpu, pool, memory: cpu.allocate(&[3 * ARRAY])?, gflops: Vec::new(), gb_per_s: Vec::new() };
        // the first touches memory
        roofs.add(Clock::Wall);
        roofs.gb_per_s.clear();
        Ok(roofs)
    }

    /// Times the multiply-adds, and every now and then the addition, which takes longer.
    fn take_turn(&mut self, clock: Clock) {
        let Roofs { cpu, pool, gflops, .. } = self;
        let mut flops = 0;
        let ms = pool.enter(|| timed(clock, pool.threads(), || flops = peak::multiply_adds(cpu.isa(), pool)));
        gflops.push(flops as f64 / ms / 1e6);
        if self.gflops.len() % 8 == 1 {
            self.add(clock);
        }
    }

    fn add(&mut self, clock: Clock) {
        let Roofs { cpu, memory, gb_per_s, .. } = self;
        let [a, b, y] = [0, 1, 2].map(|i| Span::new(Region(0), i * ARRAY, ARRAY));
        let ms = cpu.enter(|| timed(clock, cpu.threads(), || cpu.add(memory, 0.5, add::Add { a, b, y })));
        gb_per_s.push((3 * ARRAY * size_of::<f32>()) as f64 / ms / 1e6);
    }

    fn medians(&self) -> [f64; 2] {
        [&self.gflops, &self.gb_per_s].map(|values| quantile(values, 0.5))
    }
}

/// Name of the CPU, as Linux tells it.
fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown CPU".to_owned(), |(_, name)| name.trim().to_owned())
}
