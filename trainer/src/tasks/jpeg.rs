//! `jpeg`: the artefacts of JPEG files.

use super::damage::{Damage, Damaged, Draws, Kind};
use super::parameters::Range;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageFormat};
use std::fmt;

/// The image is stored as a JPEG file of this quality, grey or with colours at full resolution, and read again. Values
/// are cut off at black and white and rounded to 8 bits before. Of a range, each image draws its own quality.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Jpeg {
    quality: Range<u32>,
}

impl Kind for Jpeg {
    const FORM: &'static str = "jpeg:QUALITY";
    const ABOUT: &'static str = "stored as a JPEG file of quality 1 to 100: jpeg:10..40";

    fn parse(parameters: &[&str]) -> Option<Jpeg> {
        let [quality] = parameters else { return None };
        Some(Jpeg { quality: Range::parse(quality, 1u32..=100)? })
    }
}

impl Damage for Jpeg {
    /// # Panics
    /// If a side of the image is longer than a JPEG file can have: 65,535 pixels.
    fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        let bytes: Vec<u8> = image.pixels.iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        let is_grey = image.channels == 1;
        let color = if is_grey { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, self.quality.draw(draws) as u8)
            .encode(&bytes, image.width as u32, image.height as u32, color)
            .expect("a side of at most 65535 pixels");
        let stored = image::load_from_memory_with_format(&file, ImageFormat::Jpeg).expect("a file as it was written");
        let bytes = if is_grey { stored.into_luma8().into_raw() } else { stored.into_rgb8().into_raw() };
        image.replace(bytes.iter().map(|value| f32::from(*value) / 255.0).collect());
    }
}

impl fmt::Display for Jpeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jpeg:{}", self.quality)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::psnr;
    use crate::tasks::tests::{damaged, smooth};

    #[test]
    fn the_higher_the_quality_the_closer_the_image() {
        for channels in [1, 3] {
            let before = smooth([37, 50], channels);
            let of = |quality: u32, place| {
                let mut now = Damaged::new([37, 50], channels, before.clone());
                Jpeg { quality: Range::new(quality, quality) }.apply(&mut now, &mut Draws::of_validation(place));
                assert_eq!(now.channels, channels);
                assert!(now.pixels.iter().all(|value| (value * 255.0 - (value * 255.0).round()).abs() < 1e-4));
                psnr(&now.pixels, &before)
            };
            let [worst, medium, best] = [1, 30, 100].map(|quality| of(quality, 0));
            assert!(worst < 25.0 && medium > worst + 5.0 && best > medium + 5.0, "{worst} {medium} {best}");
            assert_eq!(of(30, 1), medium, "a fixed quality draws nothing");
        }
    }

    #[test]
    fn a_block_of_one_value_keeps_it() {
        let mut now = Damaged::new([8, 16], 1, vec![-1.0; 128]);
        now.pixels[64..].fill(-0.2);
        Jpeg::parse(&["50"]).unwrap().apply(&mut now, &mut Draws::of_validation(0));
        assert_eq!(now.pixels, [0.0; 128]);
        let mut now = Damaged::new([8, 8], 3, vec![3.0; 192]);
        Jpeg::parse(&["50"]).unwrap().apply(&mut now, &mut Draws::of_validation(0));
        assert_eq!(now.pixels, [1.0; 192]);
    }

    #[test]
    fn images_draw_their_own_quality_of_a_range() {
        let same = |place| damaged("jpeg:20..22", [16, 16], 1, place).pixels;
        let mut kinds: Vec<Vec<f32>> = (0..40).map(same).collect();
        kinds.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
        kinds.dedup();
        assert_eq!(kinds.len(), 3);
    }
}
