//! The equations of the [module documentation](super).

use super::MAX_PARTS;
use super::params::ChannelsParams;
use crate::pass::Write;

/// `y[r, begin_i + c] = x_i[r, c]`
pub(super) fn concat(rows: usize, parts: [&[f64]; MAX_PARTS], channels: [usize; MAX_PARTS], y: &mut [f64]) {
    let width: usize = channels.iter().sum();
    for row in 0..rows {
        let mut begin = 0;
        for (part, channels) in parts.iter().zip(channels) {
            for c in 0..channels {
                y[row * width + begin + c] = part[row * channels + c];
            }
            begin += channels;
        }
    }
}

/// `y[r, c] (+)= x[r, begin + c]`
pub(super) fn slice(p: &ChannelsParams, x: &[f64], y: &mut [f64], write: Write) {
    for row in 0..p.rows {
        for c in 0..p.narrow {
            write.put(&mut y[row * p.narrow + c], x[row * p.wide + p.begin + c]);
        }
    }
}

/// `y[r, begin + c] (+)= x[r, c]`, else `(+)= 0`
pub(super) fn embed(p: &ChannelsParams, x: &[f64], y: &mut [f64], write: Write) {
    if write == Write::Set {
        y.fill(0.0);
    }
    for row in 0..p.rows {
        for c in 0..p.narrow {
            y[row * p.wide + p.begin + c] += x[row * p.narrow + c];
        }
    }
}
