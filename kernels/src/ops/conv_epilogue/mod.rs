//! A convolution and its [epilogue](crate::epilogue) as one pass. Backwards, a convolution of normalized values, their
//! normalization and the epilogue before it. What follows a convolution is computed while its output is in the cache.
//!
//! # Forward
//!
//! ```text
//! z = conv(x) + bias          y = f(z) + skip_weight skip          mean, var = batch statistics of y
//! ```
//!
//! It computes what the two passes compute, bit for bit but for the statistics, whose sums have another order. It does
//! so block by block on the CPU if the convolution's algorithm is Winograd's. Otherwise, and on other backends, it runs
//! the two passes one after another.
//!
//! # Backward
//!
//! The passes from `dz`, the gradient of a layer's `z = conv(gamma xhat + beta)`, to that of the layer before:
//!
//! ```text
//! dW = gradient of the weight                g = conv^T(dz)
//! dgamma = sum g xhat    dbeta = sum g       a, b, c = coefficients of the gradient of x
//! total = a g + b (x - mean) + c + dy_weight dy          dz' = total f'(z')
//! ```
//!
//! One after another, they write `g` to memory and read it twice, since the coefficients are sums over all of it. But a
//! convolution is bilinear, so these sums follow from the gradient of the weight:
//!
//! ```text
//! sum of g xhat over pixels = sum over taps and output channels of W dWhat
//! sum of g over pixels      = sum over taps and output channels of W D
//! dW = gamma dWhat + beta D
//! ```
//!
//! `dWhat` is the gradient of the weight with `xhat` as the input, and `D[tap, k]` the sum of `dz[.., k]` over the
//! pixels where the tap meets the image, not its padding. So `g` need not be complete before the epilogue begins: it is
//! never stored. The CPU does this if the stride is 1, there is one group, and the algorithm is Winograd's; otherwise,
//! and on other backends, the four passes run one after another.
//!
//! `xhat` is read as `rstd x + shift`. The rounding of `shift` makes it `xhat + eps`, with the same `eps` in all pixels
//! of a channel. Where the mean is large, that would be the largest error by far. So `eps D` is subtracted from
//! `dWhat`.
//!
//! Aliasing: all operands are disjoint. In the forward pass, `z` is the same span as `y` if it is not wanted.

mod backward;
mod cpu;
mod forward;
mod norm_conv;
mod taps;
#[cfg(test)]
mod tests;

pub use backward::Backward;
pub(crate) use backward::MAX_OPERANDS;
pub use forward::Forward;
pub use norm_conv::NormConvBackward;
