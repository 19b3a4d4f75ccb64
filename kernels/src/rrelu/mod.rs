//! RReLU: a rectifier whose slope below 0 is drawn at random, for every element and in every step.
//!
//! ```text
//! y = x       where x > 0      dx = dy
//! y = s_i x   elsewhere        dx = s_i dy
//!
//! s_i = (2^21 + floor(3495254 w_i / 2^32)) / 2^24, from 1/8 to just below 1/3,  w_i uniform in 0..2^32
//! s_i = 11/48                                                                  where nothing is drawn
//! ```
//!
//! `w_i` is a word of [`random`](crate::random): elements `i` and `i + 64` of a block of 128 share a call, whose counter is 64 times
//! the number of the block plus `i` of the block. All of it is whole numbers but for the last division, which is exact: with the same key,
//! element `i` has the same slope on every backend, and in the backward pass the slope that it had in the forward pass.
//!
//! `s_i` has one of 3495254 values, all equally probable but for one part in a thousand. Their mean is 11/48 within 2^-24.
//!
//! All operands are of equal length. Aliasing: `y` may be `x` itself; `dx` may be `dy` itself if it is set; `x` is disjoint from `dx`.
//! Source: Xu et al., "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015; `torch.nn.RReLU()` with its
//! defaults, which draws other numbers of the same distribution.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::random::Key;
use crate::{Span, Write};

/// The slope where nothing is drawn: the mean of 1/8 and 1/3.
pub const MEAN: f64 = 11.0 / 48.0;

/// Elements of a block of which two each share a call of the generator.
const HALF: usize = 64;

/// Elements of a block.
const BLOCK: usize = 2 * HALF;

/// What elements that are not above 0 are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slopes {
    /// Numbers drawn from a key: training.
    Random {
        /// The key.
        key: Key,
        /// Number of the first element. More than 0 where the operands are a part of a batch: it has the numbers of the whole one.
        first: u64,
    },
    /// [`MEAN`]: evaluation.
    Mean,
}

/// Operands of [`Backend::rrelu_forward`](crate::Backend::rrelu_forward), of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Input.
    pub x: Span,
    /// Output; may be `x`.
    pub y: Span,
}

impl Forward {
    /// Asserts the lengths.
    pub(crate) fn check(&self) {
        assert_eq!(self.x.len, self.y.len, "lengths of {self:?}");
    }
}

/// Operands of [`Backend::rrelu_backward`](crate::Backend::rrelu_backward), of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Input of the forward pass.
    pub x: Span,
    /// Gradient of the output.
    pub dy: Span,
    /// Gradient of the input; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Backward {
    /// Asserts the lengths, and what may alias what.
    pub(crate) fn check(&self) {
        assert!(self.x.len == self.dx.len && self.dy.len == self.dx.len, "lengths of {self:?}");
        let is_set = self.write == Write::Set;
        assert!(!self.dx.overlaps(&self.dy) || is_set, "an aliased gradient is set, not added to");
    }
}

impl Slopes {
    /// Number of the first element.
    fn first(self) -> u64 {
        match self {
            Slopes::Random { first, .. } => first,
            Slopes::Mean => 0,
        }
    }

    /// The slopes of block `block`, of elements `block * BLOCK` and following. A loop that compilers turn into one over vectors.
    #[inline(always)]
    fn of_block(self, block: u64, slopes: &mut [f32; BLOCK]) {
        let key = match self {
            Slopes::Random { key, .. } => key,
            Slopes::Mean => return slopes.fill(MEAN as f32),
        };
        let first = block * HALF as u64;
        // `first` is a multiple of HALF: adding less carries nothing into the upper half
        let (lo, hi) = (first as u32, (first >> 32) as u32);
        let (low, high) = slopes.split_at_mut(HALF);
        for (i, (low, high)) in low.iter_mut().zip(high).enumerate() {
            let [a, b] = key.words(lo + i as u32, hi);
            (*low, *high) = (slope_of(a), slope_of(b));
        }
    }
}

/// `(2^21 + floor(3495254 word / 2^32)) / 2^24`
#[inline(always)]
fn slope_of(word: u32) -> f32 {
    let numerator = (1 << 21) + ((u64::from(word) * 3_495_254) >> 32) as i32;
    numerator as f32 * (1.0 / 16_777_216.0)
}
