//! Weighted means of neighbouring pixels: images made smaller, larger or blurred.

/// The pixels of a line that one pixel of the result is a weighted mean of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taps {
    /// The first one.
    pub(super) first: usize,
    /// The weights of it and of those after it. Their sum is 1.
    pub(super) weights: Vec<f32>,
}

impl Taps {
    /// Scales the weights to a sum of 1.
    pub(super) fn normalized(first: usize, weights: &[f64]) -> Taps {
        let sum: f64 = weights.iter().sum();
        Taps { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
    }
}

/// How pixels are weighed when an image becomes smaller or larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Keys' cubic polynomials with a = -0.5, over 4 pixels: of the larger image if it becomes smaller.
    Bicubic,
    /// The mean of the pixels that lie under the new one; the nearest pixel if it becomes larger.
    Box,
}

impl Filter {
    /// The distance up to which pixels count.
    fn support(self) -> f64 {
        match self {
            Filter::Bicubic => 2.0,
            Filter::Box => 0.5,
        }
    }

    /// The weight at a distance.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        match (self, x.abs()) {
            (Filter::Bicubic, x) if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            (Filter::Bicubic, x) if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            (Filter::Box, _) if x > -0.5 && x <= 0.5 => 1.0,
            _ => 0.0,
        }
    }

    /// The taps that make a line of `to` pixels of one of `from`. Pixels beyond its ends do not count.
    fn taps(self, from: usize, to: usize) -> Vec<Taps> {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = self.support() * stretch;
        let taps = |pixel: usize| {
            let center = (pixel as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weight = |tap: usize| self.weight((tap as f64 - center + 0.5) / stretch);
            Taps::normalized(first, &(first..end).map(weight).collect::<Vec<_>>())
        };
        (0..to).map(taps).collect()
    }
}

/// An image `[height][width][channels]` in a new size, as Pillow's `resize` does it for images of floats.
///
/// # Panics
/// If there are not that many pixels, there are not 1 or 3 channels, or a side is 0.
pub(crate) fn resize(
    pixels: &[f32],
    [height, width]: [usize; 2],
    channels: usize,
    [new_height, new_width]: [usize; 2],
    filter: Filter,
) -> Vec<f32> {
    let taps = [filter.taps(height, new_height), filter.taps(width, new_width)];
    weighted(pixels, [height, width], channels, &taps)
}

/// The weighted means of an image `[height][width][channels]`: there are taps for each row and for each column of the
/// result.
///
/// # Panics
/// If there are not that many pixels, there are not 1 or 3 channels, or taps lie beyond them.
pub(super) fn weighted(
    pixels: &[f32],
    [height, width]: [usize; 2],
    channels: usize,
    [rows, columns]: &[Vec<Taps>; 2],
) -> Vec<f32> {
    assert_eq!(pixels.len(), height * width * channels, "pixels of an image of {height} x {width} x {channels}");
    let turned = transposed(&weighted_rows(pixels, width * channels, rows), [rows.len(), width], channels);
    transposed(&weighted_rows(&turned, rows.len() * channels, columns), [columns.len(), rows.len()], channels)
}

/// Weighted means of rows of `length` elements.
fn weighted_rows(pixels: &[f32], length: usize, taps: &[Taps]) -> Vec<f32> {
    let mut new = vec![0.0; taps.len() * length];
    for (row, Taps { first, weights }) in new.chunks_exact_mut(length).zip(taps) {
        for (from, weight) in pixels[first * length..].chunks_exact(length).zip(weights) {
            row.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    new
}

/// The image with rows as columns.
fn transposed(pixels: &[f32], size: [usize; 2], channels: usize) -> Vec<f32> {
    fn turned<const C: usize>(pixels: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
        let pixels = pixels.as_chunks::<C>().0;
        let mut turned = Vec::with_capacity(pixels.len());
        (0..width).for_each(|column| turned.extend((0..height).map(|row| pixels[row * width + column])));
        turned.into_flattened()
    }
    match channels {
        1 => turned::<1>(pixels, size),
        3 => turned::<3>(pixels, size),
        _ => panic!("images have 1 or 3 channels, not {channels}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{assert_close, image};

    #[test]
    fn images_become_smaller_as_in_pillow() {
        let pixels = image([5, 7], 1);
        let expected = [
            0.4219995, 0.5143344, 0.3566189, 0.5336649, 0.4374427, 0.5617149, 0.4586797, 0.6589442, 0.4148339,
            0.6429572, 0.4603796, 0.4765588,
        ];
        assert_close(&resize(&pixels, [5, 7], 1, [3, 4], Filter::Bicubic), &expected);
        let expected = [0.47, 0.4525, 0.25, 0.5525, 0.315, 0.55, 0.6, 0.65, 0.4125, 0.6475, 0.445, 0.495];
        assert_close(&resize(&pixels, [5, 7], 1, [3, 4], Filter::Box), &expected);
    }

    #[test]
    fn a_flat_image_stays_flat_and_the_same_size_changes_nothing() {
        for filter in [Filter::Bicubic, Filter::Box] {
            assert_close(&resize(&[0.7; 9 * 5 * 3], [9, 5], 3, [4, 11], filter), &[0.7; 4 * 11 * 3]);
            assert_eq!(resize(&image([9, 5], 3), [9, 5], 3, [9, 5], filter), image([9, 5], 3));
            assert_eq!(resize(&[0.5], [1, 1], 1, [3, 2], filter), [0.5; 6]);
        }
    }
}
