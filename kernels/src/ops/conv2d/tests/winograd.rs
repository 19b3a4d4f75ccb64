//! How accurate Winograd's algorithm is, on every instruction set and with every tile.

use super::trial::{Layout, Trial, Values, Which};
use super::{Algo, Tile, conv, cpus};
use crate::Write;

/// Largest error, relative to the largest value.
fn error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().all(|x| x.is_finite()));
    let largest = want.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    let errors = got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs());
    errors.fold(0.0, f64::max) / largest
}

#[test]
fn winograd_equals_the_reference_with_every_tile() {
    let cases = [
        ([1, 4, 4, 8], 8, [3, 3], [1, 1]),
        ([2, 32, 32, 32], 32, [3, 3], [1, 1]),
        ([3, 28, 28, 16], 16, [3, 3], [1, 1]),
        ([2, 7, 9, 3], 5, [3, 3], [0, 1]),
        ([1, 5, 70, 17], 33, [3, 3], [2, 2]),
        ([5, 3, 3, 40], 7, [3, 3], [1, 0]),
        ([2, 6, 5, 1], 1, [3, 3], [3, 4]),
        ([1, 1, 1, 2], 19, [3, 3], [1, 1]),
        ([2, 28, 28, 32], 32, [5, 5], [2, 2]),
        ([2, 28, 28, 16], 32, [7, 7], [3, 3]),
        ([2, 32, 32, 16], 16, [9, 9], [4, 4]),
        ([1, 29, 28, 16], 16, [11, 11], [5, 5]),
        ([3, 9, 11, 3], 5, [5, 9], [0, 1]),
        ([2, 3, 70, 5], 17, [4, 13], [5, 0]),
        ([1, 1, 1, 2], 3, [6, 10], [5, 9]),
    ];
    for (x, k, taps, pad) in cases {
        let p = conv(x, k, taps, [1, 1], pad, 1);
        let values = Values::real(&p, 1);
        let tiles = match taps {
            [3, 3] => [Tile::F2x3, Tile::F4x3],
            [_, 13] => [Tile::F4x5; 2],
            _ => [Tile::F4x4, Tile::F4x5],
        };
        for which in [Which::Forward, Which::GradInput, Which::GradWeight] {
            for (tile, write, threads) in
                [(0, Write::Set, 0), (1, Write::Set, 1), (0, Write::Add, 1), (1, Write::Add, 2)]
            {
                let tile = tiles[tile];
                let trial = Trial { bias: true, write, ..Trial::plain(&p, which, &values) };
                let want = trial.reference();
                let bound = match tile {
                    Tile::F2x3 => 2e-6,
                    Tile::F4x3 => 1e-5,
                    Tile::F4x4 | Tile::F4x5 if taps[0].max(taps[1]) < 10 => 1e-5,
                    Tile::F4x4 | Tile::F4x5 => 1.5e-5,
                };
                for cpu in cpus().map(|cpus| &cpus[threads]) {
                    let got = trial.run_with(cpu, Some(Algo::Winograd(tile)), Layout::Together);
                    let error = error(&got, &want);
                    assert!(error < bound, "{trial:?} {} {tile:?}: {error}", cpu.isa());
                }
            }
        }
    }
}

/// The weight gradient sums many products; it is flushed so often that it stays as accurate as frameworks' direct
/// kernels, whose root mean square error is 4.5e-6 of the value's.
#[test]
fn the_weight_gradients_error_does_not_grow_with_the_batch() {
    let cases = [
        (Tile::F4x3, 3, 16),
        (Tile::F4x4, 4, 16),
        (Tile::F4x4, 7, 8),
        (Tile::F4x4, 11, 8),
        (Tile::F4x5, 5, 16),
        (Tile::F4x5, 7, 8),
        (Tile::F4x5, 9, 8),
    ];
    for (tile, taps, n) in cases {
        let p = conv([n, 28, 28, 8], 8, [taps; 2], [1, 1], [taps / 2; 2], 1);
        let mut values = Values::real(&p, 1);
        // Not centred, as activations are not.
        values.x.iter_mut().for_each(|x| *x += 0.3);
        let trial = Trial::plain(&p, Which::GradWeight, &values);
        let want = trial.reference();
        let rms = |values: &[f64]| (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
        for [cpu, ..] in cpus() {
            let got = trial.run_with(cpu, Some(Algo::Winograd(tile)), Layout::Together);
            let errors: Vec<f64> = got.iter().zip(&want).map(|(got, want)| f64::from(*got) - want).collect();
            let (error, isa) = (rms(&errors) / rms(&want), cpu.isa());
            println!("{tile:?} {taps} {isa} {error:.2e}");
            assert!(error < 5e-6, "{tile:?} {taps} {isa}: {error:.2e}");
        }
    }
}

/// What [`Tile`] says of values that are not finite.
#[test]
fn an_infinite_input_reaches_as_many_outputs_as_documented() {
    let p = conv([1, 28, 28, 16], 16, [3, 3], [1, 1], [1, 1], 1);
    for (row, column, want) in [(13, 14, [9, 9, 16]), (12, 13, [9, 9, 20]), (15, 16, [9, 9, 25])] {
        let mut values = Values::real(&p, 1);
        values.x[(row * 28 + column) * 16] = f32::INFINITY;
        let trial = Trial::plain(&p, Which::Forward, &values);
        for [cpu, ..] in cpus() {
            let reached = [Algo::Direct, Algo::Winograd(Tile::F2x3), Algo::Winograd(Tile::F4x3)].map(|algo| {
                let y = trial.run_with(cpu, Some(algo), Layout::Together);
                y.chunks_exact(16).filter(|pixel| !pixel.iter().all(|y| y.is_finite())).count()
            });
            assert_eq!(reached, want, "row {row}, column {column}, {}", cpu.isa());
        }
    }
}

/// What [`Tile`] says of rounding errors, on values that are not centred, as activations are not.
#[test]
fn errors_are_as_large_as_documented() {
    for (c, seed) in [(16, 1), (32, 2), (64, 3)] {
        let p = conv([2, 28, 28, c], c, [3, 3], [1, 1], [1, 1], 1);
        let mut values = Values::real(&p, seed);
        values.x.iter_mut().for_each(|x| *x += 0.3);
        for which in [Which::Forward, Which::GradInput] {
            let trial = Trial::plain(&p, which, &values);
            let want = trial.reference();
            for [cpu, ..] in cpus() {
                let [direct, winograd] = [Algo::Direct, Algo::Winograd(Tile::F4x3)].map(|algo| {
                    let got = trial.run_with(cpu, Some(algo), Layout::Together);
                    let squares = got.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).powi(2));
                    [error(&got, &want), (squares.sum::<f64>() / want.len() as f64).sqrt()]
                });
                let [largest, rms] = [0, 1].map(|i| winograd[i] / direct[i]);
                println!("{which:?} {c} channels {}: largest {largest:.1}, rms {rms:.1}", cpu.isa());
                assert!((2.5..16.0).contains(&largest) && (2.5..6.0).contains(&rms), "{which:?} {c}: {largest} {rms}");
            }
        }
    }
}
