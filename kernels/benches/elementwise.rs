//! Times of the element-wise passes on a layer's activations: 64 images of 32 x 32 pixels and 32 channels, 8 MiB.
//!
//! ```text
//! cargo bench -p resconv-kernels --bench elementwise -- [FILTER]
//! ```
//! Runs every instruction set of the CPU (or the one that `KERNELS_ISA` forces) on 1 thread and on one per core. Prints
//! the fastest and the median time of a pass, and the memory traffic at the median. Without `--bench`, as `cargo test`
//! starts it, every pass runs once.

use kernels::activation::{self, Activation, Saved};
use kernels::adamw::{self, AdamWParams};
use kernels::add;
use kernels::batch_norm::{self, BatchNormParams};
use kernels::clip_norm::Norm;
use kernels::ema;
use kernels::loss::{self, Loss};
use kernels::pad::{self, PadParams};
use kernels::sgd::{self, SgdParams};
use kernels::simd::Isa;
use kernels::{Backend, Call, Context, Cpu, Region, Span, Write};
use std::time::Instant;

const ROWS: usize = 64 * 32 * 32;
const CHANNELS: usize = 32;
const LEN: usize = ROWS * CHANNELS;

/// Tensors, each in its own region. The vectors with one value per channel are in the region after them.
const TENSORS: [Span; 4] = [tensor(0), tensor(1), tensor(2), tensor(3)];
const CHANNEL_VECTORS: Region = Region(4);
const WORKSPACE: Region = Region(5);

const fn tensor(region: u8) -> Span {
    Span::new(Region(region), 0, LEN)
}

fn channel_vectors() -> [Span; 8] {
    std::array::from_fn(|i| Span::new(CHANNEL_VECTORS, i * CHANNELS, CHANNELS))
}

/// A call to measure.
struct Case {
    name: String,
    /// How often it reads or writes a whole tensor.
    tensors: usize,
    call: Call,
}

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
    let mut cases = cases();
    cases.retain(|case| case.name.contains(filter));
    let workspace_len = cases.iter_mut().map(|case| cpu.prepare(&mut case.call)).max().unwrap_or(0);
    let mut memory = cpu.allocate(&[LEN, LEN, LEN, LEN, 8 * CHANNELS, workspace_len]).expect("memory");
    let cx = Context::with_workspace(Span::new(WORKSPACE, 0, workspace_len));
    for Case { name, tensors, call } in cases {
        for (seed, tensor) in (1..).zip(&TENSORS[..3]) {
            cpu.write(&mut memory, *tensor, &values(seed, LEN));
        }
        for (value, channel) in [1.0, 0.5, 0.1, 1.5, 0.2, 1.2, 0.0, 0.0].into_iter().zip(channel_vectors()) {
            cpu.fill(&mut memory, channel, value);
        }
        let mut times = Vec::new();
        cpu.enter(|| {
            let runs = if measure { 60 } else { 1 };
            for _ in 0..runs {
                let start = Instant::now();
                cpu.run(&mut memory, &call, cx);
                times.push(start.elapsed().as_secs_f64());
            }
        });
        times.sort_by(f64::total_cmp);
        let (min, median) = (times[0], times[times.len() / 2]);
        let name = format!("{name}-{}", cpu.isa());
        let rate = (tensors * LEN * size_of::<f32>()) as f64 / median / 1e9;
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

/// Every pass.
fn cases() -> Vec<Case> {
    let [a, b, c, d] = TENSORS;
    let mut cases = Vec::new();
    let mut case = |name: &str, tensors: usize, call: Call| cases.push(Case { name: name.to_owned(), tensors, call });
    let write = Write::Set;
    for activation in Activation::ALL {
        let saved = if activation.saved() == Saved::Input { a } else { b };
        let forward = activation::Forward { activation, x: a, y: b };
        let backward = activation::Backward { activation, saved, dy: b, dx: c, write };
        case(&format!("{activation}-forward"), 2, forward.into());
        case(&format!("{activation}-backward"), 3, backward.into());
    }
    case("copy", 2, add::Scale { weight: 1.0, x: a, y: b, write }.into());
    case("scale-add", 3, add::Scale { weight: 0.5, x: a, y: b, write: Write::Add }.into());
    case("add", 3, add::Add { weight: 0.1, a, b, y: c }.into());

    let params = BatchNormParams { rows: ROWS, channels: CHANNELS, eps: 1e-5, momentum: 0.1 };
    let [gamma, beta, running_mean, running_var, mean, rstd, dgamma, dbeta] = channel_vectors();
    let (x, y) = (a, b);
    let forward = batch_norm::Forward { params, x, gamma, beta, running_mean, running_var, mean, rstd, y };
    case("batch_norm-forward", 3, forward.into());
    case("batch_norm-apply", 2, batch_norm::Apply { params, x, gamma, beta, mean, rstd, y }.into());
    let inference = batch_norm::Inference { params, x, gamma, beta, running_mean, running_var, y };
    case("batch_norm-inference", 2, inference.into());
    for (name, tensors, dx) in [("batch_norm-backward-sums", 2, Span::EMPTY), ("batch_norm-backward", 5, c)] {
        let [dgamma_write, dbeta_write, dx_write] = [write; 3];
        let backward = batch_norm::Backward {
            params,
            x,
            gamma,
            mean,
            rstd,
            dy: y,
            dgamma,
            dgamma_write,
            dbeta,
            dbeta_write,
            dx,
            dx_write,
        };
        case(name, tensors, backward.into());
    }

    let params = PadParams { n: 64, h0: 31, w0: 31, h1: 32, w1: 32, c: CHANNELS };
    let cut = Span { len: 64 * 31 * 31 * CHANNELS, ..a };
    case("pad-forward", 2, pad::Forward { params, x: cut, y }.into());
    case("pad-backward-add", 3, pad::Backward { params, dy: y, dx: cut, write: Write::Add }.into());

    let one = Span { len: 1, ..gamma };
    let (loss, prediction, target) = (Loss::L1, a, b);
    case("l1_loss-forward", 2, loss::Forward { loss, prediction, target, out: one }.into());
    let backward = loss::Backward { loss, prediction, target, dloss: one, dprediction: c, write };
    case("l1_loss-backward", 3, backward.into());

    let params = AdamWParams { lr: 3e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1000 };
    case("adamw", 7, adamw::Step { params, param: a, grad: b, m: c, v: d, unless: Span::EMPTY }.into());
    let params = SgdParams { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 5e-4 };
    case("sgd", 5, sgd::Step { params, param: a, grad: b, buffer: c, unless: Span::EMPTY }.into());
    case("clip_norm-norm", 1, Norm { x: a, norm: one }.into());
    case("ema", 3, ema::Step { decay: 0.999, param: a, average: b, unless: Span::EMPTY }.into());
    cases
}
