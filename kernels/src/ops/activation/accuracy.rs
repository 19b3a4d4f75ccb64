//! How far every function and its derivative are from the exact ones, measured over f32 inputs of every magnitude.

use super::{Activation, Backward, Forward, Saved, reference};
use crate::simd::Isa;
use crate::testing::cpus;
use crate::{Backend, Call, Context, Cpu, Region, Span, Write};
use Activation::*;

/// Largest errors: that of the function relative to it, and that of the derivative relative to the larger of it and 1.
/// [`TINY`] is allowed in addition. Where GELU's input is negative, its error is relative to the input: its tail is far
/// below what is added to it anywhere. Rounding alone is 6e-8.
const ERRORS: [(Activation, f64, f64); 19] = [
    (Gelu, 2.3e-7, 2.9e-7),
    (Sigmoid, 1.8e-7, 2.3e-8),
    (Tanh, 1.9e-7, 9.0e-8),
    (Relu, 0.0, 0.0),
    (LeakyRelu, 8.2e-8, 2.3e-10),
    (Silu, 2.3e-7, 1.1e-7),
    (Mish, 2.7e-7, 2.7e-7),
    (Relu6, 0.0, 0.0),
    (Hardswish, 1.8e-7, 8.0e-8),
    (Hardsigmoid, 1.2e-7, 5.0e-9),
    (Hardtanh, 0.0, 0.0),
    (Softplus, 2.3e-7, 9.0e-8),
    (LogSigmoid, 2.3e-7, 9.0e-8),
    (Celu, 9.7e-8, 5.3e-8),
    (Selu, 1.6e-7, 1.4e-7),
    (Softsign, 1.2e-7, 2.1e-7),
    (Softshrink, 6.0e-8, 0.0),
    (Hardshrink, 0.0, 0.0),
    (Tanhshrink, 5.8e-7, 3.3e-7),
];

/// Largest value of what a function loses where it is cut off.
const TINY: f64 = 4e-36;

fn compute(cpu: &Cpu, f: Activation, derivative: bool, inputs: &[f32]) -> Vec<f32> {
    let len = inputs.len();
    let [x, dy, y] = [0, 1, 2].map(|region| Span::new(Region(region), 0, len));
    let mut memory = cpu.allocate(&[len, len, len]).unwrap();
    cpu.write(&mut memory, x, inputs);
    cpu.fill(&mut memory, dy, 1.0);
    let call: Call = if derivative {
        Backward { activation: f, saved: x, dy, dx: y, write: Write::Set }.into()
    } else {
        Forward { activation: f, x, y }.into()
    };
    cpu.run(&mut memory, &call, Context::NONE);
    let mut out = vec![0.0; len];
    cpu.read(&memory, y, &mut out);
    out
}

/// Asserts the errors at some inputs, and returns the largest ones of function and derivative on every instruction set.
fn check(f: Activation, inputs: &[f32]) -> Vec<[f64; 2]> {
    let &(_, value_bound, derivative_bound) = ERRORS.iter().find(|(of, ..)| *of == f).expect("a row of the table");
    // A derivative that is computed from the output gets outputs.
    let outputs = inputs.iter().map(|&x| reference::value(f, f64::from(x)) as f32);
    let saved: Vec<f32> = if f.saved() == Saved::Output { outputs.collect() } else { inputs.to_vec() };
    let values: Vec<f64> = inputs.iter().map(|&x| reference::value(f, f64::from(x))).collect();
    let derivatives: Vec<f64> = saved.iter().map(|&x| reference::derivative(f, f64::from(x))).collect();
    let measure = |[cpu, ..]: &[Cpu; 3]| {
        let mut largest = [0.0f64; 2];
        for (derivative, inputs, want) in [(false, inputs, &values), (true, &saved, &derivatives)] {
            let got = compute(cpu, f, derivative, inputs);
            for ((&x, got), &want) in inputs.iter().zip(got).zip(want) {
                let (size, bound) = match derivative {
                    true => (want.abs().max(1.0), derivative_bound),
                    false if f == Gelu && x < 0.0 => (f64::from(x).abs(), value_bound),
                    false => (want.abs(), value_bound),
                };
                let error = (f64::from(got) - want).abs();
                let what = if derivative { "derivative" } else { "value" };
                assert!(error <= bound * size + TINY, "{f} {what} at {x:e} on {}: {got:e}, not {want:e}", cpu.isa());
                if want.abs() > TINY {
                    let largest = &mut largest[usize::from(derivative)];
                    *largest = largest.max(error / size);
                }
            }
        }
        largest
    };
    cpus().map(measure).collect()
}

/// Every `stride`-th f32 whose result is finite, of those with a magnitude in `2^exponents`.
fn inputs(stride: usize, exponents: std::ops::Range<i32>) -> impl Iterator<Item = f32> {
    let bits = |exponent: i32| ((exponent + 127) as u32) << 23;
    let magnitudes = (bits(exponents.start)..bits(exponents.end)).step_by(stride);
    magnitudes.flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
}

#[test]
fn errors_are_within_their_bounds() {
    // Magnitudes are from the denormals to the largest.
    let inputs: Vec<f32> = inputs(9973, -127..128).filter(|x| x.abs() < 3e38).collect();
    for f in Activation::ALL {
        check(f, &inputs);
    }
}

/// Measures the errors of the table: over every 7th input where functions bend, and every 997th elsewhere.
#[test]
#[ignore = "takes minutes"]
fn errors_are_within_their_bounds_at_many_inputs() {
    let outside = [-127..-12, 7..128].map(|exponents| inputs(997, exponents).filter(|x| x.abs() < 3e38));
    let inputs: Vec<f32> = inputs(7, -12..7).chain(outside.into_iter().flatten()).collect();
    for f in Activation::ALL {
        let mut largest = vec![[0.0f64; 2]; Isa::available().len()];
        for inputs in inputs.chunks(1 << 20) {
            for (largest, errors) in largest.iter_mut().zip(check(f, inputs)) {
                *largest = std::array::from_fn(|i| largest[i].max(errors[i]));
            }
        }
        for (isa, [value, derivative]) in Isa::available().iter().zip(largest) {
            println!("{f} on {isa}: value {value:.2e}, derivative {derivative:.2e}");
        }
    }
}

#[test]
fn special_values_give_limits_and_nan_gives_nan() {
    let inputs = [f32::NEG_INFINITY, f32::INFINITY, -0.0, 0.0, f32::MAX, f32::MIN, f32::NAN];
    for f in Activation::ALL {
        // At infinity the formula may be infinity times 0, so the exact function is computed far out.
        let limit = |x: f32| if x.is_infinite() { f64::from(x.signum()) * 1e60 } else { f64::from(x) };
        for cpu in cpus().flatten() {
            let got = compute(cpu, f, false, &inputs);
            for (&x, &got) in inputs.iter().zip(&got) {
                let want = reference::value(f, limit(x)) as f32;
                let close = (f64::from(got) - f64::from(want)).abs() <= 1e-6 * f64::from(want).abs() + TINY;
                let right = got == want || close || got.is_nan() && want.is_nan();
                assert!(right, "{f} value at {x} on {}: {got}, not {want}", cpu.isa());
            }
            if f.saved() == Saved::Input {
                for (&x, got) in inputs.iter().zip(compute(cpu, f, true, &inputs)) {
                    let want = reference::derivative(f, limit(x)) as f32;
                    let right = (got - want).abs() <= 1e-6 || got.is_nan() && want.is_nan();
                    assert!(right, "{f} derivative at {x} on {}: {got}, not {want}", cpu.isa());
                }
            }
        }
    }
}

#[test]
fn odd_functions_keep_the_sign_of_0() {
    for f in [Tanh, Softsign, Hardtanh, Tanhshrink] {
        for cpu in cpus().flatten() {
            assert_eq!(compute(cpu, f, false, &[-0.0])[0].to_bits(), (-0.0f32).to_bits(), "{f} on {}", cpu.isa());
        }
    }
}
