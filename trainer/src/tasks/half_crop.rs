//! The task: one half of the image is missing, and the network is to restore it.

use std::fmt;
use std::str::FromStr;

use rand_chacha::rand_core::Rng;

use crate::data::random::{Purpose, generator};

/// Seed of the crops of the validation images. They are the same in every run, whatever its seed, so that validation
/// losses can be compared.
const VALIDATION_SEED: u64 = 0;

/// The half of an image that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// Columns below `size / 2`.
    Left,
    /// Columns from `size / 2`.
    Right,
    /// Rows below `size / 2`.
    Top,
    /// Rows from `size / 2`.
    Bottom,
}

impl Half {
    /// All halves, in the order of the draws.
    pub const ALL: [Half; 4] = [Half::Left, Half::Right, Half::Top, Half::Bottom];

    /// The missing half of the training sample at `position` of the run: all equally likely, and independent of each
    /// other.
    pub fn drawn(seed: u64, position: u64) -> Half {
        Half::draw(seed, Purpose::Crop, position)
    }

    /// The missing half of validation image `image`.
    pub fn of_validation_image(image: usize) -> Half {
        Half::draw(VALIDATION_SEED, Purpose::ValidationCrop, image as u64)
    }

    /// Two bits of word `position` of the generator's stream.
    fn draw(seed: u64, purpose: Purpose, position: u64) -> Half {
        let mut random = generator(seed, purpose, 0);
        random.set_word_pos(u128::from(position));
        Half::ALL[(random.next_u32() >> 30) as usize]
    }

    /// Sets the half of the square image `pixels[size][size]` to 0.
    ///
    /// # Panics
    /// If `pixels` does not have `size * size` elements.
    pub fn blank<T: Copy + Default>(self, pixels: &mut [T], size: usize) {
        assert_eq!(pixels.len(), size * size, "pixels of an image of {size} x {size}");
        let middle = size / 2;
        let (rows, columns) = match self {
            Half::Left => (0..size, 0..middle),
            Half::Right => (0..size, middle..size),
            Half::Top => (0..middle, 0..size),
            Half::Bottom => (middle..size, 0..size),
        };
        for row in rows {
            pixels[row * size..][columns.clone()].fill(T::default());
        }
    }
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Half::Left => "left",
            Half::Right => "right",
            Half::Top => "top",
            Half::Bottom => "bottom",
        })
    }
}

/// The text is not the name of a half.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected left, right, top or bottom, got `{0}`")]
pub struct UnknownHalf(String);

impl FromStr for Half {
    type Err = UnknownHalf;

    fn from_str(name: &str) -> Result<Half, UnknownHalf> {
        let found = Half::ALL.into_iter().find(|half| half.to_string() == name);
        found.ok_or_else(|| UnknownHalf(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blanked(half: Half, size: usize) -> Vec<u8> {
        let mut pixels = vec![1; size * size];
        half.blank(&mut pixels, size);
        pixels
    }

    #[test]
    fn the_missing_half_is_zero_and_the_rest_is_kept() {
        assert_eq!(blanked(Half::Left, 3), [0, 1, 1, 0, 1, 1, 0, 1, 1]);
        assert_eq!(blanked(Half::Right, 3), [1, 0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(blanked(Half::Top, 3), [0, 0, 0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(blanked(Half::Bottom, 3), [1, 1, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn names_are_read_back() {
        for half in Half::ALL {
            assert_eq!(half.to_string().parse(), Ok(half));
        }
        assert_eq!("Left".parse::<Half>().unwrap_err().to_string(), "expected left, right, top or bottom, got `Left`");
    }

    #[test]
    fn draws_are_uniform_and_uncorrelated() {
        let draws: Vec<Half> = (0..40_000).map(|position| Half::drawn(9, position)).collect();
        for a in Half::ALL {
            let count = draws.iter().filter(|&&half| half == a).count();
            assert!(count.abs_diff(10_000) < 400, "{a}: {count}");
            for b in Half::ALL {
                let pairs = draws.windows(2).filter(|pair| *pair == [a, b]).count();
                assert!(pairs.abs_diff(2500) < 250, "{a} then {b}: {pairs}");
            }
        }
        let of_another_seed = (0..40_000).filter(|&i| Half::drawn(10, i) == draws[i as usize]).count();
        assert!(of_another_seed.abs_diff(10_000) < 400, "{of_another_seed} draws of two seeds agree");
    }

    #[test]
    fn draws_are_pinned() {
        // A change would make old runs impossible to repeat, and validation losses incomparable. An independent
        // implementation of ChaCha8 gave these, too.
        let code = |half: Half| half as usize;
        let training: Vec<usize> = (179_990..180_000).map(|position| code(Half::drawn(0, position))).collect();
        let validation: Vec<usize> = (0..10).map(|image| code(Half::of_validation_image(image))).collect();
        assert_eq!(training, [2, 1, 3, 3, 1, 3, 1, 1, 2, 2]);
        assert_eq!(validation, [0, 1, 3, 3, 3, 3, 0, 3, 1, 3]);
    }

    proptest! {
        #[test]
        fn opposite_halves_make_the_whole(size in 1usize..40) {
            for (a, b) in [(Half::Left, Half::Right), (Half::Top, Half::Bottom)] {
                let (a, b) = (blanked(a, size), blanked(b, size));
                prop_assert!(a.iter().zip(&b).all(|(a, b)| a + b == 1));
                prop_assert_eq!(a.iter().filter(|&&kept| kept == 0).count(), size * (size / 2));
            }
        }
    }
}
