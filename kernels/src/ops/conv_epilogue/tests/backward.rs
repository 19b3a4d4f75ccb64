//! The backward pass against the reference, which runs four passes one after another.

use crate::activation::Activation;
use crate::batch_norm::BatchNormParams;
use crate::conv_epilogue::{Backward, MAX_OPERANDS, NormConvBackward};
use crate::conv2d::{Affine, Algo, Conv2dParams, ConvPasses, Tile};
use crate::epilogue::{self, EpilogueParams};
use crate::testing::{Bound, Operand, check, is_tested, normal, paths, run};
use crate::{Call, Reference, Region, Span, Write};

/// What is varied.
#[derive(Clone, Copy, Debug)]
struct Case {
    params: Conv2dParams,
    transposed: bool,
    algos: [Option<Algo>; 2],
    activation: Option<Activation>,
    has_dy: bool,
    wants_total: bool,
    /// Whether the sum of `dz` is given.
    has_sum: bool,
    /// Whether the gradients of scale and offset are wanted.
    wants_affine: bool,
    write: Write,
    /// Mean of what was normalized, whose deviation is 1.
    mean: f32,
}

/// Places of operands; 12 that are read come before those that are written.
const DZ: usize = 8;
const SUM: usize = 9;
const DW: usize = 12;
const DGAMMA: usize = 13;
const DBETA: usize = 14;
const DB: usize = 15;
const COEFFICIENTS: usize = 16;
const TOTAL: usize = 17;
const DZ_OUT: usize = 18;

impl Case {
    fn new(params: Conv2dParams) -> Case {
        Case {
            params,
            transposed: false,
            algos: [None, Some(Algo::Winograd(Tile::F4x3))],
            activation: Some(Activation::Gelu),
            has_dy: true,
            wants_total: true,
            has_sum: true,
            wants_affine: true,
            write: Write::Set,
            mean: 0.3,
        }
    }

    /// Pixels and channels of `x` and of `dz`.
    fn shapes(&self) -> [[usize; 2]; 2] {
        let p = &self.params;
        let shapes = [[p.n * p.h * p.w, p.c], [p.n * p.p * p.q, p.k]];
        if self.transposed { [shapes[1], shapes[0]] } else { shapes }
    }

    fn pass(&self, o: &[Span]) -> Backward {
        let [[rows, channels], _] = self.shapes();
        let Case { params, transposed, algos, write, .. } = *self;
        let &[x, scale, shift, gamma, beta, mean, rstd, w, dz, dz_sum, saved, dy, ..] = o else {
            unreachable!("12 operands are read")
        };
        let norm_conv = NormConvBackward {
            conv: ConvPasses { params, transposed },
            norm: BatchNormParams { rows, channels, eps: 1e-5, momentum: 0.1 },
            x,
            map: Affine { scale, shift },
            gamma,
            beta,
            mean,
            rstd,
            w,
            dz,
            dz_sum,
            dw: (o[DW], write),
            dgamma: (o[DGAMMA], write),
            dbeta: (o[DBETA], write),
            g: o[DZ_OUT],
            coefficients: o[COEFFICIENTS],
            algos,
        };
        let params = EpilogueParams { rows, channels, activation: self.activation, skip_weight: 0.0, dy_weight: -0.7 };
        let epilogue = epilogue::Backward {
            params,
            saved,
            norm: norm_conv.gradient(),
            dy,
            total: o[TOTAL],
            dz: o[DZ_OUT],
            db: o[DB],
            db_write: write,
        };
        Backward { norm_conv, epilogue }
    }

    /// Values that are consistent with each other, as `dW` follows from `xhat`: the map is that of the normalization.
    fn operands(&self) -> Vec<Operand> {
        let [[rows, channels], [out_rows, out_channels]] = self.shapes();
        let x: Vec<f32> = normal(1, rows * channels).iter().map(|x| self.mean + x).collect();
        let (mut mean, mut rstd) = (vec![0.0f32; channels], vec![0.0f32; channels]);
        for c in 0..channels {
            let values = || x.iter().skip(c).step_by(channels).map(|&x| f64::from(x));
            let exact = values().sum::<f64>() / rows as f64;
            let var = values().map(|x| (x - exact).powi(2)).sum::<f64>() / rows as f64;
            (mean[c], rstd[c]) = (exact as f32, (1.0 / (var + 1e-5).sqrt()) as f32);
        }
        let mut gamma = normal(2, channels);
        // Nothing is divided by it.
        gamma[0] = 0.0;
        let beta = normal(3, channels);
        let scale: Vec<f32> = (0..channels).map(|c| gamma[c] * rstd[c]).collect();
        let shift = (0..channels).map(|c| (f64::from(beta[c]) - f64::from(mean[c]) * f64::from(scale[c])) as f32);
        let dz = normal(4, out_rows * out_channels);
        let sum =
            (0..out_channels).map(|c| dz.iter().skip(c).step_by(out_channels).map(|&x| f64::from(x)).sum::<f64>());
        let given = |is_there: bool, values: Vec<f32>| Operand::In(if is_there { values } else { Vec::new() });
        let written = |is_there: bool, seed: u64, len: usize| match is_there {
            true => Operand::written(self.write, normal(seed, len)),
            false => Operand::Out(0),
        };
        vec![
            Operand::In(x),
            Operand::In(scale.clone()),
            Operand::In(shift.collect()),
            Operand::In(gamma.clone()),
            Operand::In(beta.clone()),
            Operand::In(mean),
            Operand::In(rstd),
            Operand::In(normal(5, self.params.weight_len())),
            Operand::In(dz.clone()),
            given(self.has_sum, sum.map(|sum| sum as f32).collect()),
            given(self.activation.is_some(), normal(6, rows * channels)),
            given(self.has_dy, normal(7, rows * channels)),
            written(true, 8, self.params.weight_len()),
            written(self.wants_affine, 9, channels),
            written(self.wants_affine, 10, channels),
            written(true, 11, channels),
            Operand::Out(3 * channels),
            Operand::Out(if self.wants_total && self.activation.is_some() { rows * channels } else { 0 }),
            Operand::Out(rows * channels),
        ]
    }

    /// Results are within so many roundings of the largest one, of each operand.
    fn check(self, roundings: f64) {
        let [[rows, channels], _] = self.shapes();
        if !is_tested(rows * channels) {
            return;
        }
        let operands = self.operands();
        let want = run(&Reference, &|o: &[Span]| self.pass(o), &operands);
        let bounds = (DW..=DZ_OUT).map(|i| {
            // Scale, offset and bias may be sums that cancel: those of the others show how large their terms are.
            let of: &[usize] = if (DGAMMA..=DB).contains(&i) { &[DGAMMA, DBETA, DB] } else { &[i] };
            let largest = of.iter().flat_map(|&i| &want[i]).fold(1e-2, |largest: f64, x| largest.max(x.abs()));
            Bound::absolute(roundings, largest)
        });
        check(&|o: &[Span]| self.pass(o), &operands, &bounds.collect::<Vec<_>>());
    }
}

fn params(x: [usize; 4], k: usize, kernel: [usize; 2], padding: [usize; 2]) -> Conv2dParams {
    Conv2dParams::new(x, k, kernel, [1, 1], padding, 1).unwrap()
}

/// Partial tiles, several images in a block, blocks of some columns only, partial vectors, kernels in parts, images
/// that are smaller than the kernel.
fn shapes() -> [Conv2dParams; 7] {
    [
        params([2, 9, 10, 3], 5, [3, 3], [1, 1]),
        params([3, 4, 4, 16], 32, [3, 3], [1, 1]),
        params([1, 3, 150, 2], 17, [3, 3], [0, 2]),
        params([9, 13, 12, 4], 6, [5, 5], [2, 2]),
        params([2, 12, 11, 3], 33, [7, 7], [3, 3]),
        params([2, 7, 8, 3], 5, [3, 3], [0, 0]),
        params([5, 3, 2, 4], 5, [7, 7], [3, 3]),
    ]
}

#[test]
fn sums_over_the_weight_are_those_over_pixels() {
    for params in shapes() {
        for algo in Algo::ALL.into_iter().filter(|algo| algo.supports(&params)) {
            for transposed in [false, true] {
                let case = Case { transposed, algos: [None, Some(algo)], ..Case::new(params) };
                case.check(300.0);
            }
        }
    }
}

#[test]
fn what_may_be_absent_may_be_absent() {
    let all = Case::new(params([3, 9, 10, 8], 16, [3, 3], [1, 1]));
    for case in [
        Case { has_dy: false, ..all },
        Case { wants_total: false, ..all },
        Case { has_sum: false, ..all },
        Case { has_sum: false, transposed: true, ..all },
        Case { wants_affine: false, ..all },
        Case { activation: None, ..all },
        Case { activation: Some(Activation::Sigmoid), write: Write::Add, ..all },
        Case { has_dy: false, has_sum: false, wants_affine: false, write: Write::Add, ..all },
    ] {
        case.check(300.0);
    }
}

/// The rounding of the map's shift would be the largest error, if all of `dz` have the same sign.
#[test]
fn a_large_mean_adds_no_error() {
    for transposed in [false, true] {
        let case = Case { transposed, mean: 100.0, ..Case::new(params([4, 16, 16, 8], 8, [3, 3], [1, 1])) };
        let mut operands = case.operands();
        for i in [DZ, SUM] {
            let Operand::In(values) = &mut operands[i] else { unreachable!("it is read") };
            let pixels = if i == DZ { 1.0 } else { (4 * 16 * 16) as f32 };
            values.iter_mut().for_each(|x| *x += pixels);
        }
        let make = |o: &[Span]| case.pass(o);
        let want = run(&Reference, &make, &operands);
        for got in paths().map(|path| path.run(&make, &operands)) {
            let largest = want[DGAMMA].iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
            let bound = Bound::absolute(100.0, largest);
            bound.assert("gradient of the scale", &got[DGAMMA], &want[DGAMMA]);
        }
    }
}

/// Strides and groups take the four passes.
#[test]
fn other_shapes_run_pass_by_pass() {
    for (stride, groups) in [([2, 1], 1), ([1, 1], 2)] {
        let params = Conv2dParams::new([2, 8, 9, 4], 6, [3, 3], stride, [1, 1], groups).unwrap();
        Case { algos: [None; 2], ..Case::new(params) }.check(300.0);
    }
}

fn call() -> Backward {
    let case = Case::new(params([1, 2, 2, 1], 1, [1, 1], [0, 0]));
    let case = Case { algos: [None; 2], ..case };
    let lens = case.operands();
    let len = |operand: &Operand| match operand {
        Operand::In(values) | Operand::InOut(values) => values.len(),
        Operand::Out(len) => *len,
    };
    let spans = lens.iter().enumerate().map(|(i, operand)| Span::new(Region(i as u8), 0, len(operand)));
    case.pass(&spans.collect::<Vec<_>>())
}

#[test]
fn spans_that_change_change_in_all_passes() {
    let mut moved = Call::from(call());
    moved.check(Span::EMPTY);
    moved.operands_mut(&mut |span, _| span.offset += 8);
    moved.check(Span::EMPTY);
    assert_eq!(moved.operands().len(), MAX_OPERANDS);
    assert!(moved.operands().iter().all(|(span, _)| span.offset == 8));
}

#[test]
#[should_panic(expected = "the epilogue of another normalization")]
fn the_epilogue_s_normalization_is_that_of_the_convolution() {
    let mut pass = call();
    pass.epilogue.norm.mean = pass.norm_conv.beta;
    Call::from(pass).check(Span::EMPTY);
}

#[test]
#[should_panic(expected = "takes the place of")]
fn the_gradient_of_z_takes_the_place_of_that_of_the_normalized_values() {
    let mut pass = call();
    pass.norm_conv.g = pass.epilogue.total;
    pass.epilogue.norm = pass.norm_conv.gradient();
    Call::from(pass).check(Span::EMPTY);
}
