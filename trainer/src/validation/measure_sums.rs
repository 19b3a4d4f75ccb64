//! How close the restored validation images are to the true ones.

use super::mean::Mean;
use crate::measures::{psnr, ssim};
use crate::tasks::Samples;
use engine::Element;
use serde::{Deserialize, Serialize};

/// Means over the validation images, with running statistics. What a network gives is cut off at black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Peak signal-to-noise ratio in dB: [`psnr`]. Equal images, for which it is infinite, are left out.
    pub psnr: Option<f64>,
    /// Structural similarity: [`ssim`]; absent if images are smaller than its windows.
    pub ssim: Option<f64>,
    /// The L1 loss of the pixels that are missing, if the task takes some away.
    pub missing_l1: Option<f64>,
    /// The L1 loss of the other pixels of such a task.
    #[serde(default)]
    pub known_l1: Option<f64>,
    /// The peak signal-to-noise ratio of the damaged images, before they are restored; absent if they have other
    /// channels.
    pub damaged_psnr: Option<f64>,
}

impl Measures {
    /// Those that there are: their names, and their values as text.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let damaged = self.damaged_psnr.map_or_else(String::new, |psnr| format!(" (damaged: {psnr:.2} dB)"));
        let all = [
            ("PSNR", self.psnr.map(|psnr| format!("{psnr:.2} dB{damaged}"))),
            ("SSIM", self.ssim.map(|ssim| format!("{ssim:.4}"))),
            ("known L1", self.known_l1.map(|loss| format!("{loss:.5}"))),
            ("missing L1", self.missing_l1.map(|loss| format!("{loss:.5}"))),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

/// Adds them up, image by image.
#[derive(Clone, Debug, Default)]
pub(super) struct MeasureSums {
    psnr: Mean,
    ssim: Mean,
    missing_l1: Mean,
    known_l1: Mean,
    damaged_psnr: Mean,
}

impl MeasureSums {
    /// Adds a sample: what the network got, what it made of that, and what it should be.
    pub(super) fn add<E: Element>(&mut self, samples: &Samples<'_>, images: [&[E]; 3], known: &[bool]) {
        let in_range = |values: &[E]| values.iter().map(|value| (value.to_f64() as f32).clamp(0.0, 1.0)).collect();
        let [input, output, target]: [Vec<f32>; 3] = images.map(in_range);
        let channels = samples.images.channels();
        let add =
            |mean: &mut Mean, value: Option<f64>| value.filter(|v| v.is_finite()).iter().for_each(|v| mean.add(*v));
        add(&mut self.psnr, Some(psnr(&output, &target)));
        add(&mut self.ssim, ssim(&output, &target, [samples.size; 2], channels));
        let input = samples.task.damaged_pixels(&input, channels);
        add(&mut self.damaged_psnr, (input.len() == target.len()).then(|| psnr(&input, &target)));
        if samples.task.is_mask() {
            let mut parts = [Mean::default(), Mean::default()];
            let pixels = images[1].chunks(channels).zip(images[2].chunks(channels)).zip(known);
            for ((output, target), &known) in pixels {
                let part = &mut parts[usize::from(known)];
                output.iter().zip(target).for_each(|(a, b)| part.add((a.to_f64() - b.to_f64()).abs()));
            }
            add(&mut self.missing_l1, parts[0].get());
            add(&mut self.known_l1, parts[1].get());
        }
    }

    pub(super) fn means(&self) -> Measures {
        Measures {
            psnr: self.psnr.get(),
            ssim: self.ssim.get(),
            missing_l1: self.missing_l1.get(),
            known_l1: self.known_l1.get(),
            damaged_psnr: self.damaged_psnr.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Fit};
    use crate::tasks::Task;

    /// The measures of images of `size` x `size` pixels: what the network got, what it made of that, what it should be,
    /// and which pixels were known.
    fn measures(task: &str, size: usize, channels: usize, images: &[([Vec<f32>; 3], Vec<bool>)]) -> Measures {
        let (dataset, task) = (Dataset::new(channels), task.parse::<Task>().unwrap());
        let samples = Samples { images: &dataset, size, fit: Fit::Crop, task: &task };
        let mut sums = MeasureSums::default();
        for ([input, output, target], known) in images {
            sums.add(&samples, [input, output, target], known);
        }
        sums.means()
    }

    #[test]
    fn the_error_of_what_is_missing_does_not_see_what_is_known() {
        // Two pixels of colours, of which the second is missing; the first one is wrong, too.
        let target = vec![0.5; 12];
        let mut output = vec![0.9; 12];
        output[3..6].copy_from_slice(&[0.4, 0.5, 0.8]);
        let mut known = vec![true; 4];
        known[1] = false;
        let image = ([target.clone(), output.clone(), target.clone()], known);
        // A whole image is no less than one whose missing part is small.
        let other = ([target.clone(), vec![0.2; 12], target.clone()], vec![false; 4]);
        let known = |images: &[_]| measures("pixels:0.5", 2, 3, images).known_l1;
        let of = |task, images: &[_]| measures(task, 2, 3, images).missing_l1;
        let close = |got: Option<f64>, expected: f64| assert!((got.unwrap() - expected).abs() < 1e-6, "{got:?}");
        close(of("pixels:0.5", std::slice::from_ref(&image)), 0.4 / 3.0);
        close(known(std::slice::from_ref(&image)), 0.4);
        assert_eq!(known(std::slice::from_ref(&other)), None);
        close(of("pixels:0.5", &[image.clone(), other]), (0.4 / 3.0 + 0.3) / 2.0);
        let intact = ([target.clone(), output, target], vec![true; 4]);
        close(of("pixels:0.5", &[image.clone(), intact.clone()]), 0.4 / 3.0);
        assert_eq!([of("pixels:0.5", &[intact]), of("noise:0.1", &[image])], [None, None]);
    }

    #[test]
    fn means_are_over_the_images_and_what_is_beyond_white_is_white() {
        let image = |error: f32| {
            let target = vec![1.0 - error; 64];
            ([vec![1.0; 64], vec![7.0; 64], target], vec![false; 64])
        };
        let of_two = measures("noise:0.1", 8, 1, &[image(0.1), image(0.01)]);
        assert!((of_two.psnr.unwrap() - 30.0).abs() < 1e-4, "20 and 40 dB: {of_two:?}");
        assert_eq!(of_two.damaged_psnr, of_two.psnr);
        let flat = |a: f64, b: f64| (2.0 * a * b + 1e-4) / (a * a + b * b + 1e-4);
        let expected = (flat(1.0, 0.9) + flat(1.0, 0.99)) / 2.0;
        assert!((of_two.ssim.unwrap() - expected).abs() < 1e-6, "{of_two:?}, {expected}");

        // Equal images have no ratio, and small ones no similarity.
        let equal = measures("noise:0.1", 2, 1, &[([vec![0.0; 4], vec![1.0; 4], vec![1.0; 4]], vec![false; 4])]);
        assert_eq!(equal, Measures { damaged_psnr: Some(0.0), ..Measures::default() });
        // What became grey is not compared with colours.
        let grey = measures("colorize", 2, 3, &[([vec![0.5; 4], vec![0.5; 12], vec![0.6; 12]], vec![false; 4])]);
        assert_eq!(grey.damaged_psnr, None);
        assert!((grey.psnr.unwrap() - 20.0).abs() < 1e-4);
    }
}
