//! The constants of a step.

/// Constants of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdParams {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the buffer.
    pub momentum: f64,
    /// Whether a parameter moves by the gradient and the decayed buffer, rather than by the buffer.
    pub nesterov: bool,
    /// Share of a parameter that is added to its gradient.
    pub weight_decay: f64,
}

/// What a step in f32 multiplies by. It has the layout of `Constants` in `sgd.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    pub(super) lr: f32,
    pub(super) momentum: f32,
    pub(super) weight_decay: f32,
    pub(super) nesterov: u32,
}

impl Constants {
    pub(super) fn new(p: &SgdParams) -> Constants {
        Constants {
            lr: p.lr as f32,
            momentum: p.momentum as f32,
            weight_decay: p.weight_decay as f32,
            nesterov: u32::from(p.nesterov),
        }
    }
}
