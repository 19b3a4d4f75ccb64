//! From a drawing to SVG and PNG files.

use super::PlotError;
use crate::system::files::write_bytes;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage, imageops};
use plotters::backend::RGBPixel;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::path::Path;
use std::sync::Once;

/// Width and height of the SVG picture, in its units.
const SIZE: (u32, u32) = (900, 540);

/// Pixels of the PNG picture for a unit of the SVG picture.
const DENSITY: u32 = 2;

/// The PNG picture is drawn this many times as large and then reduced, which smooths its edges.
const OVERSAMPLING: u32 = 2;

pub(crate) const TEXT: RGBColor = RGBColor(40, 40, 40);
pub(crate) const GRID: RGBColor = RGBColor(225, 225, 225);

/// How the library's pixels relate to the picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canvas {
    /// Pixels for a unit of [`SIZE`].
    pub(crate) unit: u32,
    /// Whether the pieces of a line are drawn joined.
    pub(crate) joints: bool,
}

/// Something that can be drawn.
pub(crate) trait Figure {
    /// Draws it.
    ///
    /// # Errors
    /// If there is nothing to draw, or the library fails.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, canvas: Canvas) -> Result<(), PlotError>;

    /// Writes it as an SVG file. Its text is set in the viewer's sans-serif font.
    fn save_svg(&self, path: &Path) -> Result<(), PlotError> {
        Ok(write_bytes(path, self.svg()?.as_bytes())?)
    }

    /// Writes it as a PNG file.
    fn save_png(&self, path: &Path) -> Result<(), PlotError> {
        let picture = self.render()?;
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive)
            .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
            .map_err(|error| PlotError::Draw(error.to_string()))?;
        Ok(write_bytes(path, &png)?)
    }

    /// The SVG file.
    fn svg(&self) -> Result<String, PlotError> {
        register_text_font();
        let (width, height) = (SIZE.0 * OVERSAMPLING, SIZE.1 * OVERSAMPLING);
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        self.draw(&area, Canvas { unit: OVERSAMPLING, joints: true })?;
        drop(area);
        // The library places points on whole units only. So they are made small, and the picture is shown at its right size.
        let drawn = format!("width=\"{width}\" height=\"{height}\" viewBox");
        let shown = format!("width=\"{}\" height=\"{}\" viewBox", SIZE.0, SIZE.1);
        Ok(svg.replacen(&drawn, &shown, 1))
    }

    /// The pixels of the PNG file.
    fn render(&self) -> Result<RgbImage, PlotError> {
        register_text_font();
        let unit = DENSITY * OVERSAMPLING;
        let mut large = RgbImage::new(SIZE.0 * unit, SIZE.1 * unit);
        let size = large.dimensions();
        let area = BitMapBackend::<RGBPixel>::with_buffer(&mut large, size).into_drawing_area();
        // The library would draw the sharp joints of a wide line as long spikes.
        self.draw(&area, Canvas { unit, joints: false })?;
        drop(area);
        Ok(imageops::thumbnail(&large, SIZE.0 * DENSITY, SIZE.1 * DENSITY))
    }
}

/// Makes the embedded font known to the plotting library, which then needs none of the system's.
fn register_text_font() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // It fails only for a damaged font file, and then drawing says that there is no font.
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
    });
}
