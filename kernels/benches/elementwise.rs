//! Times of the element-wise passes on the tensor of a layer: 64 images of 32 x 32 pixels and 32 channels, 8 MiB.
//!
//! ```text
//! cargo bench -p kernels --bench elementwise -- [FILTER]
//! ```
//! Runs every instruction set of the CPU (or the one that `KERNELS_ISA` forces) on 1 thread and on one a core. Prints the
//! fastest and the median time of a pass, and the memory traffic that the median amounts to, operands read or written once
//! each. Without `--bench`, as `cargo test` starts it, every pass runs once.

use kernels::activation::{self, Activation, Saved};
use kernels::adamw::{self, AdamWParams};
use kernels::add;
use kernels::batch_norm::{self, BatchNormParams};
use kernels::loss::{self, Loss};
use kernels::pad::{self, PadParams};
use kernels::simd::Isa;
use kernels::{Backend, Cpu, HostMemory, Region, Span, Write};
use std::time::Instant;

const ROWS: usize = 64 * 32 * 32;
const CHANNELS: usize = 32;
const LEN: usize = ROWS * CHANNELS;

/// Three tensors, the vectors of a channel each, and scratch.
struct Operands {
    a: Span,
    b: Span,
    c: Span,
    channels: [Span; 8],
    workspace: Span,
}

type Memory = HostMemory<f32>;
type Call<'a> = Box<dyn Fn(&Cpu, &mut Memory) + Sync + 'a>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measure = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.into_iter().find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let isas = match std::env::var_os("KERNELS_ISA") {
        Some(_) => vec![Isa::from_env().unwrap_or_else(|error| panic!("{error}"))],
        None => Isa::available(),
    };
    println!("{:<28} {:>9} {:>10} {:>10} {:>8}", "pass", "threads", "min ms", "median ms", "GB/s");
    for isa in isas {
        let cores = Cpu::with_isa(isa, 0).expect("threads").threads();
        for threads in if cores > 1 { vec![1, cores] } else { vec![1] } {
            let cpu = Cpu::with_isa(isa, threads).expect("threads");
            bench(&cpu, &filter, measure);
        }
    }
}

fn bench(cpu: &Cpu, filter: &str, measure: bool) {
    let workspace_len = LEN;
    let mut memory = cpu.allocate(&[LEN, LEN, LEN, 8 * CHANNELS, workspace_len]).expect("memory");
    let span = |region, offset, len| Span::new(Region(region), offset, len);
    let o = Operands {
        a: span(0, 0, LEN),
        b: span(1, 0, LEN),
        c: span(2, 0, LEN),
        channels: std::array::from_fn(|i| span(3, i * CHANNELS, CHANNELS)),
        workspace: span(4, 0, workspace_len),
    };
    for (name, bytes, call) in passes(&o) {
        if !name.contains(filter) {
            continue;
        }
        for (seed, tensor) in [(1, o.a), (2, o.b), (3, o.c)] {
            cpu.write(&mut memory, tensor, &values(seed, LEN));
        }
        for (value, channel) in [1.0, 0.5, 0.1, 1.5, 0.2, 1.2, 0.0, 0.0].into_iter().zip(o.channels) {
            cpu.fill(&mut memory, channel, value);
        }
        let mut times = Vec::new();
        cpu.enter(|| {
            let runs = if measure { 60 } else { 1 };
            for _ in 0..runs {
                let start = Instant::now();
                call(cpu, &mut memory);
                times.push(start.elapsed().as_secs_f64());
            }
        });
        times.sort_by(f64::total_cmp);
        let (min, median) = (times[0], times[times.len() / 2]);
        let name = format!("{name}-{}", cpu.isa());
        let rate = bytes as f64 / median / 1e9;
        println!("{name:<28} {:>9} {:>10.3} {:>10.3} {rate:>8.1}", cpu.threads(), min * 1e3, median * 1e3);
    }
}

/// Numbers between -4 and 4, as activations see them.
fn values(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| (next() + next() + next() + next() - 2.0) * 2.0).collect()
}

/// Name, bytes of traffic and call of every pass.
fn passes(o: &Operands) -> Vec<(String, usize, Call<'_>)> {
    let tensor = LEN * size_of::<f32>();
    let mut passes: Vec<(String, usize, Call<'_>)> = Vec::new();
    for f in Activation::ALL {
        let forward = move |cpu: &Cpu, memory: &mut Memory| {
            cpu.activation_forward(memory, f, activation::Forward { x: o.a, y: o.b });
        };
        let saved = if f.saved() == Saved::Input { o.a } else { o.b };
        let backward = move |cpu: &Cpu, memory: &mut Memory| {
            let operands = activation::Backward { saved, dy: o.b, dx: o.c, write: Write::Set };
            cpu.activation_backward(memory, f, operands);
        };
        passes.push((format!("{f}-forward"), 2 * tensor, Box::new(forward)));
        passes.push((format!("{f}-backward"), 3 * tensor, Box::new(backward)));
    }
    let p = BatchNormParams { rows: ROWS, channels: CHANNELS, eps: 1e-5, momentum: 0.1 };
    let [gamma, beta, running_mean, running_var, mean, rstd, dgamma, dbeta] = o.channels;
    let (x, y, workspace) = (o.a, o.b, o.workspace);
    let images = PadParams { n: 64, h0: 31, w0: 31, h1: 32, w1: 32, c: CHANNELS };
    let cut = Span { len: 64 * 31 * 31 * CHANNELS, ..o.a };
    let others: [(&str, usize, Call<'_>); 13] = [
        ("copy", 2, Box::new(move |cpu, m| cpu.scale(m, 1.0, add::Scale { x, y, write: Write::Set }))),
        ("scale-add", 3, Box::new(move |cpu, m| cpu.scale(m, 0.5, add::Scale { x, y, write: Write::Add }))),
        ("add", 3, Box::new(move |cpu, m| cpu.add(m, 0.1, add::Add { a: x, b: y, y: o.c }))),
        (
            "batch_norm-forward",
            3,
            Box::new(move |cpu, m| {
                let operands =
                    batch_norm::Forward { x, gamma, beta, running_mean, running_var, mean, rstd, y, workspace };
                cpu.batch_norm_forward(m, &p, operands);
            }),
        ),
        (
            "batch_norm-apply",
            2,
            Box::new(move |cpu, m| cpu.batch_norm_apply(m, &p, batch_norm::Apply { x, gamma, beta, mean, rstd, y })),
        ),
        (
            "batch_norm-inference",
            2,
            Box::new(move |cpu, m| {
                cpu.batch_norm_inference(m, &p, batch_norm::Inference { x, gamma, beta, running_mean, running_var, y });
            }),
        ),
        (
            "batch_norm-backward-sums",
            2,
            Box::new(move |cpu, m| {
                let [dgamma_write, dbeta_write, dx_write] = [Write::Set; 3];
                let (dy, dx) = (y, Span::EMPTY);
                let operands = batch_norm::Backward {
                    x,
                    gamma,
                    mean,
                    rstd,
                    dy,
                    dgamma,
                    dgamma_write,
                    dbeta,
                    dbeta_write,
                    dx,
                    dx_write,
                    workspace,
                };
                cpu.batch_norm_backward(m, &p, operands);
            }),
        ),
        (
            "batch_norm-backward",
            5,
            Box::new(move |cpu, m| {
                let [dgamma_write, dbeta_write, dx_write] = [Write::Set; 3];
                let (dy, dx) = (y, o.c);
                let operands = batch_norm::Backward {
                    x,
                    gamma,
                    mean,
                    rstd,
                    dy,
                    dgamma,
                    dgamma_write,
                    dbeta,
                    dbeta_write,
                    dx,
                    dx_write,
                    workspace,
                };
                cpu.batch_norm_backward(m, &p, operands);
            }),
        ),
        ("pad-forward", 2, Box::new(move |cpu, m| cpu.pad_forward(m, &images, pad::Forward { x: cut, y }))),
        (
            "pad-backward-add",
            3,
            Box::new(move |cpu, m| {
                cpu.pad_backward(m, &images, pad::Backward { dy: y, dx: cut, write: Write::Add });
            }),
        ),
        (
            "l1_loss-forward",
            2,
            Box::new(move |cpu, m| {
                let operands = loss::Forward { prediction: x, target: y, loss: Span { len: 1, ..gamma }, workspace };
                cpu.loss_forward(m, Loss::L1, operands);
            }),
        ),
        (
            "l1_loss-backward",
            3,
            Box::new(move |cpu, m| {
                let dloss = Span { len: 1, ..gamma };
                let operands = loss::Backward { prediction: x, target: y, dloss, dprediction: o.c, write: Write::Set };
                cpu.loss_backward(m, Loss::L1, operands);
            }),
        ),
        (
            "adamw",
            7,
            Box::new(move |cpu, m| {
                let p = AdamWParams { lr: 3e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1000 };
                cpu.adamw(m, &p, adamw::Step { param: x, grad: y, m: o.c, v: workspace, unless: Span::EMPTY });
            }),
        ),
    ];
    passes.extend(others.map(|(name, tensors, call)| (name.to_owned(), tensors * tensor, call)));
    passes
}
