//! The functions and their derivatives in f64.

use super::Activation;

/// The error function, `2/sqrt(pi) integral_0^x exp(-t^2) dt`, to about 1e-15: the Maclaurin series near 0, a continued
/// fraction (Lentz's algorithm) of `erfc` outside. Abramowitz & Stegun 7.1.5 and 7.1.14.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        return (2.0 / std::f64::consts::PI.sqrt() * sum).copysign(x);
    }
    // erfc(a) = exp(-a^2) / sqrt(pi) * 1 / (a + (1/2) / (a + 1 / (a + (3/2) / (a + ...))))
    let mut fraction = a;
    for n in (1..=120).rev() {
        fraction = a + 0.5 * f64::from(n) / fraction;
    }
    let erfc = (-a * a).exp() / (std::f64::consts::PI.sqrt() * fraction);
    (1.0 - erfc).copysign(x)
}

/// `(Phi(x), phi(x))`: distribution and density of the standard normal distribution.
fn normal(x: f64) -> (f64, f64) {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)), density)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + exp x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `f(x)`
pub fn value(f: Activation, x: f64) -> f64 {
    match f {
        Activation::Gelu => x * normal(x).0,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                0.01 * x
            }
        }
        Activation::Silu => x * sigmoid(x),
        Activation::Mish => x * softplus(x).tanh(),
    }
}

/// `f'(x)` from what the backward pass reads: `x` or `y = f(x)`, as [`Activation::saved`] says.
pub fn derivative(f: Activation, saved: f64) -> f64 {
    match f {
        Activation::Gelu => {
            let (distribution, density) = normal(saved);
            distribution + saved * density
        }
        Activation::Sigmoid => saved * (1.0 - saved),
        Activation::Tanh => 1.0 - saved * saved,
        Activation::Relu => {
            if saved > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        Activation::LeakyRelu => {
            if saved > 0.0 {
                1.0
            } else {
                0.01
            }
        }
        Activation::Silu => {
            let s = sigmoid(saved);
            s * (1.0 + saved * (1.0 - s))
        }
        Activation::Mish => {
            let t = softplus(saved).tanh();
            t + saved * (1.0 - t * t) * sigmoid(saved)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_equals_published_values() {
        // NIST Digital Library of Mathematical Functions, table 7.23, and Abramowitz & Stegun table 7.1.
        for (x, want) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - want).abs() < 2e-15, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        // both branches agree where they meet
        assert!((erf(2.5) - erf(2.5f64.next_down())).abs() < 2e-15);
    }

    #[test]
    fn derivatives_equal_central_differences() {
        for f in Activation::ALL {
            for i in -60..=60 {
                let x = f64::from(i) * 0.1 + 0.0123;
                let h = 1e-5;
                let want = (value(f, x + h) - value(f, x - h)) / (2.0 * h);
                let saved = if f.saved() == super::super::Saved::Input { x } else { value(f, x) };
                assert!((derivative(f, saved) - want).abs() < 1e-9, "{f} at {x}");
            }
        }
    }
}
