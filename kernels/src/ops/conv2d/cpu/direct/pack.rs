//! Weights in the order in which the register blocks use them.

use crate::ops::conv2d::cpu::axis::Axis;
use std::array::from_fn;

/// Where the weight `w[r,s,in,out]` of a correlation's kernel is, for one group.
#[derive(Clone, Copy)]
pub(super) struct KernelLayout {
    /// Taps of a kernel row.
    pub(super) kernel_columns: usize,
    /// From a tap to the next.
    pub(super) tap: usize,
    /// From an input channel to the next.
    pub(super) input: usize,
    /// From an output channel to the next.
    pub(super) output: usize,
    /// Input channels of the group.
    pub(super) inputs: usize,
}

/// Packs the weights of a panel of `outputs` channels, of which `weight` begins with the first:
/// `[tap row][tap column][input channel][vectors of outputs]`, with zeros in the lanes behind the last output.
pub(super) fn pack(axes: &[Axis; 2], layout: KernelLayout, outputs: usize, weight: &[f32], packed: &mut [f32]) {
    if packed.is_empty() {
        return;
    }
    let width = packed.len() / (axes[0].taps * axes[1].taps * layout.inputs);
    let mut packed = packed.chunks_exact_mut(layout.inputs * width);
    for (row, column) in (0..axes[0].taps).flat_map(|r| (0..axes[1].taps).map(move |s| (r, s))) {
        let tap = axes[0].kernel_tap(row) * layout.kernel_columns + axes[1].kernel_tap(column);
        let (weight, packed) = (&weight[tap * layout.tap..], packed.next().expect("inputs of one tap"));
        if layout.input > 1 {
            assert_eq!(layout.output, 1);
            for (packed, weight) in packed.chunks_exact_mut(width).zip(weight.chunks(layout.input)) {
                packed[..outputs].copy_from_slice(&weight[..outputs]);
            }
        } else {
            let whole = outputs / SQUARE * SQUARE;
            for output in (0..whole).step_by(SQUARE) {
                transpose::<SQUARE>(layout, &weight[output * layout.output..], packed, [output, width]);
            }
            for output in whole..outputs {
                transpose::<1>(layout, &weight[output * layout.output..], packed, [output, width]);
            }
        }
        if outputs < width {
            packed.chunks_exact_mut(width).for_each(|packed| packed[outputs..].fill(0.0));
        }
    }
}

/// Rows and columns that are transposed at a time: the compiler makes shuffles of vectors of them.
const SQUARE: usize = 4;

/// Packs `COUNT` output channels of a tap, in which input channels are contiguous. `weight` begins with the first of
/// them, and they become columns `output..` of `packed`, which has rows of `width`.
fn transpose<const COUNT: usize>(
    layout: KernelLayout,
    weight: &[f32],
    packed: &mut [f32],
    [output, width]: [usize; 2],
) {
    let channels: [&[f32]; COUNT] = from_fn(|i| &weight[i * layout.output..][..layout.inputs]);
    let whole = layout.inputs / SQUARE * SQUARE;
    for input in (0..whole).step_by(SQUARE) {
        let rows = channels.map(|weight| <[f32; SQUARE]>::try_from(&weight[input..input + SQUARE]).expect("a row"));
        for i in 0..SQUARE {
            packed[(input + i) * width + output..][..COUNT].copy_from_slice(&rows.map(|row| row[i]));
        }
    }
    for input in whole..layout.inputs {
        packed[input * width + output..][..COUNT].copy_from_slice(&channels.map(|weight| weight[input]));
    }
}

/// Packs the weights of `outputs` channels that are too few to be lanes:
/// `[tap row][output][tap column][input channel]`, each row of taps a whole number of vectors with zeros behind the
/// last tap.
pub(super) fn pack_narrow(axes: &[Axis; 2], layout: KernelLayout, outputs: usize, weight: &[f32], packed: &mut [f32]) {
    if packed.is_empty() {
        return;
    }
    let width = packed.len() / (axes[0].taps * outputs);
    let mut packed = packed.chunks_exact_mut(width);
    for (row, output) in (0..axes[0].taps).flat_map(|r| (0..outputs).map(move |k| (r, k))) {
        let packed = packed.next().expect("one row for each tap row and output");
        let (packed, zeros) = packed.split_at_mut(axes[1].taps * layout.inputs);
        for (column, packed) in packed.chunks_exact_mut(layout.inputs).enumerate() {
            let tap = axes[0].kernel_tap(row) * layout.kernel_columns + axes[1].kernel_tap(column);
            let weight = &weight[tap * layout.tap + output * layout.output..];
            packed.iter_mut().zip(weight.iter().step_by(layout.input)).for_each(|(packed, w)| *packed = *w);
        }
        zeros.fill(0.0);
    }
}
