//! PNG files.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// The PNG file of a picture, from its rows of pixels.
///
/// # Panics
/// If `pixels` has another length than a picture of this size and `color`.
pub(crate) fn encode(pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive);
    encoder.write_image(pixels, width, height, color).expect("writing to memory");
    file
}
