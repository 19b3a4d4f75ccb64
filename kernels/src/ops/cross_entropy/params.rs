//! Shapes and constants of a cross-entropy.

use crate::memory::Span;

/// Shapes and constants of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropyParams {
    /// Rows of logits.
    pub rows: usize,
    /// Classes: logits in a row.
    pub classes: usize,
    /// Share of the target that is spread over all classes, from 0 to 1.
    pub label_smoothing: f64,
    /// The class whose rows do not count; may be none of the classes.
    pub ignored: Option<i32>,
}

/// The target of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// One of the classes.
    Class(usize),
    /// The row does not count.
    Ignored,
    /// Not a class.
    Wrong,
}

impl CrossEntropyParams {
    /// What the target of a row means.
    #[inline(always)]
    pub(super) fn target(&self, value: f64) -> Target {
        let class = value as usize;
        if self.ignored.is_some_and(|ignored| value == f64::from(ignored)) {
            Target::Ignored
        } else if class as f64 == value && class < self.classes {
            Target::Class(class)
        } else {
            Target::Wrong
        }
    }

    /// Asserts the lengths of logits and targets.
    pub(super) fn check(&self, logits: Span, targets: Span) {
        assert!(self.classes > 0 && (0.0..=1.0).contains(&self.label_smoothing), "{self:?}");
        assert!(logits.len == self.rows * self.classes && targets.len == self.rows, "{self:?}");
    }
}
