//! One dimension of a correlation: which inputs an output reads.

use crate::ops::conv2d::cpu::tasks::share;
use std::ops::Range;

/// Output `e` of `count` is at `out_first + e out_step`; its tap `t` reads the input at `in_first + e in_step + t`,
/// which may lie outside the image, and multiplies it with the kernel's tap `kernel_first + t kernel_step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) count: usize,
    pub(super) out_first: usize,
    pub(super) out_step: usize,
    pub(super) taps: usize,
    pub(super) in_first: isize,
    pub(super) in_step: usize,
    pub(super) kernel_first: usize,
    pub(super) kernel_step: isize,
}

impl Axis {
    /// A convolution with `out` outputs, whose output `e` reads inputs `e stride + t - pad`.
    pub(super) fn forward(out: usize, taps: usize, stride: usize, pad: usize) -> Axis {
        Axis {
            count: out,
            out_first: 0,
            out_step: 1,
            taps,
            in_first: -(pad as isize),
            in_step: stride,
            kernel_first: 0,
            kernel_step: 1,
        }
    }

    /// One phase of the adjoint of a convolution whose input has `len` elements.
    ///
    /// ```text
    /// dx[h] = sum of dy[p] w[r]   over p stride + r = h + pad
    /// ```
    ///
    /// All `h` with the same `phase = (h + pad) mod stride` meet the same taps `r = phase + stride j`, and with
    /// `t = (h + pad) div stride` the sum is that of `dy[t - j] w[phase + stride j]`: a correlation of step 1 with
    /// every `stride`-th tap in reverse order. So an adjoint is as many dense correlations as the stride says, and no
    /// product with an inserted zero is ever computed. A phase has no taps if the stride exceeds the kernel.
    pub(super) fn adjoint(len: usize, taps: usize, stride: usize, pad: usize, phase: usize) -> Axis {
        let taps = taps.saturating_sub(phase).div_ceil(stride);
        let first = (pad + stride - 1 - phase) / stride;
        let out_first = first * stride + phase - pad;
        Axis {
            count: len.saturating_sub(out_first).div_ceil(stride),
            out_first,
            out_step: stride,
            taps,
            in_first: first as isize + 1 - taps as isize,
            in_step: 1,
            kernel_first: phase + stride * taps.saturating_sub(1),
            kernel_step: -(stride as isize),
        }
    }

    /// The kernel's tap that tap `t` multiplies with.
    pub(super) fn kernel_tap(&self, t: usize) -> usize {
        self.kernel_first.wrapping_add_signed(t as isize * self.kernel_step)
    }

    /// Segment `i`, if the outputs are cut into so many.
    pub(super) fn segment(&self, segments: usize, i: usize) -> Segment {
        let outputs = share(self.count, segments, i);
        let first = self.in_first + (outputs.start * self.in_step) as isize;
        Segment { inputs: Inputs { first, len: self.in_len(outputs.len()) }, outputs }
    }

    /// Inputs that `outputs` neighbouring outputs read.
    pub(super) fn in_len(&self, outputs: usize) -> usize {
        if outputs == 0 || self.taps == 0 { 0 } else { (outputs - 1) * self.in_step + self.taps }
    }
}

/// Some neighbouring outputs, and the inputs that they read.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) outputs: Range<usize>,
    pub(super) inputs: Inputs,
}

/// Neighbouring inputs, of which some may lie outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) first: isize,
    pub(super) len: usize,
}

impl Inputs {
    pub(super) const NONE: Inputs = Inputs { first: 0, len: 0 };

    /// The inputs from the first to the last of both.
    pub(super) fn union(self, other: Inputs) -> Inputs {
        match (self.len, other.len) {
            (0, _) => other,
            (_, 0) => self,
            _ => {
                let first = self.first.min(other.first);
                let end = (self.first + self.len as isize).max(other.first + other.len as isize);
                Inputs { first, len: (end - first) as usize }
            }
        }
    }

    /// Whether there are inputs, all of them inside an image of `len` elements.
    pub(super) fn is_inside(&self, len: usize) -> bool {
        self.len > 0 && self.first >= 0 && self.first as usize + self.len <= len
    }

    /// Of the inputs, counted from the first, those inside an image of `len` elements.
    pub(super) fn inside(&self, len: usize) -> Range<usize> {
        let first = (-self.first).clamp(0, self.len as isize);
        let last = (len as isize - self.first).clamp(first, self.len as isize);
        first as usize..last as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All `(output, input, tap)` that an axis multiplies, inside an image of `len` inputs.
    fn products(axis: &Axis, len: usize) -> Vec<(usize, usize, usize)> {
        let mut products = Vec::new();
        for e in 0..axis.count {
            for t in 0..axis.taps {
                let input = axis.in_first + (e * axis.in_step + t) as isize;
                if (0..len as isize).contains(&input) {
                    products.push((axis.out_first + e * axis.out_step, input as usize, axis.kernel_tap(t)));
                }
            }
        }
        products.sort();
        products
    }

    #[test]
    fn the_phases_of_an_adjoint_are_the_convolution_turned_round() {
        // Loops, not a chain of flat_map: valgrind takes what the compiler makes of that for reads of uninitialised
        // values.
        for taps in 1..=5 {
            for stride in 1..=4 {
                for pad in 0..=6 {
                    for len in 1..=7 {
                        if len + 2 * pad < taps {
                            continue;
                        }
                        let out = (len + 2 * pad - taps) / stride + 1;
                        let mut want = products(&Axis::forward(out, taps, stride, pad), len);
                        want.iter_mut().for_each(|(out, input, _)| std::mem::swap(out, input));
                        want.sort();
                        let phases: Vec<Axis> = (0..stride).map(|i| Axis::adjoint(len, taps, stride, pad, i)).collect();
                        let mut got: Vec<_> = phases.iter().flat_map(|phase| products(phase, out)).collect();
                        got.sort();
                        assert_eq!(got, want, "{taps} taps, stride {stride}, padding {pad}, {len} inputs");
                        let mut outputs: Vec<_> =
                            phases.iter().flat_map(|p| (0..p.count).map(|e| p.out_first + e * p.out_step)).collect();
                        outputs.sort();
                        assert_eq!(outputs, (0..len).collect::<Vec<_>>());
                    }
                }
            }
        }
    }

    #[test]
    fn segments_read_what_their_outputs_need() {
        let axis = Axis::forward(7, 3, 2, 2);
        let (first, second) = (axis.segment(2, 0), axis.segment(2, 1));
        assert_eq!((second.outputs.clone(), second.inputs), (3..7, Inputs { first: 4, len: 9 }));
        assert!(second.inputs.is_inside(13) && !second.inputs.is_inside(12) && !first.inputs.is_inside(99));
        assert_eq!((second.inputs.inside(10), first.inputs.inside(3)), (0..6, 2..5));
        assert_eq!(second.inputs.union(first.inputs), axis.segment(1, 0).inputs);
        assert_eq!(second.inputs.union(Inputs::NONE), Inputs::NONE.union(second.inputs));
    }
}
