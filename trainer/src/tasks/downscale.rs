//! `downscale`: details are lost, as in an image that was made larger.

use super::damage::{Damage, Damaged, Draws, Enlargement, Kind};
use super::resample::{Filter, resize};
use std::fmt;

/// The image is made smaller by a factor and as large as before again. A side that is not a multiple of the factor is
/// rounded up when it becomes smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Downscale {
    factor: usize,
    filter: Filter,
}

impl Kind for Downscale {
    const FORM: &'static str = "downscale:FACTOR[:box]";
    const ABOUT: &'static str = "made smaller by 2, 3 or 4 and enlarged again: downscale:2";

    fn parse(parameters: &[&str]) -> Option<Downscale> {
        let (factor, filter) = match parameters {
            [factor] => (factor, Filter::Bicubic),
            [factor, "box"] => (factor, Filter::Box),
            _ => return None,
        };
        let factor = factor.parse().ok().filter(|factor| (2..=4).contains(factor))?;
        Some(Downscale { factor, filter })
    }
}

impl Damage for Downscale {
    fn apply(&self, image: &mut Damaged, _: &mut Draws) {
        let size = [image.height, image.width];
        let small = size.map(|side| side.div_ceil(self.factor));
        let reduced = resize(&image.pixels, size, image.channels, small, self.filter);
        image.replace(resize(&reduced, small, image.channels, size, self.filter));
    }

    fn enlargement(&self) -> Option<Enlargement> {
        Some(Enlargement { factor: self.factor, filter: self.filter })
    }
}

impl fmt::Display for Downscale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "downscale:{}{}", self.factor, if self.filter == Filter::Box { ":box" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use crate::tasks::tests::{assert_close, damaged, image};

    #[test]
    fn images_are_reduced_and_enlarged_as_in_pillow() {
        for (task, expected) in [
            (
                "downscale:2",
                [
                    0.4137005, 0.4541752, 0.5116602, 0.4245018, 0.3518787, 0.4650825, 0.5381153, 0.4205841, 0.463451,
                    0.5269858, 0.4539186, 0.3969492, 0.5221923, 0.6011171, 0.4275846, 0.4789135, 0.5592552, 0.5054477,
                    0.4645792, 0.5945197, 0.6748306, 0.4081351, 0.4876026, 0.6125182, 0.5474271, 0.4633785, 0.5156233,
                    0.5526271, 0.3944095, 0.4916006, 0.6442015, 0.569403, 0.4548178, 0.4549032, 0.4629752,
                ],
            ),
            (
                "downscale:3",
                [
                    0.4982743, 0.4846576, 0.4470968, 0.4252516, 0.4704831, 0.5268297, 0.5488439, 0.4926137, 0.4834102,
                    0.4574589, 0.4439707, 0.4811476, 0.5261274, 0.5438371, 0.4776737, 0.4801179, 0.4848079, 0.4933763,
                    0.5092944, 0.5242739, 0.5306222, 0.4627337, 0.4768257, 0.5121569, 0.5427819, 0.5374412, 0.5224203,
                    0.5174074, 0.4570731, 0.4755782, 0.5225191, 0.561501, 0.5481057, 0.5217181, 0.5124006,
                ],
            ),
            (
                "downscale:4",
                [
                    0.4673084, 0.4685751, 0.4718977, 0.4773246, 0.4827515, 0.4860741, 0.4873408, 0.4729637, 0.4742626,
                    0.4776696, 0.4832343, 0.4887991, 0.4922061, 0.493505, 0.4878899, 0.4892737, 0.4929034, 0.498832,
                    0.5047606, 0.5083903, 0.5097741, 0.502816, 0.5042847, 0.5081373, 0.5144296, 0.520722, 0.5245745,
                    0.5260432, 0.5084714, 0.5099723, 0.5139092, 0.5203393, 0.5267696, 0.5307065, 0.5322074,
                ],
            ),
            (
                "downscale:2:box",
                [
                    0.47, 0.47, 0.4525, 0.25, 0.25, 0.5525, 0.5525, 0.47, 0.47, 0.4525, 0.25, 0.25, 0.5525, 0.5525,
                    0.315, 0.315, 0.55, 0.6, 0.6, 0.65, 0.65, 0.4125, 0.4125, 0.6475, 0.445, 0.445, 0.495, 0.495,
                    0.4125, 0.4125, 0.6475, 0.445, 0.445, 0.495, 0.495,
                ],
            ),
            (
                "downscale:3:box",
                [
                    0.4183333, 0.4183333, 0.4455556, 0.4455556, 0.4455556, 0.585, 0.585, 0.4183333, 0.4183333,
                    0.4455556, 0.4455556, 0.4455556, 0.585, 0.585, 0.4125, 0.4125, 0.58, 0.58, 0.58, 0.495, 0.495,
                    0.4125, 0.4125, 0.58, 0.58, 0.58, 0.495, 0.495, 0.4125, 0.4125, 0.58, 0.58, 0.58, 0.495, 0.495,
                ],
            ),
            (
                "downscale:4:box",
                [
                    0.4516667, 0.4516667, 0.4516667, 0.5122222, 0.5122222, 0.5122222, 0.5122222, 0.4516667, 0.4516667,
                    0.4516667, 0.5122222, 0.5122222, 0.5122222, 0.5122222, 0.53, 0.53, 0.53, 0.4783333, 0.4783333,
                    0.4783333, 0.4783333, 0.53, 0.53, 0.53, 0.4783333, 0.4783333, 0.4783333, 0.4783333, 0.53, 0.53,
                    0.53, 0.4783333, 0.4783333, 0.4783333, 0.4783333,
                ],
            ),
        ] {
            assert_close(&damaged(task, [5, 7], 1, 0).pixels, &expected);
        }
        let expected = [
            0.1425905, 0.5736753, 0.3870384, 0.2526186, 0.6163052, 0.465141, 0.3626465, 0.658935, 0.5432436, 0.317092,
            0.5568075, 0.4009529, 0.3693502, 0.5599613, 0.4790555, 0.4216083, 0.5631151, 0.5571581, 0.6631162,
            0.5233598, 0.4285445, 0.6008208, 0.4482354, 0.506647, 0.5385255, 0.373111, 0.5847496, 0.8376176, 0.506492,
            0.442459, 0.7175524, 0.3918915, 0.5205615, 0.5974873, 0.2772911, 0.5986641,
        ];
        assert_close(&damaged("downscale:2", [4, 3], 3, 0).pixels, &expected);
    }

    #[test]
    fn blocks_become_their_mean() {
        for factor in [2, 3, 4] {
            let size @ [height, width] = [2 * factor, 3 * factor];
            let (now, before) = (damaged(&format!("downscale:{factor}:box"), size, 3, 0), image(size, 3));
            let mean = |i: usize| {
                let (row, column, channel) = (i / 3 / width, i / 3 % width, i % 3);
                let block = (0..height * width).filter(|pixel| {
                    [pixel / width, pixel % width].map(|at| at / factor) == [row / factor, column / factor]
                });
                block.map(|pixel| before[pixel * 3 + channel]).sum::<f32>() / (factor * factor) as f32
            };
            let expected: Vec<f32> = (0..before.len()).map(mean).collect();
            assert_close(&now.pixels, &expected);
        }
    }
}
