//! Where time and memory go.
//!
//! | module | what it measures |
//! | --- | --- |
//! | [`step`] | a training step, by step of its plan |
//! | [`conv`] | the passes of a convolution, with every algorithm, against the machine's peak |

pub mod conv;
pub mod step;

/// The value below which this share of the numbers lies: the median for 0.5.
///
/// # Panics
/// If there are no numbers.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
