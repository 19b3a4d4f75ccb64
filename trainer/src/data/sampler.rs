//! The order in which a run visits the images.

use super::random::{Purpose, generator, shuffle};

/// An endless stream of image numbers: one random permutation of all images after the other, one an epoch.
///
/// The number at a position is a pure function of the number of images, the seed and the position, so a run can be
/// resumed anywhere. The permutation of one epoch is kept, so that asking for positions in order costs a shuffle an
/// epoch and allocates nothing.
#[derive(Debug)]
pub struct Sampler {
    seed: u64,
    epoch: u64,
    permutation: Vec<u32>,
}

impl Sampler {
    /// The stream of `images` images under `seed`.
    ///
    /// # Panics
    /// If there are no images, or more than 2^32 - 1.
    pub fn new(images: usize, seed: u64) -> Sampler {
        let images = u32::try_from(images).expect("more than 2^32 - 1 images");
        assert!(images > 0, "no images to sample from");
        let mut sampler = Sampler { seed, epoch: 0, permutation: (0..images).collect() };
        sampler.shuffle(0);
        sampler
    }

    /// The image at `position` of the stream, counted from 0 over all epochs.
    pub fn image(&mut self, position: u64) -> usize {
        let images = self.permutation.len() as u64;
        let epoch = position / images;
        if epoch != self.epoch {
            self.shuffle(epoch);
        }
        self.permutation[(position % images) as usize] as usize
    }

    /// Shuffles the identity by the random stream of the epoch.
    fn shuffle(&mut self, epoch: u64) {
        for (i, image) in self.permutation.iter_mut().enumerate() {
            *image = i as u32;
        }
        shuffle(&mut self.permutation, &mut generator(self.seed, Purpose::Shuffle, epoch));
        self.epoch = epoch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_stream_is_pinned() {
        // A change would make old runs impossible to repeat or resume. An independent implementation of ChaCha8 gave
        // these, too.
        let mut sampler = Sampler::new(60_000, 0);
        let start: Vec<usize> = (0..4).map(|position| sampler.image(position)).collect();
        let next: Vec<usize> = (60_000..60_004).map(|position| sampler.image(position)).collect();
        assert_eq!(start, [56_964, 13_236, 18_198, 39_568]);
        assert_eq!(next, [866, 43_985, 22_590, 29_247]);
    }

    #[test]
    fn every_place_gets_every_image_equally_often() {
        let mut counts = [[0u32; 5]; 5];
        let mut sampler = Sampler::new(5, 3);
        for position in 0..50_000 {
            counts[(position % 5) as usize][sampler.image(position)] += 1;
        }
        // 2000 expected; the standard deviation is 40.
        assert!(counts.iter().flatten().all(|&n| n.abs_diff(2000) < 200), "{counts:?}");
    }

    proptest! {
        #[test]
        fn an_epoch_visits_every_image_once(images in 1usize..300, seed: u64, epoch in 0u64..1 << 40) {
            let mut sampler = Sampler::new(images, seed);
            let mut seen = vec![false; images];
            for i in 0..images as u64 {
                let image = sampler.image(epoch * images as u64 + i);
                prop_assert!(!std::mem::replace(&mut seen[image], true));
            }
        }

        #[test]
        fn a_position_gives_its_image_in_any_order_of_asking(
            images in 1usize..50, seed: u64, positions in prop::collection::vec(0u64..200, 1..40),
        ) {
            let mut forward = Sampler::new(images, seed);
            let stream: Vec<usize> = (0..200).map(|position| forward.image(position)).collect();
            let mut sampler = Sampler::new(images, seed);
            for position in positions {
                prop_assert_eq!(sampler.image(position), stream[position as usize]);
            }
        }
    }
}
