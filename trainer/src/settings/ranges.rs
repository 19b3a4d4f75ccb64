//! Which values the settings may have.

use super::schema::Settings;
use std::fmt;

/// A value that is out of range.
pub(super) struct OutOfRange {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) expected: String,
    pub(super) got: String,
}

impl OutOfRange {
    fn unless(
        section: &'static str,
        key: &'static str,
        right: bool,
        expected: &str,
        got: impl fmt::Display,
    ) -> Result<(), OutOfRange> {
        if right {
            return Ok(());
        }
        Err(OutOfRange { section, key, expected: expected.to_owned(), got: got.to_string() })
    }
}

impl Settings {
    /// # Errors
    /// The first value that is out of range.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let Settings { network, training: t, run, .. } = self;
        if let Err(error) = network.validate() {
            return Err(match error {
                model::Error::Config { field, expected, got } => {
                    OutOfRange { section: "network", key: field, expected, got }
                }
                // A configuration has no other error today. If it gets one, its message is kept.
                other => OutOfRange {
                    section: "network",
                    key: "layers",
                    expected: "a valid network".to_owned(),
                    got: other.to_string(),
                },
            });
        }
        let grey = |key, channels| OutOfRange::unless("network", key, channels == 1, "1: images are grey", channels);
        grey("in_channels", network.in_channels)?;
        grey("out_channels", network.out_channels)?;
        let whole = |section, key, value: u64, [min, max]: [u64; 2]| {
            let expected = format!("a whole number from {min} to {max}");
            OutOfRange::unless(section, key, (min..=max).contains(&value), &expected, value)
        };
        whole("training", "size", t.size as u64, [2, 1024])?;
        whole("training", "samples", t.samples, [1, 1_000_000_000_000])?;
        whole("training", "batch", t.batch as u64, [1, 65_536])?;
        whole("training", "warmup", t.warmup, [0, t.samples])?;
        whole("training", "seed", t.seed, [0, i64::MAX as u64])?;
        whole("run", "threads", run.threads as u64, [0, 1024])?;
        whole("run", "memory_limit", run.memory_limit as u64, [0, 1 << 24])?;
        whole("run", "keep_checkpoints", run.keep_checkpoints as u64, [1, 1_000_000])?;
        let minutes = run.checkpoint_minutes;
        let expected = "a finite number of 0 or more";
        OutOfRange::unless("run", "checkpoint_minutes", minutes.is_finite() && minutes >= 0.0, expected, minutes)?;
        let number = |key, value: f64, right: bool, expected| {
            OutOfRange::unless("training", key, value.is_finite() && right, expected, value)
        };
        number("lr", t.lr, t.lr > 0.0, "a finite number above 0")?;
        number("weight_decay", t.weight_decay, t.weight_decay >= 0.0, "a finite number of 0 or more")
    }
}
