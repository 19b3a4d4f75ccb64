//! The loss curve of a run, as SVG and PNG.

use std::path::Path;
use std::sync::Once;

use image::{RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::files::{FileError, write_atomic, write_bytes};

/// A point of a curve: samples seen so far, and the loss.
pub type Point = (u64, f64);

/// The training loss of a run with its validation losses, over the samples seen.
///
/// The training loss is drawn twice: every step thin and pale, and its running mean. Points that are not finite (or not positive, on a
/// logarithmic axis) are left out.
#[derive(Clone, Copy, Debug)]
pub struct LossCurve<'a> {
    /// The heading.
    pub title: &'a str,
    /// Name of the loss, at its axis.
    pub loss: &'a str,
    /// The loss of every step, or of some.
    pub training: &'a [Point],
    /// Named validation losses.
    pub validation: &'a [(&'a str, &'a [Point])],
    /// A named loss to compare with, as a level across the plot.
    pub reference: Option<(&'a str, f64)>,
    /// How the loss is scaled.
    pub axis: Axis,
}

/// Scale of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axis {
    /// Equal distances are equal ratios.
    #[default]
    Logarithmic,
    /// Equal distances are equal differences.
    Linear,
}

/// A curve that cannot be drawn or kept.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// There is nothing to show.
    #[error("the loss curve has no point that can be drawn")]
    NoPoints,
    /// The plotting library failed.
    #[error("could not draw the loss curve: {0}")]
    Draw(String),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}
