//! Both passes on the CPU, with SIMD.

use crate::host::{Cpu, as_f64};
use crate::loops::{BlockSums, Channelwise, Columns, Operands, RowFunction, add_columns, map_channels, map_rows};
use crate::ops::activation::Activation;
use crate::ops::activation::cpu::{Function, Visitor, visit};
use crate::ops::batch_norm::BatchNormParams;
use crate::ops::batch_norm::cpu::{Normalize, finish_sums};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// Writes mean, scale and beta of some channels.
type Coefficients<'a> = &'a (dyn Fn(Range<usize>, [&mut [f32]; 3]) + Sync);

/// What follows the normalization.
#[derive(Clone, Copy)]
pub(super) struct Then {
    pub(super) activation: Activation,
    pub(super) weight: f64,
}

/// `y = f(z + weight skip)`; `x` is `None` if `y` holds it, and `skip` is empty if it is absent.
pub(super) fn forward(
    cpu: &Cpu,
    p: &BatchNormParams,
    coefficients: Coefficients<'_>,
    then: Then,
    [x, skip]: [Option<&[f32]>; 2],
    y: &mut [f32],
) {
    let columns = Columns::new(cpu, p.rows, p.channels);
    let weight = then.weight as f32;
    visit(then.activation, Forward { cpu, columns, normalize: Normalize(coefficients), weight, x, skip, y });
}

/// Arguments of [`forward`].
struct Forward<'a> {
    cpu: &'a Cpu,
    columns: Columns,
    normalize: Normalize<Coefficients<'a>>,
    weight: f32,
    x: Option<&'a [f32]>,
    skip: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    fn visit<F: Function>(self, f: F) {
        let Forward { cpu, columns, normalize, weight, x, skip, y } = self;
        let value = Value { normalize, weight, f };
        match skip {
            Some([]) => map_channels(cpu, columns, &value, [x], y, Write::Set),
            skip => map_channels(cpu, columns, &value, [x, skip], y, Write::Set),
        }
    }
}

/// `f(z)` of `x` alone, and `f(z + weight skip)` of `x` and the skip.
struct Value<'a, F> {
    normalize: Normalize<Coefficients<'a>>,
    weight: f32,
    f: F,
}

impl<F: Function, const N: usize> Channelwise<N, 3> for Value<'_, F> {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, out: [&mut [f32]; 3]) {
        self.normalize.coefficients(channels, out);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, inputs: [S::F32; N], coefficients: [S::F32; 3]) -> S::F32 {
        let mut z = self.normalize.eval(s, [inputs[0]], coefficients);
        if N == 2 {
            z = s.mul_add(s.splat(self.weight), inputs[N - 1], z);
        }
        self.f.value(s, z)
    }
}

/// Operands of [`backward_sums`].
pub(super) struct Sums<'a> {
    pub(super) saved: &'a [f32],
    pub(super) x: &'a [f32],
    /// `None` if `dz` holds it.
    pub(super) dy: Option<&'a [f32]>,
    pub(super) mean: &'a [f32],
    pub(super) rstd: &'a [f32],
    pub(super) dz: &'a mut [f32],
}

/// Writes `dz`. Returns `[dgamma, dbeta]`, which lie in the workspace.
pub(super) fn backward_sums<'w>(
    cpu: &Cpu,
    p: &BatchNormParams,
    activation: Activation,
    operands: Sums<'_>,
    workspace: &'w mut [f32],
) -> [&'w [f64]; 2] {
    let rstd = operands.rstd;
    let columns = Columns::new(cpu, p.rows, p.channels);
    let sums = &mut as_f64(workspace)[..columns.tasks() * 2 * p.channels];
    visit(activation, Backward { cpu, columns, operands, sums });
    finish_sums(sums, rstd)
}

/// Arguments of [`backward_sums`].
struct Backward<'a> {
    cpu: &'a Cpu,
    columns: Columns,
    operands: Sums<'a>,
    sums: &'a mut [f64],
}

impl Visitor for Backward<'_> {
    fn visit<F: Function>(self, f: F) {
        let Backward { cpu, columns, operands: Sums { saved, x, dy, mean, dz, .. }, sums } = self;
        let channels = columns.channels;
        assert!(
            [saved.len(), x.len(), dz.len()] == [columns.len(); 3] && dy.is_none_or(|dy| dy.len() == columns.len())
        );
        let (dz, sums) = (SharedSlice::new(dz), SharedSlice::new(sums));
        cpu.pool.for_each(columns.tasks(), |task| {
            let range = columns.task(task);
            // SAFETY: tasks do not overlap.
            let dz = unsafe { dz.slice(range.start, range.len()) }.as_mut_ptr();
            // SAFETY: every task has its own sums.
            let sums = unsafe { sums.slice(task * 2 * channels, 2 * channels) };
            let dy = dy.map_or(dz.cast_const(), |dy| dy[range.clone()].as_ptr());
            let inputs = [saved[range.clone()].as_ptr(), x[range.clone()].as_ptr(), dy];
            let operands = Operands { inputs, outputs: [dz], len: range.len() };
            cpu.isa.dispatch(SumsTask { columns, gradient: Gradient(f), operands, mean, sums });
        });
    }
}

/// Some rows, cut from `saved`, `x`, `dy` and `dz`, whose sums are written.
struct SumsTask<'a, F> {
    columns: Columns,
    gradient: Gradient<F>,
    operands: Operands<3, 1>,
    mean: &'a [f32],
    sums: &'a mut [f64],
}

impl<F: Function> Kernel for SumsTask<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let SumsTask { columns, gradient, operands, mean, sums } = self;
        sums.fill(0.0);
        let (products, sums) = sums.split_at_mut(columns.channels);
        let mut blocks = ChannelSums { mean, sums: [products, sums], left: 0 };
        // SAFETY: all operands were cut to the same task; an input is `dz` or does not overlap it.
        unsafe { map_rows(s, &gradient, columns, operands, &mut blocks) };
    }
}

/// `dz = dy f'`, and the sums of `dz (x - mean)` and `dz`
struct Gradient<F>(F);

impl<F: Function> RowFunction<3, 1, 1, 2> for Gradient<F> {
    #[inline(always)]
    fn eval<S: Simd>(
        &self,
        s: S,
        [saved, x, dy]: [S::F32; 3],
        [mean]: [S::F32; 1],
        [products, sum]: [S::F32; 2],
    ) -> ([S::F32; 1], [S::F32; 2]) {
        let dz = s.mul(dy, self.0.derivative(s, saved));
        ([dz], [s.mul_add(dz, s.sub(x, mean), products), s.add(sum, dz)])
    }
}

/// The means of the columns, and both sums of the channels of a task.
struct ChannelSums<'a> {
    mean: &'a [f32],
    sums: [&'a mut [f64]; 2],
    left: usize,
}

impl BlockSums<1, 2> for ChannelSums<'_> {
    #[inline(always)]
    fn begin(&mut self, left: usize, [means]: [&mut [f32]; 1]) {
        self.left = left;
        for (column, mean) in means.iter_mut().enumerate() {
            *mean = self.mean[(left + column) % self.mean.len()];
        }
    }

    #[inline(always)]
    fn add(&mut self, _: usize, sums: [&[f32]; 2], _: [&mut [f32]; 1]) {
        for (totals, sums) in self.sums.iter_mut().zip(sums) {
            add_columns(totals, self.left, sums);
        }
    }

    #[inline(always)]
    fn end(&mut self, _: usize, _: usize) {}
}
