//! Where in the image the error lies, as small colour pictures.

use super::chart::ramp;
use super::runs::Run;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// The error that the brightest colour stands for: the same in all pictures of a report. One pixel in a hundred may have more.
pub(super) fn limit<'a>(runs: impl Iterator<Item = &'a Run>) -> f64 {
    let errors = runs.filter_map(|run| run.errors.as_ref());
    let mut pixels: Vec<f64> =
        errors.flat_map(|errors| &errors.halves).flat_map(|half| &half.pixels).copied().collect();
    pixels.retain(|error| error.is_finite());
    pixels.sort_unstable_by(f64::total_cmp);
    pixels.get(pixels.len() * 99 / 100).copied().unwrap_or(1.0).max(1e-6)
}

/// A square map of errors as a PNG file; `limit` and more are the brightest.
pub(super) fn png(pixels: &[f64], size: usize, limit: f64) -> Vec<u8> {
    let colors: Vec<u8> = pixels.iter().flat_map(|error| ramp(error / limit)).collect();
    let mut file = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive);
    encoder.write_image(&colors, size as u32, size as u32, ExtendedColorType::Rgb8).expect("writing to memory");
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_small_errors_dark_and_large_ones_bright() {
        let png = png(&[0.0, 0.5, 1.0, f64::NAN], 2, 0.5);
        let picture = image::load_from_memory(&png).unwrap().into_rgb8();
        let pixel = |x, y| picture.get_pixel(x, y).0;
        assert_eq!([pixel(0, 0), pixel(1, 0), pixel(0, 1)], [ramp(0.0), ramp(1.0), ramp(1.0)]);
        assert_eq!(limit(std::iter::empty()), 1.0);
    }
}
