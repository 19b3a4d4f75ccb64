//! How close a restored image is to the true one. Values are 0 for black and 1 for white.

/// Mean absolute difference.
pub fn l1(a: &[f32], b: &[f32]) -> f64 {
    mean(a, b, |difference| difference.abs())
}

/// Peak signal-to-noise ratio in dB, `-10 log10(mean squared difference)`: infinite for equal images. As scikit-image's
/// `peak_signal_noise_ratio` with `data_range=1`.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    -10.0 * mean(a, b, |difference| difference * difference).log10()
}

fn mean(a: &[f32], b: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f(f64::from(a) - f64::from(b))).sum::<f64>() / a.len() as f64
}

/// Side of the windows of [`ssim`] in pixels.
const WINDOW: usize = 7;

/// The structural similarity of two images `[height][width][channels]`: 1 for equal ones. `None` if they are smaller
/// than 7 x 7 pixels.
///
/// It is the mean, over all windows of 7 x 7 pixels inside the image and all channels, of
///
/// ```text
/// (2 ma mb + C1) (2 cab + C2) / ((ma^2 + mb^2 + C1) (va + vb + C2)),   C1 = 0.01^2, C2 = 0.03^2
/// ```
///
/// with the means `ma`, `mb` of the window's pixels, their variances `va`, `vb` and their covariance `cab`, which are
/// those of a sample (divided by 48). Wang et al., "Image quality assessment: from error visibility to structural
/// similarity", 2004, as scikit-image's `structural_similarity` has it by default, with `data_range=1`.
///
/// # Panics
/// If the lengths are not those of such images.
pub fn ssim(a: &[f32], b: &[f32], [height, width]: [usize; 2], channels: usize) -> Option<f64> {
    assert_eq!([a.len(), b.len()], [height * width * channels; 2], "elements of two images");
    if height < WINDOW || width < WINDOW {
        return None;
    }
    let row = width * channels;
    let windows = (width - WINDOW + 1) * channels;
    // For each column, the sums over the rows of the window: of a, b, aa, bb and ab.
    let mut columns = vec![[0.0; 5]; row];
    let mut sum = 0.0;
    for top in 0..=height - WINDOW {
        for (j, sums) in columns.iter_mut().enumerate() {
            *sums = [0.0; 5];
            for i in top..top + WINDOW {
                let (a, b) = (f64::from(a[i * row + j]), f64::from(b[i * row + j]));
                for (sum, value) in sums.iter_mut().zip([a, b, a * a, b * b, a * b]) {
                    *sum += value;
                }
            }
        }
        for left in 0..windows {
            let mut sums = [0.0; 5];
            for column in columns[left..].iter().step_by(channels).take(WINDOW) {
                sums.iter_mut().zip(column).for_each(|(sum, value)| *sum += value);
            }
            sum += of_window(sums);
        }
    }
    Some(sum / ((height - WINDOW + 1) * windows) as f64)
}

/// The similarity of a window, from the sums of a, b, aa, bb and ab over its pixels.
fn of_window(sums: [f64; 5]) -> f64 {
    const PIXELS: f64 = (WINDOW * WINDOW) as f64;
    const C1: f64 = 0.01 * 0.01;
    const C2: f64 = 0.03 * 0.03;
    let [a, b, aa, bb, ab] = sums.map(|sum| sum / PIXELS);
    let sample = PIXELS / (PIXELS - 1.0);
    let [va, vb, cab] = [aa - a * a, bb - b * b, ab - a * b].map(|moment| moment * sample);
    (2.0 * a * b + C1) * (2.0 * cab + C2) / ((a * a + b * b + C1) * (va + vb + C2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images: pixels whose neighbours differ, and these mixed with others.
    fn images(elements: usize, mixed: f32) -> [Vec<f32>; 2] {
        let values = |step: usize| (0..elements).map(move |i| ((i * step % 101) as f64 / 100.0) as f32);
        let near = values(37).zip(values(59)).map(|(a, b)| (1.0 - mixed) * a + mixed * b);
        [values(37).collect(), near.collect()]
    }

    #[test]
    fn measures_are_those_of_scikit_image() {
        // By `peak_signal_noise_ratio` and `structural_similarity` of scikit-image 0.26, with `data_range=1` and
        // `channel_axis`.
        for ([height, width, channels], mixed, expected) in [
            ([9, 12, 1], 0.25, [19.632_242_042_336_62, 0.917_565_761_000_255_3]),
            ([9, 12, 1], 1.0, [7.591_042_269_560_351, -0.060_845_265_553_292_22]),
            ([7, 7, 1], 0.25, [19.489_705_882_385_408, 0.918_552_769_255_844_5]),
            ([7, 7, 1], 1.0, [7.448_506_105_422_085, -0.037_635_328_495_975_32]),
            ([8, 11, 3], 0.25, [19.539_782_377_605_086, 0.911_780_584_152_165_9]),
            ([8, 11, 3], 1.0, [7.498_582_634_268_65, -0.085_085_080_617_134_81]),
        ] {
            let [a, b] = images(height * width * channels, mixed);
            let got = [psnr(&a, &b), ssim(&a, &b, [height, width], channels).unwrap()];
            assert!(
                got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-9),
                "{got:?}, {expected:?}"
            );
            assert_eq!(ssim(&b, &a, [height, width], channels), Some(got[1]), "the same from both sides");
        }
    }

    #[test]
    fn equal_images_are_as_close_as_can_be() {
        let [image, _] = images(8 * 11 * 3, 0.25);
        assert_eq!((psnr(&image, &image), l1(&image, &image)), (f64::INFINITY, 0.0));
        assert!((ssim(&image, &image, [8, 11], 3).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn windows_of_similarity_need_seven_pixels_a_side() {
        let [a, b] = images(6 * 40, 0.25);
        assert_eq!([ssim(&a, &b, [6, 40], 1), ssim(&a, &b, [40, 6], 1), ssim(&[0.5], &[0.5], [1, 1], 1)], [None; 3]);
    }

    #[test]
    fn the_absolute_error_is_a_mean_over_all_elements() {
        assert_eq!(l1(&[0.0, 1.0, 0.5, 0.0], &[0.5, 1.0, 0.0, 0.5]), 0.375);
    }
}
