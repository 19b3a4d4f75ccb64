//! Random numbers that are a pure function of a seed, a purpose and a position, so that a resumed run needs no state of
//! a generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What numbers are drawn for. Different purposes share no numbers under one seed.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Shuffle,
    Crop,
    ValidationCrop,
    Patch,
    Damage,
    ValidationDamage,
    Split,
}

/// The ChaCha8 generator of `seed` and `purpose`, at position 0 of `stream`.
///
/// The layout of the key is defined here, and draws use only raw 32-bit words, so that an update of a crate cannot
/// change a run.
pub(crate) fn generator(seed: u64, purpose: Purpose, stream: u64) -> ChaCha8Rng {
    let purpose: &[u8; 8] = match purpose {
        Purpose::Shuffle => b"shuffle ",
        Purpose::Crop => b"crop    ",
        Purpose::ValidationCrop => b"validate",
        Purpose::Patch => b"patch   ",
        Purpose::Damage => b"damage  ",
        Purpose::ValidationDamage => b"valdamag",
        Purpose::Split => b"split   ",
    };
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(purpose);
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(stream);
    generator
}

/// A number below `bound`, every one equally likely.
///
/// Lemire, "Fast random integer generation in an interval" (2019): the high word of a product, where the low word is
/// not one of the `2^32 mod bound` values that would favour some results.
pub(crate) fn below(generator: &mut ChaCha8Rng, bound: u32) -> u32 {
    let surplus = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(generator.next_u32()) * u64::from(bound);
        if product as u32 >= surplus {
            return (product >> 32) as u32;
        }
    }
}

/// Fisher and Yates' shuffle: every order is equally likely.
pub(super) fn shuffle<T>(items: &mut [T], generator: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(generator, last as u32 + 1) as usize);
    }
}

/// A number from 0 to less than 1, in steps of 2^-32.
pub(crate) fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    f64::from(generator.next_u32()) * 2f64.powi(-32)
}

/// Two independent numbers of the normal distribution of mean 0 and deviation 1 (Box and Muller, 1958).
pub(crate) fn normal_pair(generator: &mut ChaCha8Rng) -> [f64; 2] {
    // Above 0, so that its logarithm is finite.
    let radius = (-2.0 * ((f64::from(generator.next_u32()) + 0.5) * 2f64.powi(-32)).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * uniform(generator)).sin_cos();
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_bound_is_equally_likely() {
        let mut generator = generator(1, Purpose::Crop, 0);
        for bound in [1, 2, 3, 7, 10] {
            let mut counts = vec![0u32; bound as usize];
            for _ in 0..10_000 * bound {
                counts[below(&mut generator, bound) as usize] += 1;
            }
            // The standard deviation of a count is below 100.
            assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 450), "{bound}: {counts:?}");
        }
    }

    #[test]
    fn large_bounds_are_not_biased() {
        // Of 3 * 2^30, plain scaling would give every third number twice as often as the others.
        let mut generator = generator(2, Purpose::Crop, 0);
        let bound = 3 << 30;
        let mut counts = [0u32; 3];
        for _ in 0..30_000 {
            let number = below(&mut generator, bound);
            assert!(number < bound);
            counts[(number % 3) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 450), "{counts:?}");
    }

    #[test]
    fn seeds_purposes_and_streams_differ() {
        let first = |seed, purpose, stream| generator(seed, purpose, stream).next_u64();
        let draws = [
            first(0, Purpose::Crop, 0),
            first(1, Purpose::Crop, 0),
            first(0, Purpose::Shuffle, 0),
            first(0, Purpose::ValidationCrop, 0),
            first(0, Purpose::Crop, 1),
        ];
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[..i].iter().all(|b| a != b), "{draws:?}");
        }
    }
}
