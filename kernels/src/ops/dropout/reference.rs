//! The equations of the [module documentation](super), element by element.

use super::Factors;
use crate::pass::Write;
use crate::random::ElementWords;

/// `y (+)= f_i x`
pub(super) fn apply(factors: Factors, words: ElementWords, x: &[f64], y: &mut [f64], write: Write) {
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let factor = if words.word(i) < factors.threshold { 0.0 } else { factors.scale };
        write.put(y, factor * x);
    }
}
