//! Every path against the reference.

use super::params::{C1, C2, WINDOW_LEN};
use super::{Backward, Forward, SsimParams};
use crate::testing::{Bound, Operand, cases, check, is_tested, normal, paths};
use crate::{Span, Write};
use proptest::prelude::*;

/// Operands: x, y and the mean similarity.
fn forward(params: SsimParams) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { params, x: o[0], y: o[1], out: o[2] }
}

/// Operands: x, y, the gradient of the mean similarity and that of x.
fn backward(params: SsimParams, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { params, x: o[0], y: o[1], dout: o[2], dx: o[3], write }
}

/// What errors are allowed: that of the module's documentation.
const ROUNDINGS: f64 = 64.0;

/// How large the terms of every element's gradient are, with `dout` as the gradient of the mean similarity.
fn magnitudes(p: &SsimParams, [x, y]: [&[f32]; 2], dout: f64) -> Vec<f64> {
    let (m, scale) = (WINDOW_LEN as f64, dout / p.windows() as f64);
    let value = |i: usize| (f64::from(x[i]), f64::from(y[i]) - f64::from(x[i]));
    let mut sums = vec![0.0; x.len()];
    super::reference::for_each_window(p, |elements| {
        let mean = |f: &dyn Fn(f64, f64) -> f64| elements.iter().map(|&i| f(value(i).0, value(i).1)).sum::<f64>() / m;
        let (mx, md) = (mean(&|x, _| x), mean(&|_, d| d));
        let variance = |f: &dyn Fn(f64, f64) -> f64| m / (m - 1.0) * mean(&|x, d| f(x - mx, d - md).powi(2));
        let vd = variance(&|_, d| d);
        let b1 = mx * mx + (mx + md).powi(2) + C1;
        let b2 = variance(&|x, _| x) + variance(&|x, d| x + d) + C2;
        // A1 / B1 and A2 / B2 are at most 1.
        let (r, d) = (2.0 / (b2 * (m - 1.0)), 2.0 * (md + mx * md * md / b1).abs() / (b1 * m));
        for &i in elements {
            let of_x = r * vd / b2 * (value(i).0.abs() + mx.abs());
            sums[i] += scale.abs() * (d + r * (value(i).1.abs() + md.abs()) + of_x);
        }
    });
    sums
}

fn check_images(p: SsimParams, x: &[f32], y: &[f32]) {
    let inputs = [x, y].map(|image| Operand::In(image.to_vec()));
    check(&forward(p), &[&inputs[..], &[Operand::Out(1)]].concat(), &[Bound::absolute(ROUNDINGS, 1.0)]);
    let dout = 2.5 * p.windows() as f32;
    for write in [Write::Set, Write::Add] {
        let before = normal(3, x.len());
        let mut magnitudes = magnitudes(&p, [x, y], f64::from(dout));
        if write == Write::Add {
            magnitudes.iter_mut().zip(&before).for_each(|(sum, before)| *sum += f64::from(before.abs()));
        }
        let others = [Operand::In(vec![dout]), Operand::written(write, before)];
        check(&backward(p, write), &[&inputs[..], &others].concat(), &[Bound::each(ROUNDINGS, magnitudes)]);
    }
}

/// Values around `level`, and others that differ by about `difference`.
fn images(p: &SsimParams, level: f32, contrast: f32, difference: f32) -> [Vec<f32>; 2] {
    let len = p.n * p.h * p.row();
    let x: Vec<f32> = normal(1, len).into_iter().map(|value| level + contrast * value).collect();
    let y = x.iter().zip(normal(2, len)).map(|(x, value)| x + difference * value).collect();
    [x, y]
}

fn check_shape(shape: [usize; 4]) {
    let p = SsimParams::new(shape).unwrap();
    if is_tested(p.n * p.h * p.row()) {
        let [x, y] = images(&p, 0.5, 0.2, 0.1);
        check_images(p, &x, &y);
    }
}

/// One window; fewer lanes than a vector has, and more; windows that do not overlap; several tasks, that begin in the
/// middle of an image, or have several.
#[test]
fn passes_equal_the_reference() {
    for shape in [
        [1, 7, 7, 1],
        [2, 7, 7, 3],
        [1, 8, 7, 2],
        [2, 7, 12, 4],
        [1, 13, 9, 16],
        [3, 9, 23, 1],
        [1, 20, 15, 5],
        [1, 7, 40, 11],
        [2, 80, 17, 3],
        [45, 9, 8, 1],
        [2, 33, 180, 3],
        [0, 9, 9, 1],
    ] {
        check_shape(shape);
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_shape_equals_the_reference(n in 1usize..4, [h, w] in [7usize..24, 7..24], c in 1usize..6) {
        check_shape([n, h, w, c]);
    }
}

/// Where a sum of squares minus the square of a sum would be of no use.
#[test]
fn images_without_contrast_are_compared_as_well_as_others() {
    let p = SsimParams::new([1, 11, 13, 3]).unwrap();
    for level in [0.0, 0.02, 1.0] {
        for contrast in [0.0, 1e-4, 1e-2] {
            for difference in [1e-5, 1e-3, 1e-1] {
                let [x, y] = images(&p, level, contrast, difference);
                check_images(p, &x, &y);
                check_images(p, &y, &x);
            }
        }
    }
    // One is as bright as the other is dark, and their edges are opposite.
    let x: Vec<f32> = normal(1, 11 * 13 * 3).into_iter().map(|value| if value > 0.0 { 1.0 } else { 0.0 }).collect();
    let y: Vec<f32> = x.iter().map(|x| 1.0 - x).collect();
    check_images(p, &x, &y);
}

#[test]
fn an_image_is_exactly_like_itself() {
    let p = SsimParams::new([2, 10, 9, 3]).unwrap();
    let [x, _] = images(&p, 0.5, 0.2, 0.0);
    let inputs = [x.clone(), x.clone()].map(Operand::In);
    for path in paths() {
        assert_eq!(path.run(&forward(p), &[&inputs[..], &[Operand::Out(1)]].concat())[2], [1.0]);
        let others = [Operand::In(vec![1.0]), Operand::Out(x.len())];
        let gradient = &path.run(&backward(p, Write::Set), &[&inputs[..], &others].concat())[3];
        assert!(gradient.iter().all(|dx| *dx == 0.0), "{gradient:?}");
    }
}

/// A pixel of column 2 is in windows that reach to column 8.
#[test]
fn nan_stays_and_goes_no_further_than_its_windows() {
    let p = SsimParams::new([1, 8, 20, 2]).unwrap();
    let [mut x, y] = images(&p, 0.5, 0.2, 0.1);
    x[2 * p.c] = f32::NAN;
    let inputs = [x, y].map(Operand::In);
    for path in paths() {
        assert!(path.run(&forward(p), &[&inputs[..], &[Operand::Out(1)]].concat())[2][0].is_nan());
        let others = [Operand::In(vec![1.0]), Operand::Out(p.h * p.row())];
        let gradient = &path.run(&backward(p, Write::Set), &[&inputs[..], &others].concat())[3];
        for (i, dx) in gradient.iter().enumerate() {
            let (row, column, channel) = (i / p.row(), i / p.c % p.w, i % p.c);
            assert_eq!(dx.is_nan(), row < 7 && column < 9 && channel == 0, "row {row}, column {column}: {dx}");
        }
    }
}

/// scikit-image 0.26, and PyTorch 2.15 in f64.
///
/// ```python
/// i = np.arange(2 * 8 * 9 * 2)
/// x = (i * 37 + 11) % 101 / 101
/// y = 0.75 * x + (i * 53 % 71) / 284
/// x, y = x.reshape(2, 8, 9, 2), y.reshape(2, 8, 9, 2)
/// options = dict(data_range=1, win_size=7, gaussian_weights=False, use_sample_covariance=True, channel_axis=-1)
/// print(np.mean([structural_similarity(a, b, **options) for a, b in zip(x, y)]))
/// x, y = (torch.tensor(a, requires_grad=True) for a in (x, y))
/// mean = lambda a: torch.nn.functional.avg_pool2d(a.permute(0, 3, 1, 2), 7, 1)
/// mx, my = mean(x), mean(y)
/// vx, vy, vxy = (49 / 48 * v for v in (mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my))
/// s = (2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
/// s.mean().backward()
/// for g in (x.grad.flatten(), y.grad.flatten()):
///     print(g[[0, 1, 60, 143, 144, 287]], g @ (torch.arange(288.) % 13).double())
/// ```
#[test]
fn the_reference_is_scikit_images_and_pytorchs() {
    let p = SsimParams::new([2, 8, 9, 2]).unwrap();
    let x: Vec<f64> = (0..288).map(|i| f64::from((i * 37 + 11) % 101) / 101.0).collect();
    let y: Vec<f64> = (0..288).map(|i| 0.75 * x[i] + (i * 53 % 71) as f64 / 284.0).collect();
    let similarity = super::reference::forward(&p, &x, &y);
    assert!((similarity - 0.922_753_401_827_411_7).abs() < 1e-12, "{similarity}");
    let wanted = [
        [
            -0.000_726_445_017_091_822_6,
            0.000_788_344_481_716_903_4,
            0.010_818_556_043_784_65,
            0.000_815_231_881_085_253_2,
            -0.000_910_394_866_874_391_8,
            -0.000_313_214_344_364_901_2,
            -0.005_022_900_035_488_526,
        ],
        [
            0.000_123_965_328_749_074_8,
            -0.000_770_399_442_567_865,
            -0.014_060_995_398_664_906,
            -0.000_740_728_035_363_972,
            0.001_471_804_225_676_323_7,
            -0.000_264_797_921_055_791_2,
            0.123_071_856_640_091_76,
        ],
    ];
    for (images, wanted) in [[&x, &y], [&y, &x]].into_iter().zip(wanted) {
        let mut gradient = vec![0.0; 288];
        super::reference::backward(&p, images.map(Vec::as_slice), 1.0, &mut gradient, Write::Set);
        let sum: f64 = gradient.iter().enumerate().map(|(i, dx)| dx * (i % 13) as f64).sum();
        for (got, want) in [0, 1, 60, 143, 144, 287].map(|i| gradient[i]).into_iter().chain([sum]).zip(wanted) {
            assert!((got - want).abs() < 1e-12, "{got} and {want}");
        }
    }
}

#[test]
fn images_smaller_than_a_window_are_refused() {
    for (h, w) in [(6, 7), (7, 6), (0, 9)] {
        let message = SsimParams::new([1, h, w, 1]).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("images must have at least 7x7 pixels, which is the size of a window, not {h}x{w}")
        );
    }
}
