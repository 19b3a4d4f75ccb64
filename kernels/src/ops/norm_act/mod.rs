//! A [batch normalization](crate::batch_norm) and the [activation](crate::activation) after it as one pass, with a skip
//! connection between them, as in a block of ResNet.
//!
//! ```text
//! forward    y = f(z + weight skip)     z = gamma (x - mean) rstd + beta
//! backward   dz = dy f'                 dgamma = sum dz xhat    dbeta = sum dz    dx = gradient of x
//! ```
//!
//! It computes what the passes compute one after another, and the CPU reads and writes memory less often: `z` and the
//! sum are not stored; and the sums of the backward pass are taken while `dz` is computed. The forward passes give the
//! same bits; the sums backwards have another order. On other backends, the passes run one after another.
//!
//! Aliasing: in the forward pass, `y` may be `x`. In the backward pass, `dz` may be `dy`. If `dz` is not wanted, it is
//! the same span as `dx`.

mod backward;
mod cpu;
mod forward;
#[cfg(test)]
mod tests;

pub use backward::Backward;
pub use forward::{Forward, Norm};
