//! `colorize`: the colours are missing.

use super::damage::{Damage, Damaged, Draws, Kind};
use std::fmt;

/// Colours become grey, as `--grey` turns them. Grey images stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colorize;

/// How bright red, green and blue are (Rec. 709), as in the crate `image`.
const LUMA: [f32; 3] = [0.2126, 0.7152, 0.0722];

impl Kind for Colorize {
    const FORM: &'static str = "colorize";
    const ABOUT: &'static str = "the colours are missing; only for images in colour";

    fn parse(parameters: &[&str]) -> Option<Colorize> {
        parameters.is_empty().then_some(Colorize)
    }
}

impl Damage for Colorize {
    fn apply(&self, image: &mut Damaged, _: &mut Draws) {
        if self.out_channels(image.channels) != image.channels {
            let luma = |[r, g, b]: &[f32; 3]| LUMA[0] * r + LUMA[1] * g + LUMA[2] * b;
            image.replace(image.pixels.as_chunks().0.iter().map(luma).collect());
        }
    }

    fn out_channels(&self, _: usize) -> usize {
        1
    }

    fn needs_colors(&self) -> bool {
        true
    }
}

impl fmt::Display for Colorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("colorize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{assert_close, damaged, image};

    #[test]
    fn colours_become_their_brightness() {
        let mut now = Damaged::new([1, 4], 3, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0; 3]].concat());
        Colorize.apply(&mut now, &mut Draws::of_validation(0));
        assert_eq!(now.channels, 1);
        assert_close(&now.pixels, &[0.2126, 0.7152, 0.0722, 1.0]);
        assert!(now.known.iter().all(|known| !known));
        let now = damaged("colorize", [4, 3], 1, 0);
        assert_eq!((now.channels, now.pixels), (1, image([4, 3], 1)));
    }

    #[test]
    fn grey_is_what_the_image_crate_makes_of_colours() {
        let bytes: Vec<u8> = (0..90u8).map(|i| i.wrapping_mul(37)).collect();
        let mut now = Damaged::new([5, 6], 3, bytes.iter().map(|value| f32::from(*value) / 255.0).collect());
        Colorize.apply(&mut now, &mut Draws::of_validation(0));
        let picture = image::DynamicImage::ImageRgb8(image::RgbImage::from_raw(6, 5, bytes).unwrap());
        let expected = picture.into_luma8().into_raw();
        assert!(now.pixels.iter().zip(expected).all(|(ours, theirs)| (ours * 255.0 - f32::from(theirs)).abs() < 1.01));
    }
}
