//! Launches the kernels of `activation.cu`.

use super::function::Activation;
use crate::gpu::{BLOCK, Device, Ptr, Slice, flat_grid, kernels};
use crate::pass::Write;

kernels!("activation" {
    activation_forward: 256 (u32, u32, Ptr, Ptr),
    activation_backward: 256 (u32, u32, Ptr, Ptr, Ptr, u32),
    gelu_forward: 256 (u32, Ptr, Ptr),
    gelu_backward: 256 (u32, Ptr, Ptr, Ptr, u32),
    sigmoid_forward: 256 (u32, Ptr, Ptr),
    sigmoid_backward: 256 (u32, Ptr, Ptr, Ptr, u32),
});

impl Kernels {
    /// `y = f(x)`; `y` may be `x`.
    pub(crate) fn forward(&self, device: &Device, f: Activation, x: Slice, y: Slice) {
        let len = y.len as u32;
        let args = (len, x.ptr, y.ptr);
        // SAFETY: both have `len` elements.
        unsafe {
            match f {
                Activation::Gelu => self.gelu_forward.launch(device, flat_grid(y.len), args),
                Activation::Sigmoid => self.sigmoid_forward.launch(device, flat_grid(y.len), args),
                _ => {
                    let grid = [y.len.div_ceil(BLOCK), 1, 1];
                    self.activation_forward.launch(device, grid, (f as u32, len, x.ptr, y.ptr));
                }
            }
        }
    }

    /// `dx (+)= dy f'`; `dx` may be `dy` if it is set.
    pub(crate) fn backward(&self, device: &Device, f: Activation, saved: Slice, dy: Slice, dx: Slice, write: Write) {
        let (len, add) = (dx.len as u32, u32::from(write == Write::Add));
        let args = (len, saved.ptr, dy.ptr, dx.ptr, add);
        // SAFETY: all have `len` elements.
        unsafe {
            match f {
                Activation::Gelu => self.gelu_backward.launch(device, flat_grid(dx.len), args),
                Activation::Sigmoid => self.sigmoid_backward.launch(device, flat_grid(dx.len), args),
                _ => {
                    let grid = [dx.len.div_ceil(BLOCK), 1, 1];
                    let args = (f as u32, len, saved.ptr, dy.ptr, dx.ptr, add);
                    self.activation_backward.launch(device, grid, args);
                }
            }
        }
    }
}
