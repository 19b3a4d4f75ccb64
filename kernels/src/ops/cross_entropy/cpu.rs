//! SIMD implementation of the [module documentation](super)'s equations. Lanes are rows if there are few classes, else
//! classes.

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
struct Softmax {
    largest: [f32; MAX_LANES],
    sum: [f32; MAX_LANES],
}

/// Most classes of which lanes are rows. Of more classes, lanes are classes.
const MAX_FEW: usize = 32;

/// Values of some rows of few classes, a lane a row.
type Columns = [[f32; MAX_LANES]; MAX_FEW];

/// `exp(x - largest)`, where `x` is at most `largest`; NaN where either is.
#[inline(always)]
fn exp_below<S: Simd>(s: S, x: S::F32, largest: S::F32) -> S::F32 {
    let (difference, lowest) = (s.sub(x, largest), s.splat(-87.0));
    let exp = exp_nonpositive(s, s.select(s.less(lowest, difference), difference, lowest));
    s.select(s.is_number(difference), exp, difference)
}

/// The larger of both; `a` if `b` is NaN.
#[inline(always)]
fn larger<S: Simd>(s: S, a: S::F32, b: S::F32) -> S::F32 {
    s.select(s.less(a, b), b, a)
}

/// The vector of a row's logits from `k` on. Lanes behind the row are negative infinity.
#[inline(always)]
fn logits_from<S: Simd>(s: S, row: &[f32], k: usize) -> S::F32 {
    let row = &row[k..];
    let mut rest = [f32::NEG_INFINITY; MAX_LANES];
    let is_whole = row.len() >= S::LANES;
    if !is_whole {
        rest[..row.len()].copy_from_slice(row);
    }
    // SAFETY: the row has a whole vector; or the array, as no vector has more than MAX_LANES elements.
    unsafe { s.load(if is_whole { row.as_ptr() } else { rest.as_ptr() }) }
}

impl Softmax {
    /// That of at most `LANES` rows. If the classes are few, also writes the exponentials.
    #[inline(always)]
    fn new<S: Simd>(s: S, rows: &[f32], classes: usize, exps: &mut Columns) -> Softmax {
        match classes <= MAX_FEW {
            true => Softmax::of_few(s, rows, classes, exps),
            false => Softmax::of_many(s, rows, classes),
        }
    }

    #[inline(always)]
    fn of_few<S: Simd>(s: S, rows: &[f32], classes: usize, exps: &mut Columns) -> Softmax {
        let exps = &mut exps[..classes];
        for (i, row) in rows.chunks_exact(classes).enumerate() {
            exps.iter_mut().zip(row).for_each(|(column, &x)| column[i] = x);
        }
        let mut softmax = Softmax { largest: exps[0], sum: [0.0; MAX_LANES] };
        // SAFETY: no vector has more than MAX_LANES elements.
        unsafe {
            let mut largest = s.load(exps[0].as_ptr());
            for column in exps.iter() {
                largest = larger(s, largest, s.load(column.as_ptr()));
            }
            let mut sum = s.splat(0.0);
            for column in exps.iter_mut() {
                let exp = exp_below(s, s.load(column.as_ptr()), largest);
                s.store(column.as_mut_ptr(), exp);
                sum = s.add(sum, exp);
            }
            s.store(softmax.largest.as_mut_ptr(), largest);
            s.store(softmax.sum.as_mut_ptr(), sum);
        }
        softmax
    }

    #[inline(always)]
    fn of_many<S: Simd>(s: S, rows: &[f32], classes: usize) -> Softmax {
        let mut softmax = Softmax { largest: [0.0; MAX_LANES], sum: [0.0; MAX_LANES] };
        for (i, row) in rows.chunks_exact(classes).enumerate() {
            let mut lanes = logits_from(s, row, 0);
            for k in (S::LANES..classes).step_by(S::LANES) {
                lanes = larger(s, lanes, logits_from(s, row, k));
            }
            let mut values = [0.0; MAX_LANES];
            // SAFETY: no vector has more than MAX_LANES elements.
            unsafe { s.store(values.as_mut_ptr(), lanes) };
            let largest = values[..S::LANES].iter().fold(values[0], |a, &b| if a < b { b } else { a });
            let mut sum = s.splat(0.0);
            for k in (0..classes).step_by(S::LANES) {
                // Behind the row it adds less than 1e-37 to a sum that is at least 1.
                sum = s.add(sum, exp_below(s, logits_from(s, row, k), s.splat(largest)));
            }
            (softmax.largest[i], softmax.sum[i]) = (largest, s.sum(sum));
        }
        softmax
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
        let (mut total, mut exps) = ([0.0; 2], [[0.0; MAX_LANES]; MAX_FEW]);
        for (rows, targets) in logits.chunks(S::LANES * classes).zip(targets.chunks(S::LANES)) {
            let Softmax { largest, sum } = Softmax::new(s, rows, classes, &mut exps);
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
        let slopes = Slopes {
            scale,
            own: ((1.0 - p.label_smoothing) + p.label_smoothing / classes as f64) as f32,
            other: (p.label_smoothing / classes as f64) as f32,
        };
        let mut exps = [[0.0; MAX_LANES]; MAX_FEW];
        let chunk = S::LANES * classes;
        let rows = logits.chunks(chunk).zip(dlogits.chunks_mut(chunk));
        for ((rows, dlogits), targets) in rows.zip(targets.chunks(S::LANES)) {
            let softmax = Softmax::new(s, rows, classes, &mut exps);
            let rows = rows.chunks_exact(classes).zip(dlogits.chunks_exact_mut(classes));
            for (i, ((row, dlogits), &target)) in rows.zip(targets).enumerate() {
                let share = 1.0 / softmax.sum[i];
                match p.target(f64::from(target)) {
                    Target::Ignored => dlogits.iter_mut().for_each(|d| write.put(d, 0.0)),
                    Target::Wrong => dlogits.iter_mut().for_each(|d| write.put(d, f32::NAN)),
                    Target::Class(class) if classes <= MAX_FEW => {
                        for (k, (d, column)) in dlogits.iter_mut().zip(&exps).enumerate() {
                            let target = if k == class { slopes.own } else { slopes.other };
                            write.put(d, scale * (column[i] * share - target));
                        }
                    }
                    Target::Class(class) => {
                        let softmax = [softmax.largest[i], share];
                        slopes.put(s, row, softmax, class, dlogits, write);
                    }
                }
            }
        }
    }
}

/// What the slopes of a row are, `scale (softmax - q)`.
struct Slopes {
    scale: f32,
    /// `q` of the row's class, and of the other classes.
    own: f32,
    other: f32,
}

impl Slopes {
    /// Those of a row of many classes, whose softmax is `exp(x - largest) share`.
    #[inline(always)]
    fn put<S: Simd>(
        &self,
        s: S,
        row: &[f32],
        [largest, share]: [f32; 2],
        class: usize,
        dlogits: &mut [f32],
        write: Write,
    ) {
        let [largest, share, scale] = [largest, share, self.scale].map(|x| s.splat(x));
        for (first, dlogits) in (0..row.len()).step_by(S::LANES).zip(dlogits.chunks_mut(S::LANES)) {
            let mut targets = [self.other; MAX_LANES];
            if (first..first + S::LANES).contains(&class) {
                targets[class - first] = self.own;
            }
            let softmax = s.mul(exp_below(s, logits_from(s, row, first), largest), share);
            let count = dlogits.len();
            // SAFETY: no vector has more than MAX_LANES elements; the slice has `count`.
            unsafe {
                let mut slope = s.mul(scale, s.sub(softmax, s.load(targets.as_ptr())));
                if write == Write::Add {
                    slope = s.add(s.load_first(dlogits.as_ptr(), count), slope);
                }
                s.store_first(dlogits.as_mut_ptr(), slope, count);
            }
        }
    }
}
