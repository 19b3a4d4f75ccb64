//! Pictures: grids of reconstructions, and images of the user's to restore.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageDecoder, ImageEncoder, ImageReader, Limits, Luma};

use crate::files::{FileError, write_atomic};

/// Images of a batch as the study shows them: in rows of 8, above each other what the network gets, what it makes of that, and, on
/// request, what it should have been.
///
/// All arrays are `[N][size][size]`, with 0 for black and 1 for white; what is beyond is cut off.
#[derive(Clone, Copy, Debug)]
pub struct Reconstructions<'a> {
    /// Side of the images in pixels.
    pub size: usize,
    /// Input of the network: images with a half missing.
    pub input: &'a [f32],
    /// Output of the network.
    pub output: &'a [f32],
    /// The true images, for a third row under the two.
    pub truth: Option<&'a [f32]>,
}

/// How a grid of images is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Images in a row.
    pub columns: usize,
    /// Side of the square that shows a pixel.
    pub scale: usize,
    /// Width of the lines between images, in pixels of the picture.
    pub gap: usize,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { columns: 8, scale: 3, gap: 3 }
    }
}

/// Brightness of the lines between images.
const GAP_LEVEL: u8 = 96;

impl Reconstructions<'_> {
    /// The picture. It has a group of two (or three) rows for every `layout.columns` images.
    ///
    /// # Panics
    /// If the arrays are empty, differ in length or do not hold whole images, or the layout has a zero for `columns` or `scale`.
    pub fn render(&self, layout: Layout) -> GrayImage {
        let pixels = self.size * self.size;
        let sources: Vec<&[f32]> = [Some(self.input), Some(self.output), self.truth].into_iter().flatten().collect();
        for source in &sources {
            assert_eq!(source.len(), self.input.len(), "elements of the images to show");
        }
        assert!(!self.input.is_empty() && self.input.len().is_multiple_of(pixels), "whole images of {pixels} pixels");
        let groups = (self.input.len() / pixels).div_ceil(layout.columns);
        let cell = self.size * layout.scale + layout.gap;
        let width = layout.columns * cell + layout.gap;
        let height = groups * sources.len() * cell + layout.gap;
        let mut picture = GrayImage::from_pixel(width as u32, height as u32, Luma([GAP_LEVEL]));
        for (row, source) in sources.iter().enumerate() {
            for (i, image) in source.chunks_exact(pixels).enumerate() {
                let left = (i % layout.columns) * cell + layout.gap;
                let top = (i / layout.columns * sources.len() + row) * cell + layout.gap;
                let image = enlarged(image, self.size, layout.scale);
                imageops::replace(&mut picture, &image, left as i64, top as i64);
            }
        }
        picture
    }

    /// Writes the picture as a PNG file.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    ///
    /// # Panics
    /// As [`render`](Self::render).
    pub fn save(&self, path: &Path, layout: Layout) -> Result<(), FileError> {
        write_atomic(path, |file| encode(&self.render(layout), file))
    }
}

/// Writes the square image `pixels[size][size]` as a grey PNG file, each pixel as a square of `scale` x `scale`.
///
/// # Errors
/// [`FileError`] if the file cannot be written.
///
/// # Panics
/// If `pixels` has not `size * size` elements.
pub fn save_gray(path: &Path, pixels: &[f32], size: usize, scale: usize) -> Result<(), FileError> {
    assert_eq!(pixels.len(), size * size, "pixels of an image of {size} x {size}");
    write_atomic(path, |file| encode(&enlarged(pixels, size, scale), file))
}

fn enlarged(pixels: &[f32], size: usize, scale: usize) -> GrayImage {
    let side = (size * scale) as u32;
    GrayImage::from_fn(side, side, |x, y| Luma([level(pixels[y as usize / scale * size + x as usize / scale])]))
}

/// The nearest of 256 levels; a value that is not a number is black.
fn level(value: f32) -> u8 {
    (value * 255.0).round() as u8
}

pub(crate) fn encode(picture: &GrayImage, file: &mut dyn Write) -> io::Result<()> {
    let (width, height) = picture.dimensions();
    let result = PngEncoder::new(file).write_image(picture.as_raw(), width, height, ExtendedColorType::L8);
    result.map_err(|error| match error {
        image::ImageError::IoError(error) => error,
        other => io::Error::other(other),
    })
}

/// An image of the user's that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is of another format, or damaged.
    #[error("{}: not a readable PNG or JPEG image: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// It would need too much memory.
    #[error("{}: an image of {width} x {height} pixels, more than {MAX_SIDE} on a side or {} MiB in all", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
}

/// Largest width and height of an image that is read, in pixels.
const MAX_SIDE: u32 = 16_384;

/// Largest length of an image that is read, in bytes of its decoded pixels.
const MAX_BYTES: u64 = 256 << 20;

/// An image of the user's as the network takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedImage {
    /// The pixels `[size][size]`, 0 for black and 1 for white.
    pub pixels: Vec<f32>,
    /// What was done to the image to make it so, in plain words, to tell the user; empty if it already was.
    pub changes: Vec<String>,
}

/// Reads a PNG or JPEG image and makes it grey and of `size` x `size` pixels.
///
/// An image that is not square is put in the middle of black, as in the dataset. Enlarging takes the nearest pixel, by the rule for
/// the dataset's images; so an image of the dataset gives what training gives. Reducing averages.
///
/// # Errors
/// [`PictureError`] if the file cannot be read, is no such image, is damaged or is unreasonably large.
///
/// # Panics
/// If `size` is 0.
pub fn load_gray(path: &Path, size: usize) -> Result<LoadedImage, PictureError> {
    assert!(size > 0, "an image of size 0");
    let mut changes = Vec::new();
    let image = decode(path, &mut changes)?;
    let gray = to_gray(&image, &mut changes);
    let gray = to_square(gray, size as u32, &mut changes);
    Ok(LoadedImage { pixels: gray.into_raw().into_iter().map(|level| f32::from(level) / 255.0).collect(), changes })
}

fn decode(path: &Path, changes: &mut Vec<String>) -> Result<DynamicImage, PictureError> {
    let unreadable = |error: image::ImageError| match error {
        image::ImageError::IoError(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            FileError { action: "read", path: path.to_owned(), cause }.into()
        }
        other => PictureError::Format { path: path.to_owned(), reason: other.to_string() },
    };
    let file = File::open(path).map_err(FileError::at("open", path))?;
    let reader = ImageReader::new(BufReader::new(file)).with_guessed_format().map_err(FileError::at("read", path))?;
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > MAX_SIDE || decoder.total_bytes() > MAX_BYTES {
        return Err(PictureError::TooLarge { path: path.to_owned(), width, height });
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    decoder.set_limits(limits).map_err(unreadable)?;
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if orientation != Orientation::NoTransforms {
        image.apply_orientation(orientation);
        changes.push("turned upright, as its metadata says".to_owned());
    }
    Ok(image)
}

fn to_gray(image: &DynamicImage, changes: &mut Vec<String>) -> GrayImage {
    let color = image.color();
    if color.has_color() {
        changes.push("colours turned to grey".to_owned());
    }
    if color.bytes_per_pixel() / color.channel_count() > 1 {
        changes.push("reduced to 8 bits a pixel".to_owned());
    }
    let with_alpha = image.to_luma_alpha8();
    if with_alpha.pixels().any(|pixel| pixel.0[1] < 255) {
        changes.push("transparency turned to black".to_owned());
    }
    let (width, height) = with_alpha.dimensions();
    GrayImage::from_fn(width, height, |x, y| {
        let [luma, alpha] = with_alpha.get_pixel(x, y).0.map(u32::from);
        Luma([((luma * alpha + 127) / 255) as u8])
    })
}

fn to_square(image: GrayImage, size: u32, changes: &mut Vec<String>) -> GrayImage {
    let (width, height) = image.dimensions();
    if (width, height) == (size, size) {
        return image;
    }
    let longest = width.max(height);
    let scaled = |side: u32| (u64::from(side) * u64::from(size) / u64::from(longest)).max(1) as u32;
    let (new_width, new_height) = (scaled(width), scaled(height));
    let resized = if longest <= size {
        GrayImage::from_fn(new_width, new_height, |x, y| {
            *image.get_pixel(x * width / new_width, y * height / new_height)
        })
    } else {
        imageops::resize(&image, new_width, new_height, FilterType::Triangle)
    };
    let mut square = GrayImage::new(size, size);
    let (left, top) = ((size - new_width) / 2, (size - new_height) / 2);
    imageops::replace(&mut square, &resized, left.into(), top.into());
    let centred = if width == height { "" } else { ", in the middle of black" };
    changes.push(format!("resized from {width} x {height} to {new_width} x {new_height}{centred}"));
    square
}
