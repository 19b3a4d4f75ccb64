//! `noise`: white Gaussian noise.

use super::damage::{Damage, Damaged, Draws, Kind};
use super::parameters::Range;
use std::fmt;

/// Noise of this standard deviation on every channel of every pixel, where white is 1. Of a range, each image draws its
/// own deviation. Values beyond black and white stay as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Noise {
    sigma: Range,
}

impl Kind for Noise {
    const FORM: &'static str = "noise:SIGMA";
    const ABOUT: &'static str = "Gaussian noise of deviation 0 to 1, where white is 1: noise:25/255";

    fn parse(parameters: &[&str]) -> Option<Noise> {
        let [sigma] = parameters else { return None };
        Some(Noise { sigma: Range::parse(sigma, 0.0..=1.0)? })
    }
}

impl Damage for Noise {
    fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        let sigma = self.sigma.draw(draws);
        image.pixels.iter_mut().for_each(|value| *value += (sigma * draws.normal()) as f32);
        image.known.fill(false);
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "noise:{}", self.sigma)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{damaged, image};

    #[test]
    fn noise_has_the_deviation_that_was_asked_for() {
        for (task, channels) in [("noise:0.1", 1), ("noise:51/510", 3)] {
            let now = damaged(task, [90, 120], channels, 5).pixels;
            let noise: Vec<f64> =
                now.iter().zip(image([90, 120], channels)).map(|(now, before)| f64::from(now - before)).collect();
            let count = noise.len() as f64;
            let mean = noise.iter().sum::<f64>() / count;
            let deviation = (noise.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            assert!(mean.abs() < 0.004 && (deviation - 0.1).abs() < 0.003, "{mean} {deviation}");
            let next = noise.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / count;
            assert!(next.abs() < 0.0005, "neighbours are independent: {next}");
        }
        assert_eq!(damaged("noise:0", [3, 4], 3, 0).pixels, image([3, 4], 3));
        let pixels = damaged("noise:0.5", [30, 30], 1, 0).pixels;
        assert!(pixels.iter().any(|value| *value < 0.0) && pixels.iter().any(|value| *value > 1.0));
    }

    #[test]
    fn draws_are_pinned() {
        // An independent implementation of ChaCha8, and the formula, gave these.
        let mut now = Damaged::new([2, 2], 1, vec![0.0; 4]);
        Noise::parse(&["0.25"]).unwrap().apply(&mut now, &mut Draws::of_training(7, 123));
        let expected = [-0.144_91, 0.059_466_11, -0.133_013_2, 0.066_548_84];
        assert!(
            now.pixels.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-6),
            "{:?}",
            now.pixels
        );
    }
}
