//! Where in the image the error lies, as small colour pictures.

use super::runs::Run;
use crate::output::chart::ramp;
use crate::output::png;
use image::ExtendedColorType;

/// The error that the brightest colour stands for, which is the same in all maps of a report. One pixel in a hundred
/// may have a larger one.
pub(super) fn limit<'a>(runs: impl Iterator<Item = &'a Run>) -> f64 {
    let errors = runs.filter_map(|run| run.errors.as_ref());
    let mut pixels: Vec<f64> =
        errors.flat_map(|errors| &errors.halves).flat_map(|half| &half.pixels).copied().collect();
    pixels.retain(|error| error.is_finite());
    pixels.sort_unstable_by(f64::total_cmp);
    pixels.get(pixels.len() * 99 / 100).copied().unwrap_or(1.0).max(1e-6)
}

/// A square map of errors as a PNG file; `limit` and more are the brightest.
pub(super) fn map(pixels: &[f64], size: usize, limit: f64) -> Vec<u8> {
    let colors: Vec<u8> = pixels.iter().flat_map(|error| ramp(error / limit)).collect();
    png::encode(&colors, size as u32, size as u32, ExtendedColorType::Rgb8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_small_errors_dark_and_large_ones_bright() {
        let png = map(&[0.0, 0.5, 1.0, f64::NAN], 2, 0.5);
        let picture = image::load_from_memory(&png).unwrap().into_rgb8();
        let pixel = |x, y| picture.get_pixel(x, y).0;
        assert_eq!([pixel(0, 0), pixel(1, 0), pixel(0, 1)], [ramp(0.0), ramp(1.0), ramp(1.0)]);
        assert_eq!(limit(std::iter::empty()), 1.0);
    }
}
