//! The passes on a GPU, if there is a CUDA driver.

use super::trial::{Layout, Side, Trial, Values, Which};
use super::{Expected, bits};
use crate::testing::{self, Path};
use crate::{Backend, Cuda, CudaError};
use std::sync::LazyLock;

/// The first GPU, and the same with tensor cores, if it has TF32.
struct Gpu {
    cuda: &'static Cuda,
    tf32: Option<Cuda>,
}

fn gpu() -> Option<&'static Gpu> {
    static GPU: LazyLock<Option<Gpu>> = LazyLock::new(|| {
        let cuda = testing::paths().find_map(|path| match path {
            Path::Cuda(cuda) => Some(cuda),
            Path::Cpu(_) => None,
        })?;
        let tf32 = match Cuda::with_tf32(0) {
            Ok(tf32) => Some(tf32),
            Err(CudaError::NoTf32 { .. }) => None,
            Err(error) => panic!("{error}"),
        };
        Some(Gpu { cuda, tf32 })
    });
    GPU.as_ref()
}

/// Operands that begin where their memory does, and others that are not aligned to 16 bytes, which other kernels take.
const OFFSETS: [usize; 2] = [0, 1];

/// Whether tensor cores have a kernel: for channels in fours, aligned operands, and up to 15 taps in a direction, more
/// in an input gradient. Elsewhere `Cuda::with_tf32` is as `Cuda::new`.
fn is_in_tf32(trial: &Trial<'_>, offset: usize) -> bool {
    let p = trial.p;
    let has_kernel = match trial.which {
        Which::Forward | Which::GradWeight => p.r.max(p.s) <= 15,
        Which::GradInput => true,
        Which::GradBias => false,
    };
    has_kernel && offset == 0 && [p.c, p.k].iter().all(|c| (c / p.groups).is_multiple_of(4))
}

/// The results of the pass, if there is a GPU, each with the name of what computed it.
pub(super) fn run(trial: &Trial<'_>) -> Vec<(String, Vec<f32>)> {
    let Some(Gpu { cuda, tf32 }) = gpu() else { return Vec::new() };
    let mut runs = OFFSETS.map(|offset| (*cuda, offset)).to_vec();
    runs.extend(tf32.iter().filter(|_| is_in_tf32(trial, 0)).map(|tf32| (tf32, 0)));
    runs.into_iter().map(|(cuda, offset)| (cuda.name(), trial.run(cuda, Layout::Apart(offset)))).collect()
}

/// Asserts that a pass is within rounding of the reference, if there is a GPU. What tensor cores multiply has been
/// rounded to TF32, and is summed as elsewhere: of operands so rounded, the result is as near to the reference's as in
/// f32. And of those that were given, each product is off by at most `2^-11` for either operand, so the result by
/// `2^-10` of its magnitude.
pub(super) fn check_rounding(expected: &Expected<'_>) {
    let Some(Gpu { cuda, tf32 }) = gpu() else { return };
    let trial = expected.trial;
    for offset in OFFSETS {
        let run = |cuda: &Cuda| trial.run(cuda, Layout::Apart(offset));
        let in_f32 = run(cuda);
        expected.assert(&cuda.name(), None, &in_f32);
        let Some(tf32) = tf32 else { continue };
        let (name, got) = (tf32.name(), run(tf32));
        if !is_in_tf32(&trial, offset) {
            assert_eq!(bits(&got), bits(&in_f32), "{name} {trial:?}: expected what f32 gives");
            continue;
        }
        assert_eq!(bits(&got), bits(&run(tf32)), "{name} {trial:?}: other bits");
        Expected::new(Trial { values: &rounded_to_tf32(&trial), mapped: None, ..trial }).assert(&name, None, &got);
        let given = Expected { unit: expected.unit + 2f64.powi(-10), ..Expected::new(trial) };
        given.assert(&name, None, &got);
    }
}

/// The two operands that a pass multiplies, mapped as in f32 and then rounded to TF32.
fn rounded_to_tf32(trial: &Trial<'_>) -> Values {
    let round = |values: &[f32], [scale, shift]: [&[f32]; 2]| {
        let mapped = values.iter().enumerate().map(|(i, &x)| match scale.len() {
            0 => x,
            channels => scale[i % channels].mul_add(x, shift[i % channels]),
        });
        mapped.map(tf32).collect()
    };
    let mut rounded = trial.values.clone();
    if trial.which != Which::GradInput {
        rounded.x = round(&rounded.x, trial.map(Side::X));
    }
    if trial.which != Which::GradWeight {
        rounded.w = round(&rounded.w, [&[]; 2]);
    }
    if trial.which != Which::Forward {
        rounded.y = round(&rounded.y, trial.map(Side::Y));
    }
    rounded
}

/// The nearest number of 10 bits of mantissa, of two equally near ones that of the larger magnitude.
fn tf32(x: f32) -> f32 {
    f32::from_bits((x.to_bits() + (1 << 12)) & !0x1fff)
}
