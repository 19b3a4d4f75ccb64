//! SIMD implementation of the [module documentation](super)'s equations: lanes are rows.

use super::params::{CrossEntropyParams, Target};
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::TASK_LEN;
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::math::exp_nonpositive;
use crate::simd::{Kernel, MAX_LANES, Simd};
use std::ops::Range;

/// Rows of a task: a multiple of every vector's lanes.
fn task_rows(p: &CrossEntropyParams) -> usize {
    (TASK_LEN / p.classes).next_multiple_of(MAX_LANES)
}

fn tasks(p: &CrossEntropyParams) -> usize {
    p.rows.div_ceil(task_rows(p))
}

fn rows_of(p: &CrossEntropyParams, task: usize) -> Range<usize> {
    task * task_rows(p)..p.rows.min((task + 1) * task_rows(p))
}

/// Scratch of [`forward`], in elements.
pub(super) fn forward_workspace_len(p: &CrossEntropyParams) -> usize {
    f64_workspace_len(2 * tasks(p))
}

/// The loss, and the number of rows that count. Each task sums its rows in f64; the sums are added in their order.
pub(super) fn forward(
    cpu: &Cpu,
    p: &CrossEntropyParams,
    logits: &[f32],
    targets: &[f32],
    workspace: &mut [f32],
) -> [f32; 2] {
    let sums = &mut as_f64(workspace)[..2 * tasks(p)];
    let shared = SharedSlice::new(sums);
    cpu.pool.for_each(tasks(p), |task| {
        let rows = rows_of(p, task);
        let logits = &logits[rows.start * p.classes..rows.end * p.classes];
        let sum = cpu.isa.dispatch(Sum { p, logits, targets: &targets[rows] });
        // SAFETY: every task has its own elements.
        unsafe { shared.slice(2 * task, 2).copy_from_slice(&sum) };
    });
    let total = |i: usize| sums.iter().skip(i).step_by(2).sum::<f64>();
    [(total(0) / total(1)) as f32, total(1) as f32]
}

/// `dlogits (+)= scale (softmax - q)`
pub(super) fn backward(
    cpu: &Cpu,
    p: &CrossEntropyParams,
    [logits, targets]: [&[f32]; 2],
    scale: f32,
    dlogits: &mut [f32],
    write: Write,
) {
    let shared = SharedSlice::new(dlogits);
    cpu.pool.for_each(tasks(p), |task| {
        let rows = rows_of(p, task);
        let elements = rows.start * p.classes..rows.end * p.classes;
        // SAFETY: tasks do not overlap.
        let dlogits = unsafe { shared.slice(elements.start, elements.len()) };
        let logits = &logits[elements];
        cpu.isa.dispatch(Gradient { p, logits, targets: &targets[rows], scale, dlogits, write });
    });
}

/// What the softmax of each of some rows needs: its largest logit, and the sum of the exponentials of all logits after
/// that is subtracted.
struct Softmax<S: Simd> {
    largest: S::F32,
    sum: S::F32,
}

/// Logit `k` of each row, a lane a row. Lanes without a row are 0.
#[inline(always)]
fn column<S: Simd>(s: S, rows: &[f32], classes: usize, k: usize) -> S::F32 {
    let mut values = [0.0; MAX_LANES];
    for (value, row) in values.iter_mut().zip(rows.chunks_exact(classes)) {
        *value = row[k];
    }
    // SAFETY: no vector has more than MAX_LANES elements.
    unsafe { s.load(values.as_ptr()) }
}

/// `exp(x - largest)`, where `x` is at most `largest`; NaN where either is.
#[inline(always)]
fn exp_below<S: Simd>(s: S, x: S::F32, largest: S::F32) -> S::F32 {
    let (difference, lowest) = (s.sub(x, largest), s.splat(-87.0));
    let exp = exp_nonpositive(s, s.select(s.less(lowest, difference), difference, lowest));
    s.select(s.is_number(difference), exp, difference)
}

impl<S: Simd> Softmax<S> {
    #[inline(always)]
    fn new(s: S, rows: &[f32], classes: usize) -> Softmax<S> {
        let mut largest = column(s, rows, classes, 0);
        for k in 1..classes {
            let x = column(s, rows, classes, k);
            largest = s.select(s.less(largest, x), x, largest);
        }
        let mut sum = s.splat(0.0);
        for k in 0..classes {
            sum = s.add(sum, exp_below(s, column(s, rows, classes, k), largest));
        }
        Softmax { largest, sum }
    }
}

/// The sum of the losses of some rows, and how many of them count.
struct Sum<'a> {
    p: &'a CrossEntropyParams,
    logits: &'a [f32],
    targets: &'a [f32],
}

impl Kernel for Sum<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f64; 2] {
        let Sum { p, logits, targets } = self;
        let (smoothing, classes) = (p.label_smoothing, p.classes);
        let mut total = [0.0; 2];
        for (rows, targets) in logits.chunks(S::LANES * classes).zip(targets.chunks(S::LANES)) {
            let softmax = Softmax::new(s, rows, classes);
            let (mut largest, mut sum) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
            // SAFETY: no vector has more than MAX_LANES elements.
            unsafe {
                s.store(largest.as_mut_ptr(), softmax.largest);
                s.store(sum.as_mut_ptr(), softmax.sum);
            }
            for (i, (row, &target)) in rows.chunks_exact(classes).zip(targets).enumerate() {
                // -ln p[k]
                let loss_of = |x: f32| f64::from(sum[i]).ln() - (f64::from(x) - f64::from(largest[i]));
                let loss = match p.target(f64::from(target)) {
                    Target::Ignored => continue,
                    Target::Wrong => f64::NAN,
                    Target::Class(class) if smoothing == 0.0 => loss_of(row[class]),
                    Target::Class(class) => {
                        let mean = row.iter().map(|&x| loss_of(x)).sum::<f64>() / classes as f64;
                        let own = if smoothing == 1.0 { 0.0 } else { (1.0 - smoothing) * loss_of(row[class]) };
                        own + smoothing * mean
                    }
                };
                total[0] += loss;
                total[1] += 1.0;
            }
        }
        total
    }
}

/// The gradient of some rows.
struct Gradient<'a> {
    p: &'a CrossEntropyParams,
    logits: &'a [f32],
    targets: &'a [f32],
    scale: f32,
    dlogits: &'a mut [f32],
    write: Write,
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { p, logits, targets, scale, dlogits, write } = self;
        let classes = p.classes;
        let spread = (p.label_smoothing / classes as f64) as f32;
        let own = ((1.0 - p.label_smoothing) + p.label_smoothing / classes as f64) as f32;
        let chunk = S::LANES * classes;
        let rows = logits.chunks(chunk).zip(dlogits.chunks_mut(chunk));
        for ((rows, dlogits), targets) in rows.zip(targets.chunks(S::LANES)) {
            let softmax = Softmax::new(s, rows, classes);
            let share = s.div(s.splat(1.0), softmax.sum);
            let mut class_of = [Target::Wrong; MAX_LANES];
            class_of.iter_mut().zip(targets).for_each(|(class, &target)| *class = p.target(f64::from(target)));
            for k in 0..classes {
                let x = column(s, rows, classes, k);
                let mut probabilities = [0.0; MAX_LANES];
                // SAFETY: no vector has more than MAX_LANES elements.
                unsafe { s.store(probabilities.as_mut_ptr(), s.mul(exp_below(s, x, softmax.largest), share)) };
                for (i, row) in dlogits.chunks_exact_mut(classes).enumerate() {
                    let slope = match class_of[i] {
                        Target::Ignored => 0.0,
                        Target::Wrong => f32::NAN,
                        Target::Class(class) if class == k => scale * (probabilities[i] - own),
                        Target::Class(_) => scale * (probabilities[i] - spread),
                    };
                    write.put(&mut row[k], slope);
                }
            }
        }
    }
}
