//! `half-crop`: one half of the image is missing.

use super::damage::{Damage, Damaged, Draws, Kind};
use std::fmt;

/// One of four halves, drawn for each image, becomes black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HalfCrop;

impl Kind for HalfCrop {
    const FORM: &'static str = "half-crop";
    const ABOUT: &'static str = "one of four halves is missing";

    fn parse(parameters: &[&str]) -> Option<HalfCrop> {
        parameters.is_empty().then_some(HalfCrop)
    }
}

impl Damage for HalfCrop {
    fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        image.blank_area(draws.half().area([image.height, image.width]));
    }

    fn is_mask(&self) -> bool {
        true
    }
}

impl fmt::Display for HalfCrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half-crop")
    }
}

#[cfg(test)]
mod tests {
    use crate::tasks::Half;
    use crate::tasks::tests::{damaged, image};

    #[test]
    fn the_half_of_the_draws_is_zero_and_the_rest_is_kept() {
        let mut halves = Vec::new();
        for (size, channels) in [([5, 8], 1), ([8, 5], 3)] {
            for place in 0..20 {
                let (now, before) = (damaged("half-crop", size, channels, place), image(size, channels));
                let half = Half::of_validation_image(place as usize);
                let missing = half.pixels(size);
                assert!(missing.iter().zip(&now.known).all(|(missing, known)| missing != known));
                for (pixel, missing) in missing.into_iter().enumerate() {
                    let [now, before] = [&now.pixels, &before].map(|all| &all[pixel * channels..][..channels]);
                    assert_eq!(now, if missing { &[0.0; 3][..channels] } else { before });
                }
                halves.push(half);
            }
        }
        assert!(Half::ALL.iter().all(|half| halves.contains(half)));
    }
}
