//! SIMD implementation of the [module documentation](super)'s equations.

use super::Conv2dParams;
pub mod winograd;

use crate::{Cpu, Write};

/// `y (+)= conv(x, w) + bias`
#[allow(clippy::too_many_arguments)]
pub fn forward(
    _cpu: &Cpu,
    _p: &Conv2dParams,
    _x: &[f32],
    _w: &[f32],
    _bias: &[f32],
    _y: &mut [f32],
    _write: Write,
    _workspace: &mut [f32],
) {
    todo!()
}
/// Scratch of [`forward`], in elements.
pub fn forward_workspace_len(_cpu: &Cpu, _p: &Conv2dParams) -> usize {
    todo!()
}
/// `dx (+)= conv^T(dy, w) + bias`
#[allow(clippy::too_many_arguments)]
pub fn grad_input(
    _cpu: &Cpu,
    _p: &Conv2dParams,
    _dy: &[f32],
    _w: &[f32],
    _bias: &[f32],
    _dx: &mut [f32],
    _write: Write,
    _workspace: &mut [f32],
) {
    todo!()
}
/// Scratch of [`grad_input`], in elements.
pub fn grad_input_workspace_len(_cpu: &Cpu, _p: &Conv2dParams) -> usize {
    todo!()
}
/// `dw (+)= x^T dy` for every tap
pub fn grad_weight(
    _cpu: &Cpu,
    _p: &Conv2dParams,
    _x: &[f32],
    _dy: &[f32],
    _dw: &mut [f32],
    _write: Write,
    _workspace: &mut [f32],
) {
    todo!()
}
/// Scratch of [`grad_weight`], in elements.
pub fn grad_weight_workspace_len(_cpu: &Cpu, _p: &Conv2dParams) -> usize {
    todo!()
}
/// `db[k] (+)= sum of dy[.., k]`
pub fn grad_bias(_cpu: &Cpu, _dy: &[f32], _db: &mut [f32], _write: Write, _workspace: &mut [f32]) {
    todo!()
}
/// Scratch of [`grad_bias`], in elements.
pub fn grad_bias_workspace_len(_cpu: &Cpu, _rows: usize, _channels: usize) -> usize {
    todo!()
}
