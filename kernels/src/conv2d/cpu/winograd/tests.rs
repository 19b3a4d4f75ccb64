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
    // n, h, w, c, k, taps, pad
    let cases = [
        ([1, 4, 4, 8, 8], [3, 3], [1, 1]),
        ([2, 32, 32, 32, 32], [3, 3], [1, 1]),
        ([3, 28, 28, 16, 16], [3, 3], [1, 1]),
        ([2, 7, 9, 3, 5], [3, 3], [0, 1]),
        ([1, 5, 70, 17, 33], [3, 3], [2, 2]),
        ([5, 3, 3, 40, 7], [3, 3], [1, 0]),
        ([2, 6, 5, 1, 1], [3, 3], [3, 4]),
        ([1, 1, 1, 2, 19], [3, 3], [1, 1]),
        ([2, 28, 28, 32, 32], [5, 5], [2, 2]),
        ([2, 28, 28, 16, 32], [7, 7], [3, 3]),
        ([2, 32, 32, 16, 16], [9, 9], [4, 4]),
        ([1, 29, 28, 16, 16], [11, 11], [5, 5]),
        ([3, 9, 11, 3, 5], [5, 9], [0, 1]),
        ([2, 3, 70, 5, 17], [4, 13], [5, 0]),
        ([1, 1, 1, 2, 3], [6, 10], [5, 9]),
    ];
    for ([n, h, w, c, k], taps, pad) in cases {
        let p = Conv2dParams::new([n, h, w, c], k, taps, [1, 1], pad, 1).unwrap();
        let (x, weight) = (random(p.input_len(), 1), random(p.weight_len(), 2));
        let (dy, bias, bias_c) = (random(p.output_len(), 3), random(k, 4), random(c, 5));
        for (isa, tile, write, threads) in Isa::available().into_iter().flat_map(|isa| {
            let [small, large] = if taps == [3, 3] { [Tile::F2x3, Tile::F4x3] } else { [Tile::F4x5; 2] };
            [(isa, small, Write::Set, 1), (isa, large, Write::Set, 2), (isa, large, Write::Add, 3)]
        }) {
            let cpu = Cpu::with_isa(isa, threads).unwrap();
            let check = |pass: &str, got: &[f32], want: &[f64]| {
                let error = error(got, want);
                let bound = match tile {
                    Tile::F2x3 => 2e-6,
                    Tile::F4x3 => 1e-5,
                    Tile::F4x5 if taps[0].max(taps[1]) < 10 => 1e-5,
                    Tile::F4x5 => 1.5e-5,
                };
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

/// The weight gradient sums many products; it is flushed so often that it stays as accurate as frameworks' direct kernels,
/// whose root mean square error is 4.5e-6 of the value's.
#[test]
fn the_weight_gradients_error_does_not_grow_with_the_batch() {
    for (tile, taps, n) in [(Tile::F4x3, 3, 16), (Tile::F4x5, 5, 16), (Tile::F4x5, 7, 8), (Tile::F4x5, 9, 8)] {
        let p = Conv2dParams::new([n, 28, 28, 8], 8, [taps; 2], [1, 1], [taps / 2; 2], 1).unwrap();
        // not centred, as activations are not
        let x: Vec<f32> = random(p.input_len(), 1).into_iter().map(|x| x + 0.3).collect();
        let dy = random(p.output_len(), 2);
        let mut want = vec![0.0; p.weight_len()];
        reference::grad_weight(&p, wide(&x)[..].into(), wide(&dy)[..].into(), &mut want, Write::Set);
        let rms = |values: &[f64]| (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
        for isa in Isa::available() {
            let cpu = Cpu::with_isa(isa, 1).unwrap();
            let mut dw = vec![f32::NAN; p.weight_len()];
            let mut workspace = vec![f32::NAN; grad_weight_workspace_len(&cpu, tile, &p)];
            grad_weight(&cpu, tile, &p, x[..].into(), dy[..].into(), &mut dw, Write::Set, &mut workspace);
            let errors: Vec<f64> = dw.iter().zip(&want).map(|(got, want)| f64::from(*got) - want).collect();
            let error = rms(&errors) / rms(&want);
            println!("{tile:?} {taps} {isa} {error:.2e}");
            assert!(error < 5e-6, "{tile:?} {taps} {isa}: {error:.2e}");
        }
    }
}
