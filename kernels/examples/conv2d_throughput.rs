//! Time of every pass of a convolution, for every algorithm and instruction set, beside the machine's peak.
//!
//! ```text
//! cargo run --release -p kernels --example conv2d_throughput -- [threads [rounds [filter...]]]
//! ```
//!
//! A filter is a part of a line's first columns, as in `Forward avx2`; a line is shown if it matches all of them. A line that
//! ends in `mapped` reads an operand through an affine map a channel; with the filter `mapped` it stands below the one that
//! does not. All jobs of
//! a layer take turns, and so does a loop of fused multiply-adds that gives the peak. GFLOP/s and the fraction of the peak
//! come from the CPU time of the process divided by its threads, which other load on the machine disturbs less than it does
//! the time on the wall; the two agree on an idle machine. Best and median show how noisy it was.

use kernels::conv2d::cpu::{self, Algo, Pass};
use kernels::conv2d::{Conv2dParams, Mapped};
use kernels::memory::AlignedBuffer;
use kernels::parallel::Pool;
use kernels::simd::{Isa, Kernel, Simd};
use kernels::{Backend, Cpu, Write};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The layers of the network at 15 layers and batch 64, and some around them.
fn layers() -> Vec<(&'static str, Conv2dParams)> {
    let conv = |x, k, kernel: usize, stride: usize, padding: usize| {
        Conv2dParams::new(x, k, [kernel; 2], [stride; 2], [padding; 2], 1).expect("the shape is valid")
    };
    vec![
        ("3x3 32->32", conv([64, 32, 32, 32], 32, 3, 1, 1)),
        ("3x3 1->32", conv([64, 32, 32, 1], 32, 3, 1, 1)),
        ("3x3 32->1", conv([64, 32, 32, 32], 1, 3, 1, 1)),
        ("3x3 32->32 stride 2", conv([64, 32, 32, 32], 32, 3, 2, 1)),
        ("3x3 32->32 at 28x28", conv([64, 28, 28, 32], 32, 3, 1, 1)),
        ("3x3 32->32 at 64x64", conv([16, 64, 64, 32], 32, 3, 1, 1)),
        ("3x3 20->20", conv([64, 32, 32, 20], 20, 3, 1, 1)),
        ("3x3 64->64 at 28x28", conv([64, 28, 28, 64], 64, 3, 1, 1)),
        ("3x3 128->128 at 28x28", conv([16, 28, 28, 128], 128, 3, 1, 1)),
        ("5x5 32->32", conv([32, 32, 32, 32], 32, 5, 1, 2)),
        ("5x5 16->16", conv([32, 32, 32, 16], 16, 5, 1, 2)),
        ("5x5 8->8", conv([32, 32, 32, 8], 8, 5, 1, 2)),
        ("7x7 32->32", conv([16, 32, 32, 32], 32, 7, 1, 3)),
        ("9x9 32->32", conv([8, 32, 32, 32], 32, 9, 1, 4)),
        ("11x11 32->32", conv([8, 32, 32, 32], 32, 11, 1, 5)),
        ("1x1 32->32", conv([64, 32, 32, 32], 32, 1, 1, 0)),
        ("3x3 32->32 one image", conv([1, 32, 32, 32], 32, 3, 1, 1)),
        ("linear 512->128", conv([64, 1, 1, 512], 128, 1, 1, 0)),
    ]
}

/// Independent chains of fused multiply-adds, enough of them to hide the latency.
struct Peak {
    steps: usize,
}

const CHAINS: usize = 12;

impl Kernel for Peak {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (a, b) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
        let mut chains = [s.splat(1.0); CHAINS];
        for _ in 0..self.steps {
            for chain in &mut chains {
                *chain = s.mul_add(*chain, a, b);
            }
        }
        chains.into_iter().map(|chain| s.sum(chain)).sum()
    }
}

/// CPU time that all threads of this process have used.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn cpu_time() -> Duration {
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    }
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: POSIX's function, and its structure as 64-bit Linux lays it out.
    let status = unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "the clock of the process can be read");
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

/// There is no CPU time here: the time on the wall, as if one thread ran.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn cpu_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

struct Job<'a> {
    name: String,
    flops: usize,
    run: Box<dyn FnMut() -> Time + 'a>,
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

struct Time {
    wall: Duration,
    cpu: Duration,
}

fn timed(f: impl FnOnce()) -> Time {
    let (wall, cpu) = (Instant::now(), cpu_time());
    f();
    Time { wall: wall.elapsed(), cpu: cpu_time() - cpu }
}

impl<'a> Job<'a> {
    fn new(name: String, flops: usize, run: impl FnMut() -> Time + 'a) -> Job<'a> {
        Job { name, flops, run: Box::new(run), wall: Vec::new(), cpu: Vec::new() }
    }

    fn take_turn(&mut self) {
        let time = (self.run)();
        self.wall.push(time.wall);
        self.cpu.push(time.cpu);
    }

    /// Operations a second and thread.
    fn gflops(&self) -> f64 {
        self.flops as f64 / quantile(&self.cpu, 0.5) / 1e9
    }
}

/// In seconds.
fn quantile(times: &[Duration], q: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[((times.len() - 1) as f64 * q).round() as usize].as_secs_f64()
}

fn peak_job<'a>(isa: Isa, pool: &'a Pool) -> Job<'a> {
    const STEPS: usize = 200_000;
    let flops = pool.threads() * STEPS * CHAINS * isa.lanes() * 2;
    Job::new(format!("peak {isa}"), flops, move || {
        let spin = |_| _ = black_box(isa.dispatch(Peak { steps: STEPS }));
        pool.enter(|| timed(|| pool.for_each(pool.threads(), spin)))
    })
}

fn pass_job<'a>(cpu: &'a Cpu, p: &'a Conv2dParams, pass: Pass, mapped: bool, name: String) -> Job<'a> {
    // Aligned as a backend's memory is.
    let values = |len: usize| {
        let mut values = AlignedBuffer::<f32>::zeroed(len).expect("there is memory");
        values.iter_mut().enumerate().for_each(|(i, value)| *value = (i * 7 % 13) as f32 - 6.0);
        values
    };
    let (mut x, mut w, mut y) = (values(p.input_len()), values(p.weight_len()), values(p.output_len()));
    let workspace_len = match pass {
        Pass::Forward => cpu::forward_workspace_len(cpu, p, mapped),
        Pass::GradInput => cpu::grad_input_workspace_len(cpu, p, mapped),
        Pass::GradWeight => cpu::grad_weight_workspace_len(cpu, p, mapped),
    };
    let mut ws = values(workspace_len);
    let map = values(if mapped { p.c.max(p.k) } else { 0 });
    Job::new(name, p.flops(), move || {
        let [of_x, of_y] = [p.c, p.k].map(|channels| &map[..channels.min(map.len())]);
        let run = || match pass {
            Pass::Forward => {
                let x = Mapped { values: &x[..], scale: of_x, shift: of_x };
                cpu::forward(cpu, p, x, &w, &[], &mut y, Write::Set, &mut ws);
            }
            Pass::GradInput => {
                let y = Mapped { values: &y[..], scale: of_y, shift: of_y };
                cpu::grad_input(cpu, p, y, &w, &[], &mut x, Write::Set, &mut ws);
            }
            Pass::GradWeight => {
                let x = Mapped { values: &x[..], scale: of_x, shift: of_x };
                cpu::grad_weight(cpu, p, x, y[..].into(), &mut w, Write::Set, &mut ws);
            }
        };
        cpu.enter(|| timed(run))
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default| args.get(i).map_or(Ok(default), |arg| arg.parse::<usize>());
    let (threads, rounds) = (number(0, 0)?, number(1, 15)?);
    let filters = args.get(2..).unwrap_or_default();
    let pool = Pool::new(threads)?;
    println!("{} threads, {rounds} rounds", pool.threads());
    println!(
        "{:<65} {:>9} {:>9} {:>9} {:>8} {:>6}",
        "layer, pass, kernel", "best ms", "median", "CPU", "GFLOP/s", "peak"
    );
    for (layer, p) in layers() {
        let mut cpus = Vec::new();
        for isa in Isa::available() {
            for algo in Algo::ALL {
                cpus.push((isa, algo, Cpu::with_isa(isa, threads)?.with_conv2d_algo(algo)));
            }
        }
        let mut jobs = Vec::new();
        for pass in [Pass::Forward, Pass::GradInput, Pass::GradWeight] {
            for (isa, algo, cpu) in cpus.iter().filter(|(_, algo, _)| algo.supports(&p)) {
                for mapped in [false, true] {
                    let map = if mapped { " mapped" } else { "" };
                    let name = format!("{layer:<22} {:<10} {}{map}", format!("{pass:?}"), algo.kernel_name(*isa));
                    let is_wanted = filters.iter().all(|filter| name.contains(filter) || filter == "mapped");
                    if is_wanted && (!mapped || filters.iter().any(|filter| filter == "mapped")) {
                        jobs.push(pass_job(cpu, &p, pass, mapped, name));
                    }
                }
            }
        }
        if jobs.is_empty() {
            continue;
        }
        jobs.push(peak_job(Isa::best(), &pool));
        for _ in 0..rounds {
            jobs.iter_mut().for_each(Job::take_turn);
        }
        let peak = jobs.last().expect("the peak is a job").gflops();
        for job in &jobs {
            let (best, median) = (quantile(&job.wall, 0.0) * 1e3, quantile(&job.wall, 0.5) * 1e3);
            let cpu = quantile(&job.cpu, 0.5) * 1e3 / pool.threads() as f64;
            let (gflops, fraction) = (job.gflops() * pool.threads() as f64, job.gflops() / peak);
            println!("{:<65} {best:>9.3} {median:>9.3} {cpu:>9.3} {gflops:>8.1} {fraction:>6.2}", job.name);
        }
    }
    Ok(())
}
