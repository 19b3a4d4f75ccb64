//! What the network gets of a picture.

use super::photo::Photo;
use crate::tasks::{Damaged, Enlargement, Task, with_missing};
use std::ops::Range;

/// The network's input: a picture as it is, damaged or enlarged.
#[derive(Debug)]
pub(super) struct Source {
    photo: Photo,
    /// Which of its pixels are missing, if any are.
    missing: Option<Vec<bool>>,
    /// Whether the network is told which pixels are missing.
    tells_missing: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    AsItIs,
    Damaged(Damaged),
    Enlarged(Enlargement),
}

/// Pixels around a pixel that its enlargement depends on.
const ENLARGEMENT_REACH: usize = 3;

impl Source {
    /// A picture without some of its pixels, which become black.
    pub(super) fn of(mut photo: Photo, missing: Option<Vec<bool>>) -> Source {
        for pixel in missing.iter().flatten().enumerate().filter(|(_, missing)| **missing).map(|(pixel, _)| pixel) {
            photo.set_pixel(pixel, &[0.0; 3][..photo.channels]);
        }
        Source { photo, missing, tells_missing: false, kind: Kind::AsItIs }
    }

    /// A picture whose missing pixels are filled in for the network, which is told which they are.
    pub(super) fn filled(mut photo: Photo, missing: Vec<bool>) -> Source {
        photo.fill(&missing);
        Source { photo, missing: Some(missing), tells_missing: true, kind: Kind::AsItIs }
    }

    /// What the damage of a task left of a picture.
    pub(super) fn damaged(photo: Photo, damaged: Damaged, task: &Task) -> Source {
        let missing = task.is_mask().then(|| damaged.known.iter().map(|known| !known).collect());
        Source { photo, missing, tells_missing: task.fills(), kind: Kind::Damaged(damaged) }
    }

    /// A picture that is enlarged.
    pub(super) fn enlarged(photo: Photo, enlargement: Enlargement) -> Source {
        Source { photo, missing: None, tells_missing: false, kind: Kind::Enlarged(enlargement) }
    }

    /// Height and width in pixels.
    pub(super) fn size(&self) -> [usize; 2] {
        match self.kind {
            Kind::Enlarged(Enlargement { factor, .. }) => self.photo.size.map(|side| side * factor),
            Kind::AsItIs | Kind::Damaged(_) => self.photo.size,
        }
    }

    pub(super) fn channels(&self) -> usize {
        match &self.kind {
            Kind::Damaged(damaged) => damaged.channels,
            Kind::AsItIs | Kind::Enlarged(_) => self.photo.channels,
        }
    }

    /// A black picture of this size.
    pub(super) fn black(&self, channels: usize) -> Photo {
        self.photo.black(self.size(), channels)
    }

    /// The pixels of some rows and columns.
    pub(super) fn read(&self, rows: &Range<usize>, columns: &Range<usize>) -> Vec<f32> {
        let channels = self.channels();
        let mut out = vec![0.0; rows.len() * columns.len() * channels];
        match &self.kind {
            Kind::AsItIs => self.photo.read(rows.clone(), columns.clone(), &mut out),
            Kind::Damaged(damaged) => {
                for (row, out) in rows.clone().zip(out.chunks_exact_mut(columns.len() * channels)) {
                    let first = (row * damaged.width + columns.start) * channels;
                    out.copy_from_slice(&damaged.pixels[first..][..out.len()]);
                }
            }
            Kind::Enlarged(enlargement) => {
                let factor = enlargement.factor;
                // A part of the picture that is large enough gives the same pixels as the whole.
                let [height, width] = self.photo.size;
                let part = |range: &Range<usize>, len: usize| {
                    let begin = (range.start / factor).saturating_sub(ENLARGEMENT_REACH);
                    begin..(range.end.div_ceil(factor) + ENLARGEMENT_REACH).min(len)
                };
                let (part_rows, part_columns) = (part(rows, height), part(columns, width));
                let size = [part_rows.len(), part_columns.len()];
                let mut small = vec![0.0; size[0] * size[1] * channels];
                self.photo.read(part_rows.clone(), part_columns.clone(), &mut small);
                let large = enlargement.apply(&small, size, channels);
                let width = size[1] * factor;
                for (row, out) in rows.clone().zip(out.chunks_exact_mut(columns.len() * channels)) {
                    let first = (row - part_rows.start * factor) * width + columns.start - part_columns.start * factor;
                    out.copy_from_slice(&large[first * channels..][..out.len()]);
                }
            }
        }
        out
    }

    /// The pixels of some rows and columns as the network gets them: as `batch` images `[batch][..][C]`, each of which
    /// has some of the channels, and one more if it is told which pixels are missing.
    pub(super) fn read_images(&self, rows: &Range<usize>, columns: &Range<usize>, batch: usize) -> Vec<f32> {
        let images = split(&self.read(rows, columns), batch);
        let Some(missing) = self.missing.as_ref().filter(|_| self.tells_missing) else { return images };
        let width = self.photo.size[1];
        let missing: Vec<bool> =
            rows.clone().flat_map(|row| &missing[row * width..][columns.clone()]).copied().collect();
        let of_image = |image: &[f32]| with_missing(image, missing.iter().copied());
        images.chunks_exact(images.len() / batch).flat_map(of_image).collect()
    }

    /// All of it, as a picture.
    pub(super) fn input(&self) -> Photo {
        let [height, width] = self.size();
        let mut input = self.black(self.channels());
        for row in 0..height {
            let pixels = self.read(&(row..row + 1), &(0..width));
            for (column, pixel) in pixels.chunks_exact(self.channels()).enumerate() {
                input.set_pixel(row * width + column, pixel);
            }
        }
        input
    }

    /// Replaces the pixels of the restored picture that are not missing by those of the picture, if some are missing.
    pub(super) fn keep_known(&self, restored: &mut Photo) {
        for (pixel, _) in self.missing.iter().flatten().enumerate().filter(|(_, missing)| !**missing) {
            restored.copy_pixel(pixel, &self.photo);
        }
    }
}

/// The channels of the pixels `[..][batch * C]` as a batch of images, `[batch][..][C]`, where C is 1 if there are
/// several.
pub(super) fn split(pixels: &[f32], batch: usize) -> Vec<f32> {
    if batch == 1 {
        return pixels.to_vec();
    }
    (0..batch).flat_map(|image| pixels.iter().skip(image).step_by(batch).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Task;
    use image::{GrayImage, Luma};

    fn photo() -> Photo {
        let level = |x: u32, y: u32| (x * 37 + y * 91 + x * y * 13) as u8;
        Photo::of(GrayImage::from_fn(23, 17, |x, y| Luma([level(x, y)])).into()).0
    }

    #[test]
    fn parts_of_an_enlarged_picture_are_those_of_the_whole() {
        let enlargement = "downscale:3".parse::<Task>().unwrap().enlargement().unwrap();
        let source = Source::enlarged(photo(), enlargement);
        let [height, width] = source.size();
        assert_eq!([height, width], [51, 69]);
        let whole = enlargement.apply(&photo().values(), [17, 23], 1);
        for (rows, columns) in [(0..51, 0..69), (7..20, 31..33), (40..51, 0..5), (0..1, 68..69)] {
            let part = source.read(&rows, &columns);
            let expected = rows.flat_map(|row| columns.clone().map(move |column| row * width + column));
            let difference = expected.zip(&part).map(|(i, value)| (whole[i] - value).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-6, "{difference}");
        }
    }

    #[test]
    fn missing_pixels_are_black_and_the_others_are_kept() {
        let missing: Vec<bool> = (0..17 * 23).map(|i| i % 3 == 0).collect();
        let source = Source::of(photo(), Some(missing.clone()));
        let mut restored = source.black(1);
        (0..17 * 23).for_each(|pixel| restored.set_pixel(pixel, &[1.0]));
        source.keep_known(&mut restored);
        for (pixel, missing) in missing.into_iter().enumerate() {
            let expected = if missing { [0.0, 1.0] } else { [photo().value(pixel); 2] };
            assert_eq!([source.read(&(0..17), &(0..23))[pixel], restored.value(pixel)], expected);
        }
    }
}
