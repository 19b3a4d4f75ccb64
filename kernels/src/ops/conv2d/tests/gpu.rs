//! The passes on a GPU, if there is a CUDA driver.

use super::cases::conv;
use super::trial::{Layout, Side, Trial, Values, Which};
use super::{Expected, assert_exact, bits};
use crate::conv2d::Precision;
use crate::testing::{self, Path};
use crate::{Backend, Cuda, CudaError};
use std::sync::LazyLock;

/// The first GPU, and the same with tensor cores, if it has TF32.
struct Gpu {
    cuda: &'static Cuda,
    on_tensor_cores: Option<OnTensorCores>,
}

struct OnTensorCores {
    tf32x3: Cuda,
    tf32: Cuda,
}

fn gpu() -> Option<&'static Gpu> {
    static GPU: LazyLock<Option<Gpu>> = LazyLock::new(|| {
        let cuda = testing::paths().find_map(|path| match path {
            Path::Cuda(cuda) => Some(cuda),
            Path::Cpu(_) => None,
        })?;
        let on_tensor_cores = match [Precision::Tf32x3, Precision::Tf32].map(|of| Cuda::with_precision(0, of)) {
            [Ok(tf32x3), Ok(tf32)] => Some(OnTensorCores { tf32x3, tf32 }),
            [Err(CudaError::NoTf32 { .. }), Err(CudaError::NoTf32 { .. })] => None,
            opened => panic!("{opened:?}"),
        };
        Some(Gpu { cuda, on_tensor_cores })
    });
    GPU.as_ref()
}

/// Operands that begin where their memory does, and others that are not aligned to 16 bytes, which other kernels take.
const OFFSETS: [usize; 2] = [0, 1];

/// Whether tensor cores have a kernel in TF32: for channels in fours, aligned operands, and up to 15 taps in a
/// direction, more in an input gradient. Elsewhere the results are those in f32.
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
    let Some(Gpu { cuda, on_tensor_cores }) = gpu() else { return Vec::new() };
    let mut runs = OFFSETS.map(|offset| (*cuda, offset)).to_vec();
    for OnTensorCores { tf32x3, tf32 } in on_tensor_cores.iter().filter(|_| is_in_tf32(trial, 0)) {
        runs.extend([(tf32x3, 0), (tf32, 0)]);
    }
    runs.into_iter().map(|(cuda, offset)| (cuda.name(), trial.run(cuda, Layout::Apart(offset)))).collect()
}

/// Asserts that a pass is within rounding of the reference, if there is a GPU. What tensor cores multiply in TF32 has
/// been rounded to that, and is summed as elsewhere: of operands so rounded, the result is as near to the reference's
/// as in f32. And of those that were given, as near as the precision allows.
pub(super) fn check_rounding(expected: &Expected<'_>) {
    let Some(Gpu { cuda, on_tensor_cores }) = gpu() else { return };
    let trial = expected.trial;
    for offset in OFFSETS {
        let run = |cuda: &Cuda| trial.run(cuda, Layout::Apart(offset));
        let in_f32 = run(cuda);
        expected.assert(&cuda.name(), None, &in_f32);
        let Some(OnTensorCores { tf32x3, tf32 }) = on_tensor_cores else { continue };
        for cuda in [tf32x3, tf32] {
            let (name, got) = (cuda.name(), run(cuda));
            if !is_in_tf32(&trial, offset) {
                assert_eq!(bits(&got), bits(&in_f32), "{name} {trial:?}: expected what f32 gives");
                continue;
            }
            assert_eq!(bits(&got), bits(&run(cuda)), "{name} {trial:?}: other bits");
            // The errors of both operands.
            let unit = expected.unit + 2.0 * cuda.precision().operand_error(trial.p);
            Expected { unit, ..Expected::new(trial) }.assert(&name, None, &got);
            if cuda.precision() == Precision::Tf32 {
                Expected::new(Trial { values: &rounded_to_tf32(&trial), mapped: None, ..trial })
                    .assert(&name, None, &got);
            }
        }
    }
}

/// The sums of 3xTF32 are no farther off than f32's, even if all products have one sign: then tensor cores, which cut
/// their sums off, are off by as much as they have added.
#[test]
fn sums_in_3xtf32_are_as_exact_as_in_f32() {
    let Some(Gpu { cuda, on_tensor_cores: Some(OnTensorCores { tf32x3, .. }) }) = gpu() else { return };
    let p = conv([2, 16, 16, 32], 32, [3, 3], [1, 1], [1, 1], 1);
    let values = Values::real(&p, 1).magnitudes();
    for trial in Trial::all(&p, &values).filter(|trial| trial.which != Which::GradBias) {
        let want = trial.reference();
        let error = |cuda: &Cuda| {
            let got = trial.run(cuda, Layout::Apart(0));
            let squares = got.iter().zip(&want).map(|(&got, want)| (f64::from(got) / want - 1.0).powi(2));
            (squares.sum::<f64>() / want.len() as f64).sqrt()
        };
        let [in_f32, in_3xtf32] = [*cuda, tf32x3].map(error);
        assert!(in_3xtf32 != in_f32, "{trial:?}: the kernels have nothing in common, but their errors");
        assert!(in_3xtf32 <= in_f32, "{trial:?}: {in_3xtf32:.2e} in 3xTF32, {in_f32:.2e} in f32");
    }
}

/// A block of a weight gradient goes on to its next tile when all of its threads have read the last one. This is for
/// ThreadSanitizer, under which larger cases take too long.
#[test]
fn tiles_of_a_block_do_not_meet() {
    let Some(Gpu { cuda, on_tensor_cores }) = gpu() else { return };
    let p = conv([300, 8, 16, 4], 4, [3, 3], [1, 1], [1, 1], 1);
    let values = Values::whole(&p, 1);
    let trial = Trial::plain(&p, Which::GradWeight, &values);
    let want: Vec<f32> = trial.reference().iter().map(|&x| x as f32).collect();
    let others = on_tensor_cores.iter().flat_map(|OnTensorCores { tf32x3, tf32 }| [tf32x3, tf32]);
    for cuda in others.chain([*cuda]) {
        assert_exact(&cuda.name(), &trial, &trial.run(cuda, Layout::Apart(0)), &want);
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
