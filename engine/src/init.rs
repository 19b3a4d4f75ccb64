//! Initial values of parameters and states.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Initial values of a parameter or state.
///
/// Random numbers come from ChaCha8, seeded with the seed of [`Session::initialize`](crate::Session::initialize), on
/// the stream whose number is the tensor's index in [`Graph::tensors`](crate::Graph::tensors). The values of a tensor
/// depend on nothing else. They are rounded to f32, so that every backend starts from the same numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// 0
    Zeros,
    /// 1
    Ones,
    /// A constant.
    Constant(f64),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

impl Init {
    /// PyTorch's default for the weight and bias of linear and convolution layers: uniform up to `1 / sqrt(fan_in)`.
    /// For the weight it is He's uniform initialization ("Delving Deep into Rectifiers", 2015) with negative slope
    /// `sqrt 5`.
    ///
    /// `fan_in` is the number of inputs of one output: `R S C / groups` of a convolution's weight `[R, S, C / groups,
    /// K]`.
    pub fn kaiming_uniform(fan_in: usize) -> Init {
        Init::Uniform { bound: 1.0 / (fan_in as f64).sqrt() }
    }

    /// Why it cannot be used, if it cannot.
    pub(crate) fn problem(self) -> Option<String> {
        match self {
            Init::Constant(value) if !value.is_finite() => Some(format!("the constant must be finite, not {value}")),
            Init::Uniform { bound } if !(bound.is_finite() && bound >= 0.0) => {
                Some(format!("the bound must be finite and at least 0, not {bound} (a fan-in of 0 gives infinity)"))
            }
            Init::Zeros | Init::Ones | Init::Constant(_) | Init::Uniform { .. } => None,
        }
    }

    /// The values of the tensor with number `stream`.
    pub(crate) fn values(self, len: usize, seed: u64, stream: u64) -> Vec<f64> {
        match self {
            Init::Zeros => vec![0.0; len],
            Init::Ones => vec![1.0; len],
            Init::Constant(value) => vec![round_to_f32(value); len],
            Init::Uniform { bound } => {
                let mut uniform = Uniform::new(seed, stream);
                (0..len).map(|_| round_to_f32(uniform.next(bound))).collect()
            }
        }
    }
}

/// The nearest f32, as f64.
pub(crate) fn round_to_f32(x: f64) -> f64 {
    f64::from(x as f32)
}

/// A seeded stream of uniform random numbers.
pub(crate) struct Uniform(ChaCha8Rng);

impl Uniform {
    pub(crate) fn new(seed: u64, stream: u64) -> Uniform {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Uniform(rng)
    }

    /// A number in `[-bound, bound)`, from the upper 53 bits of the next u64.
    pub(crate) fn next(&mut self, bound: f64) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        (2.0 * unit - 1.0) * bound
    }

    /// A number in `0..n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // The modulus is biased by less than n / 2^64.
        (self.0.next_u64() % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_fills_its_range_and_depends_on_seed_and_stream() {
        let init = Init::kaiming_uniform(4);
        assert_eq!(init, Init::Uniform { bound: 0.5 });
        let values = init.values(10_000, 7, 3);
        assert!(values.iter().all(|x| (-0.5..=0.5).contains(x) && *x == round_to_f32(*x)));
        let mean = values.iter().sum::<f64>() / 1e4;
        let var = values.iter().map(|x| x * x).sum::<f64>() / 1e4;
        // The standard errors are 0.003 and 0.0008.
        assert!(mean.abs() < 0.012 && (var - 1.0 / 12.0).abs() < 0.003, "mean {mean}, variance {var}");
        assert_eq!(values, init.values(10_000, 7, 3));
        assert_eq!(values[..10], init.values(10, 7, 3));
        assert_ne!(values[..10], init.values(10, 7, 4));
        assert_ne!(values[..10], init.values(10, 8, 3));
    }

    #[test]
    fn constants() {
        assert_eq!(Init::Zeros.values(2, 0, 0), [0.0, 0.0]);
        assert_eq!(Init::Ones.values(1, 0, 0), [1.0]);
        assert_eq!(Init::Constant(0.1).values(1, 0, 0), [f64::from(0.1f32)]);
    }
}
