//! The passes on a GPU, if there is a CUDA driver.

use crate::{Expected, Operands, Pass, Side, before, to_f32};
use kernels::conv2d::{Affine, Conv2dParams, Forward, GradBias, GradInput, GradWeight};
use kernels::{Backend, Cuda, CudaError, Region, Span, Write};
use std::sync::LazyLock;

/// `KERNELS_TEST_PATHS=cuda` tests the GPU alone, and fails if there is none.
pub(crate) fn is_alone() -> bool {
    std::env::var_os("KERNELS_TEST_PATHS").is_some_and(|paths| paths == "cuda")
}

/// Whether the case is tested: all are, unless `KERNELS_TEST_LARGEST` is less than the elements of its operands.
pub(crate) fn is_tested(p: &Conv2dParams) -> bool {
    static LARGEST: LazyLock<usize> = LazyLock::new(|| match std::env::var("KERNELS_TEST_LARGEST") {
        Ok(largest) => largest.parse().expect("KERNELS_TEST_LARGEST is a number of elements"),
        Err(_) => usize::MAX,
    });
    p.input_len() + p.weight_len() + p.output_len() <= *LARGEST
}

/// The first GPU, and the same with tensor cores, if it has TF32.
struct Gpu {
    cuda: Cuda,
    tf32: Option<Cuda>,
}

fn gpu() -> Option<&'static Gpu> {
    static GPU: LazyLock<Option<Gpu>> = LazyLock::new(|| match Cuda::new(0) {
        Ok(cuda) => {
            let tf32 = match Cuda::with_tf32(0) {
                Ok(tf32) => Some(tf32),
                Err(CudaError::NoTf32 { .. }) => None,
                Err(error) => panic!("{error}"),
            };
            Some(Gpu { cuda, tf32 })
        }
        Err(error) => {
            assert!(!is_alone(), "{error}");
            None
        }
    });
    GPU.as_ref()
}

/// Operands that begin where their memory does, and others that are not aligned to 16 bytes, which other kernels take.
const OFFSETS: [usize; 2] = [0, 1];

/// Whether tensor cores have a kernel: for channels in fours, and aligned operands. Elsewhere `Cuda::with_tf32` is as `Cuda::new`.
fn is_in_tf32(p: &Conv2dParams, pass: Pass, offset: usize) -> bool {
    pass != Pass::GradBias && offset == 0 && [p.c, p.k].iter().all(|c| (c / p.groups).is_multiple_of(4))
}

/// The results of the pass, if there is a GPU, each with the name of what computed it.
pub(crate) fn run(p: &Conv2dParams, o: &Operands, pass: Pass, bias: bool, write: Write) -> Vec<(String, Vec<f32>)> {
    let Some(Gpu { cuda, tf32 }) = gpu() else { return Vec::new() };
    let mut runs = OFFSETS.map(|offset| (cuda, offset)).to_vec();
    runs.extend(tf32.iter().filter(|_| is_in_tf32(p, pass, 0)).map(|tf32| (tf32, 0)));
    runs.into_iter().map(|(cuda, offset)| (cuda.name(), run_at(cuda, p, o, pass, bias, write, offset))).collect()
}

/// Asserts that a pass is within rounding of the reference, if there is a GPU. What tensor cores multiply has been rounded to TF32, and
/// is summed as elsewhere: of operands so rounded, the result is as near to the reference's as in f32. And of those that were given,
/// each product is off by at most `2^-11` for either operand, so the result by `2^-10` of its magnitude.
pub(crate) fn check_rounding(expected: &Expected, o: &Operands) {
    let Some(Gpu { cuda, tf32 }) = gpu() else { return };
    let Expected { p, pass, .. } = *expected;
    for offset in OFFSETS {
        let run = |cuda| run_at(cuda, p, o, pass, true, Write::Add, offset);
        let in_f32 = run(cuda);
        expected.assert(&cuda.name(), None, &in_f32);
        let Some(tf32) = tf32 else { continue };
        let got = run(tf32);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        if !is_in_tf32(p, pass, offset) {
            assert_eq!(bits(&got), bits(&in_f32), "{} {pass:?} of {p:?}: expected what f32 gives", tf32.name());
            continue;
        }
        assert_eq!(bits(&got), bits(&run(tf32)), "{} {pass:?} of {p:?}: other bits", tf32.name());
        Expected::new(p, &rounded_to_tf32(o, pass), pass).assert(&tf32.name(), None, &got);
        let given = Expected { unit: expected.unit + 2f64.powi(-10), ..Expected::new(p, o, pass) };
        given.assert(&tf32.name(), None, &got);
    }
}

/// The two operands that a pass multiplies, mapped as in f32 and then rounded to TF32.
fn rounded_to_tf32(o: &Operands, pass: Pass) -> Operands {
    let round = |values: &[f64], [scale, shift]: [&[f64]; 2]| {
        let mapped = values.iter().enumerate().map(|(i, &x)| match scale.len() {
            0 => x as f32,
            channels => (scale[i % channels] as f32).mul_add(x as f32, shift[i % channels] as f32),
        });
        mapped.map(|x| f64::from(tf32(x))).collect()
    };
    let mut rounded = Operands { mapped: None, ..o.clone() };
    if pass != Pass::GradInput {
        rounded.x = round(&o.x, o.map(Side::X));
    }
    if pass != Pass::GradWeight {
        rounded.w = round(&o.w, [&[]; 2]);
    }
    if pass != Pass::Forward {
        rounded.y = round(&o.y, o.map(Side::Y));
    }
    rounded
}

/// The nearest number of 10 bits of mantissa, of two equally near ones that of the larger magnitude.
fn tf32(x: f32) -> f32 {
    f32::from_bits((x.to_bits() + (1 << 12)) & !0x1fff)
}

/// Every operand in a region of its own, where a sanitizer sees its end, `offset` elements from its beginning.
fn run_at(
    cuda: &Cuda,
    p: &Conv2dParams,
    o: &Operands,
    pass: Pass,
    bias: bool,
    write: Write,
    offset: usize,
) -> Vec<f32> {
    let bias = match pass {
        Pass::Forward if bias => &o.bias_k[..],
        Pass::GradInput if bias => &o.bias_c[..],
        _ => &[],
    };
    let ([x_scale, x_shift], [y_scale, y_shift]) = (o.map(Side::X), o.map(Side::Y));
    let out = before(p, o, pass, write);
    let mapped = o.mapped.is_some();
    let workspace_bytes = match pass {
        Pass::Forward => cuda.conv2d_forward_workspace_bytes(p, mapped),
        Pass::GradInput => cuda.conv2d_grad_input_workspace_bytes(p, mapped),
        Pass::GradWeight => cuda.conv2d_grad_weight_workspace_bytes(p, mapped),
        Pass::GradBias => cuda.conv2d_grad_bias_workspace_bytes(p.n * p.p * p.q, p.k),
    };
    let workspace = vec![f64::NAN; workspace_bytes / size_of::<f32>()];
    let values = [&o.x[..], &o.w, &o.y, bias, x_scale, x_shift, y_scale, y_shift, &out, &workspace];
    let mut memory = cuda.allocate(&values.map(|values| values.len() + offset)).expect("memory for a test");
    let mut region = 0;
    let spans = values.map(|values| {
        let span = Span::new(Region(region), offset, values.len());
        region += 1;
        cuda.write(&mut memory, span, &to_f32(values));
        span
    });
    let [x, w, dy, bias, x_scale, x_shift, y_scale, y_shift, out, workspace] = spans;
    let x_map = Affine { scale: x_scale, shift: x_shift };
    let dy_map = Affine { scale: y_scale, shift: y_shift };
    match pass {
        Pass::Forward => cuda.conv2d_forward(&mut memory, p, Forward { x, x_map, w, bias, y: out, write, workspace }),
        Pass::GradInput => {
            cuda.conv2d_grad_input(&mut memory, p, GradInput { dy, dy_map, w, bias, dx: out, write, workspace });
        }
        Pass::GradWeight => {
            cuda.conv2d_grad_weight(&mut memory, p, GradWeight { x, x_map, dy, dy_map, dw: out, write, workspace });
        }
        Pass::GradBias => cuda.conv2d_grad_bias(&mut memory, GradBias { dy, db: out, write, workspace }),
    }
    let mut result = vec![f32::NAN; out.len];
    cuda.read(&memory, out, &mut result);
    result
}
