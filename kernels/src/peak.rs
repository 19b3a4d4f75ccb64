//! Peak throughput of the machine, which that of kernels is compared with.

use crate::parallel::Pool;
use crate::simd::{Isa, Kernel, Simd};
use std::hint::black_box;

/// Independent chains of fused multiply-adds per thread: enough to hide a latency of 4 cycles on 2 ports, and few
/// enough for 16 registers.
const CHAINS: usize = 12;

/// Multiply-adds per chain in one call, which takes a few tenths of a millisecond.
const STEPS: usize = 100_000;

struct Chains;

impl Kernel for Chains {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        // The values converge to 1, so they stay normal numbers.
        let (a, b) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
        let mut chains = [s.splat(1.0); CHAINS];
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = s.mul_add(*chain, a, b);
            }
        }
        chains.into_iter().map(|chain| s.sum(chain)).sum()
    }
}

/// Runs nothing but fused multiply-adds in registers, on every thread of the pool. Returns the number of floating-point
/// operations, two per lane and multiply-add. Divided by the time of the call, it is the peak of the instruction set.
/// (The portable path multiplies and adds separately.)
pub fn multiply_adds(isa: Isa, pool: &Pool) -> usize {
    pool.for_each(pool.threads(), |_| {
        black_box(isa.dispatch(Chains));
    });
    pool.threads() * STEPS * CHAINS * isa.lanes() * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn every_thread_does_its_share() {
        for isa in Isa::available() {
            let [one, two] = [1, 2].map(|threads| multiply_adds(isa, &Pool::new(threads).unwrap()));
            assert_eq!(two, 2 * one);
            assert_eq!(one, CHAINS * STEPS * isa.lanes() * 2);
        }
    }

    #[test]
    fn the_operations_are_not_optimised_away() {
        let pool = Pool::new(1).unwrap();
        let isa = Isa::best();
        let start = Instant::now();
        let flops = multiply_adds(isa, &pool);
        let per_second = flops as f64 / start.elapsed().as_secs_f64();
        // No CPU has more than 4 vector units, or a clock above 10 GHz.
        assert!(per_second < 4.0 * 10e9 * 2.0 * isa.lanes() as f64, "{per_second:.2e} FLOP/s");
    }
}
