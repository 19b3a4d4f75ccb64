//! The passes on a GPU, if there is a CUDA driver.

use crate::{Operands, Pass, Side, before, to_f32};
use kernels::conv2d::{Affine, Conv2dParams, Forward, GradBias, GradInput, GradWeight};
use kernels::{Backend, Cuda, Region, Span, Write};
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

/// The first GPU.
fn cuda() -> Option<&'static Cuda> {
    static CUDA: LazyLock<Option<Cuda>> = LazyLock::new(|| match Cuda::new(0) {
        Ok(cuda) => Some(cuda),
        Err(error) => {
            assert!(!is_alone(), "{error}");
            None
        }
    });
    CUDA.as_ref()
}

/// The result of the pass, if there is a GPU: of aligned operands, and of misaligned ones, which other kernels take.
pub(crate) fn run(p: &Conv2dParams, o: &Operands, pass: Pass, bias: bool, write: Write) -> Vec<Vec<f32>> {
    cuda().into_iter().flat_map(|cuda| [0, 1].map(|offset| run_at(cuda, p, o, pass, bias, write, offset))).collect()
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
