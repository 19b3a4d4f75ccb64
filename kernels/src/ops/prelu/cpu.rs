//! SIMD implementation of the [module documentation](super)'s equations.

use crate::host::{as_f64, f64_workspace_len};
use crate::loops::{BlockSums, Columns, Lanewise, Operands, RowFunction, map, map_rows};
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use crate::{Cpu, Write};

/// `y = x` where `x > 0`, else `slope x`; `x` is `None` if `y` holds it.
pub fn forward(cpu: &Cpu, slope: f32, x: Option<&[f32]>, y: &mut [f32]) {
    map(cpu, Value(slope), [x], y, Write::Set);
}

#[derive(Clone, Copy)]
struct Value(f32);

impl Lanewise<1> for Value {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [x]: [S::F32; 1]) -> S::F32 {
        s.select(s.less(s.splat(0.0), x), x, s.mul(s.splat(self.0), x))
    }
}

/// The elements as one channel, so that the loop over rows adds up all of them.
fn columns(cpu: &Cpu, len: usize) -> Columns {
    Columns::new(cpu, len, 1)
}

/// Scratch of [`backward`] over `len` elements, in elements: one f64 a task.
pub fn backward_workspace_len(cpu: &Cpu, len: usize) -> usize {
    if len == 0 { 0 } else { f64_workspace_len(columns(cpu, len).tasks()) }
}

/// The gradient of the input, unless `dx` is empty, and that of the slope, which it returns. `dy` is `None` if `dx`
/// holds it.
pub fn backward(
    cpu: &Cpu,
    slope: f32,
    x: &[f32],
    dy: Option<&[f32]>,
    (dx, write): (&mut [f32], Write),
    workspace: &mut [f32],
) -> f32 {
    let len = x.len();
    if len == 0 {
        return 0.0;
    }
    assert_eq!(dy.map_or(dx.len(), <[f32]>::len), len, "operands of unequal length");
    assert!(dx.is_empty() || dx.len() == len, "operands of unequal length");
    let columns = columns(cpu, len);
    let parts = &mut as_f64(workspace)[..columns.tasks()];
    let shared = SharedSlice::new(parts);
    let dx = (!dx.is_empty()).then(|| SharedSlice::new(dx));
    let gradients = Gradients { slope, add: write == Write::Add };
    cpu.pool.for_each(columns.tasks(), |task| {
        let range = columns.task(task);
        // SAFETY: tasks do not overlap.
        let dx = dx.as_ref().map(|dx| unsafe { dx.slice(range.start, range.len()) }.as_mut_ptr());
        let x = x[range.clone()].as_ptr();
        // `dx`, if it is there: without it, so is `dy`, as asserted
        let out = dx.map_or(x, <*mut f32>::cast_const);
        let dy = dy.map_or(out, |dy| dy[range.clone()].as_ptr());
        let before = if gradients.add { out } else { x };
        let outputs = [dx.unwrap_or(std::ptr::null_mut())];
        let operands = Operands { inputs: [x, dy, before], outputs, len: range.len() };
        let sum = cpu.isa.dispatch(Task { columns, gradients, operands });
        // SAFETY: every task has its own element.
        unsafe { shared.slice(task, 1)[0] = sum };
    });
    parts.iter().sum::<f64>() as f32
}

/// One task of [`backward`], which gives its part of the slope's gradient.
struct Task {
    columns: Columns,
    gradients: Gradients,
    operands: Operands<3, 1>,
}

impl Kernel for Task {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut sum = Sum(0.0);
        // SAFETY: all operands were cut to the same task; an input is the output or does not overlap it.
        unsafe { map_rows(s, &self.gradients, self.columns, self.operands, &mut sum) };
        sum.0
    }
}

/// `dx`, or what was there plus `dx`, and the sum of `dy x` where `x` is not above 0.
#[derive(Clone, Copy)]
struct Gradients {
    slope: f32,
    add: bool,
}

impl RowFunction<3, 0, 1, 1> for Gradients {
    #[inline(always)]
    fn eval<S: Simd>(
        &self,
        s: S,
        [x, dy, before]: [S::F32; 3],
        _: [S::F32; 0],
        [sum]: [S::F32; 1],
    ) -> ([S::F32; 1], [S::F32; 1]) {
        let is_above = s.less(s.splat(0.0), x);
        let dx = s.select(is_above, dy, s.mul(s.splat(self.slope), dy));
        let dx = if self.add { s.add(before, dx) } else { dx };
        let below = s.select(is_above, s.splat(0.0), x);
        ([dx], [s.mul_add(dy, below, sum)])
    }
}

/// The sum over all columns and blocks.
struct Sum(f64);

impl BlockSums<0, 1> for Sum {
    #[inline(always)]
    fn begin(&mut self, _: usize, _: [&mut [f32]; 0]) {}

    #[inline(always)]
    fn add(&mut self, _: usize, [sums]: [&[f32]; 1], _: [&mut [f32]; 0]) {
        self.0 += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
    }

    #[inline(always)]
    fn end(&mut self, _: usize, _: usize) {}
}
