//! Every pass against the reference, on every instruction set and tile size.

use super::*;
use crate::conv2d::reference;
use crate::simd::Isa;
use rand::{Rng, SeedableRng};

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| (rng.next_u32() as f32 / u32::MAX as f32) * 2.0 - 1.0).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Largest error, relative to the largest value.
fn error(got: &[f32], want: &[f64]) -> f64 {
    let largest = want.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    got.iter()
        .zip(want)
        .fold(0.0, |e: f64, (g, w)| if g.is_nan() { f64::NAN } else { e.max((f64::from(*g) - w).abs()) })
        / largest
}

#[test]
fn passes_equal_the_reference() {
    // n, h, w, c, k, pad
    let cases = [
        ([1, 4, 4, 8, 8], [1, 1]),
        ([2, 32, 32, 32, 32], [1, 1]),
        ([3, 28, 28, 16, 16], [1, 1]),
        ([2, 7, 9, 3, 5], [0, 1]),
        ([1, 5, 70, 17, 33], [2, 2]),
        ([5, 3, 3, 40, 7], [1, 0]),
        ([2, 6, 5, 1, 1], [3, 4]),
        ([1, 1, 1, 2, 19], [1, 1]),
    ];
    for ([n, h, w, c, k], pad) in cases {
        let p = Conv2dParams::new([n, h, w, c], k, [3, 3], [1, 1], pad, 1).unwrap();
        let (x, weight) = (random(p.input_len(), 1), random(p.weight_len(), 2));
        let (dy, bias, bias_c) = (random(p.output_len(), 3), random(k, 4), random(c, 5));
        for (isa, tile, write, threads) in Isa::available().into_iter().flat_map(|isa| {
            [(isa, Tile::Two, Write::Set, 1), (isa, Tile::Four, Write::Set, 2), (isa, Tile::Four, Write::Add, 3)]
        }) {
            let cpu = Cpu::with_isa(isa, threads).unwrap();
            let check = |pass: &str, got: &[f32], want: &[f64]| {
                let error = error(got, want);
                let bound = if tile == Tile::Two { 2e-6 } else { 1e-5 };
                assert!(error < bound, "{pass} {isa} {tile:?} {write:?} {p:?}: {error}");
            };
            let begin = |len: usize| if write == Write::Set { vec![f32::NAN; len] } else { random(len, 9) };

            let mut y = begin(p.output_len());
            let mut want = wide(&y);
            reference::forward(&p, wide(&x)[..].into(), &wide(&weight), &wide(&bias), &mut want, write);
            let mut workspace = vec![f32::NAN; forward_workspace_len(&cpu, tile, &p)];
            forward(&cpu, tile, &p, x[..].into(), &weight, &bias, &mut y, write, &mut workspace);
            check("forward", &y, &want);

            let mut dx = begin(p.input_len());
            let mut want = wide(&dx);
            reference::grad_input(&p, wide(&dy)[..].into(), &wide(&weight), &wide(&bias_c), &mut want, write);
            let mut workspace = vec![f32::NAN; grad_input_workspace_len(&cpu, tile, &p)];
            grad_input(&cpu, tile, &p, dy[..].into(), &weight, &bias_c, &mut dx, write, &mut workspace);
            check("grad_input", &dx, &want);

            let mut dw = begin(p.weight_len());
            let mut want = wide(&dw);
            reference::grad_weight(&p, wide(&x)[..].into(), wide(&dy)[..].into(), &mut want, write);
            let mut workspace = vec![f32::NAN; grad_weight_workspace_len(&cpu, tile, &p)];
            grad_weight(&cpu, tile, &p, x[..].into(), dy[..].into(), &mut dw, write, &mut workspace);
            check("grad_weight", &dw, &want);
        }
    }
}
