//! `fill`: missing pixels are filled in before the network sees them.

use super::damage::{Damage, Damaged, Draws, Kind};
use std::fmt;

/// Missing pixels get a smooth surface through those around them: [`fill`]. The network gets a channel more, which is 1
/// where a pixel is missing and 0 elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill;

impl Kind for Fill {
    const FORM: &'static str = "fill";
    const ABOUT: &'static str = "what is missing is filled in smoothly, for the network to improve: box,fill";

    fn parse(parameters: &[&str]) -> Option<Fill> {
        parameters.is_empty().then_some(Fill)
    }
}

impl Damage for Fill {
    fn apply(&self, image: &mut Damaged, _: &mut Draws) {
        let (size, channels) = ([image.height, image.width], image.channels);
        let missing: Vec<bool> = image.known.iter().map(|known| !known).collect();
        for channel in 0..channels {
            let mut plane: Vec<f32> = image.pixels.iter().skip(channel).step_by(channels).copied().collect();
            fill(&mut plane, size, &missing);
            image.pixels.iter_mut().skip(channel).step_by(channels).zip(plane).for_each(|(to, from)| *to = from);
        }
        image.tells_missing = true;
    }

    fn is_mask(&self) -> bool {
        true
    }

    fn is_fill(&self) -> bool {
        true
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fill")
    }
}

/// Rounds in which every missing pixel becomes the mean of its neighbours, at every resolution.
const ROUNDS: usize = 8;

/// What there is in place of a picture of which nothing is known.
const GREY: f32 = 0.5;

/// Fills the missing pixels of one channel `[height][width]`, so that each of them is about the mean of its four
/// neighbours: the surface of a membrane that is held by the known pixels around (Laplace's equation; at the border of
/// the picture, the pixel there is its own neighbour).
///
/// The surface is found from coarse to fine: where nothing is known, a picture of half the size, whose pixels are the
/// means of up to four known ones, is filled in and enlarged; then come some rounds of Gauss and Seidel, over the even
/// pixels of a chessboard and then the odd ones.
pub(crate) fn fill(plane: &mut [f32], size: [usize; 2], missing: &[bool]) {
    let [height, width] = size;
    if !missing.contains(&true) {
        return;
    }
    if height * width == 1 {
        plane.fill(GREY);
        return;
    }
    let half = size.map(|side| side.div_ceil(2));
    let mut sums = vec![(0.0f32, 0u8); half[0] * half[1]];
    for (row, (pixels, missing)) in plane.chunks_exact(width).zip(missing.chunks_exact(width)).enumerate() {
        for (column, (value, _)) in pixels.iter().zip(missing).enumerate().filter(|(_, (_, missing))| !**missing) {
            let (sum, count) = &mut sums[row / 2 * half[1] + column / 2];
            *sum += value;
            *count += 1;
        }
    }
    let mut coarse: Vec<f32> = sums.iter().map(|(sum, count)| sum / f32::from((*count).max(1))).collect();
    let still_missing: Vec<bool> = sums.iter().map(|(_, count)| *count == 0).collect();
    drop(sums);
    fill(&mut coarse, half, &still_missing);
    for (row, (pixels, missing)) in plane.chunks_exact_mut(width).zip(missing.chunks_exact(width)).enumerate() {
        for (column, (value, _)) in pixels.iter_mut().zip(missing).enumerate().filter(|(_, (_, missing))| **missing) {
            *value = enlarged(&coarse, half, [row, column]);
        }
    }
    let of_parity = |parity: usize| -> Vec<usize> {
        let is_of_it = |pixel: &usize| missing[*pixel] && (pixel / width + pixel % width) % 2 == parity;
        (0..plane.len()).filter(is_of_it).collect()
    };
    let parities = [of_parity(0), of_parity(1)];
    for pixels in std::iter::repeat_n(&parities, ROUNDS).flatten() {
        for &pixel in pixels {
            let (row, column) = (pixel / width, pixel % width);
            let above = if row == 0 { pixel } else { pixel - width };
            let below = if row + 1 == height { pixel } else { pixel + width };
            let left = if column == 0 { pixel } else { pixel - 1 };
            let right = if column + 1 == width { pixel } else { pixel + 1 };
            plane[pixel] = 0.25 * (plane[above] + plane[below] + plane[left] + plane[right]);
        }
    }
}

/// A pixel of a picture that is twice as large, between the centres of four pixels.
fn enlarged(coarse: &[f32], [height, width]: [usize; 2], pixel: [usize; 2]) -> f32 {
    // The centre of pixel i is at (i + 1/2) / 2 - 1/2: a quarter of a pixel from the nearest one.
    let [rows, columns] = [(pixel[0], height), (pixel[1], width)].map(|(i, len)| {
        let nearest = i / 2;
        let other = if i % 2 == 0 { nearest.saturating_sub(1) } else { (nearest + 1).min(len - 1) };
        [nearest, other]
    });
    let along = |row: usize| 0.75 * coarse[row * width + columns[0]] + 0.25 * coarse[row * width + columns[1]];
    0.75 * along(rows[0]) + 0.25 * along(rows[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{damaged, image};

    /// A plane, what of it is missing, and the plane after it was filled.
    fn filled(
        size: [usize; 2],
        value: impl Fn(usize, usize) -> f32,
        is_missing: impl Fn(usize, usize) -> bool,
    ) -> Vec<f32> {
        let pixels = || (0..size[0]).flat_map(|row| (0..size[1]).map(move |column| (row, column)));
        let missing: Vec<bool> = pixels().map(|(row, column)| is_missing(row, column)).collect();
        let known = pixels().map(|(row, column)| if is_missing(row, column) { 9.0 } else { value(row, column) });
        let mut plane: Vec<f32> = known.collect();
        fill(&mut plane, size, &missing);
        plane
    }

    #[test]
    fn a_slope_goes_on_through_a_hole() {
        // Slopes solve Laplace's equation. The hole is 20 pixels wide.
        let slope = |row: usize, column: usize| 0.01 * row as f32 + 0.005 * column as f32;
        let plane = filled([40, 50], slope, |row, column| (10..30).contains(&row) && (15..35).contains(&column));
        for (pixel, value) in plane.iter().enumerate() {
            let expected = slope(pixel / 50, pixel % 50);
            assert!((value - expected).abs() < 0.01, "{value} at {pixel}, expected {expected}");
        }
        // The exact solution on a single missing pixel is the mean of its neighbours.
        let value = |row: usize, column: usize| ((row * 7 + column * 13) % 10) as f32;
        let plane = filled([5, 5], value, |row, column| [row, column] == [2, 2]);
        assert_eq!(plane[12], (value(1, 2) + value(3, 2) + value(2, 1) + value(2, 3)) / 4.0);
    }

    #[test]
    fn what_is_filled_in_lies_between_what_is_known() {
        for size in [[1, 9], [9, 1], [2, 2], [13, 17], [64, 3]] {
            let value = |row: usize, column: usize| 0.2 + 0.6 * ((row * 31 + column * 17) % 11) as f32 / 10.0;
            let plane = filled(size, value, |row, column| (row * 5 + column * 3) % 7 != 0);
            assert!(plane.iter().all(|value| (0.2 - 1e-6..=0.8 + 1e-6).contains(value)), "{size:?}: {plane:?}");
            let plane = filled(size, value, |_, _| true);
            assert!(plane.iter().all(|value| *value == GREY), "{size:?}: {plane:?}");
            let plane = filled(size, value, |row, column| [row, column] != [0, 0]);
            assert!(plane.iter().all(|value| (value - 0.2).abs() < 1e-6), "{size:?}: {plane:?}");
        }
    }

    #[test]
    fn known_pixels_stay_and_the_network_is_told_which_are_missing() {
        for channels in [1, 3] {
            let [black, now] = ["box:2:0.3", "box:2:0.3,fill"].map(|task| damaged(task, [24, 20], channels, 4));
            assert_eq!(now.known, black.known);
            assert!(now.known.contains(&false));
            let before = image([24, 20], channels);
            let input = now.network_input();
            assert_eq!((black.network_input().into_owned(), input.len()), (black.pixels, 24 * 20 * (channels + 1)));
            for (pixel, known) in now.known.iter().enumerate() {
                let [got, expected] = [&now.pixels, &before].map(|all| &all[pixel * channels..][..channels]);
                assert!(!known || got == expected);
                let told = &input[pixel * (channels + 1)..][..channels + 1];
                assert_eq!(told, [got, &[f32::from(u8::from(!known))][..]].concat());
            }
        }
    }
}
