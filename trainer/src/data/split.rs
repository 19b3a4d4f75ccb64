//! Which images are kept for validation, where the dataset does not say it.

use super::random::{Purpose, generator, shuffle};

/// Seed of the draw. It is the same in every run, whatever the run's seed, so that results can be compared.
const SEED: u64 = 0;

/// Splits `images` images, of which a share is drawn for validation: the numbers of those to train with, and of those
/// to validate with, in their order. There is at least one of each. `None` if there are not two images.
pub(super) fn by_share(images: usize, share: f64) -> Option<[Vec<usize>; 2]> {
    if images < 2 {
        return None;
    }
    let drawn = ((images as f64 * share).round() as usize).clamp(1, images - 1);
    let mut order: Vec<usize> = (0..images).collect();
    shuffle(&mut order, &mut generator(SEED, Purpose::Split, 0));
    let mut train = order.split_off(drawn);
    [&mut train, &mut order].into_iter().for_each(|part| part.sort_unstable());
    Some([train, order])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_draw_is_pinned() {
        // A change would make results incomparable with those of earlier versions.
        assert_eq!(by_share(20, 0.25).unwrap()[1], [0, 4, 11, 13, 17]);
    }

    #[test]
    fn every_part_has_an_image() {
        assert_eq!([0, 1].map(|images| by_share(images, 0.5)), [None, None]);
        for share in [1e-9, 0.5, 1.0 - 1e-9] {
            assert_eq!(by_share(2, share).unwrap().map(|part| part.len()), [1, 1]);
        }
        assert_eq!(by_share(1000, 0.1).unwrap().map(|part| part.len()), [900, 100]);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(images in 2usize..500, share in 0.001..0.999) {
            let [train, validation] = by_share(images, share).unwrap();
            prop_assert!([&train, &validation].iter().all(|part| part.is_sorted() && !part.is_empty()));
            let mut all = [train, validation].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..images).collect::<Vec<_>>());
        }
    }
}
