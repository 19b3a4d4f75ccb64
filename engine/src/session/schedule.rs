//! Learning rates over the course of training.

use std::f64::consts::PI;

/// The learning rate of every step of a run.
///
/// With `w` warm-up steps and `T` steps in all, step `t` (from 0) has the rate
///
/// ```text
/// warm-up     t < w     base (t + 1) / (w + 1)                            linear, already above 0 at the first step
/// constant    t >= w    base
/// cosine      t >= w    base (1 + cos(pi min(1, (t - w) / (T - w)))) / 2  0 from step T on
/// ```
///
/// Without warm-up, cosine is the closed form of PyTorch's `CosineAnnealingLR(T_max=T)` (Loshchilov & Hutter, "SGDR",
/// 2017); the warm-up is its `LinearLR(start_factor=1/(w+1), total_iters=w)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The largest rate.
    pub base_lr: f64,
    /// What follows the warm-up.
    pub kind: ScheduleKind,
    /// Steps until the largest rate.
    pub warmup_steps: u64,
    /// Steps of the run, warm-up included.
    pub total_steps: u64,
}

/// Course of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScheduleKind {
    /// It stays constant.
    Constant,
    /// It falls to 0 along half a cosine.
    Cosine,
}

impl Schedule {
    /// The learning rate of a step; the first step is 0.
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.base_lr * (step + 1) as f64 / (self.warmup_steps as f64 + 1.0);
        }
        match self.kind {
            ScheduleKind::Constant => self.base_lr,
            ScheduleKind::Cosine if step >= self.total_steps => 0.0,
            ScheduleKind::Cosine => {
                let done = (step - self.warmup_steps) as f64 / (self.total_steps - self.warmup_steps) as f64;
                self.base_lr * (1.0 + (PI * done).cos()) / 2.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(warmup_steps: u64, total_steps: u64) -> Schedule {
        Schedule { base_lr: 3e-4, kind: ScheduleKind::Cosine, warmup_steps, total_steps }
    }

    #[test]
    fn cosine_is_that_of_pytorch() {
        // In Python, for base_lr 3e-4, eta_min 0, T_max 10:
        // eta_min + (base_lr - eta_min) * (1 + math.cos(math.pi * last_epoch / T_max)) / 2
        let want = [
            0.0003,
            0.000_292_658_477_444_273,
            0.000_271_352_549_156_242_1,
            0.000_238_167_787_843_870_96,
            0.000_196_352_549_156_242_13,
            0.000_15,
            0.000_103_647_450_843_757_9,
            6.183_221_215_612_905e-5,
            2.864_745_084_375_789e-5,
            7.341_522_555_727_011e-6,
            0.0,
            0.0,
        ];
        for (step, want) in want.into_iter().enumerate() {
            let got = cosine(0, 10).lr(step as u64);
            assert!((got - want).abs() < 1e-18, "step {step}: {got} and {want}");
        }
    }

    #[test]
    fn warm_up_rises_linearly_to_the_base() {
        let schedule = cosine(3, 7);
        for (step, want) in [0.25, 0.5, 0.75, 1.0].into_iter().enumerate() {
            assert!((schedule.lr(step as u64) - 3e-4 * want).abs() < 1e-18, "step {step}");
        }
        assert!((schedule.lr(5) - 1.5e-4).abs() < 1e-18, "the cosine spans the steps after the warm-up");
        assert_eq!(schedule.lr(7), 0.0);
        let constant = Schedule { kind: ScheduleKind::Constant, ..schedule };
        assert_eq!([constant.lr(0), constant.lr(3), constant.lr(100)], [0.75e-4, 3e-4, 3e-4]);
    }

    #[test]
    fn degenerate_lengths_give_numbers() {
        for (warmup, total) in [(0, 0), (5, 5), (5, 3)] {
            assert!((0..8).all(|step| cosine(warmup, total).lr(step).is_finite()));
        }
    }

    #[test]
    fn the_longest_warm_up_does_not_overflow() {
        let schedule = cosine(u64::MAX, u64::MAX);
        assert!(schedule.lr(0) > 0.0 && schedule.lr(u64::MAX - 1) <= 3e-4);
    }
}
