//! One dimension of a correlation: which inputs an output reads.
//!
//! Time and memory of a pass must depend on its operands, not on numbers that its shape has besides. So an axis has
//! only outputs that [reach](Axis::reaching) the image, and no output multiplies what its window has outside of it, but
//! for a few that are cheaper than their own treatment. A stride or a padding may be any number.

use super::tasks::share;
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use std::ops::Range;

/// One of the two dimensions of a pass that computes a convolution, or its adjoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dimension {
    direction: Direction,
    /// Elements of the input of the pass, and of its output: for the adjoint, those of `dy` and `dx`.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    taps: usize,
    stride: usize,
    pad: usize,
}

impl Dimension {
    /// Rows and columns of a pass.
    pub(super) fn both(p: &Conv2dParams, direction: Direction) -> [Dimension; 2] {
        let [input, output] = p.images(direction);
        [0, 1].map(|dim| Dimension {
            direction,
            inputs: input[dim],
            outputs: output[dim],
            taps: [p.r, p.s][dim],
            stride: [p.stride_h, p.stride_w][dim],
            pad: [p.pad_h, p.pad_w][dim],
        })
    }

    /// The axes, which have different outputs, and together all outputs that a product is added to.
    pub(super) fn axes(self) -> impl Iterator<Item = Axis> + Clone {
        let Dimension { direction, inputs, outputs, taps, stride, pad } = self;
        let phases = match direction {
            Direction::Forward => 1,
            // The others have no taps.
            Direction::Adjoint => stride.min(taps),
        };
        let axis = move |phase| match direction {
            Direction::Forward => Axis::forward(outputs, taps, stride, pad),
            Direction::Adjoint => Axis::adjoint(outputs, taps, stride, pad, phase),
        };
        (0..phases).map(move |phase| axis(phase).reaching(inputs)).filter(|axis| axis.count > 0)
    }

    /// An axis that has as many outputs and taps as each of the [`axes`](Self::axes).
    pub(super) fn bound(self) -> Axis {
        let first = Axis { count: 0, ..Axis::forward(0, 0, 1, 0) };
        self.axes().reduce(|a, b| Axis { count: a.count.max(b.count), taps: a.taps.max(b.taps), ..a }).unwrap_or(first)
    }

    /// Whether all outputs are those of an axis.
    pub(super) fn is_reached(self) -> bool {
        self.axes().map(|axis| axis.count).sum::<usize>() == self.outputs
    }

    /// Whether an output is that of an axis.
    pub(super) fn reaches(self, output: usize) -> bool {
        self.axes().any(|axis| {
            let steps = output.checked_sub(axis.out_first).map(|from| (from / axis.out_step, from % axis.out_step));
            steps.is_some_and(|(e, rest)| e < axis.count && rest == 0)
        })
    }
}

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
        let first = pad.saturating_sub(phase).div_ceil(stride);
        // Behind the last element, if it is more than can be counted: the padded input has fewer elements than that.
        let out_first = first.saturating_mul(stride).saturating_add(phase) - pad;
        Axis {
            count: len.saturating_sub(out_first).div_ceil(stride),
            out_first,
            out_step: stride,
            taps,
            in_first: first as isize - (taps as isize - 1),
            in_step: 1,
            kernel_first: phase + stride * taps.saturating_sub(1),
            kernel_step: (stride as isize).wrapping_neg(),
        }
    }

    /// The outputs that read something of an image of `len` inputs. The steps of a single output or tap do not matter,
    /// and are 1, so that no distance overflows.
    fn reaching(self, len: usize) -> Axis {
        let Axis { in_first, in_step, taps, .. } = self;
        let outside = (in_first + taps as isize - 1).min(0).unsigned_abs();
        let room = if in_first < 0 { len + in_first.unsigned_abs() } else { len.saturating_sub(in_first as usize) };
        let end = if taps == 0 { 0 } else { room.div_ceil(in_step).min(self.count) };
        let start = outside.div_ceil(in_step).min(end);
        let mut axis = Axis { count: end - start, ..self };
        if axis.count > 0 {
            axis.out_first += start * self.out_step;
            axis.in_first = in_first.wrapping_add_unsigned(start * in_step);
        }
        if axis.count <= 1 {
            (axis.in_step, axis.out_step) = (1, 1);
        }
        if axis.taps <= 1 {
            axis.kernel_step = 1;
        }
        axis
    }

    /// The taps with which `outputs` meet an image of `len` inputs.
    pub(super) fn taps_inside(&self, outputs: Range<usize>, len: usize) -> Range<usize> {
        let taps = |e: usize| Inputs { first: self.first_input(e), len: self.taps }.inside(len);
        if outputs.is_empty() { 0..0 } else { taps(outputs.end - 1).start..taps(outputs.start).end }
    }

    /// Of `outputs`, those that meet an image of `len` inputs with tap `t`.
    pub(super) fn outputs_inside(&self, t: usize, outputs: Range<usize>, len: usize) -> Range<usize> {
        let before = |position: isize| (position - self.in_first - t as isize).max(0).unsigned_abs();
        let end = before(len as isize).div_ceil(self.in_step).clamp(outputs.start, outputs.end);
        before(0).div_ceil(self.in_step).clamp(outputs.start, end)..end
    }

    /// Of `outputs`, those that meet an image of `len` inputs with each of `taps`, which are at least one.
    pub(super) fn outputs_wholly_inside(&self, taps: Range<usize>, outputs: Range<usize>, len: usize) -> Range<usize> {
        let start = self.outputs_inside(taps.start, outputs.clone(), len).start;
        start..self.outputs_inside(taps.end - 1, outputs, len).end.max(start)
    }

    /// What the first tap of output `e` reads.
    pub(super) fn first_input(&self, e: usize) -> isize {
        self.in_first + (e * self.in_step) as isize
    }

    /// The kernel's tap that tap `t` multiplies with.
    pub(super) fn kernel_tap(&self, t: usize) -> usize {
        self.kernel_first.wrapping_add_signed(t as isize * self.kernel_step)
    }

    /// Segment `i`, if the outputs are cut into so many.
    pub(super) fn segment(&self, segments: usize, i: usize) -> Segment {
        let outputs = share(self.count, segments, i);
        let first = self.first_input(outputs.start);
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

    /// Those inside an image of `len` elements.
    pub(super) fn cut(self, len: usize) -> Inputs {
        let inside = self.inside(len);
        Inputs { first: self.first + inside.start as isize, len: inside.len() }
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

    /// The dimension of a shape of one row.
    fn dimension(direction: Direction, len: usize, [taps, stride, pad]: [usize; 3]) -> Option<Dimension> {
        let p = Conv2dParams::new([1, 1, len, 1], 1, [1, taps], [1, stride], [0, pad], 1).ok()?;
        Some(Dimension::both(&p, direction)[1])
    }

    /// Windows that miss the image, and strides that miss the kernel, have no axis; the other products are all there.
    #[test]
    fn axes_have_the_outputs_that_reach_the_image_and_every_product() {
        for (len, taps, stride, pad) in (1..=5usize)
            .flat_map(|len| (1..=4usize).map(move |taps| (len, taps)))
            .flat_map(|(len, taps)| (1..=9usize).map(move |stride| (len, taps, stride)))
            .flat_map(|(len, taps, stride)| (0..=12usize).map(move |pad| (len, taps, stride, pad)))
        {
            for direction in [Direction::Forward, Direction::Adjoint] {
                let Some(dim) = dimension(direction, len, [taps, stride, pad]) else { continue };
                let (adjoint, out) = (
                    direction == Direction::Adjoint,
                    if direction == Direction::Adjoint { dim.inputs } else { dim.outputs },
                );
                let mut want = products(&Axis::forward(out, taps, stride, pad), len);
                if adjoint {
                    want.iter_mut().for_each(|(out, input, _)| std::mem::swap(out, input));
                }
                want.sort();
                let mut got: Vec<_> = dim.axes().flat_map(|axis| products(&axis, dim.inputs)).collect();
                got.sort();
                let name = format!("{direction:?}, {len} inputs, {taps} taps, stride {stride}, padding {pad}");
                assert_eq!(got, want, "{name}");
                for output in 0..dim.outputs {
                    assert_eq!(
                        dim.reaches(output),
                        want.iter().any(|product| product.0 == output),
                        "{name}, output {output}"
                    );
                }
                assert_eq!(dim.is_reached(), (0..dim.outputs).all(|output| dim.reaches(output)), "{name}");
                for axis in dim.axes() {
                    for e in 0..axis.count {
                        let inside =
                            |t: usize| Inputs { first: axis.first_input(e) + t as isize, len: 1 }.is_inside(dim.inputs);
                        assert!(
                            (0..axis.taps).all(|t| inside(t) == axis.taps_inside(e..e + 1, dim.inputs).contains(&t)),
                            "{name}"
                        );
                        assert!(
                            (0..axis.taps)
                                .all(|t| inside(t) == axis.outputs_inside(t, 0..axis.count, dim.inputs).contains(&e)),
                            "{name}"
                        );
                        assert!((0..axis.taps).any(inside), "{name}: output {e} of {axis:?} reads nothing");
                    }
                    let all = axis.taps_inside(0..axis.count, dim.inputs);
                    assert!((0..axis.count).all(|e| {
                        let of_one = axis.taps_inside(e..e + 1, dim.inputs);
                        all.start <= of_one.start && of_one.end <= all.end
                    }));
                }
            }
        }
    }

    /// Numbers that neither time nor arithmetic may depend on.
    #[test]
    fn axes_of_enormous_strides_and_paddings_are_those_of_small_ones() {
        let max = isize::MAX as usize;
        for [stride, pad] in [
            [1 << 20, 0],
            [1 << 40, 1],
            [max, 1],
            [usize::MAX, 2],
            [1 << 40, 1 << 40],
            [1 << 62, max - 9],
            [max, max - 2],
        ] {
            for direction in [Direction::Forward, Direction::Adjoint] {
                let dim = dimension(direction, 5, [3, stride, pad]).unwrap();
                let axes: Vec<Axis> = dim.axes().collect();
                assert!(axes.len() <= 3, "{axes:?}");
                let products: Vec<_> = axes.iter().flat_map(|axis| products(axis, dim.inputs)).collect();
                let (small, large) = (5.max(dim.outputs), dim.outputs.min(dim.inputs));
                assert!(products.len() <= 3 && small == 5 && large <= 4, "{products:?}");
                assert!(
                    dim.axes().all(|axis| axis.in_len(axis.count) <= 5 + 2 * 2
                        && axis.out_step <= 5
                        && axis.kernel_step == 1)
                );
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
