//! Shapes with numbers so large that time and memory must not depend on them: without care, each of these takes hours,
//! or more memory than there is.

use super::trial::{Layout, Trial, Values};
use super::{Algo, Conv2dParams, check_exact, cpus};
use crate::ops::conv2d::tests::cases::conv;
use crate::testing::is_tested;

/// Asserts that `Direct` gives exactly what the reference gives in every pass. Im2col makes a row of a matrix of every
/// window, whatever is in it, and GPUs have limits that [`crate::Cuda`] names.
fn check_direct(p: &Conv2dParams) {
    for trial in Trial::all(p, &Values::whole(p, 1)).map(Trial::with_all) {
        let want: Vec<f32> = trial.reference().iter().map(|&x| x as f32).collect();
        for [_, cpu, _] in cpus() {
            let got = trial.run_with(cpu, Some(Algo::Direct), Layout::Together);
            super::assert_exact(&cpu.isa().to_string(), &trial, &got, &want);
        }
    }
}

#[test]
fn enormous_strides_take_no_time() {
    for stride in [256, 1 << 20, 1 << 40, isize::MAX as usize, usize::MAX] {
        for (channels, groups) in [([2, 3], 1), ([2, 12], 1), ([3, 3], 3), ([10, 10], 10)] {
            let conv = |stride| conv([2, 5, 5, channels[0]], channels[1], [3, 3], stride, [1, 0], groups);
            check_exact(&conv([stride, stride]), 0);
            check_exact(&conv([stride, 1]), 0);
            check_exact(&conv([2, stride]), 0);
        }
        check_exact(&conv([1, 1, 1, 4], 8, [1, 1], [stride; 2], [0, 0], 1), 0);
    }
    // Between the strides are outputs, which have no taps.
    for groups in [1, 3] {
        let p = Conv2dParams::transposed([1, 2, 2, 3], 3, [3, 3], [97, 211], [1, 0], [96, 3], groups).unwrap();
        check_exact(&p, 0);
    }
}

#[test]
fn enormous_paddings_take_no_time() {
    let large = isize::MAX as usize;
    for [stride, padding] in [[1 << 20, 1 << 20], [1 << 40, 1 << 40], [1 << 41, 1 << 40], [large, large - 2]] {
        for (channels, groups) in [([2, 3], 1), ([3, 12], 1), ([3, 3], 3)] {
            let conv = |stride, padding| conv([2, 5, 5, channels[0]], channels[1], [3, 3], stride, padding, groups);
            check_direct(&conv([stride; 2], [padding; 2]));
            check_direct(&conv([stride, 1], [padding, 1]));
            check_direct(&conv([2, stride], [0, padding]));
        }
    }
}

/// A window has tens of thousands of taps, of which a few are inside the image.
#[test]
fn kernels_much_larger_than_the_image_take_no_time() {
    let sizes = [(1, 255, 127), (1, 255, 254), (2, 200, 199), (3, 151, 75)];
    for (size, taps, padding) in sizes {
        for (channels, groups) in [([1, 1], 1), ([2, 5], 1), ([2, 2], 2)] {
            let p = conv([1, size, size, channels[0]], channels[1], [taps; 2], [1, 1], [padding; 2], groups);
            if is_tested(p.input_len() + p.weight_len() + p.output_len()) {
                check_direct(&p);
            }
        }
    }
}
