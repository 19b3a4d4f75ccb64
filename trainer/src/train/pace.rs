//! How fast a run is, and how long it is going to take.

use crate::settings::Settings;
use std::time::Duration;

/// The loss and the speed that are shown are means over about this many steps.
const SMOOTHING_STEPS: f64 = 50.0;

/// The speed of a run, and the time that is left. Counts from where this process began.
pub(super) struct Pace {
    total: u64,
    validate_every: u64,
    /// Images that a validation computes, for both kinds of statistics.
    validation_images: u64,
    validation: Option<Duration>,
    samples: u64,
    steps: u64,
    /// Steps among them whose loss was finite.
    losses: u64,
    /// Time that an image takes in a training step, smoothed.
    seconds_per_image: f64,
    /// Smoothed loss, once there is one.
    pub(super) loss: Option<f64>,
}

impl Pace {
    /// Steps that the first estimate is measured on.
    const ESTIMATE_STEPS: u64 = 5;
    /// How much faster the forward pass alone is, until a validation has been timed.
    const FORWARD_SPEEDUP: f64 = 3.0;

    pub(super) fn new(settings: &Settings, validation_images: usize) -> Pace {
        Pace {
            total: settings.training.samples,
            validate_every: settings.run.validate_every,
            validation_images: 2 * validation_images as u64,
            validation: None,
            samples: 0,
            steps: 0,
            losses: 0,
            seconds_per_image: 0.0,
            loss: None,
        }
    }

    /// Counts a step that took `took`, after which the run has seen `samples` images.
    pub(super) fn stepped(&mut self, batch: usize, took: Duration, loss: f64, samples: u64) {
        self.steps += 1;
        self.samples = samples;
        if loss.is_finite() {
            self.losses += 1;
            let before = self.loss.unwrap_or(loss);
            self.loss = Some(before + (loss - before) / (self.losses as f64).min(SMOOTHING_STEPS));
        }
        // The first step touches all memory for the first time: it counts only until there is another one.
        let timed = (self.steps - 1).max(1) as f64;
        let seconds = took.as_secs_f64() / batch as f64;
        self.seconds_per_image += (seconds - self.seconds_per_image) / timed.min(SMOOTHING_STEPS);
    }

    /// Counts a validation that took `took`.
    pub(super) fn validated(&mut self, took: Duration) {
        self.validation = Some(took);
    }

    /// Speed of the training steps.
    pub(super) fn images_per_second(&self) -> f64 {
        1.0 / self.seconds_per_image
    }

    /// Time that is left.
    pub(super) fn remaining(&self) -> Duration {
        self.time_from(self.samples)
    }

    /// Time from the step after which `samples` images have been seen to the end, at this pace.
    pub(super) fn time_from(&self, samples: u64) -> Duration {
        let speed = self.images_per_second();
        let validation = match self.validation {
            Some(took) => took.as_secs_f64(),
            None => self.validation_images as f64 / (speed * Pace::FORWARD_SPEEDUP),
        };
        let between = match self.validate_every {
            0 => 0,
            every => (self.total - 1) / every - samples.min(self.total - 1) / every,
        };
        let seconds = (self.total - samples) as f64 / speed + (between + 1) as f64 * validation;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The time that is left, once: as soon as enough steps have been timed.
    pub(super) fn estimate(&self) -> Option<Duration> {
        (self.steps == Pace::ESTIMATE_STEPS + 1).then(|| self.remaining())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_does_not_count_and_validations_do() {
        let mut settings = Settings::default();
        settings.training.samples = 1000;
        settings.run.validate_every = 400;
        let mut pace = Pace::new(&settings, 300);
        pace.stepped(10, Duration::from_secs(100), 1.0, 10);
        assert_eq!(pace.images_per_second(), 0.1);
        for step in 2..=6 {
            assert_eq!(pace.estimate(), None);
            // A power of two, so that no figure is rounded.
            pace.stepped(10, Duration::from_millis(1250), 1.0, step * 10);
        }
        assert_eq!(pace.images_per_second(), 8.0);
        // 940 images at 8 a second, and validations at 400, 800 and 1000 of 600 images at 24 a second.
        assert_eq!(pace.estimate(), Some(Duration::from_millis(117_500 + 3 * 25_000)));
        pace.validated(Duration::from_secs(5));
        assert_eq!(pace.remaining(), Duration::from_millis(117_500 + 3 * 5000));
        assert_eq!(pace.loss, Some(1.0));
    }

    #[test]
    fn losses_that_are_not_finite_do_not_count() {
        let mut pace = Pace::new(&Settings::default(), 1);
        pace.stepped(1, Duration::from_secs(1), f64::NAN, 1);
        assert_eq!(pace.loss, None);
        pace.stepped(1, Duration::from_secs(1), 0.5, 2);
        assert_eq!(pace.loss, Some(0.5));
        pace.stepped(1, Duration::from_secs(1), f64::INFINITY, 3);
        pace.stepped(1, Duration::from_secs(1), 1.0, 4);
        assert_eq!(pace.loss, Some(0.75));
    }
}
