//! `pixels`: single pixels are missing.

use super::damage::{Damage, Damaged, Draws, Kind};
use super::parameters::Range;
use std::fmt;

/// Pixels become black in all their channels, each with this probability, independently of the others. Of a range, each
/// image draws its own probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pixels {
    share: Range,
}

impl Kind for Pixels {
    const FORM: &'static str = "pixels:SHARE";
    const ABOUT: &'static str = "a share of the pixels, 0 to 1, is missing: pixels:0.5";

    fn parse(parameters: &[&str]) -> Option<Pixels> {
        let [share] = parameters else { return None };
        Some(Pixels { share: Range::parse(share, 0.0..=1.0)? })
    }
}

impl Damage for Pixels {
    fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        let share = self.share.draw(draws);
        for row in 0..image.height {
            for column in 0..image.width {
                if draws.between(0.0, 1.0) < share {
                    image.blank(row, column);
                }
            }
        }
    }

    fn is_mask(&self) -> bool {
        true
    }
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pixels:{}", self.share)
    }
}

#[cfg(test)]
mod tests {
    use crate::tasks::tests::{damaged, image};

    #[test]
    fn whole_pixels_are_missing_each_by_itself() {
        for channels in [1, 3] {
            let now = damaged("pixels:0.3", [120, 80], channels, 7);
            let missing = now.known.iter().filter(|known| !**known).count();
            // The standard deviation is 45.
            assert!(missing.abs_diff(2880) < 180, "{missing} of 9600");
            let together = now.known.windows(2).filter(|pair| *pair == [false, false]).count();
            assert!(together.abs_diff(864) < 150, "{together} pairs of 9599");
            let before = image([120, 80], channels);
            let pixels = now.pixels.chunks(channels).zip(before.chunks(channels));
            for ((now, before), known) in pixels.zip(&now.known) {
                assert_eq!(now, if *known { before } else { &[0.0; 3][..channels] });
            }
        }
        assert!(damaged("pixels:0", [9, 8], 3, 0).known.iter().all(|known| *known));
        assert!(damaged("pixels:1", [9, 8], 3, 0).known.iter().all(|known| !*known));
    }

    #[test]
    fn images_draw_their_own_share_of_a_range() {
        let shares: Vec<f64> = (0..200)
            .map(|place| {
                let known = damaged("pixels:0.2..0.6", [50, 40], 1, place).known;
                known.iter().filter(|known| !**known).count() as f64 / 2000.0
            })
            .collect();
        let [low, high] = [f64::min, f64::max].map(|of| shares.iter().copied().reduce(of).unwrap());
        assert!((0.15..0.25).contains(&low) && (0.55..0.65).contains(&high), "{low} to {high}");
    }

    #[test]
    fn draws_are_pinned() {
        // A change would make old runs impossible to repeat, and validations incomparable. An independent
        // implementation of ChaCha8 gave these, too.
        let missing = |place| {
            let known = damaged("pixels:0.5", [2, 8], 1, place).known;
            known.iter().fold(0u32, |bits, known| bits * 2 + u32::from(!known))
        };
        assert_eq!([0, 1, 2].map(missing), [2891, 47396, 26452]);
    }
}
