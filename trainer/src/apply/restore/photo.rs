//! A picture of the user's, as its file has it: levels of 8 or 16 bits.

use crate::system::files::{FileError, write_bytes};
use crate::tasks::fill;
use image::{DynamicImage, ExtendedColorType};
use std::ops::Range;
use std::path::Path;

/// A picture in levels, which take a quarter or half of the memory of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Photo {
    /// Height and width in pixels.
    pub(super) size: [usize; 2],
    /// 1 (grey) or 3 (red, green, blue).
    pub(super) channels: usize,
    levels: Levels,
}

#[derive(Clone, Debug, PartialEq)]
enum Levels {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

impl Photo {
    /// The picture of a file, and which of its pixels are transparent, if any are. Fully or partly transparent pixels
    /// become black.
    pub(super) fn of(image: DynamicImage) -> (Photo, Option<Vec<bool>>) {
        let size = [image.height() as usize, image.width() as usize];
        let color = image.color();
        let transparent = color.has_alpha().then(|| {
            let alpha = image.to_luma_alpha16();
            alpha.pixels().map(|pixel| pixel.0[1] < u16::MAX).collect::<Vec<bool>>()
        });
        let transparent = transparent.filter(|pixels| pixels.contains(&true));
        let is_deep = color.bytes_per_pixel() / color.channel_count() > 1;
        let channels = if color.has_color() { 3 } else { 1 };
        let levels = match (is_deep, channels) {
            (false, 1) => Levels::Eight(image.into_luma8().into_raw()),
            (false, _) => Levels::Eight(image.into_rgb8().into_raw()),
            (true, 1) => Levels::Sixteen(image.into_luma16().into_raw()),
            (true, _) => Levels::Sixteen(image.into_rgb16().into_raw()),
        };
        let mut photo = Photo { size, channels, levels };
        for pixel in transparent.iter().flatten().enumerate().filter(|(_, missing)| **missing).map(|(i, _)| i) {
            photo.set_pixel(pixel, &[0.0; 3][..channels]);
        }
        (photo, transparent)
    }

    /// A grey picture of `size` x `size` pixels.
    pub(super) fn of_gray(pixels: &[f32], size: usize) -> Photo {
        let mut photo = Photo { size: [size; 2], channels: 1, levels: Levels::Eight(vec![0; size * size]) };
        pixels.iter().enumerate().for_each(|(pixel, value)| photo.set_pixel(pixel, &[*value]));
        photo
    }

    /// A black picture with as many bits as this one.
    pub(super) fn black(&self, size: [usize; 2], channels: usize) -> Photo {
        let len = size[0] * size[1] * channels;
        let levels = match self.levels {
            Levels::Eight(_) => Levels::Eight(vec![0; len]),
            Levels::Sixteen(_) => Levels::Sixteen(vec![0; len]),
        };
        Photo { size, channels, levels }
    }

    /// Number of pixels.
    pub(super) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Element `i` of `[height][width][channels]`, from 0 (black) to 1 (white).
    pub(super) fn value(&self, i: usize) -> f32 {
        match &self.levels {
            Levels::Eight(levels) => f32::from(levels[i]) / 255.0,
            Levels::Sixteen(levels) => f32::from(levels[i]) / 65535.0,
        }
    }

    /// All elements.
    pub(super) fn values(&self) -> Vec<f32> {
        (0..self.pixels() * self.channels).map(|i| self.value(i)).collect()
    }

    /// Sets a pixel to the nearest levels. What is no number is black.
    pub(super) fn set_pixel(&mut self, pixel: usize, values: &[f32]) {
        let first = pixel * self.channels;
        values.iter().enumerate().for_each(|(i, value)| self.set_value(first + i, *value));
    }

    /// Sets element `i` of `[height][width][channels]` to the nearest level. What is no number is black.
    fn set_value(&mut self, i: usize, value: f32) {
        match &mut self.levels {
            Levels::Eight(levels) => levels[i] = (value * 255.0).round() as u8,
            Levels::Sixteen(levels) => levels[i] = (value * 65535.0).round() as u16,
        }
    }

    /// Fills in missing pixels smoothly.
    pub(super) fn fill(&mut self, missing: &[bool]) {
        for channel in 0..self.channels {
            let elements = || (channel..missing.len() * self.channels).step_by(self.channels);
            let mut plane: Vec<f32> = elements().map(|i| self.value(i)).collect();
            fill(&mut plane, self.size, missing);
            let channels = self.channels;
            for (pixel, _) in missing.iter().enumerate().filter(|(_, missing)| **missing) {
                self.set_value(pixel * channels + channel, plane[pixel]);
            }
        }
    }

    /// Copies a pixel of another picture of this size and depth.
    pub(super) fn copy_pixel(&mut self, pixel: usize, from: &Photo) {
        let elements = pixel * self.channels..(pixel + 1) * self.channels;
        match (&mut self.levels, &from.levels) {
            (Levels::Eight(to), Levels::Eight(from)) => to[elements.clone()].copy_from_slice(&from[elements]),
            (Levels::Sixteen(to), Levels::Sixteen(from)) => to[elements.clone()].copy_from_slice(&from[elements]),
            _ => unreachable!("pictures of different depths"),
        }
    }

    /// Writes the elements of some rows and columns to `out[rows][columns][channels]`.
    pub(super) fn read(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        let row_len = columns.len() * self.channels;
        for (row, out) in rows.zip(out.chunks_exact_mut(row_len.max(1))) {
            let first = (row * self.size[1] + columns.start) * self.channels;
            out.iter_mut().enumerate().for_each(|(i, value)| *value = self.value(first + i));
        }
    }

    /// The same picture in grey (the luma of `image`), or in three equal colours.
    pub(super) fn with_channels(self, channels: usize) -> Photo {
        if self.channels == channels {
            return self;
        }
        let mut other = self.black(self.size, channels);
        for pixel in 0..self.pixels() {
            let value = |i: usize| self.value(pixel * self.channels + i);
            match channels {
                1 => other.set_pixel(pixel, &[0.2126 * value(0) + 0.7152 * value(1) + 0.0722 * value(2)]),
                _ => other.set_pixel(pixel, &[value(0); 3]),
            }
        }
        other
    }

    /// Writes it as a PNG file, each pixel as a square of `scale` x `scale`.
    pub(super) fn save(&self, path: &Path, scale: usize) -> Result<(), FileError> {
        let [height, width] = self.size.map(|side| side * scale);
        let place = |i: usize| {
            let (row, rest) = (i / (width * self.channels), i % (width * self.channels));
            (row / scale * self.size[1] + rest / self.channels / scale) * self.channels + rest % self.channels
        };
        let count = height * width * self.channels;
        let (bytes, color) = match &self.levels {
            Levels::Eight(levels) if scale == 1 => (levels.clone(), [ExtendedColorType::L8, ExtendedColorType::Rgb8]),
            Levels::Eight(levels) => {
                ((0..count).map(|i| levels[place(i)]).collect(), [ExtendedColorType::L8, ExtendedColorType::Rgb8])
            }
            // The encoder takes them in the machine's order.
            Levels::Sixteen(levels) => (
                (0..count).flat_map(|i| levels[place(i)].to_ne_bytes()).collect(),
                [ExtendedColorType::L16, ExtendedColorType::Rgb16],
            ),
        };
        let color = color[usize::from(self.channels == 3)];
        write_bytes(path, &crate::output::png::encode(&bytes, width as u32, height as u32, color))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, LumaA, Rgb, RgbaImage};

    #[test]
    fn a_picture_keeps_its_levels_and_its_depth() {
        let folder = tempfile::tempdir().unwrap();
        let deep = ImageBuffer::from_fn(3, 2, |x, y| Rgb([x as u16 * 9999, y as u16 * 777, 65535]));
        let grey = ImageBuffer::from_fn(3, 2, |x, y| Luma([(x * 100 + y) as u8]));
        for (image, channels) in [(DynamicImage::from(deep), 3), (DynamicImage::from(grey), 1)] {
            let (photo, transparent) = Photo::of(image.clone());
            assert_eq!((photo.size, photo.channels, transparent), ([2, 3], channels, None));
            let path = folder.path().join("picture.png");
            photo.save(&path, 1).unwrap();
            let read = image::open(&path).unwrap();
            assert_eq!((read.color(), read.as_bytes()), (image.color(), image.as_bytes()));
            let mut copy = photo.black(photo.size, channels);
            for pixel in 0..6 {
                let values: Vec<f32> = (0..channels).map(|i| photo.value(pixel * channels + i)).collect();
                copy.set_pixel(pixel, &values);
            }
            assert_eq!(copy, photo);
            photo.save(&path, 2).unwrap();
            let large = image::open(&path).unwrap();
            assert_eq!((large.width(), large.height()), (6, 4));
            assert!((0..24).all(|i| {
                let (x, y) = (i % 6, i / 6);
                image::GenericImageView::get_pixel(&large, x, y)
                    == image::GenericImageView::get_pixel(&image, x / 2, y / 2)
            }));
        }
    }

    #[test]
    fn transparent_pixels_are_missing_and_black() {
        let image = RgbaImage::from_fn(2, 1, |x, _| image::Rgba([200, 100, 50, if x == 0 { 255 } else { 254 }]));
        let (photo, transparent) = Photo::of(image.into());
        assert_eq!(transparent, Some(vec![false, true]));
        assert_eq!(photo.values()[3..], [0.0; 3]);
        let opaque = ImageBuffer::from_pixel(2, 2, LumaA([7u8, 255]));
        assert_eq!(Photo::of(opaque.into()).1, None);
    }

    #[test]
    fn parts_are_read_row_by_row() {
        let image = ImageBuffer::from_fn(4, 3, |x, y| Luma([(y * 4 + x) as u8]));
        let (photo, _) = Photo::of(image.into());
        let mut part = [0.0; 4];
        photo.read(1..3, 2..4, &mut part);
        assert_eq!(part.map(|value| (value * 255.0).round()), [6.0, 7.0, 10.0, 11.0]);
    }
}
