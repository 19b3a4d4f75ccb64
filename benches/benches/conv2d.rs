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

/// A convolution of batch 8 at 32x32, so that a pass takes about a millisecond.
#[derive(Clone, Copy)]
struct Layer {
    c: usize,
    k: usize,
    kernel: usize,
    stride: usize,
}

const LAYERS: [Layer; 6] = [
    Layer { c: 1, k: 32, kernel: 3, stride: 1 },
    Layer { c: 32, k: 32, kernel: 3, stride: 1 },
    Layer { c: 32, k: 1, kernel: 3, stride: 1 },
    Layer { c: 32, k: 32, kernel: 3, stride: 2 },
    Layer { c: 32, k: 32, kernel: 5, stride: 1 },
    Layer { c: 32, k: 32, kernel: 1, stride: 1 },
];

impl Layer {
    fn params(&self) -> Conv2dParams {
        let Layer { c, k, kernel, stride } = *self;
        Conv2dParams::new([8, 32, 32, c], k, [kernel; 2], [stride; 2], [kernel / 2; 2], 1).expect("a valid shape")
    }
}

/// A layer and an algorithm that supports it.
#[derive(Clone, Copy)]
struct Path(Layer, Algo);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Path(Layer { c, k, kernel, stride }, algo) = self;
        write!(f, "{kernel}x{kernel} {c}->{k} stride {stride} {algo}")
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
