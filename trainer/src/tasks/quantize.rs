//! `quantize`: few levels of grey.

use super::damage::{Damage, Damaged, Draws, Kind};
use super::parameters::Range;
use std::fmt;

/// Every channel is rounded to one of this number of levels, which are at equal distances from black to white; halves
/// are rounded up. Values beyond black and white become these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantize {
    levels: Range<u32>,
}

impl Kind for Quantize {
    const FORM: &'static str = "quantize:LEVELS";
    const ABOUT: &'static str = "2 to 255 levels of grey, or of each colour: quantize:4";

    fn parse(parameters: &[&str]) -> Option<Quantize> {
        let [levels] = parameters else { return None };
        Some(Quantize { levels: Range::parse(levels, 2u32..=255)? })
    }
}

impl Damage for Quantize {
    fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        let steps = (self.levels.draw(draws) - 1) as f32;
        image.pixels.iter_mut().for_each(|value| *value = (value.clamp(0.0, 1.0) * steps).round() / steps);
        image.known.fill(false);
    }
}

impl fmt::Display for Quantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quantize:{}", self.levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{damaged, image};
    use std::collections::BTreeSet;

    #[test]
    fn values_are_rounded_to_the_nearest_level() {
        let quantize = Quantize::parse(&["3"]).unwrap();
        let values = vec![-0.5, 0.0, 0.2, 0.25, 0.49, 0.74, 0.75, 1.0, 7.0];
        let mut now = Damaged::new([1, 3], 3, values);
        quantize.apply(&mut now, &mut Draws::of_validation(0));
        assert_eq!(now.pixels, [0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]);
        for channels in [1, 3] {
            for levels in [2, 5, 255] {
                let now = damaged(&format!("quantize:{levels}"), [23, 31], channels, 0);
                let half_a_level = 0.5 / (levels - 1) as f32 + 1e-6;
                let before = image([23, 31], channels);
                assert!(now.pixels.iter().zip(&before).all(|(now, before)| (now - before).abs() <= half_a_level));
                let kinds: BTreeSet<u32> = now.pixels.iter().map(|value| value.to_bits()).collect();
                assert!(kinds.len() <= levels, "{} of {levels}", kinds.len());
            }
        }
    }

    #[test]
    fn images_draw_their_own_levels_of_a_range() {
        let kinds = |place| {
            let pixels = damaged("quantize:2..4", [23, 31], 1, place).pixels;
            pixels.iter().map(|value| value.to_bits()).collect::<BTreeSet<u32>>().len()
        };
        assert_eq!((0..50).map(kinds).collect::<BTreeSet<usize>>(), BTreeSet::from([2, 3, 4]));
    }
}
