//! Picture files: what they hold, in bytes.
//!
//! [`decode`] gives a picture as its file has it, with its depth and its transparency. [`read`] makes an [`Image`] of
//! it.

use super::image::Image;
use crate::system::files::FileError;
use engine::mib;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The ends of the names of picture files, in small letters.
pub(super) const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

/// A picture that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is of another format, or damaged.
    #[error("{}: not a readable PNG, JPEG, WebP or BMP picture: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// It would need too much memory.
    #[error("{}: a picture of more than {MAX_SIDE} pixels on a side, or {} MiB in all", path.display(), mib(MAX_BYTES as usize))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It had another size when it was read before.
    #[error(
        "{}: has changed since it was first read: it was {} x {} pixels, and now is {} x {}",
        path.display(), before[1], before[0], now[1], now[0]
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Height and width that it had.
        before: [usize; 2],
        /// Those that it has.
        now: [usize; 2],
    },
}

/// Largest width and height of a picture that is read, in pixels.
pub(super) const MAX_SIDE: u32 = 16_384;

/// Largest length of a picture that is read, in bytes of its decoded pixels.
const MAX_BYTES: u64 = 256 << 20;

/// A picture as its file has it, but upright.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The picture, in the depth of the file, and with its transparency if it has any.
    pub picture: DynamicImage,
    /// What was done to make it so, in plain words, to tell the user; empty if it already was.
    pub changes: Vec<String>,
}

/// Decodes the picture that is the content of the file `path`, which is for messages only. Its first bytes show whether
/// it is PNG, JPEG, WebP or BMP. Of an animation, the first frame is read.
///
/// # Errors
/// [`PictureError`] if the content cannot be read, is no such picture, is damaged or is unreasonably large.
pub fn decode(mut content: impl BufRead + Seek, path: &Path) -> Result<Decoded, PictureError> {
    let refused = |reason: &str| PictureError::Format { path: path.to_owned(), reason: reason.to_owned() };
    let unreadable = |error: image::ImageError| match error {
        image::ImageError::IoError(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            FileError { action: "read", path: path.to_owned(), cause }.into()
        }
        image::ImageError::Limits(_) => PictureError::TooLarge { path: path.to_owned() },
        other => refused(&other.to_string()),
    };
    if let Some(missing) = missing_end(&mut content).map_err(FileError::at("read", path))? {
        return Err(refused(missing));
    }
    let reader = ImageReader::new(content).with_guessed_format().map_err(FileError::at("read", path))?;
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    if decoder.total_bytes() == 0 {
        return Err(refused("it has no pixels"));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits.reserve(decoder.total_bytes()).map_err(unreadable)?;
    decoder.set_limits(limits).map_err(unreadable)?;
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    // BMP has no format for grey pictures, only colours that are all grey.
    if format == Some(ImageFormat::Bmp) && is_grey(&picture) {
        picture = picture.into_luma8().into();
    }
    let mut changes = Vec::new();
    if orientation != Orientation::NoTransforms {
        picture.apply_orientation(orientation);
        changes.push("turned upright, as its metadata says".to_owned());
    }
    Ok(Decoded { picture, changes })
}

/// Whether these are colours of 8 bits, and each is grey.
fn is_grey(picture: &DynamicImage) -> bool {
    picture.as_rgb8().is_some_and(|colours| colours.pixels().all(|pixel| pixel.0 == [pixel.0[0]; 3]))
}

/// As [`decode`], of a file.
///
/// # Errors
/// As [`decode`].
pub fn decode_file(path: &Path) -> Result<Decoded, PictureError> {
    let file = File::open(path).map_err(FileError::at("open", path))?;
    decode(BufReader::new(file), path)
}

/// What is missing if this is the beginning of a JPEG or WebP file, whose decoders make up what they do not find.
///
/// A JPEG file is a sequence of markers, each 0xff and a code. All but a few are followed by a segment, whose length
/// its first two bytes tell; compressed data has a 0 after each 0xff (ITU-T T.81, B.1.1). A picture inside a segment
/// of metadata ends before the file does. A WebP file tells its length (RFC 9649, 2.4).
fn missing_end(content: &mut (impl BufRead + Seek)) -> io::Result<Option<&'static str>> {
    let mut begin = Vec::new();
    content.by_ref().take(12).read_to_end(&mut begin)?;
    content.rewind()?;
    let missing = match begin[..] {
        [0xff, 0xd8, ..] => match to_the_end_of_jpeg(content) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Some("it is cut off before its end-of-image marker")
            }
            result => result.map(|()| None)?,
        },
        [b'R', b'I', b'F', b'F', a, b, c, d, b'W', b'E', b'B', b'P'] => {
            let expected = 8 + u64::from(u32::from_le_bytes([a, b, c, d]));
            let is_whole = content.seek(SeekFrom::End(0))? >= expected;
            if is_whole { None } else { Some("it is cut off before the end that its header tells") }
        }
        _ => None,
    };
    content.rewind()?;
    Ok(missing)
}

/// Reads a JPEG file to its end-of-image marker.
fn to_the_end_of_jpeg(content: &mut impl BufRead) -> io::Result<()> {
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

/// Reads the picture that is the content of the file `path`, which is for messages only: grey if its format says so,
/// else red, green and blue.
///
/// # Errors
/// As [`decode`].
pub fn read(content: impl BufRead + Seek, path: &Path) -> Result<Image<'static>, PictureError> {
    let picture = decode(content, path)?.picture;
    let channels = if picture.color().has_color() { 3 } else { 1 };
    Ok(to_bytes(picture, channels))
}

/// A picture in 8 bits and 1 or 3 channels. What is transparent becomes black.
pub(crate) fn to_bytes(picture: DynamicImage, channels: usize) -> Image<'static> {
    let [height, width] = [picture.height(), picture.width()].map(|side| side as usize);
    Image { height, width, channels, pixels: Cow::Owned(flat(picture, channels).into_bytes()) }
}

fn flat(picture: DynamicImage, channels: usize) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let whole = "as many bytes as pixels need";
    match (picture.color().has_alpha(), channels) {
        (false, 1) => picture.into_luma8().into(),
        (false, _) => picture.into_rgb8().into(),
        (true, 1) => {
            let pixels = over_black::<2>(&picture.into_luma_alpha8());
            GrayImage::from_raw(width, height, pixels).expect(whole).into()
        }
        (true, _) => {
            let pixels = over_black::<4>(&picture.into_rgba8());
            RgbImage::from_raw(width, height, pixels).expect(whole).into()
        }
    }
}

/// The grey levels of pixels of three channels.
///
/// # Panics
/// If these are not whole pixels.
pub(super) fn grey_of_rgb(pixels: Vec<u8>) -> Vec<u8> {
    let width = (pixels.len() / 3) as u32;
    let picture = RgbImage::from_raw(width, 1, pixels).expect("whole pixels");
    DynamicImage::from(picture).into_luma8().into_raw()
}

/// Pixels of `N` channels, of which the last is opacity, in front of black.
fn over_black<const N: usize>(pixels: &[u8]) -> Vec<u8> {
    let mut flat = Vec::with_capacity(pixels.len() / N * (N - 1));
    for pixel in pixels.as_chunks::<N>().0 {
        let alpha = u32::from(pixel[N - 1]);
        flat.extend(pixel[..N - 1].iter().map(|&level| ((u32::from(level) * alpha + 127) / 255) as u8));
    }
    flat
}

/// A file of a set, and what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PictureFile {
    /// The file.
    pub(super) path: PathBuf,
    /// If this is given, the square in the middle is kept, reduced to this side in pixels if it is larger.
    pub(super) square: Option<usize>,
}

impl PictureFile {
    /// Reads it in 1 or 3 channels. Tells whether the file has colours.
    ///
    /// # Errors
    /// As [`decode`].
    pub(super) fn read(&self, channels: usize) -> Result<(Image<'static>, bool), PictureError> {
        let picture = decode_file(&self.path)?.picture;
        let has_color = picture.color().has_color();
        let picture = flat(picture, channels);
        let picture = match self.square {
            Some(side) => to_square(picture, side as u32),
            None => picture,
        };
        Ok((to_bytes(picture, channels), has_color))
    }

    /// Reads it again, when it had this size before.
    ///
    /// # Errors
    /// [`PictureError`] if it cannot be read any more, or has changed its size.
    pub(super) fn read_again(&self, before: [usize; 2], channels: usize) -> Result<Image<'static>, PictureError> {
        let (image, _) = self.read(channels)?;
        let now = [image.height, image.width];
        if now == before { Ok(image) } else { Err(PictureError::Changed { path: self.path.clone(), before, now }) }
    }
}

/// The square in the middle of a picture, reduced by averaging if it is larger than `side` pixels.
fn to_square(picture: DynamicImage, side: u32) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let whole = width.min(height);
    let square = if width == height {
        picture
    } else {
        picture.crop_imm((width - whole) / 2, (height - whole) / 2, whole, whole)
    };
    if whole > side { square.resize_exact(side, side, FilterType::Triangle) } else { square }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GenericImageView, ImageBuffer, Luma, LumaA, Rgb, Rgba, imageops};
    use std::fs;
    use std::io::Cursor;

    const FORMATS: [ImageFormat; 4] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp];

    fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn decoded(bytes: &[u8]) -> Result<Decoded, PictureError> {
        decode(Cursor::new(bytes), Path::new("a.png"))
    }

    fn message(bytes: &[u8]) -> String {
        decoded(bytes).unwrap_err().to_string()
    }

    fn colours() -> RgbImage {
        RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8 * 20, y as u8 * 30, 7]))
    }

    #[test]
    fn the_format_is_told_from_the_content() {
        for format in FORMATS {
            let picture = decoded(&encoded(colours(), format)).unwrap().picture;
            assert_eq!((picture.dimensions(), picture.color()), ((9, 7), image::ColorType::Rgb8), "{format:?}");
            if format != ImageFormat::Jpeg {
                assert_eq!(picture.into_rgb8(), colours());
            }
        }
    }

    #[test]
    fn a_grey_bmp_is_grey() {
        let grey = GrayImage::from_fn(4, 3, |x, y| Luma([(x * 50 + y) as u8]));
        assert_eq!(decoded(&encoded(grey.clone(), ImageFormat::Bmp)).unwrap().picture, grey.clone().into());
        let in_colours = DynamicImage::from(grey).into_rgb8();
        assert_eq!(decoded(&encoded(in_colours.clone(), ImageFormat::Png)).unwrap().picture, in_colours.into());
    }

    /// The seeds of the fuzz target that Pillow 13 wrote, and the fifth row of what it reads in them.
    #[test]
    fn pictures_are_what_pillow_reads() {
        macro_rules! seed {
            ($name:literal) => {
                (include_bytes!(concat!("../../../tests/fuzz/seeds/image/", $name)).as_slice(), $name)
            };
        }
        let written = |x: u32, y: u32| Rgb([x as u8 * 20, y as u8 * 25, (x + y) as u8 * 11]);
        let whole = RgbImage::from_fn(12, 10, written);
        for (bytes, name) in [seed!("lossless.webp"), seed!("animated.webp"), seed!("animated.png"), seed!("rgb.bmp")] {
            assert_eq!(decoded(bytes).unwrap().picture.into_rgb8(), whole, "{name}");
        }
        let deep: DynamicImage = ImageBuffer::from_fn(12, 10, |x, y| Luma([(x * 5000 + y * 3) as u16])).into();
        assert_eq!(decoded(seed!("gray16.png").0).unwrap().picture, deep);
        let runs = [36, 36, 36, 36, 36, 36, 12, 16, 20, 24, 28, 28, 4, 4, 4, 4, 8, 8];
        let read = decoded(seed!("runs.bmp").0).unwrap().picture.into_rgb8();
        assert_eq!(read.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(), runs);
        #[rustfmt::skip]
        let rows = [
            (seed!("cmyk.jpg"), [
                0, 100, 45, 20, 93, 50, 35, 88, 60, 49, 83, 65, 62, 76, 67, 71, 71, 69, 78, 65, 73, 82, 58, 71, 85, 53, 70,
                85, 47, 68, 82, 40, 63, 77, 36, 59,
            ]),
            (seed!("lossy.webp"), [
                13, 101, 51, 22, 103, 57, 39, 102, 67, 55, 100, 76, 85, 107, 97, 99, 103, 107, 116, 103, 116, 132, 101, 123,
                162, 108, 142, 179, 104, 148, 196, 104, 154, 207, 106, 158,
            ]),
            (seed!("alpha.webp"), [
                38, 114, 70, 33, 100, 62, 47, 99, 70, 74, 109, 91, 90, 102, 98, 107, 99, 109, 123, 99, 118, 138, 98, 125,
                165, 106, 144, 181, 103, 150, 198, 103, 156, 208, 103, 159,
            ]),
        ];
        for ((bytes, name), expected) in rows {
            let Decoded { picture, .. } = decoded(bytes).unwrap();
            let read = picture.to_rgb8().into_raw()[4 * 36..5 * 36].to_vec();
            // Decoders of JPEG round differently.
            assert!(read.iter().zip(expected).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 2), "{name}: {read:?}");
            let opacity: Vec<u8> = picture.to_rgba8().pixels().skip(48).take(12).map(|pixel| pixel.0[3]).collect();
            let is_opaque = name != "alpha.webp";
            assert!((0..12).zip(opacity).all(|(x, alpha)| alpha == if is_opaque { 255 } else { x * 20 }), "{name}");
        }
    }

    #[test]
    fn depth_and_transparency_stay() {
        let deep: DynamicImage = ImageBuffer::from_fn(3, 2, |x, y| Rgba([40_000u16, 3, x as u16, y as u16])).into();
        let read = decoded(&encoded(deep.clone(), ImageFormat::Png)).unwrap();
        assert_eq!((read.picture, read.changes.len()), (deep, 0));
    }

    #[test]
    fn pictures_are_read_grey_or_in_colours() {
        let levels = |picture: DynamicImage| {
            let image = read(Cursor::new(encoded(picture, ImageFormat::Png)), Path::new("a.png")).unwrap();
            assert_eq!([image.height, image.width], [1, 2]);
            (image.channels, image.pixels.into_owned())
        };
        assert_eq!(levels(GrayImage::from_raw(2, 1, vec![3, 200]).unwrap().into()), (1, vec![3, 200]));
        assert_eq!(levels(ImageBuffer::from_fn(2, 1, |x, _| Luma([x as u16 * 40_000])).into()), (1, vec![0, 156]));
        assert_eq!(levels(ImageBuffer::from_pixel(2, 1, LumaA([200u8, 51])).into()), (1, vec![40, 40]));
        let rgb = RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(levels(rgb.into()), (3, vec![1, 2, 3, 4, 5, 6]));
        let half = ImageBuffer::from_pixel(2, 1, Rgba([200u8, 100, 0, 128]));
        assert_eq!(levels(half.into()), (3, [100, 50, 0].repeat(2)));
    }

    /// The bits of a fraction of a pixel are those of the crate, not of this file.
    #[test]
    fn grey_of_a_set_is_grey_of_a_picture() {
        let picture = colours();
        let grey = to_bytes(picture.clone().into(), 1);
        assert_eq!(grey_of_rgb(picture.into_raw()), grey.pixels.into_owned());
    }

    #[test]
    fn the_square_in_the_middle_is_reduced_by_averaging() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wide.png");
        // White, but for a fine grey pattern in the middle.
        let wide = GrayImage::from_fn(96, 32, |x, y| {
            let is_middle = (32..64).contains(&x);
            Luma([if !is_middle { 255 } else { 100 + 50 * ((x + y) % 2) as u8 }])
        });
        wide.save(&path).unwrap();
        let read = |square| PictureFile { path: path.clone(), square }.read(1).unwrap().0;
        let reduced = read(Some(8));
        assert_eq!([reduced.height, reduced.width], [8, 8]);
        assert!(reduced.pixels.iter().all(|level| level.abs_diff(125) <= 2), "{:?}", reduced.pixels);
        // It is cut out as it is if it is not too large.
        let cut = read(Some(40));
        assert_eq!(([cut.height, cut.width], cut.pixels[..2].to_vec()), ([32, 32], vec![100, 150]));
        assert_eq!(read(None).pixels, &wide.into_raw()[..]);
    }

    #[test]
    fn a_file_is_read_again_unless_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = PictureFile { path: folder.path().join("a.jpg"), square: None };
        fs::write(&file.path, encoded(colours(), ImageFormat::Jpeg)).unwrap();
        let (image, has_color) = file.read(3).unwrap();
        assert!(has_color);
        assert_eq!(file.read_again([7, 9], 3).unwrap(), image);
        fs::write(&file.path, encoded(GrayImage::new(5, 6), ImageFormat::Png)).unwrap();
        let message = file.read_again([7, 9], 3).unwrap_err().to_string();
        let told = "has changed since it was first read: it was 9 x 7 pixels, and now is 5 x 6";
        assert_eq!(message, format!("{}: {told}", file.path.display()));
        fs::remove_file(&file.path).unwrap();
        let message = file.read_again([7, 9], 3).unwrap_err().to_string();
        assert!(message.starts_with(&format!("could not open {}: ", file.path.display())), "{message}");
    }

    /// The eight orientations of Exif, each as the bytes that follow the beginning of a JPEG file.
    #[test]
    fn a_photo_is_turned_upright() {
        let upright = GrayImage::from_fn(24, 16, |x, y| Luma([if y < 8 { 250 } else { x as u8 * 5 }]));
        let turned = |orientation| match orientation {
            2 => imageops::flip_horizontal(&upright),
            3 => imageops::rotate180(&upright),
            4 => imageops::flip_vertical(&upright),
            5 => imageops::rotate270(&imageops::flip_horizontal(&upright)),
            6 => imageops::rotate270(&upright),
            7 => imageops::rotate90(&imageops::flip_horizontal(&upright)),
            8 => imageops::rotate90(&upright),
            _ => upright.clone(),
        };
        for orientation in 1..=8 {
            let sideways = encoded(turned(orientation), ImageFormat::Jpeg);
            // Of which the one entry says: orientation, one 16-bit number.
            let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
            let tagged = [&sideways[..2], exif, &[orientation, 0, 0, 0, 0, 0, 0], &sideways[2..]].concat();
            let Decoded { picture, changes } = decoded(&tagged).unwrap();
            let told: &[&str] = if orientation == 1 { &[] } else { &["turned upright, as its metadata says"] };
            assert_eq!(changes, told, "{orientation}");
            let levels = picture.into_luma8();
            assert_eq!(levels.dimensions(), (24, 16), "{orientation}");
            let close = levels.iter().zip(upright.as_raw()).all(|(a, b)| a.abs_diff(*b) < 12);
            assert!(close, "{orientation}: {levels:?}");
        }
    }

    #[test]
    fn a_damaged_picture_is_an_error_that_names_it() {
        for format in FORMATS {
            let whole = encoded(colours(), format);
            let pixels = decoded(&whole).unwrap().picture;
            for end in 0..whole.len() {
                match decoded(&whole[..end]) {
                    // What follows the pixels may be missing.
                    Ok(read) => assert_eq!(read.picture, pixels, "{format:?}, cut off at byte {end}"),
                    Err(error) => {
                        let told = "a.png: not a readable PNG, JPEG, WebP or BMP picture: ";
                        assert!(error.to_string().starts_with(told), "{format:?}, cut off at byte {end}: {error}");
                    }
                }
            }
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                // Some flips do no harm; none may panic.
                if let Err(error) = decoded(&flipped) {
                    assert!(error.to_string().starts_with("a.png: "), "{format:?}, bit {bit}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_missing_file_and_another_format_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.png");
        let message = decode_file(&path).unwrap_err().to_string();
        assert!(message.starts_with(&format!("could not open {}: ", path.display())), "{message}");
        fs::write(&path, b"GIF89a\x01\0\x01\0").unwrap();
        let message = decode_file(&path).unwrap_err().to_string();
        assert!(message.contains("none.png: not a readable PNG, JPEG, WebP or BMP picture: "), "{message}");
        assert!(decode_file(folder.path()).is_err());
    }

    #[test]
    fn an_unreasonably_large_picture_is_refused_before_it_is_decoded() {
        for (width, height) in [(60_000u32, 60_000u32), (20_000, 1), (16_000, 16_000), (1 << 30, 1 << 30)] {
            let mut bytes = encoded(GrayImage::new(3, 3), ImageFormat::Png);
            bytes[16..20].copy_from_slice(&width.to_be_bytes());
            bytes[20..24].copy_from_slice(&height.to_be_bytes());
            // Colours of 16 bits, so that 16,000 x 16,000 is too much, too.
            bytes[24..26].copy_from_slice(&[16, 2]);
            let crc = crc32(&bytes[12..29]);
            bytes[29..33].copy_from_slice(&crc.to_be_bytes());
            let expected = "a.png: a picture of more than 16384 pixels on a side, or 256 MiB in all";
            assert_eq!(message(&bytes), expected);
        }
    }

    /// The checksum of PNG chunks.
    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}
