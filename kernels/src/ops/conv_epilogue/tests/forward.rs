//! Against the two passes that it consists of, and against the reference.

use crate::activation::Activation;
use crate::conv_epilogue::Forward;
use crate::conv2d::{Affine, Algo, Conv, Conv2dParams, Forward as ConvForward, GradInput, Tile};
use crate::epilogue::{self, EpilogueParams};
use crate::testing::{Bound, Operand, assert_bits, check, is_tested, normal, paths};
use crate::{Call, Region, Span, Write};

/// What is varied.
#[derive(Clone, Copy, Debug)]
struct Case {
    params: Conv2dParams,
    /// Whether it is the adjoint.
    adjoint: bool,
    algo: Option<Algo>,
    activation: Option<Activation>,
    has_map: bool,
    has_skip: bool,
    /// Whether `z` is kept.
    keeps_z: bool,
    wants_stats: bool,
}

impl Case {
    /// Pixels and channels of what is read, and of what is written.
    fn shapes(&self) -> [[usize; 2]; 2] {
        let p = &self.params;
        let shapes = [[p.n * p.h * p.w, p.c], [p.n * p.p * p.q, p.k]];
        if self.adjoint { [shapes[1], shapes[0]] } else { shapes }
    }

    fn conv(&self, o: &[Span], z: Span) -> Conv {
        let Case { params, algo, .. } = *self;
        let ([x, w, bias], map) = ([o[0], o[3], o[4]], Affine { scale: o[1], shift: o[2] });
        match self.adjoint {
            false => Conv::Forward(ConvForward { params, x, x_map: map, w, bias, y: z, write: Write::Set, algo }),
            true => Conv::GradInput(GradInput { params, dy: x, dy_map: map, w, bias, dx: z, write: Write::Set, algo }),
        }
    }

    fn epilogue(&self, o: &[Span], z: Span) -> epilogue::Forward {
        let [_, [rows, channels]] = self.shapes();
        let params = EpilogueParams { rows, channels, activation: self.activation, skip_weight: 0.3, dy_weight: 0.0 };
        epilogue::Forward { params, z, skip: o[5], y: o[7], mean: o[8], var: o[9] }
    }

    /// Operands: x, scale, shift, w, bias, skip, z, y, mean, var.
    fn operands(&self) -> Vec<Operand> {
        let [[in_rows, in_channels], [rows, channels]] = self.shapes();
        let given = |is_there: bool, seed: u64, len: usize| Operand::In(normal(seed, if is_there { len } else { 0 }));
        let output = |is_there: bool, len: usize| Operand::Out(if is_there { len } else { 0 });
        vec![
            given(true, 1, in_rows * in_channels),
            given(self.has_map, 2, in_channels),
            given(self.has_map, 3, in_channels),
            given(true, 4, self.params.weight_len()),
            given(true, 5, channels),
            given(self.has_skip, 6, rows * channels),
            output(self.keeps_z, rows * channels),
            output(true, rows * channels),
            output(self.wants_stats, channels),
            output(self.wants_stats, channels),
        ]
    }

    fn check(self) {
        let [[_, in_channels], [rows, channels]] = self.shapes();
        if !is_tested(rows * channels) {
            return;
        }
        let operands = self.operands();
        // Sums of `terms` products of two or three normal values, by algorithms that round some 10 times more.
        let terms = (self.params.r * self.params.s * in_channels) as f64;
        let element = || Bound::absolute(16.0 * terms, 8.0);
        let mut bounds = vec![element(), element(), element(), Bound::absolute(64.0 * terms, 64.0)];
        if !self.wants_stats {
            bounds[2..].fill(Bound::absolute(0.0, 0.0));
        }
        let z_of = |o: &[Span]| if self.keeps_z { o[6] } else { o[7] };
        let together = |o: &[Span]| Forward { conv: self.conv(o, z_of(o)), epilogue: self.epilogue(o, z_of(o)) };
        let results = check(&together, &operands, &bounds);
        for (path, got) in paths().zip(&results) {
            let mut conv = operands.clone();
            let mut rest = operands.clone();
            conv[5] = Operand::In(Vec::new());
            conv[7..].fill(Operand::Out(0));
            conv[6] = Operand::Out(rows * channels);
            let z = path.run(&|o: &[Span]| Call::from(self.conv(o, o[6])), &conv)[6].clone();
            rest[6] = Operand::In(z.iter().map(|&z| z as f32).collect());
            let want = path.run(&|o: &[Span]| self.epilogue(o, o[6]), &rest);
            if self.keeps_z {
                assert_bits("z", &got[6..7], &[z]);
            }
            assert_bits("y", &got[7..8], &want[7..8]);
            // Sums of deviations from a center that may be some deviations off.
            for (i, power) in [(8, 0.5), (9, 1.0)] {
                let size = want[9].iter().map(|var| 8.0 * var.powf(power)).collect();
                Bound::each(16.0, size).assert(&format!("statistic {i} of {self:?}"), &got[i], &want[i]);
            }
        }
    }
}

/// Convolutions with every algorithm, and each with and without what may be absent.
#[test]
fn the_passes_in_one_equal_one_after_another() {
    // Partial tiles, several images in a block, blocks of some columns only, partial vectors, kernels in parts.
    let shapes = [
        ([2, 9, 10, 3], 5, [3, 3], [1, 1]),
        ([3, 4, 4, 16], 32, [3, 3], [1, 1]),
        ([1, 3, 150, 2], 17, [3, 3], [0, 2]),
        ([2, 13, 12, 4], 6, [5, 5], [2, 2]),
        ([2, 12, 11, 3], 33, [7, 7], [3, 3]),
        ([2, 7, 8, 3], 5, [3, 3], [0, 0]),
    ];
    let options = [
        (Some(Activation::Gelu), true, true),
        (Some(Activation::Gelu), false, true),
        (None, true, false),
        (Some(Activation::Relu), true, false),
        (None, false, true),
    ];
    for (x, k, kernel, padding) in shapes {
        let params = Conv2dParams::new(x, k, kernel, [1, 1], padding, 1).unwrap();
        for algo in Algo::ALL.into_iter().filter(|algo| algo.supports(&params)) {
            for (number, (activation, has_skip, keeps_z)) in options.into_iter().enumerate() {
                let (adjoint, has_map, wants_stats) = (number % 2 == 1, number % 3 == 0, number != 2);
                let algo = Some(algo);
                Case { params, adjoint, algo, activation, has_map, has_skip, keeps_z, wants_stats }.check();
            }
        }
    }
}

/// Statistics of values far from 0: sums of squares would lose them.
#[test]
fn the_variance_around_a_large_mean_is_not_lost() {
    let params = Conv2dParams::new([4, 16, 16, 4], 8, [3, 3], [1, 1], [1, 1], 1).unwrap();
    let case = Case {
        params,
        adjoint: false,
        algo: Some(Algo::Winograd(Tile::F4x3)),
        activation: None,
        has_map: false,
        has_skip: true,
        keeps_z: false,
        wants_stats: true,
    };
    let mut operands = case.operands();
    let skip: Vec<f32> = normal(6, 4 * 16 * 16 * 8).iter().map(|x| 3e3 + x).collect();
    operands[5] = Operand::In(skip);
    for path in paths() {
        let got =
            path.run(&|o: &[Span]| Forward { conv: case.conv(o, o[7]), epilogue: case.epilogue(o, o[7]) }, &operands);
        for c in 0..8 {
            let y: Vec<f64> = got[7].iter().skip(c).step_by(8).copied().collect();
            let mean = y.iter().sum::<f64>() / y.len() as f64;
            let var = y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / y.len() as f64;
            assert!((got[9][c] / var - 1.0).abs() < 1e-5, "variance {} is not {var}", got[9][c]);
        }
    }
}

fn call(conv_output: usize, z: usize, rows: usize) -> Call {
    let params = Conv2dParams::new([1, 2, 2, 1], 1, [1, 1], [1, 1], [0, 0], 1).unwrap();
    let span = |i: u8| Span::new(Region(i), 0, 4);
    let none = Span::EMPTY;
    let (x, w, y, algo) = (span(0), Span::new(Region(1), 0, 1), span(conv_output as u8), None);
    let conv = Conv::Forward(ConvForward { params, x, x_map: Affine::NONE, w, bias: none, y, write: Write::Set, algo });
    let params = EpilogueParams { rows, channels: 1, activation: None, skip_weight: 0.0, dy_weight: 0.0 };
    let epilogue = epilogue::Forward { params, z: span(z as u8), skip: none, y: span(3), mean: none, var: none };
    Forward { conv, epilogue }.into()
}

#[test]
fn spans_that_change_change_in_both_passes() {
    for z in [2, 3] {
        let mut moved = call(z, z, 4);
        moved.check(Span::EMPTY);
        moved.operands_mut(&mut |span, _| span.offset += 8);
        moved.check(Span::EMPTY);
        assert_eq!(moved.operands().len(), if z == 3 { 3 } else { 4 });
        assert!(moved.operands().iter().all(|(span, _)| span.offset == 8));
    }
}

#[test]
#[should_panic(expected = "the epilogue of another convolution")]
fn the_epilogue_reads_what_the_convolution_writes() {
    call(2, 4, 4).check(Span::EMPTY);
}

#[test]
#[should_panic(expected = "shapes of")]
fn the_epilogue_has_the_convolution_s_shape() {
    call(2, 2, 2).check(Span::EMPTY);
}
