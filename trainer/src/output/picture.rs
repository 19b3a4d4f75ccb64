//! Pictures: grids of reconstructions, and images of the user's to restore.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ExtendedColorType, GrayImage, Luma, Rgb, RgbImage};

use super::png;
use crate::data::picture_file::{self, Decoded, PictureError};
use crate::system::files::{FileError, write_bytes};

/// Images of a batch, in rows. Below each row of inputs is the row of outputs and, on request, that of the true images.
///
/// All arrays are `[N][size][size][C]`, with 0 for black and 1 for white; what is beyond is cut off.
#[derive(Clone, Copy, Debug)]
pub struct Reconstructions<'a> {
    /// Side of the images in pixels.
    pub size: usize,
    /// Channels of the input, and of output and truth: 1 or 3 each.
    pub channels: [usize; 2],
    /// Input of the network: damaged images.
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
    /// Width of the lines between images, in pixels. Between groups of rows they are three times as wide.
    pub gap: usize,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { columns: 8, scale: 3, gap: 3 }
    }
}

impl Layout {
    /// That of images with this side: small ones are enlarged, up to three times.
    pub fn of_images(size: usize) -> Layout {
        Layout { scale: (96 / size.max(1)).clamp(1, 3), ..Layout::default() }
    }
}

/// Brightness of the lines between images.
const GAP_LEVEL: u8 = 96;

impl Reconstructions<'_> {
    /// The picture. It has a group of two (or three) rows for every `layout.columns` images.
    ///
    /// # Panics
    /// If the arrays are empty, differ in length or do not hold whole images, or the layout has no columns or the scale
    /// 0.
    pub fn render(&self, layout: Layout) -> RgbImage {
        let [damaged, whole] = self.channels.map(|channels| self.size * self.size * channels);
        let rows = [Some((self.input, damaged)), Some((self.output, whole)), self.truth.map(|truth| (truth, whole))];
        let sources: Vec<(&[f32], usize)> = rows.into_iter().flatten().collect();
        let count = self.input.len() / damaged;
        for (source, elements) in &sources {
            assert_eq!(source.len(), count * elements, "elements of the images to show");
        }
        assert!(count > 0, "images to show");
        let groups = count.div_ceil(layout.columns);
        let cell = self.size * layout.scale + layout.gap;
        let group = sources.len() * cell + 2 * layout.gap;
        let width = layout.columns * cell + layout.gap;
        let height = groups * group - layout.gap;
        let mut picture = RgbImage::from_pixel(width as u32, height as u32, Rgb([GAP_LEVEL; 3]));
        for (row, (source, elements)) in sources.iter().enumerate() {
            for (i, image) in source.chunks_exact(*elements).enumerate() {
                let left = (i % layout.columns) * cell + layout.gap;
                let top = i / layout.columns * group + row * cell + layout.gap;
                let image = colours(image, self.size, layout.scale);
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
        let picture = self.render(layout);
        match self.channels {
            [1, 1] => save(&imageops::grayscale(&picture), path),
            _ => {
                let (width, height) = picture.dimensions();
                write_bytes(path, &png::encode(picture.as_raw(), width, height, ExtendedColorType::Rgb8))
            }
        }
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
    save(&enlarged(pixels, size, scale), path)
}

/// A grey or coloured image in colours.
fn colours(pixels: &[f32], size: usize, scale: usize) -> RgbImage {
    let side = (size * scale) as u32;
    let channels = pixels.len() / (size * size);
    RgbImage::from_fn(side, side, |x, y| {
        let pixel = &pixels[(y as usize / scale * size + x as usize / scale) * channels..][..channels];
        Rgb(std::array::from_fn(|i| level(pixel[i.min(channels - 1)])))
    })
}

fn enlarged(pixels: &[f32], size: usize, scale: usize) -> GrayImage {
    let side = (size * scale) as u32;
    GrayImage::from_fn(side, side, |x, y| Luma([level(pixels[y as usize / scale * size + x as usize / scale])]))
}

/// The nearest of 256 levels; a value that is not a number is black.
fn level(value: f32) -> u8 {
    (value * 255.0).round() as u8
}

fn save(picture: &GrayImage, path: &Path) -> Result<(), FileError> {
    let (width, height) = picture.dimensions();
    write_bytes(path, &png::encode(picture.as_raw(), width, height, ExtendedColorType::L8))
}

/// An image of the user's as the network takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedImage {
    /// The pixels `[size][size]`, 0 for black and 1 for white.
    pub pixels: Vec<f32>,
    /// What was done to the image to make it so, in plain words, to tell the user; empty if it already was.
    pub changes: Vec<String>,
}

/// Reads a picture and makes it grey and of `size` x `size` pixels.
///
/// An image that is not square is put in the middle of black, as in the dataset. Enlarging takes the nearest pixel by
/// the rule for the dataset's images, so that an image of the dataset gives what training gives. Reducing averages.
///
/// # Errors
/// [`PictureError`] if the file cannot be read, is no such image, is damaged or is unreasonably large.
///
/// # Panics
/// If `size` is 0.
pub fn load_gray(path: &Path, size: usize) -> Result<LoadedImage, PictureError> {
    let file = File::open(path).map_err(FileError::at("open", path))?;
    read_gray(BufReader::new(file), path, size)
}

/// As [`load_gray`], from the content of the file `path`, which is for messages only.
///
/// # Errors
/// As [`load_gray`].
///
/// # Panics
/// If `size` is 0.
pub fn read_gray(content: impl BufRead + Seek, path: &Path, size: usize) -> Result<LoadedImage, PictureError> {
    assert!(size > 0, "an image of size 0");
    let Decoded { picture, mut changes } = picture_file::decode(content, path)?;
    let gray = to_gray(picture, &mut changes);
    let gray = to_square(gray, size as u32, &mut changes);
    Ok(LoadedImage { pixels: gray.into_raw().into_iter().map(|level| f32::from(level) / 255.0).collect(), changes })
}

fn to_gray(picture: DynamicImage, changes: &mut Vec<String>) -> GrayImage {
    let color = picture.color();
    if color.has_color() {
        changes.push("colours turned to grey".to_owned());
    }
    if color.bytes_per_pixel() / color.channel_count() > 1 {
        changes.push("reduced to 8 bits a pixel".to_owned());
    }
    if color.has_alpha() && picture.to_luma_alpha8().pixels().any(|pixel| pixel.0[1] < 255) {
        changes.push("transparency turned to black".to_owned());
    }
    let (width, height) = (picture.width(), picture.height());
    let gray = picture_file::to_bytes(picture, 1).pixels.into_owned();
    GrayImage::from_raw(width, height, gray).expect("a byte for each pixel")
}

fn to_square(image: GrayImage, size: u32, changes: &mut Vec<String>) -> GrayImage {
    let (width, height) = image.dimensions();
    if (width, height) == (size, size) {
        return image;
    }
    let longest = width.max(height);
    let scaled = |side: u32| (f64::from(side) * f64::from(size) / f64::from(longest)).round().max(1.0) as u32;
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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgba, RgbaImage};

    fn loaded(image: impl Into<DynamicImage>, format: ImageFormat, size: usize) -> LoadedImage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        image.into().save_with_format(&path, format).unwrap();
        load_gray(&path, size).unwrap()
    }

    fn levels(image: &LoadedImage) -> Vec<u8> {
        image.pixels.iter().copied().map(level).collect()
    }

    #[test]
    fn the_grid_has_inputs_over_outputs_over_truths() {
        let input: Vec<f32> = (0..12).map(|i| i as f32 / 255.0).collect();
        let output: Vec<f32> = (100..112).map(|i| i as f32 / 255.0).collect();
        let truth = [0.5, f32::NAN, -1.0, 7.0].repeat(3);
        let layout = Layout { columns: 2, scale: 1, gap: 1 };
        let two_rows =
            Reconstructions { size: 2, channels: [1, 1], input: &input, output: &output, truth: None }.render(layout);
        let g = GAP_LEVEL;
        #[rustfmt::skip]
        let expected = [
            g, g, g, g, g, g, g,
            g, 0, 1, g, 4, 5, g,
            g, 2, 3, g, 6, 7, g,
            g, g, g, g, g, g, g,
            g, 100, 101, g, 104, 105, g,
            g, 102, 103, g, 106, 107, g,
            g, g, g, g, g, g, g,
            g, g, g, g, g, g, g,
            g, g, g, g, g, g, g,
            g, 8, 9, g, g, g, g,
            g, 10, 11, g, g, g, g,
            g, g, g, g, g, g, g,
            g, 108, 109, g, g, g, g,
            g, 110, 111, g, g, g, g,
            g, g, g, g, g, g, g,
        ];
        let levels: Vec<u8> = two_rows.pixels().map(|pixel| pixel.0[0]).collect();
        assert!(two_rows.pixels().all(|pixel| pixel.0 == [pixel.0[0]; 3]));
        assert_eq!((two_rows.dimensions(), &levels[..]), ((7, 15), &expected[..]));

        let three_rows =
            Reconstructions { size: 2, channels: [1, 1], input: &input, output: &output, truth: Some(&truth) }
                .render(layout);
        assert_eq!(three_rows.dimensions(), (7, 21));
        let square =
            |x, y| [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)].map(|(x, y)| three_rows.get_pixel(x, y).0[0]);
        assert_eq!([square(1, 1), square(1, 4), square(1, 7)], [[0, 1, 2, 3], [100, 101, 102, 103], [128, 0, 0, 255]]);
        assert_eq!([square(1, 12), square(4, 12)], [[8, 9, 10, 11], [g; 4]]);
    }

    #[test]
    fn a_picture_is_enlarged_by_whole_squares_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let pixels = [0.0, 1.0, 0.2, 0.4];
        let path = folder.path().join("small.png");
        save_gray(&path, &pixels, 2, 3).unwrap();
        assert_eq!(image::open(&path).unwrap().color(), image::ColorType::L8);
        let picture = load_gray(&path, 6).unwrap();
        assert!(picture.changes.is_empty());
        for (i, &value) in picture.pixels.iter().enumerate() {
            assert_eq!(value, pixels[i / 6 / 3 * 2 + i % 6 / 3]);
        }
        let input = vec![0.5; 10 * 16];
        let reconstructions = Reconstructions { size: 4, channels: [1, 1], input: &input, output: &input, truth: None };
        let path = folder.path().join("grid.png");
        reconstructions.save(&path, Layout::default()).unwrap();
        assert_eq!(image::image_dimensions(&path).unwrap(), (8 * 15 + 3, 4 * 15 + 9));
        let inside = path.join("x");
        let message = reconstructions.save(&inside, Layout::default()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("could not write {}: ", inside.display())), "{message}");
    }

    #[test]
    fn an_image_of_the_dataset_is_resized_as_in_training() {
        let image = GrayImage::from_fn(28, 28, |x, y| Luma([(x * 9 + y * 5) as u8]));
        let picture = loaded(image.clone(), ImageFormat::Png, 32);
        assert_eq!(picture.changes, ["resized from 28 x 28 to 32 x 32"]);
        for (i, level) in levels(&picture).into_iter().enumerate() {
            let (x, y) = (i % 32 * 28 / 32, i / 32 * 28 / 32);
            assert_eq!(level, image.get_pixel(x as u32, y as u32).0[0]);
        }
    }

    #[test]
    fn every_change_is_told() {
        let told = |image: DynamicImage, format, size| loaded(image, format, size).changes;
        let red = RgbImage::from_pixel(64, 32, Rgb([255, 0, 0]));
        let resized = "resized from 64 x 32 to 16 x 8, in the middle of black";
        assert_eq!(told(red.clone().into(), ImageFormat::Jpeg, 16), ["colours turned to grey", resized]);
        assert_eq!(told(red.into(), ImageFormat::Png, 64).len(), 2);
        let deep = image::ImageBuffer::from_pixel(8, 8, Luma([40_000u16]));
        assert_eq!(told(deep.into(), ImageFormat::Png, 8), ["reduced to 8 bits a pixel"]);
        let opaque = RgbaImage::from_pixel(8, 8, Rgba([9, 9, 9, 255]));
        assert_eq!(told(opaque.into(), ImageFormat::Png, 8), ["colours turned to grey"]);
    }

    #[test]
    fn what_is_transparent_or_beside_the_image_is_black() {
        let clear = RgbaImage::from_fn(2, 1, |x, _| Rgba([200, 200, 200, if x == 0 { 0 } else { 255 }]));
        let picture = loaded(clear, ImageFormat::Png, 4);
        assert_eq!(picture.changes[1], "transparency turned to black");
        assert_eq!(levels(&picture), [[0; 4], [0, 0, 200, 200], [0, 0, 200, 200], [0; 4]].concat());
    }

    #[test]
    fn reducing_averages() {
        let checkerboard = GrayImage::from_fn(64, 64, |x, y| Luma([if (x + y) % 2 == 0 { 200 } else { 100 }]));
        let picture = loaded(checkerboard, ImageFormat::Png, 8);
        assert!(levels(&picture).iter().all(|level| level.abs_diff(150) <= 2), "{:?}", levels(&picture));
        let line = loaded(GrayImage::from_pixel(1000, 1, Luma([255])), ImageFormat::Png, 8);
        assert_eq!(line.changes, ["resized from 1000 x 1 to 8 x 1, in the middle of black"]);
    }
}
