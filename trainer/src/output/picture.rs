//! Pictures: grids of reconstructions, and images of the user's to restore.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageDecoder, ImageReader, Limits, Luma};

use super::png;
use crate::system::files::{FileError, write_bytes};
use engine::mib;

/// Images of a batch, in rows. Below each row of inputs is the row of outputs and, on request, that of the true images.
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
    /// Width of the lines between images, in pixels. Between groups of rows they are three times as wide.
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
    /// If the arrays are empty, differ in length or do not hold whole images, or the layout has no columns or the scale
    /// 0.
    pub fn render(&self, layout: Layout) -> GrayImage {
        let pixels = self.size * self.size;
        let sources: Vec<&[f32]> = [Some(self.input), Some(self.output), self.truth].into_iter().flatten().collect();
        for source in &sources {
            assert_eq!(source.len(), self.input.len(), "elements of the images to show");
        }
        assert!(!self.input.is_empty() && self.input.len().is_multiple_of(pixels), "whole images of {pixels} pixels");
        let groups = (self.input.len() / pixels).div_ceil(layout.columns);
        let cell = self.size * layout.scale + layout.gap;
        let group = sources.len() * cell + 2 * layout.gap;
        let width = layout.columns * cell + layout.gap;
        let height = groups * group - layout.gap;
        let mut picture = GrayImage::from_pixel(width as u32, height as u32, Luma([GAP_LEVEL]));
        for (row, source) in sources.iter().enumerate() {
            for (i, image) in source.chunks_exact(pixels).enumerate() {
                let left = (i % layout.columns) * cell + layout.gap;
                let top = i / layout.columns * group + row * cell + layout.gap;
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
        save(&self.render(layout), path)
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
    #[error("{}: an image of more than {MAX_SIDE} pixels on a side, or {} MiB in all", path.display(), mib(MAX_BYTES as usize))]
    TooLarge {
        /// The file.
        path: PathBuf,
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
    let mut changes = Vec::new();
    let image = decode(content, path, &mut changes)?;
    let gray = to_gray(&image, &mut changes);
    let gray = to_square(gray, size as u32, &mut changes);
    Ok(LoadedImage { pixels: gray.into_raw().into_iter().map(|level| f32::from(level) / 255.0).collect(), changes })
}

fn decode(
    mut content: impl BufRead + Seek,
    path: &Path,
    changes: &mut Vec<String>,
) -> Result<DynamicImage, PictureError> {
    let refused = |reason: &str| PictureError::Format { path: path.to_owned(), reason: reason.to_owned() };
    let unreadable = |error: image::ImageError| match error {
        image::ImageError::IoError(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            FileError { action: "read", path: path.to_owned(), cause }.into()
        }
        image::ImageError::Limits(_) => PictureError::TooLarge { path: path.to_owned() },
        other => refused(&other.to_string()),
    };
    if is_cut_jpeg(&mut content).map_err(FileError::at("read", path))? {
        return Err(refused("it is cut off before its end-of-image marker"));
    }
    let reader = ImageReader::new(content).with_guessed_format().map_err(FileError::at("read", path))?;
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits.reserve(decoder.total_bytes()).map_err(unreadable)?;
    decoder.set_limits(limits).map_err(unreadable)?;
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if orientation != Orientation::NoTransforms {
        image.apply_orientation(orientation);
        changes.push("turned upright, as its metadata says".to_owned());
    }
    Ok(image)
}

/// Whether this is the beginning of a JPEG file whose end is missing. Its decoder makes up what it does not find.
///
/// A file is a sequence of markers, each 0xff and a code. All but a few are followed by a segment, whose length its
/// first two bytes tell; compressed data has a 0 after each 0xff (ITU-T T.81, B.1.1). A picture inside a segment of
/// metadata ends before the file does.
fn is_cut_jpeg(content: &mut (impl BufRead + Seek)) -> io::Result<bool> {
    let is_cut = match to_the_end_of_jpeg(content) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
        result => result.map(|()| false)?,
    };
    content.rewind()?;
    Ok(is_cut)
}

/// Reads a JPEG file to its end-of-image marker. Of other files, it reads the beginning.
fn to_the_end_of_jpeg(content: &mut impl BufRead) -> io::Result<()> {
    let mut begin = Vec::new();
    content.by_ref().take(2).read_to_end(&mut begin)?;
    if begin != [0xff, 0xd8] {
        return Ok(());
    }
    loop {
        content.skip_until(0xff)?;
        let mut code = [0xff];
        while code == [0xff] {
            content.read_exact(&mut code)?;
        }
        match code[0] {
            0xd9 => return Ok(()),
            // What has no segment: 0xff in the data, a reserved code, restarts, a beginning.
            0 | 1 | 0xd0..=0xd8 => {}
            _ => {
                let mut length = [0; 2];
                content.read_exact(&mut length)?;
                let rest = u64::from(u16::from_be_bytes(length)).saturating_sub(2);
                io::copy(&mut content.by_ref().take(rest), &mut io::sink())?;
            }
        }
    }
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
    use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
    use std::fs;
    use std::io::Cursor;

    fn saved(image: impl Into<DynamicImage>, format: ImageFormat) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        // Formats are told from the content, so the name may lie.
        let path = folder.path().join("image.bmp");
        image.into().save_with_format(&path, format).unwrap();
        (folder, path)
    }

    fn loaded(image: impl Into<DynamicImage>, format: ImageFormat, size: usize) -> LoadedImage {
        let (_folder, path) = saved(image, format);
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
        let two_rows = Reconstructions { size: 2, input: &input, output: &output, truth: None }.render(layout);
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
        assert_eq!((two_rows.dimensions(), &two_rows.as_raw()[..]), ((7, 15), &expected[..]));

        let three_rows =
            Reconstructions { size: 2, input: &input, output: &output, truth: Some(&truth) }.render(layout);
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
        let reconstructions = Reconstructions { size: 4, input: &input, output: &input, truth: None };
        let path = folder.path().join("grid.png");
        reconstructions.save(&path, Layout::default()).unwrap();
        assert_eq!(image::image_dimensions(&path).unwrap(), (8 * 15 + 3, 4 * 15 + 9));
        let message = reconstructions.save(&path.join("x"), Layout::default()).unwrap_err().to_string();
        assert!(message.starts_with("could not write ") && message.contains("grid.png/x"), "{message}");
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
    fn a_photo_is_turned_upright() {
        let upright = GrayImage::from_fn(16, 16, |_, y| Luma([if y < 8 { 250 } else { 5 }]));
        let (_folder, path) = saved(imageops::rotate270(&upright), ImageFormat::Jpeg);
        let sideways = fs::read(&path).unwrap();
        // Exif, of which the one entry says: orientation, one 16-bit number, 6 (turn right).
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let tagged = [&sideways[..2], exif, &sideways[2..]].concat();
        let picture = read_gray(Cursor::new(tagged), &path, 16).unwrap();
        assert_eq!(picture.changes, ["turned upright, as its metadata says"]);
        let close = levels(&picture).iter().zip(upright.as_raw()).all(|(a, b)| a.abs_diff(*b) < 10);
        assert!(close, "{:?}", levels(&picture));
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

    #[test]
    fn a_damaged_image_is_an_error_that_names_it() {
        let (_folder, path) = saved(RgbImage::from_fn(9, 9, |x, y| Rgb([x as u8, y as u8, 7])), ImageFormat::Png);
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() - 12 {
            let message = read_gray(Cursor::new(&whole[..end]), &path, 8).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("{}: not a readable PNG or JPEG image: ", path.display())),
                "{message}"
            );
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Some flips do no harm; none may panic.
            if let Ok(picture) = read_gray(Cursor::new(flipped), &path, 8) {
                assert_eq!(picture.pixels.len(), 64);
            }
        }
    }

    #[test]
    fn a_missing_file_and_another_format_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.png");
        let message = load_gray(&path, 8).unwrap_err().to_string();
        assert!(message.starts_with(&format!("could not open {}: ", path.display())), "{message}");
        fs::write(&path, b"GIF89a\x01\0\x01\0").unwrap();
        let message = load_gray(&path, 8).unwrap_err().to_string();
        assert!(message.contains("none.png: not a readable PNG or JPEG image: "), "{message}");
        assert!(load_gray(folder.path(), 8).is_err());
    }

    #[test]
    fn an_unreasonably_large_image_is_refused_before_it_is_decoded() {
        let (_folder, path) = saved(GrayImage::new(3, 3), ImageFormat::Png);
        for (width, height) in [(60_000u32, 60_000u32), (20_000, 1), (16_000, 16_000), (1 << 30, 1 << 30)] {
            let mut bytes = fs::read(&path).unwrap();
            bytes[16..20].copy_from_slice(&width.to_be_bytes());
            bytes[20..24].copy_from_slice(&height.to_be_bytes());
            // Colours of 16 bits, so that 16,000 x 16,000 is too much, too.
            bytes[24..26].copy_from_slice(&[16, 2]);
            let crc = crc32(&bytes[12..29]);
            bytes[29..33].copy_from_slice(&crc.to_be_bytes());
            let large = path.with_extension("large");
            fs::write(&large, bytes).unwrap();
            let message = load_gray(&large, 8).unwrap_err().to_string();
            assert!(
                message.ends_with("image.large: an image of more than 16384 pixels on a side, or 256 MiB in all"),
                "{message}"
            );
        }
    }

    /// The checksum of PNG chunks.
    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}
