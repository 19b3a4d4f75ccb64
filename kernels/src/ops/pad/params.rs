//! [`PadParams`]: the shapes of a padding.

/// Shape of a padding from `[n,h0,w0,c]` to `[n,h1,w1,c]`, with `h1 >= h0` and `w1 >= w0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PadParams {
    /// Images.
    pub n: usize,
    /// Height of the input.
    pub h0: usize,
    /// Width of the input.
    pub w0: usize,
    /// Height of the output.
    pub h1: usize,
    /// Width of the output.
    pub w1: usize,
    /// Channels.
    pub c: usize,
}
