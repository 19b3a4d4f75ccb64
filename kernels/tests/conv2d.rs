//! Every algorithm of the CPU's convolution, on every instruction set, and the GPU's, against the reference.

#[cfg(feature = "cuda")]
#[path = "gpu/conv2d.rs"]
mod gpu;

use kernels::conv2d::cpu::{self, Algo};
use kernels::conv2d::{Conv2dParams, Mapped, reference};
use kernels::simd::Isa;
use kernels::{Backend, Cpu, Write};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::LazyLock;

/// A convolution of an input `[n,h,w,c]`; square numbers are given twice.
fn conv(x: [usize; 4], k: usize, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], groups: usize) -> Case {
    Conv2dParams::new(x, k, kernel, stride, padding, groups).unwrap()
}

type Case = Conv2dParams;

/// Shapes that a path could get wrong: 1, primes, one more and less than a vector and than a tile, and real layers.
fn cases() -> Vec<Case> {
    let mut cases = vec![
        // The layers of the network.
        conv([2, 32, 32, 1], 32, [3, 3], [1, 1], [1, 1], 1),
        conv([2, 32, 32, 32], 32, [3, 3], [1, 1], [1, 1], 1),
        conv([2, 32, 32, 32], 1, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 28, 28, 16], 24, [5, 5], [1, 1], [2, 2], 1),
        conv([2, 15, 15, 32], 32, [3, 3], [2, 2], [1, 1], 1),
        conv([1, 13, 13, 8], 8, [7, 7], [1, 1], [0, 0], 1),
        conv([1, 9, 11, 4], 4, [9, 9], [1, 1], [4, 4], 1),
        // Everything one.
        conv([1, 1, 1, 1], 1, [1, 1], [1, 1], [0, 0], 1),
        conv([1, 1, 1, 1], 1, [3, 3], [1, 1], [1, 1], 1),
        // One output pixel.
        conv([3, 5, 7, 3], 10, [5, 7], [1, 1], [0, 0], 1),
        // Primes and shapes that are not square.
        conv([3, 7, 13, 5], 11, [3, 5], [1, 1], [1, 2], 1),
        conv([1, 5, 37, 7], 3, [1, 3], [1, 2], [0, 1], 1),
        conv([1, 31, 3, 2], 17, [5, 1], [3, 1], [2, 0], 1),
        // Even kernels.
        conv([2, 8, 9, 6], 5, [2, 2], [1, 1], [0, 0], 1),
        conv([2, 8, 9, 6], 5, [4, 2], [1, 1], [2, 1], 1),
        conv([2, 8, 8, 6], 5, [2, 4], [2, 2], [1, 1], 1),
        // Strides, also larger than the kernel: input pixels without a gradient.
        conv([2, 11, 10, 9], 8, [3, 3], [3, 3], [1, 1], 1),
        conv([2, 11, 10, 3], 8, [2, 1], [3, 4], [0, 0], 1),
        conv([1, 17, 16, 3], 33, [5, 3], [2, 3], [3, 1], 1),
        conv([1, 3, 3, 2], 3, [1, 1], [3, 3], [0, 0], 1),
        // Padding as large as the kernel and larger.
        conv([1, 4, 5, 3], 9, [3, 3], [1, 1], [3, 3], 1),
        conv([1, 3, 2, 5], 4, [2, 3], [2, 1], [5, 4], 1),
        // 1x1.
        conv([2, 6, 5, 33], 31, [1, 1], [1, 1], [0, 0], 1),
        conv([5, 1, 1, 19], 7, [1, 1], [1, 1], [0, 0], 1),
        conv([2, 7, 5, 16], 16, [1, 1], [2, 2], [0, 0], 1),
        // Groups, down to one channel each.
        conv([2, 6, 7, 8], 12, [3, 3], [1, 1], [1, 1], 4),
        conv([1, 9, 8, 6], 6, [3, 3], [2, 2], [1, 1], 6),
        conv([2, 5, 5, 34], 68, [3, 3], [1, 1], [1, 1], 2),
        conv([1, 4, 5, 4], 16, [3, 3], [1, 1], [1, 1], 2),
        // Wide: more columns than any block has.
        conv([1, 3, 700, 2], 3, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 2, 131, 64], 3, [1, 3], [1, 1], [0, 1], 1),
        // Small ones for the GPU's kernels of 64 channels, to and from one channel, and of several blocks.
        conv([1, 2, 3, 4], 68, [1, 1], [1, 1], [0, 0], 1),
        conv([1, 2, 3, 68], 4, [1, 1], [1, 1], [0, 0], 1),
        conv([1, 5, 6, 64], 72, [1, 3], [1, 1], [0, 1], 1),
        conv([2, 5, 6, 8], 1, [3, 3], [1, 1], [1, 1], 1),
        conv([2, 5, 7, 1], 20, [3, 2], [2, 1], [1, 0], 1),
        conv([1, 12, 13, 1], 3, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 16, 17, 1], 1, [1, 1], [1, 1], [0, 0], 1),
        // Transposed, with output padding.
        Conv2dParams::transposed([2, 4, 5, 8], 6, [3, 3], [2, 2], [1, 1], [1, 1], 1).unwrap(),
        Conv2dParams::transposed([1, 5, 4, 32], 1, [3, 4], [3, 2], [0, 1], [2, 0], 1).unwrap(),
        Conv2dParams::transposed([1, 3, 3, 4], 8, [2, 2], [3, 3], [0, 0], [2, 1], 2).unwrap(),
    ];
    // Channels around the lanes of a vector, pixels around a tile.
    for (i, channels) in [2, 7, 8, 9, 15, 16, 17, 31, 33].into_iter().enumerate() {
        let width = [5, 6, 7, 11, 12, 13, 14, 15, 29][i];
        cases.push(conv([1, 3, width, channels], 9, [3, 3], [1, 1], [1, 1], 1));
        cases.push(conv([1, 3, width, 9], channels, [3, 3], [1, 1], [1, 1], 1));
    }
    #[cfg(feature = "cuda")]
    cases.retain(gpu::is_tested);
    cases
}

/// Operands that all passes of a case share.
#[derive(Clone)]
struct Operands {
    x: Vec<f64>,
    w: Vec<f64>,
    y: Vec<f64>,
    bias_k: Vec<f64>,
    bias_c: Vec<f64>,
    /// Scale and shift of each channel of `x` and of `y`, for those that read them mapped.
    maps: [[Vec<f64>; 2]; 2],
    mapped: Option<Side>,
}

/// Which operand is mapped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    X,
    Y,
}

impl Operands {
    /// Whole numbers so small that every sum of their products is exact in f32, in whatever order it is taken.
    fn whole(p: &Conv2dParams, seed: u64) -> Operands {
        Operands::new(p, seed, |rng| f64::from(rng.random_range(-3i8..=3)))
    }

    fn real(p: &Conv2dParams, seed: u64) -> Operands {
        Operands::new(p, seed, |rng| f64::from(rng.random_range(-1.0f32..1.0)))
    }

    fn new(p: &Conv2dParams, seed: u64, value: impl Fn(&mut ChaCha8Rng) -> f64) -> Operands {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |len: usize| (0..len).map(|_| value(&mut rng)).collect();
        let (x, w, y) = (draw(p.input_len()), draw(p.weight_len()), draw(p.output_len()));
        let (bias_k, bias_c) = (draw(p.k), draw(p.c));
        let maps = [p.c, p.k].map(|channels| [draw(channels), draw(channels)]);
        Operands { x, w, y, bias_k, bias_c, maps, mapped: None }
    }

    /// The magnitudes, which bound every partial sum.
    fn magnitudes(&self) -> Operands {
        let abs = |v: &Vec<f64>| v.iter().map(|x| x.abs()).collect();
        Operands {
            x: abs(&self.x),
            w: abs(&self.w),
            y: abs(&self.y),
            bias_k: abs(&self.bias_k),
            bias_c: abs(&self.bias_c),
            maps: self.maps.each_ref().map(|map| map.each_ref().map(abs)),
            mapped: self.mapped,
        }
    }

    /// The map of an operand, two empty slices if it has none.
    fn map(&self, side: Side) -> [&[f64]; 2] {
        match self.mapped == Some(side) {
            true => self.maps[side as usize].each_ref().map(|map| &map[..]),
            false => [&[]; 2],
        }
    }

    /// Every pass, with its operands as they are and with each of them mapped that the pass can map.
    fn passes(self) -> impl Iterator<Item = (Pass, Operands)> {
        PASSES.into_iter().flat_map(move |pass| {
            let sides: &[Option<Side>] = match pass {
                Pass::Forward => &[None, Some(Side::X)],
                Pass::GradInput => &[None, Some(Side::Y)],
                Pass::GradWeight => &[None, Some(Side::X), Some(Side::Y)],
                Pass::GradBias => &[None],
            };
            let o = self.clone();
            sides.iter().map(move |&mapped| (pass, Operands { mapped, ..o.clone() }))
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pass {
    Forward,
    GradInput,
    GradWeight,
    GradBias,
}

const PASSES: [Pass; 4] = [Pass::Forward, Pass::GradInput, Pass::GradWeight, Pass::GradBias];

fn to_f32(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

/// What was in the output before the pass: NaN if it is to be overwritten, and what the operands say otherwise.
fn before(p: &Conv2dParams, o: &Operands, pass: Pass, write: Write) -> Vec<f64> {
    let sources: [&[f64]; 4] = [&o.y, &o.x, &o.w, &o.bias_k];
    let source = sources[pass as usize];
    assert_eq!(source.len(), [p.output_len(), p.input_len(), p.weight_len(), p.k][pass as usize]);
    match write {
        Write::Set => vec![f64::NAN; source.len()],
        Write::Add => source.to_vec(),
    }
}

fn run_reference(p: &Conv2dParams, o: &Operands, pass: Pass, bias: bool, write: Write) -> Vec<f64> {
    let mut out = before(p, o, pass, write);
    let bias_of = |values: &'_ [f64]| if bias { values.to_vec() } else { Vec::new() };
    let ([x_scale, x_shift], [y_scale, y_shift]) = (o.map(Side::X), o.map(Side::Y));
    let x = Mapped { values: &o.x[..], scale: x_scale, shift: x_shift };
    let y = Mapped { values: &o.y[..], scale: y_scale, shift: y_shift };
    match pass {
        Pass::Forward => reference::forward(p, x, &o.w, &bias_of(&o.bias_k), &mut out, write),
        Pass::GradInput => reference::grad_input(p, y, &o.w, &bias_of(&o.bias_c), &mut out, write),
        Pass::GradWeight => reference::grad_weight(p, x, y, &mut out, write),
        Pass::GradBias => reference::grad_bias(&o.y, &mut out, write),
    }
    out
}

/// Runs the pass between guard words, with a workspace of NaN between guard words.
fn run_cpu(cpu: &Cpu, p: &Conv2dParams, o: &Operands, pass: Pass, bias: bool, write: Write) -> Vec<f32> {
    let (x, w, y) = (to_f32(&o.x), to_f32(&o.w), to_f32(&o.y));
    let bias_of = |values: &'_ [f64]| if bias { to_f32(values) } else { Vec::new() };
    let maps = [Side::X, Side::Y].map(|side| o.map(side).map(to_f32));
    let [x, y] = [(&x, &maps[0]), (&y, &maps[1])].map(|(values, map)| Mapped {
        values: &values[..],
        scale: &map[0],
        shift: &map[1],
    });
    let mapped = o.mapped.is_some();
    let workspace_len = match pass {
        Pass::Forward => cpu::forward_workspace_len(cpu, p, mapped),
        Pass::GradInput => cpu::grad_input_workspace_len(cpu, p, mapped),
        Pass::GradWeight => cpu::grad_weight_workspace_len(cpu, p, mapped),
        Pass::GradBias => cpu::grad_bias_workspace_len(cpu, p.n * p.p * p.q, p.k),
    };
    let mut workspace = Guarded::new(&vec![f32::NAN; workspace_len]);
    let mut out = Guarded::new(&to_f32(&before(p, o, pass, write)));
    let (ws, result) = (workspace.get(), out.get());
    cpu.enter(|| match pass {
        Pass::Forward => cpu::forward(cpu, p, x, &w, &bias_of(&o.bias_k), result, write, ws),
        Pass::GradInput => cpu::grad_input(cpu, p, y, &w, &bias_of(&o.bias_c), result, write, ws),
        Pass::GradWeight => cpu::grad_weight(cpu, p, x, y, result, write, ws),
        Pass::GradBias => cpu::grad_bias(cpu, y.values, result, write, ws),
    });
    let result = out.get().to_vec();
    out.check();
    workspace.check();
    result
}

/// Values between guard words that no pass may touch.
struct Guarded {
    values: Vec<f32>,
}

impl Guarded {
    const GUARD: usize = 32;
    const WORD: u32 = 0x7fc0_beef;

    fn new(values: &[f32]) -> Guarded {
        let guard = [f32::from_bits(Self::WORD); Self::GUARD];
        Guarded { values: [&guard, values, &guard].concat() }
    }

    fn get(&mut self) -> &mut [f32] {
        let len = self.values.len();
        &mut self.values[Self::GUARD..len - Self::GUARD]
    }

    fn check(&self) {
        let (head, rest) = self.values.split_at(Self::GUARD);
        let tail = &rest[rest.len() - Self::GUARD..];
        assert!(head.iter().chain(tail).all(|x| x.to_bits() == Self::WORD), "a guard word was overwritten");
    }
}

/// An algorithm on an instruction set.
#[derive(Debug)]
struct Path {
    algo: Algo,
    isa: Isa,
    /// On 1, 2 and 5 threads.
    cpus: [Cpu; 3],
}

impl Path {
    /// On two threads.
    fn cpu(&self) -> &Cpu {
        &self.cpus[1]
    }

    fn name(&self) -> String {
        self.algo.kernel_name(self.isa)
    }

    /// How many times the rounding error of a direct convolution the path may have. The transforms of Winograd's algorithm add
    /// and subtract values of a whole tile, with factors up to 8 and down to 1/24: their error is measured against the
    /// largest value of the output, not against each element, and may be larger (Lavin & Gray 2016; the factors bound what
    /// these tests give, with a reserve of two).
    fn amplification(&self) -> Option<f64> {
        match self.algo {
            Algo::Im2col | Algo::Direct => None,
            Algo::Winograd2x3 => Some(1.0),
            Algo::Winograd4x3 => Some(8.0),
            Algo::Winograd4x5 => Some(32.0),
        }
    }

    /// Whether the arithmetic is exact on small whole numbers. Winograd's 4x4 tiles multiply by 1/6 and 1/24 or 2/9 and 1/90.
    fn is_exact(&self) -> bool {
        !matches!(self.algo, Algo::Winograd4x3 | Algo::Winograd4x5)
    }
}

/// Every path that this machine can run a shape with.
fn paths(p: &Conv2dParams) -> impl Iterator<Item = &'static Path> {
    static PATHS: LazyLock<Vec<Path>> = LazyLock::new(|| {
        let threads = |isa| [1, 2, 5].map(|threads| Cpu::with_isa(isa, threads).unwrap());
        let of_isa = |isa| {
            let cpus = threads(isa);
            Algo::ALL.map(|algo| Path { algo, isa, cpus: cpus.clone().map(|cpu| cpu.with_conv2d_algo(algo)) })
        };
        #[cfg(feature = "cuda")]
        if gpu::is_alone() {
            return Vec::new();
        }
        Isa::available().into_iter().flat_map(of_isa).collect()
    });
    PATHS.iter().filter(|path| path.algo.supports(p))
}

/// Asserts that every pass gives exactly what the reference gives.
fn check_exact(p: &Conv2dParams, seed: u64) {
    for (pass, o) in Operands::whole(p, seed).passes() {
        for (bias, write) in [(false, Write::Set), (true, Write::Add), (true, Write::Set), (false, Write::Add)] {
            if bias && matches!(pass, Pass::GradWeight | Pass::GradBias) {
                continue;
            }
            let what = || format!("{pass:?} map {:?} bias {bias} {write:?} of {p:?}", o.mapped);
            let want = to_f32(&run_reference(p, &o, pass, bias, write));
            for path in paths(p).filter(|path| path.is_exact()) {
                let got = run_cpu(path.cpu(), p, &o, pass, bias, write);
                assert_exact(&path.name(), &got, &want, &what);
            }
            #[cfg(feature = "cuda")]
            for (path, got) in gpu::run(p, &o, pass, bias, write) {
                assert_exact(&path, &got, &want, &what);
            }
        }
    }
}

fn assert_exact(path: &str, got: &[f32], want: &[f32], what: &impl Fn() -> String) {
    if let Some(i) = (0..want.len()).find(|&i| got[i] != want[i]) {
        panic!("{path} {}: element {i} is {}, not {}", what(), got[i], want[i]);
    }
}

#[test]
fn whole_numbers_are_exact_in_every_case_on_every_path() {
    for (i, p) in cases().iter().enumerate() {
        check_exact(p, i as u64);
    }
}

/// What the reference makes of a pass, with a bias, added to its output; and how far off f32 may be. A sum of `n` products of f32 values
/// has a rounding error of about `sqrt(n)` half units of the largest partial sum, which the sum of the products' magnitudes bounds.
struct Expected<'a> {
    p: &'a Conv2dParams,
    pass: Pass,
    mapped: Option<Side>,
    want: Vec<f64>,
    magnitude: Vec<f64>,
    /// Error that is allowed, in magnitudes.
    unit: f64,
}

impl<'a> Expected<'a> {
    fn new(p: &'a Conv2dParams, o: &Operands, pass: Pass) -> Expected<'a> {
        let products = match pass {
            Pass::Forward => p.r * p.s * p.c / p.groups,
            Pass::GradInput => p.r * p.s * p.k / p.groups,
            Pass::GradWeight | Pass::GradBias => p.n * p.p * p.q,
        };
        Expected {
            p,
            pass,
            mapped: o.mapped,
            want: run_reference(p, o, pass, true, Write::Add),
            magnitude: run_reference(p, &o.magnitudes(), pass, true, Write::Add),
            unit: f64::from(f32::EPSILON) * (2.0 + (products as f64).sqrt()),
        }
    }

    /// Asserts that the path's result is as near as its arithmetic allows, which [`Path::amplification`] explains.
    fn assert(&self, path: &str, amplification: Option<f64>, got: &[f32]) {
        let Expected { p, pass, mapped, want, magnitude, unit } = self;
        let largest = magnitude.iter().fold(0.0, |a: f64, b| a.max(*b));
        for i in 0..want.len() {
            let allowed = match amplification {
                Some(factor) if *pass != Pass::GradBias => unit * factor * largest,
                _ => unit * magnitude[i],
            };
            let error = (f64::from(got[i]) - want[i]).abs();
            assert!(
                error <= allowed,
                "{path} {pass:?} map {mapped:?} of {p:?}: element {i} is {}, not {}, error {error:.2e} of {allowed:.2e} allowed",
                got[i],
                want[i]
            );
        }
    }
}

/// Asserts that every pass is within rounding of the reference.
fn check_rounding(p: &Conv2dParams, seed: u64) {
    for (pass, o) in Operands::real(p, seed).passes() {
        let expected = Expected::new(p, &o, pass);
        for path in paths(p) {
            expected.assert(&path.name(), path.amplification(), &run_cpu(path.cpu(), p, &o, pass, true, Write::Add));
        }
        #[cfg(feature = "cuda")]
        gpu::check_rounding(&expected, &o);
    }
}

#[test]
fn real_numbers_are_within_rounding_on_every_path() {
    for (i, p) in cases().iter().enumerate() {
        check_rounding(p, i as u64);
    }
}

/// `<conv(x), y> = <x, grad_input(y)> = <w, grad_weight(x, y)>`, exactly: a check without the reference.
#[test]
fn passes_are_adjoint_to_each_other() {
    fn dot(a: &[f32], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum()
    }
    for p in &cases() {
        let o = Operands::whole(p, 3);
        for path in paths(p).filter(|path| path.is_exact()) {
            let run = |pass| run_cpu(path.cpu(), p, &o, pass, false, Write::Set);
            let forward = dot(&run(Pass::Forward), &o.y);
            assert_eq!(forward, dot(&run(Pass::GradInput), &o.x), "{} grad_input of {p:?}", path.name());
            assert_eq!(forward, dot(&run(Pass::GradWeight), &o.w), "{} grad_weight of {p:?}", path.name());
        }
    }
}

/// A value that is not a number reaches the outputs whose window holds it and, unless the path works on tiles, no other.
#[test]
fn nan_stays_in_its_windows() {
    for p in &cases() {
        let mut o = Operands::whole(p, 4);
        let middle = o.x.len() / 2;
        o.x[middle] = f64::NAN;
        let want = to_f32(&run_reference(p, &o, Pass::Forward, false, Write::Set));
        let assert = |path: &str, tiles: bool, got: &[f32]| {
            let same = |(a, b): (&f32, &f32)| if b.is_nan() { a.is_nan() } else { a == b || tiles };
            assert!(got.iter().zip(&want).all(same), "{path} forward of {p:?}");
        };
        for path in paths(p) {
            let got = run_cpu(path.cpu(), p, &o, Pass::Forward, false, Write::Set);
            assert(&path.name(), path.amplification().is_some(), &got);
        }
        #[cfg(feature = "cuda")]
        for (path, got) in gpu::run(p, &o, Pass::Forward, false, Write::Set) {
            assert(&path, false, &got);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let bits = |v: Vec<f32>| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for (i, p) in cases().iter().enumerate() {
        let o = Operands::real(p, i as u64);
        for (path, pass) in paths(p).flat_map(|path| PASSES.map(|pass| (path, pass))) {
            let [one, others @ ..] = &path.cpus;
            let want = bits(run_cpu(one, p, &o, pass, true, Write::Add));
            for cpu in others {
                assert_eq!(bits(run_cpu(cpu, p, &o, pass, true, Write::Add)), want, "{} {pass:?} {p:?}", path.name());
            }
        }
    }
}

/// An empty batch has no images, but its weight gradient is zero.
#[test]
fn an_empty_batch_has_gradients_of_zero() {
    let empty = conv([0, 5, 5, 3], 4, [3, 3], [1, 1], [1, 1], 1);
    check_exact(&empty, 0);
    check_rounding(&empty, 0);
}

/// Shapes of convolutions and of transposed convolutions.
fn any_case() -> impl Strategy<Value = Conv2dParams> {
    let sizes = (1..=3usize, 1..=14usize, 1..=18usize, 1..=20usize, 1..=20usize);
    let window = (1..=5usize, 1..=5usize, 1..=3usize, 1..=3usize, 0..=4usize, 0..=4usize);
    (sizes, window, 1..=3usize, any::<bool>(), 0..=2usize, 0..=2usize).prop_filter_map(
        "the output is empty",
        |((n, h, w, c, k), (r, s, u, v, a, b), groups, transposed, oa, ob)| {
            let (c, k) = (c * groups, k * groups);
            if transposed {
                Conv2dParams::transposed([n, h, w, k], c, [r, s], [u, v], [a, b], [oa % u, ob % v], groups).ok()
            } else {
                Conv2dParams::new([n, h, w, c], k, [r, s], [u, v], [a, b], groups).ok()
            }
        },
    )
}

/// Shapes that Winograd's algorithm takes: 3x3 kernels, and larger ones in one to three parts a side.
fn any_winograd_case() -> impl Strategy<Value = Conv2dParams> {
    let kernel = prop_oneof![Just([3, 3]), (4..=13usize, 4..=13usize).prop_map(|(r, s)| [r, s])];
    (1..=3usize, 1..=14usize, 1..=40usize, 1..=36usize, 1..=36usize, 0..=6usize, 0..=6usize, kernel)
        .prop_filter_map("the output is empty", |(n, h, w, c, k, a, b, kernel)| {
            Conv2dParams::new([n, h, w, c], k, kernel, [1, 1], [a, b], 1).ok()
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whole_numbers_are_exact_in_random_cases(p in any_case(), seed in any::<u64>()) {
        check_exact(&p, seed);
    }

    #[test]
    fn winograd_is_within_rounding_in_random_cases(p in any_winograd_case(), seed in any::<u64>()) {
        check_rounding(&p, seed);
    }
}
