//! The passes of convolutions with every algorithm, on one thread. `item/s` are floating-point operations of a direct
//! convolution per second. `resconv profile conv` measures the same against the machine's peak; this benchmark is for
//! work on a kernel.
//!
//! ```text
//! cargo bench -p benches --bench conv2d -- [FILTER]
//! ```
#![forbid(unsafe_code)]

use divan::Bencher;
use divan::counter::ItemsCount;
use kernels::conv2d::{Affine, Algo, Conv2dParams, Forward, GradInput, GradWeight, PassKind};
use kernels::{Backend, Call, Context, Cpu, Region, Span, Write};
use std::fmt;

fn main() {
    divan::main();
}

/// A convolution of batch 8, so that a pass takes about a millisecond.
#[derive(Clone, Copy)]
struct Layer {
    size: usize,
    c: usize,
    k: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    groups: usize,
}

impl Layer {
    /// At 32x32, with outputs as large.
    const fn new(c: usize, k: usize, kernel: usize) -> Layer {
        Layer { size: 32, c, k, kernel, stride: 1, padding: kernel / 2, groups: 1 }
    }

    /// With so few outputs that there is no padding.
    const fn small(channels: usize, kernel: usize, outputs: usize) -> Layer {
        Layer { size: outputs + kernel - 1, padding: 0, ..Layer::new(channels, channels, kernel) }
    }

    const fn depthwise(channels: usize, kernel: usize) -> Layer {
        Layer { groups: channels, ..Layer::new(channels, channels, kernel) }
    }

    fn params(&self) -> Conv2dParams {
        let Layer { size, c, k, kernel, stride, padding, groups } = *self;
        Conv2dParams::new([8, size, size, c], k, [kernel; 2], [stride; 2], [padding; 2], groups).expect("a valid shape")
    }
}

const LAYERS: [Layer; 12] = [
    Layer::new(1, 32, 3),
    Layer::new(32, 32, 3),
    Layer::new(32, 1, 3),
    Layer { stride: 2, ..Layer::new(32, 32, 3) },
    Layer::new(32, 32, 5),
    Layer::new(32, 32, 1),
    Layer::small(64, 7, 1),
    Layer::small(64, 5, 2),
    Layer::small(64, 3, 4),
    Layer::depthwise(32, 3),
    Layer::depthwise(32, 7),
    Layer { stride: 2, ..Layer::depthwise(32, 3) },
];

/// A layer and an algorithm that supports it.
#[derive(Clone, Copy)]
struct Path(Layer, Algo);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Path(Layer { size, c, k, kernel, stride, groups, .. }, algo) = self;
        write!(f, "{kernel}x{kernel} {c}->{k} of {size}x{size} stride {stride} groups {groups} {algo}")
    }
}

fn paths() -> impl Iterator<Item = Path> {
    let of_layer = |layer: Layer| {
        Algo::ALL.into_iter().filter(move |algo| algo.supports(&layer.params())).map(move |algo| Path(layer, algo))
    };
    LAYERS.into_iter().flat_map(of_layer)
}

#[divan::bench(args = paths())]
fn forward(bencher: Bencher, path: &Path) {
    bench(bencher, path, PassKind::Forward);
}

#[divan::bench(args = paths())]
fn grad_input(bencher: Bencher, path: &Path) {
    bench(bencher, path, PassKind::GradInput);
}

#[divan::bench(args = paths())]
fn grad_weight(bencher: Bencher, path: &Path) {
    bench(bencher, path, PassKind::GradWeight);
}

fn bench(bencher: Bencher, Path(layer, algo): &Path, kind: PassKind) {
    let cpu = Cpu::new(1).expect("an instruction set and a thread");
    let params = layer.params();
    let lens = [params.input_len(), params.weight_len(), params.output_len()];
    let [x, w, y] = [0, 1, 2].map(|i: u8| Span::new(Region(i), 0, lens[usize::from(i)]));
    let (map, bias, write, algo) = (Affine::NONE, Span::EMPTY, Write::Set, Some(*algo));
    let mut call: Call = match kind {
        PassKind::Forward => Forward { params, x, x_map: map, w, bias, y, write, algo }.into(),
        PassKind::GradInput => GradInput { params, dy: y, dy_map: map, w, bias, dx: x, write, algo }.into(),
        PassKind::GradWeight => GradWeight { params, x, x_map: map, dy: y, dy_map: map, dw: w, write, algo }.into(),
    };
    let workspace = Span::new(Region(3), 0, cpu.prepare(&mut call));
    let mut memory = cpu.allocate(&[lens[0], lens[1], lens[2], workspace.len]).expect("some megabytes");
    for span in [x, w, y] {
        cpu.fill(&mut memory, span, 0.5);
    }
    let cx = Context::with_workspace(workspace);
    bencher.counter(ItemsCount::new(params.flops())).bench_local(|| cpu.run(&mut memory, &call, cx));
}
