//! Which values the settings may have.

use super::error::SettingsError;
use super::schema::Settings;
use std::fmt::Display;

/// Most training images of a run.
pub const MOST_SAMPLES: u64 = 1_000_000_000_000;

impl Settings {
    /// Checks every value. `origin` names the place that the value of a section and key comes from.
    ///
    /// # Errors
    /// [`SettingsError::Value`] for the first one that is out of range.
    pub(super) fn check(&self, origin: &dyn Fn(&str, &str) -> String) -> Result<(), SettingsError> {
        let Settings { network, training: t, run, .. } = self;
        let wrong = |section: &str, key: &str, expected: &str, got: &dyn Display| SettingsError::Value {
            origin: origin(section, key),
            expected: expected.to_owned(),
            got: got.to_string(),
        };
        network.validate().map_err(|error| match error {
            model::Error::Config { field, expected, got } => wrong("network", field, &expected, &got),
            // A configuration has no other error today. If it gets one, its message is kept.
            other => wrong("network", "layers", "a valid network", &other),
        })?;
        let require = |section: &str, key: &str, value: &dyn Display, right: bool, expected: &str| {
            if right { Ok(()) } else { Err(wrong(section, key, expected, value)) }
        };
        let told = usize::from(t.task.fills());
        let expected = "1 for grey images, 3 for colours";
        let of_input = if told == 1 { &format!("{expected}, and 1 for what is missing") } else { expected };
        let (inputs, outputs) = (network.in_channels, network.out_channels);
        require("network", "in_channels", &inputs, [1 + told, 3 + told].contains(&inputs), of_input)?;
        require("network", "out_channels", &outputs, [1, 3].contains(&outputs), expected)?;
        for (section, key, value, min, max) in [
            ("training", "size", t.size as u64, 2, 1024),
            ("training", "samples", t.samples, 1, MOST_SAMPLES),
            ("training", "batch", t.batch as u64, 1, 65_536),
            ("training", "warmup", t.warmup, 0, t.samples),
            ("training", "seed", t.seed, 0, i64::MAX as u64),
            ("run", "threads", run.threads as u64, 0, 1024),
            ("run", "memory_limit", run.memory_limit as u64, 0, 1 << 24),
            ("run", "validate_images", run.validate_images.unwrap_or(1), 1, 1_000_000_000),
            ("run", "data_memory", run.data_memory as u64, 0, 1 << 24),
            ("run", "keep_checkpoints", run.keep_checkpoints as u64, 1, 1_000_000),
        ] {
            let expected = format!("a whole number from {min} to {max}");
            require(section, key, &value, (min..=max).contains(&value), &expected)?;
        }
        let counts = run.patience == 0 || run.validate_every > 0;
        require("run", "patience", &run.patience, counts, "0 if there are no validations before the end")?;
        let finite = |section, key, value: f64, right: bool, expected: &str| {
            require(section, key, &value, value.is_finite() && right, expected)
        };
        let minutes = run.checkpoint_minutes;
        finite("run", "checkpoint_minutes", minutes, minutes >= 0.0, "a finite number of 0 or more")?;
        let share = t.validation_share;
        finite("training", "validation_share", share, share > 0.0 && share < 1.0, "a number between 0 and 1")?;
        finite("training", "lr", t.lr, t.lr > 0.0, "a finite number above 0")?;
        if let Some(norm) = t.clip_grad_norm {
            finite("training", "clip_grad_norm", norm, norm > 0.0, "a finite number above 0")?;
        }
        finite("training", "weight_decay", t.weight_decay, t.weight_decay >= 0.0, "a finite number of 0 or more")
    }
}
