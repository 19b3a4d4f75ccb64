//! Time of every pass of a convolution, for every algorithm and instruction set, beside the machine's peak.
//!
//! ```text
//! cargo run --release -p kernels --example conv2d_throughput -- [threads [rounds [filter...]]]
//! ```
//!
//! A filter is a part of a line's first columns, as in `dec avx2`; a line is shown if it matches all of them. All jobs of a
//! layer take turns, and so does a loop of fused multiply-adds that gives the peak; medians are printed, and the 90th
//! percentile beside them, which tells how noisy the machine was.

use kernels::conv2d::Conv2dParams;
use kernels::conv2d::cpu::{self, Algo, Pass};
use kernels::parallel::Pool;
use kernels::simd::{Isa, Kernel, Simd};
use kernels::{Cpu, Write};
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
        ("3x3 128->128 at 16x16", conv([16, 16, 16, 128], 128, 3, 1, 1)),
        ("5x5 32->32", conv([32, 32, 32, 32], 32, 5, 1, 2)),
        ("9x9 32->32", conv([8, 32, 32, 32], 32, 9, 1, 4)),
        ("1x1 32->32", conv([64, 32, 32, 32], 32, 1, 1, 0)),
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

struct Job<'a> {
    name: String,
    flops: usize,
    run: Box<dyn FnMut() + 'a>,
    times: Vec<Duration>,
}

impl<'a> Job<'a> {
    fn new(name: String, flops: usize, run: impl FnMut() + 'a) -> Job<'a> {
        Job { name, flops, run: Box::new(run), times: Vec::new() }
    }

    fn quantile(&mut self, q: f64) -> f64 {
        self.times.sort();
        self.times[((self.times.len() - 1) as f64 * q).round() as usize].as_secs_f64()
    }

    fn gflops(&mut self) -> f64 {
        self.flops as f64 / self.quantile(0.5) / 1e9
    }
}

fn peak_job<'a>(isa: Isa, pool: &'a Pool) -> Job<'a> {
    const STEPS: usize = 20_000;
    let flops = pool.threads() * STEPS * CHAINS * isa.lanes() * 2;
    Job::new(format!("peak {isa}"), flops, move || {
        pool.for_each(pool.threads(), |_| {
            black_box(isa.dispatch(Peak { steps: STEPS }));
        });
    })
}

fn pass_job<'a>(cpu: &'a Cpu, p: &'a Conv2dParams, pass: Pass, name: String) -> Job<'a> {
    let values = |len: usize| (0..len).map(|i| (i * 7 % 13) as f32 - 6.0).collect::<Vec<f32>>();
    let (mut x, mut w, mut y) = (values(p.input_len()), values(p.weight_len()), values(p.output_len()));
    let workspace_len = match pass {
        Pass::Forward => cpu::forward_workspace_len(cpu, p),
        Pass::GradInput => cpu::grad_input_workspace_len(cpu, p),
        Pass::GradWeight => cpu::grad_weight_workspace_len(cpu, p),
    };
    let mut ws = values(workspace_len);
    Job::new(name, p.flops(), move || match pass {
        Pass::Forward => cpu::forward(cpu, p, &x, &w, &[], &mut y, Write::Set, &mut ws),
        Pass::GradInput => cpu::grad_input(cpu, p, &y, &w, &[], &mut x, Write::Set, &mut ws),
        Pass::GradWeight => cpu::grad_weight(cpu, p, &x, &y, &mut w, Write::Set, &mut ws),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default| args.get(i).map_or(Ok(default), |arg| arg.parse::<usize>());
    let (threads, rounds) = (number(0, 0)?, number(1, 15)?);
    let filters = args.get(2..).unwrap_or_default();
    let pool = Pool::new(threads)?;
    println!("{} threads, {rounds} rounds", pool.threads());
    println!("{:<52} {:>9} {:>9} {:>8} {:>6}", "layer, pass, kernel", "ms", "90 % ms", "GFLOP/s", "peak");
    for (layer, p) in layers() {
        let mut cpus = Vec::new();
        for isa in Isa::available() {
            for algo in Algo::ALL {
                cpus.push((isa, algo, Cpu::with_isa(isa, threads)?.with_conv2d_algo(algo)));
            }
        }
        let mut jobs = Vec::new();
        for pass in [Pass::Forward, Pass::GradInput, Pass::GradWeight] {
            for (isa, algo, cpu) in &cpus {
                let name = format!("{layer:<22} {:<10} {}", format!("{pass:?}"), algo.kernel_name(*isa));
                if filters.iter().all(|filter| name.contains(filter)) {
                    jobs.push(pass_job(cpu, &p, pass, name));
                }
            }
        }
        if jobs.is_empty() {
            continue;
        }
        jobs.push(peak_job(Isa::best(), &pool));
        for _ in 0..rounds {
            for job in &mut jobs {
                let start = Instant::now();
                (job.run)();
                job.times.push(start.elapsed());
            }
        }
        let peak = jobs.last_mut().expect("the peak is a job").gflops();
        for job in &mut jobs {
            let (ms, slow_ms, gflops) = (job.quantile(0.5) * 1e3, job.quantile(0.9) * 1e3, job.gflops());
            println!("{:<52} {ms:>9.3} {slow_ms:>9.3} {gflops:>8.1} {:>6.2}", job.name, gflops / peak);
        }
    }
    Ok(())
}
