//! Launches the kernels of `concat.cu`.

use super::MAX_PARTS;
use super::params::ChannelsParams;
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};
use crate::pass::Write;

kernels!("concat" {
    concat_forward: 256 (Parts, u32, Ptr),
    concat_slice: 256 (Channels, Ptr, Ptr, u32),
    concat_embed: 256 (Channels, Ptr, Ptr, u32),
});

/// `Parts` in concat.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    x: [Ptr; MAX_PARTS],
    end: [u32; MAX_PARTS],
}

// SAFETY: `Parts` in concat.cu has the same fields.
unsafe impl Arg for Parts {}

/// `Channels` in concat.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    rows: u32,
    wide: u32,
    begin: u32,
    narrow: u32,
}

// SAFETY: `Channels` in concat.cu has the same fields.
unsafe impl Arg for Channels {}

impl From<&ChannelsParams> for Channels {
    fn from(p: &ChannelsParams) -> Channels {
        let [rows, wide, begin, narrow] = [p.rows, p.wide, p.begin, p.narrow].map(|size| size as u32);
        Channels { rows, wide, begin, narrow }
    }
}

impl Kernels {
    /// `y[r, begin_i + c] = x_i[r, c]`
    pub(super) fn concat(&self, device: &Device, parts: [Slice; MAX_PARTS], channels: [usize; MAX_PARTS], y: Slice) {
        let mut end = 0;
        let ends = channels.map(|channels| {
            end += channels as u32;
            end
        });
        let args = (Parts { x: parts.map(|part| part.ptr), end: ends }, y.len as u32, y.ptr);
        // SAFETY: the lengths are those that the channels say, as the check of the pass asserts; parts that are absent
        // have no channels.
        unsafe { self.concat_forward.launch(device, [y.len.div_ceil(BLOCK), 1, 1], args) }
    }

    /// `y[r, c] (+)= x[r, begin + c]`
    pub(super) fn slice(&self, device: &Device, p: &ChannelsParams, x: Slice, y: Slice, write: Write) {
        let args = (p.into(), x.ptr, y.ptr, u32::from(write == Write::Add));
        // SAFETY: the lengths are those that `p` says, as the check of the pass asserts.
        unsafe { self.concat_slice.launch(device, [y.len.div_ceil(BLOCK), 1, 1], args) }
    }

    /// `y[r, begin + c] (+)= x[r, c]`, else `(+)= 0`
    pub(super) fn embed(&self, device: &Device, p: &ChannelsParams, x: Slice, y: Slice, write: Write) {
        let args = (p.into(), x.ptr, y.ptr, u32::from(write == Write::Add));
        // SAFETY: as above.
        unsafe { self.concat_embed.launch(device, [y.len.div_ceil(BLOCK), 1, 1], args) }
    }
}
