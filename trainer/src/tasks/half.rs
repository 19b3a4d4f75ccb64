//! The halves of an image, and which of them is missing.

use crate::data::random::{Purpose, generator};
use rand_chacha::rand_core::Rng;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

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

    /// Its rows and its columns in an image of `height` x `width` pixels.
    pub(crate) fn area(self, [height, width]: [usize; 2]) -> [Range<usize>; 2] {
        match self {
            Half::Left => [0..height, 0..width / 2],
            Half::Right => [0..height, width / 2..width],
            Half::Top => [0..height / 2, 0..width],
            Half::Bottom => [height / 2..height, 0..width],
        }
    }

    /// For each pixel of an image, whether it is in the half.
    pub(crate) fn pixels(self, [height, width]: [usize; 2]) -> Vec<bool> {
        let [rows, columns] = self.area([height, width]);
        (0..height * width).map(|i| rows.contains(&(i / width)) && columns.contains(&(i % width))).collect()
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

    #[test]
    fn halves_are_told_by_their_pixels() {
        let of = |half: Half| half.pixels([3, 3]).into_iter().map(u8::from).collect::<Vec<_>>();
        assert_eq!(of(Half::Left), [1, 0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(of(Half::Right), [0, 1, 1, 0, 1, 1, 0, 1, 1]);
        assert_eq!(of(Half::Top), [1, 1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of(Half::Bottom), [0, 0, 0, 1, 1, 1, 1, 1, 1]);
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
        fn opposite_halves_make_the_whole(height in 1usize..40, width in 1usize..40) {
            for (a, b, count) in [
                (Half::Left, Half::Right, height * (width / 2)),
                (Half::Top, Half::Bottom, (height / 2) * width),
            ] {
                let [a, b] = [a, b].map(|half| half.pixels([height, width]));
                prop_assert!(a.iter().zip(&b).all(|(a, b)| a != b));
                prop_assert_eq!(a.iter().filter(|&&missing| missing).count(), count);
            }
        }
    }
}
