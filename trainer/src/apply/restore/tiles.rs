//! Tiles: a large picture is restored piece by piece, with the same result as in one piece.
//!
//! The network sees a *window* of the picture, and only the *core* of what it makes of that is kept. Wherever a window
//! does not end with the picture, the core ends a halo before it does. The halo is as wide as the part of the receptive
//! field on that side of a pixel, so that what the window cuts off does not reach the core; where both end with the
//! picture, the network adds the same zeros to both.

use model::ResConv;
use std::ops::Range;

/// How far a tile must lie from pixels that are missing around it, and where it may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// Pixels on each side that an output pixel can depend on, at most.
    pub(super) halo: usize,
    /// Windows begin at multiples of this, so that strides fall on the same pixels as in the whole picture.
    pub(super) step: usize,
}

impl Reach {
    /// That of a network.
    pub(super) fn of(network: &ResConv) -> Reach {
        let config = network.config();
        let step = (0..config.layers).fold(1usize, |step, layer| step.saturating_mul(config.stride_of(layer)));
        // With strides, the field of a pixel may be to one side of it.
        let field = network.receptive_field();
        let halo = if step == 1 { field / 2 } else { field };
        Reach { halo: halo.div_ceil(step).saturating_mul(step), step }
    }
}

/// One dimension of a tile: what the network sees, and what is kept of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) window: Range<usize>,
    pub(super) core: Range<usize>,
}

/// Divides `len` pixels into spans whose windows have at most about `most` pixels. All windows have the same length but
/// for the last one, which may be up to `step` longer.
///
/// `None` if `most` is not enough for a halo on both sides and a core.
pub(super) fn spans(len: usize, most: usize, reach: Reach) -> Option<Vec<Span>> {
    let Reach { halo, step } = reach;
    if len <= most {
        return Some(vec![Span { window: 0..len, core: 0..len }]);
    }
    let window = most / step * step;
    let core = window.checked_sub(2 * halo).filter(|core| *core > 0)?;
    let mut spans = Vec::new();
    let mut done = 0;
    while done < len {
        // As far to the left as the halo needs it, but with a whole window in the picture.
        let last_begin = (len - window) / step * step;
        let begin = done.saturating_sub(halo).div_euclid(step) * step;
        if begin >= last_begin {
            spans.push(Span { window: last_begin..len, core: done..len });
            break;
        }
        let end = if begin == 0 { window - halo } else { begin + halo + core };
        spans.push(Span { window: begin..begin + window, core: done..end });
        done = end;
    }
    Some(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cores_cover_the_picture_and_lie_a_halo_inside_their_windows(
            len in 1usize..3000, most in 1usize..600, halo in 0usize..70, strides in 0u32..4,
        ) {
            let step = 2usize.pow(strides);
            let reach = Reach { halo: halo.div_ceil(step) * step, step };
            let Some(spans) = spans(len, most, reach) else {
                prop_assert!(most / step * step <= 2 * reach.halo);
                return Ok(());
            };
            let mut done = 0;
            for Span { window, core } in &spans {
                prop_assert_eq!(core.start, done);
                prop_assert!(core.start < core.end && window.start.is_multiple_of(step) && window.end <= len);
                prop_assert!(window.len() < most.max(step) + step);
                prop_assert!(window.start == 0 && core.start == 0 || core.start >= window.start + reach.halo);
                prop_assert!(window.end == len && core.end == len || core.end + reach.halo <= window.end);
                done = core.end;
            }
            prop_assert_eq!(done, len);
            let lengths: std::collections::BTreeSet<usize> = spans.iter().map(|span| span.window.len()).collect();
            prop_assert!(lengths.len() <= 2);
        }
    }
}
