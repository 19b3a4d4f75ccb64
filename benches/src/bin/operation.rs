//! Times the passes of operations on synthetic values, and prints one JSON object: for every operation, milliseconds of
//! CPU time of the forward pass and of the whole backward pass, one of each for every call. `benches/peers/networks.py`
//! runs it in turn with PyTorch.
//!
//! ```text
//! cargo run --release -p benches --bin operation -- --calls 20
//! ```
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result};
use clap::Parser;
use cpu_time::ProcessTime;
use kernels::concat::{ChannelsParams, Concat, Slice};
use kernels::cross_entropy::{self, CrossEntropyParams};
use kernels::group_norm::{self, GroupNormParams};
use kernels::pool2d::{self, PoolParams, Pooling};
use kernels::upsample::{self, UpsampleParams, Upsampling};
use kernels::{Backend, Call, Context, Cpu, Region, Span, Write};
use std::collections::BTreeMap;

#[derive(Parser)]
struct Arguments {
    /// Only operations whose name contains this.
    #[arg(default_value = "")]
    filter: String,
    /// Timed calls, after one that is not timed.
    #[arg(long, default_value_t = 20)]
    calls: usize,
    /// 0 means one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cpu = Cpu::new(arguments.threads)?;
    let mut report = BTreeMap::new();
    for (name, make) in operations() {
        if name.contains(&arguments.filter) {
            report.insert(name, measure(&cpu, &make?, arguments.calls)?);
        }
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Milliseconds of every call of both passes.
fn measure(cpu: &Cpu, operation: &Operation, calls: usize) -> Result<[Vec<f64>; 2]> {
    let mut passes = operation.passes.clone();
    let workspace = passes.iter_mut().flatten().map(|call| cpu.prepare(call)).max().unwrap_or(0);
    let mut lens = operation.lens.clone();
    lens.push(workspace);
    let mut memory = cpu.allocate(&lens).context("not enough memory")?;
    for (region, &len) in operation.lens.iter().enumerate() {
        let values: Vec<f32> = match operation.classes {
            Some((targets, classes)) if targets == region => (0..len).map(|i| (i * 7 % classes) as f32).collect(),
            _ => (0..len).map(|i| (i as f32 * 0.7).sin()).collect(),
        };
        cpu.write(&mut memory, Span::new(Region(region as u8), 0, len), &values);
    }
    let cx = Context::with_workspace(Span::new(Region(operation.lens.len() as u8), 0, workspace));
    let mut times = [Vec::new(), Vec::new()];
    cpu.enter(|| {
        for call in 0..=calls {
            for (pass, times) in passes.iter().zip(&mut times) {
                let start = ProcessTime::now();
                pass.iter().for_each(|call| cpu.run(&mut memory, call, cx));
                if call > 0 {
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
    });
    Ok(times)
}

/// Passes of an operation, and the tensors that they use.
#[derive(Default)]
struct Operation {
    /// Elements of each tensor, which is a region.
    lens: Vec<usize>,
    /// The tensor that holds classes, and how many classes there are.
    classes: Option<(usize, usize)>,
    /// Those of the forward pass, and those of the backward pass.
    passes: [Vec<Call>; 2],
}

impl Operation {
    fn tensor(&mut self, len: usize) -> Span {
        self.lens.push(len);
        Span::new(Region(self.lens.len() as u8 - 1), 0, len)
    }
}

/// Every operation, with the name that `networks.py` has for it.
fn operations() -> Vec<(&'static str, Result<Operation>)> {
    let image = [64, 28, 28, 32];
    vec![
        ("max pool 2x2", pool(Pooling::Max, image, 2, 2, 0)),
        ("max pool 3x3, stride 2", pool(Pooling::Max, image, 3, 2, 1)),
        ("average pool 2x2", pool(Pooling::Average, image, 2, 2, 0)),
        ("average pool 7x7", pool(Pooling::Average, [64, 7, 7, 64], 7, 7, 0)),
        ("cross-entropy, 64 of 10", Ok(cross_entropy(64, 10))),
        ("cross-entropy, 50176 of 10", Ok(cross_entropy(50_176, 10))),
        ("cross-entropy, 64 of 1000", Ok(cross_entropy(64, 1000))),
        ("concat 14x14, 64 + 32", Ok(concat(64 * 14 * 14, [64, 32]))),
        ("concat 28x28, 32 + 16", Ok(concat(64 * 28 * 28, [32, 16]))),
        ("upsample bilinear, 14x14", upsampling(Upsampling::Bilinear, [64, 14, 14, 32])),
        ("upsample nearest, 14x14", upsampling(Upsampling::Nearest, [64, 14, 14, 32])),
        ("group norm, 8 groups", Ok(normalization(image, 8))),
    ]
}

fn pool(pooling: Pooling, x: [usize; 4], kernel: usize, stride: usize, padding: usize) -> Result<Operation> {
    let params = PoolParams::new(pooling, x, [kernel; 2], [stride; 2], [padding; 2])?;
    let mut operation = Operation::default();
    let [n, h, w, c] = x;
    let [x, dx] = [(); 2].map(|()| operation.tensor(n * h * w * c));
    let [y, dy] = [(); 2].map(|()| operation.tensor(n * params.output[0] * params.output[1] * c));
    operation.passes[0].push(pool2d::Forward { params, x, y }.into());
    operation.passes[1].push(pool2d::Backward { params, x, dy, dx, write: Write::Set }.into());
    Ok(operation)
}

fn cross_entropy(rows: usize, classes: usize) -> Operation {
    let params = CrossEntropyParams { rows, classes, label_smoothing: 0.0, ignored: None };
    let mut operation = Operation::default();
    let [logits, dlogits] = [(); 2].map(|()| operation.tensor(rows * classes));
    let targets = operation.tensor(rows);
    operation.classes = Some((operation.lens.len() - 1, classes));
    let [out, count, dloss] = [(); 3].map(|()| operation.tensor(1));
    operation.passes[0].push(cross_entropy::Forward { params, logits, targets, out, count }.into());
    let write = Write::Set;
    operation.passes[1].push(cross_entropy::Backward { params, logits, targets, count, dloss, dlogits, write }.into());
    operation
}

/// The gradient of a concatenation is a slice for every part.
fn concat(rows: usize, channels: [usize; 2]) -> Operation {
    let mut operation = Operation::default();
    let parts = channels.map(|channels| (operation.tensor(rows * channels), channels));
    let wide = channels.iter().sum();
    let [y, dy] = [(); 2].map(|()| operation.tensor(rows * wide));
    operation.passes[0].push(Concat::new(rows, &parts, y).into());
    for (begin, narrow) in [(0, channels[0]), (channels[0], channels[1])] {
        let dx = operation.tensor(rows * narrow);
        let params = ChannelsParams { rows, wide, begin, narrow };
        operation.passes[1].push(Slice { params, x: dy, y: dx, write: Write::Set }.into());
    }
    operation
}

/// To twice the height and width.
fn upsampling(upsampling: Upsampling, x: [usize; 4]) -> Result<Operation> {
    let [n, h, w, c] = x;
    let params = UpsampleParams::new(upsampling, x, [2 * h, 2 * w])?;
    let mut operation = Operation::default();
    let [x, dx] = [(); 2].map(|()| operation.tensor(n * h * w * c));
    let [y, dy] = [(); 2].map(|()| operation.tensor(4 * n * h * w * c));
    operation.passes[0].push(upsample::Forward { params, x, y }.into());
    operation.passes[1].push(upsample::Backward { params, dy, dx, write: Write::Set }.into());
    Ok(operation)
}

fn normalization([n, h, w, channels]: [usize; 4], groups: usize) -> Operation {
    let params = GroupNormParams { images: n, rows: h * w, channels, groups, eps: 1e-5 };
    let mut operation = Operation::default();
    let [x, y, dy, dx] = [(); 4].map(|()| operation.tensor(n * h * w * channels));
    let [gamma, beta, dgamma, dbeta] = [(); 4].map(|()| operation.tensor(channels));
    let [mean, rstd] = [(); 2].map(|()| operation.tensor(n * groups));
    let [dgamma_write, dbeta_write, dx_write] = [Write::Set; 3];
    operation.passes[0].push(group_norm::Forward { params, x, gamma, beta, mean, rstd, y }.into());
    operation.passes[1].push(
        group_norm::Backward {
            params,
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
        }
        .into(),
    );
    operation
}
