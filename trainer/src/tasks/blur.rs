//! `blur`: a Gaussian blur.

use super::damage::{Damage, Damaged, Draws, Kind};
use super::parameters::Range;
use super::resample::{Taps, weighted};
use std::fmt;

/// A weighted mean of neighbouring pixels, whose weights are a Gaussian of this deviation in pixels, cut off at 4
/// deviations. Beyond the borders the image is reflected. Of a range, each image draws its own deviation.
///
/// As `gaussian_filter` of SciPy does it by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blur {
    sigma: Range,
}

/// Deviations at which the Gaussian is cut off.
const CUT: f64 = 4.0;

/// The taps of a blurred line of `length` pixels.
fn taps(length: usize, sigma: f64) -> Vec<Taps> {
    let radius = (CUT * sigma + 0.5) as isize;
    let weight = |x: isize| if x == 0 { 1.0 } else { (-0.5 * (x as f64 / sigma).powi(2)).exp() };
    let gauss: Vec<f64> = (-radius..=radius).map(weight).collect();
    let period = 2 * length as isize;
    let taps = |center: usize| {
        let first = center.saturating_sub(radius as usize);
        let mut weights = vec![0.0; (center + radius as usize + 1).min(length) - first];
        for (place, weight) in (center as isize - radius..).zip(&gauss) {
            let reflected = place.rem_euclid(period);
            weights[reflected.min(period - 1 - reflected) as usize - first] += weight;
        }
        Taps::normalized(first, &weights)
    };
    (0..length).map(taps).collect()
}

impl Kind for Blur {
    const FORM: &'static str = "blur:SIGMA";
    const ABOUT: &'static str = "Gaussian blur of deviation 0 to 32 pixels: blur:1.5";

    fn parse(parameters: &[&str]) -> Option<Blur> {
        let [sigma] = parameters else { return None };
        Some(Blur { sigma: Range::parse(sigma, 0.0..=32.0)? })
    }
}

impl Damage for Blur {
    fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        let sigma = self.sigma.draw(draws);
        let size = [image.height, image.width];
        let taps = size.map(|length| taps(length, sigma));
        image.replace(weighted(&image.pixels, size, image.channels, &taps));
    }
}

impl fmt::Display for Blur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blur:{}", self.sigma)
    }
}

#[cfg(test)]
mod tests {
    use crate::tasks::tests::{assert_close, damaged, image};

    #[test]
    fn images_are_blurred_as_in_scipy() {
        for (task, expected) in [
            (
                "blur:0.7",
                [
                    0.2228563, 0.3749795, 0.5317317, 0.4031233, 0.4019965, 0.5314093, 0.3719494, 0.5232919, 0.5954883,
                    0.3935236, 0.5620207, 0.2883881, 0.4377485, 0.5835251, 0.307968,
                ],
            ),
            (
                "blur:1.5",
                [
                    0.3896589, 0.4139064, 0.4420229, 0.4471696, 0.4348921, 0.4189087, 0.4297583, 0.4476703, 0.4497503,
                    0.4354251, 0.4443597, 0.4424577, 0.4506572, 0.4498184, 0.4335444,
                ],
            ),
            // The Gaussian is reflected several times.
            (
                "blur:3",
                [
                    0.4321564, 0.4333328, 0.4351592, 0.4369079, 0.4379566, 0.4324743, 0.4336177, 0.435391, 0.4370876,
                    0.4381046, 0.4327869, 0.4338972, 0.4356178, 0.4372623, 0.4382477,
                ],
            ),
        ] {
            assert_close(&damaged(task, [3, 5], 1, 0).pixels, &expected);
        }
        let expected = [
            0.1306211, 0.5006211, 0.5515935, 0.1947607, 0.5647607, 0.615733, 0.2589002, 0.6289002, 0.6798726,
            0.2410998, 0.6110998, 0.2901274, 0.3052393, 0.6752393, 0.3542669, 0.3693789, 0.7393789, 0.4184065,
        ];
        assert_close(&damaged("blur:0.9", [2, 3], 3, 0).pixels, &expected);
        assert_eq!(damaged("blur:0", [4, 3], 3, 0).pixels, image([4, 3], 3));
    }

    #[test]
    fn images_draw_their_own_blur_of_a_range() {
        let spread = |task: &str, place| {
            let pixels = damaged(task, [9, 8], 1, place).pixels;
            let mean = pixels.iter().sum::<f32>() / 72.0;
            pixels.iter().map(|value| (value - mean).powi(2)).sum::<f32>()
        };
        let spreads: Vec<f32> = (0..20).map(|place| spread("blur:0.5..2", place)).collect();
        assert!(spreads.iter().all(|value| *value <= spread("blur:0.5", 0) && *value >= spread("blur:2", 0)));
        assert!(spreads.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
