//! Scales: where on an axis a value is, and which values have labels.

use super::Scaling;

/// Larger values are not drawn, nor smaller ones than its reciprocal on a logarithmic axis: arithmetic on the axis
/// would fail.
const LARGEST: f64 = 1e30;

/// A value with a label.
pub(super) type Tick = (f64, String);

/// From values to units of the drawing.
pub(super) struct Scale {
    /// The values at both ends.
    values: (f64, f64),
    units: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    /// The scale that shows all values, with some room around them.
    pub(super) fn new(scaling: Scaling, values: impl Iterator<Item = f64>, units: (f64, f64)) -> Scale {
        let logarithmic = scaling == Scaling::Logarithmic;
        let scale = Scale { values: (0.0, 1.0), units, logarithmic };
        let places = values.filter(|value| scale.shows(*value)).map(|value| scale.stretched(value));
        let (low, high) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| (low.min(place), high.max(place)));
        let (low, high) = match (low > high, logarithmic) {
            (false, _) => (low, high),
            (true, false) => (0.0, 1.0),
            (true, true) => (-1.0, 0.0),
        };
        // One value alone gets a range, too.
        let alone = high - low <= (1e-9 * high.abs()).max(1e-30);
        let room = if alone { 0.1 * high.abs().max(0.1) } else { 0.06 * (high - low) };
        let values = match scaling {
            Scaling::Linear => (low - room, high + room),
            Scaling::FromZero => (0.0, if high > 0.0 { high } else { 1.0 }),
            Scaling::Logarithmic => ((low - room).exp(), (high + room).exp()),
        };
        Scale { values, ..scale }
    }

    #[cfg(test)]
    pub(super) fn between(scaling: Scaling, low: f64, high: f64) -> Scale {
        Scale { values: (low, high), units: (0.0, 1.0), logarithmic: scaling == Scaling::Logarithmic }
    }

    /// Whether a value can be drawn.
    pub(super) fn shows(&self, value: f64) -> bool {
        value.abs() <= LARGEST && (!self.logarithmic || value >= 1.0 / LARGEST)
    }

    /// Where it is, in units of the drawing.
    pub(super) fn place(&self, value: f64) -> f64 {
        let [low, high, value] = [self.values.0, self.values.1, value].map(|value| self.stretched(value));
        self.units.0 + (value - low) / (high - low) * (self.units.1 - self.units.0)
    }

    /// The value in which the scale is linear.
    fn stretched(&self, value: f64) -> f64 {
        if self.logarithmic { value.ln() } else { value }
    }

    /// Round values with labels, about `most` at most. The middles of two neighbouring labels are at least as far from
    /// each other as `room` says.
    pub(super) fn ticks(&self, most: usize, room: &dyn Fn(&str, &str) -> f64) -> Vec<Tick> {
        let (low, high) = self.values;
        let fits = |a: &Tick, b: &Tick| (self.place(a.0) - self.place(b.0)).abs() >= room(&a.1, &b.1);
        let all = match self.logarithmic {
            true => log_round_numbers(low, high, most, &|ticks| ticks.windows(2).all(|pair| fits(&pair[0], &pair[1]))),
            false => round_numbers(low, high, most),
        };
        // Where even the fewest are too close to each other.
        let mut kept: Vec<Tick> = Vec::new();
        for tick in all {
            if kept.last().is_none_or(|last| fits(last, &tick)) {
                kept.push(tick);
            }
        }
        kept
    }

    /// The scale for a page's script: both ends as values and as units, and whether it is logarithmic.
    pub(super) fn attribute(&self) -> String {
        let Scale { values, units, logarithmic } = self;
        format!("{},{},{:.1},{:.1},{}", values.0, values.1, units.0, units.1, u8::from(*logarithmic))
    }
}

/// Multiples, in the range, of 1, 2 or 5 times a power of ten, at most `most` (and one), with labels.
fn round_numbers(low: f64, high: f64, most: usize) -> Vec<Tick> {
    let coarse = (high - low) / most.max(1) as f64;
    let power = coarse.log10().floor() as i32;
    let steps = [(1, power), (2, power), (5, power)];
    let (factor, power) =
        steps.into_iter().find(|&(factor, power)| decimal(factor, power) >= coarse).unwrap_or((1, power + 1));
    let step = decimal(factor, power);
    let multiples = (low / step).ceil() as i64..=(high / step).floor() as i64;
    multiples.map(|n| (n as f64 * step, label(n * factor, power))).collect()
}

/// Numbers of one digit in the range, at most `most` (and one), with labels that `fit` beside each other. The more room
/// there is, the more of the digits are used. In a range that has hardly any such number, numbers of more digits.
fn log_round_numbers(low: f64, high: f64, most: usize, fit: &dyn Fn(&[Tick]) -> bool) -> Vec<Tick> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let numbers = |digits: &'static [i64]| {
        let all = powers.clone().flat_map(move |power| digits.iter().map(move |&digit| (digit, power)));
        let shown = all.filter(|&(digit, power)| (low..=high).contains(&decimal(digit, power)));
        shown.map(|(digit, power)| (decimal(digit, power), label(digit, power))).collect::<Vec<_>>()
    };
    let kinds: [&[i64]; 4] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 2, 3, 5, 7], &[1, 2, 5], &[1, 3]];
    let fitting = kinds.into_iter().map(&numbers).find(|numbers| numbers.len() <= most + 1 && fit(numbers));
    let numbers = fitting.unwrap_or_else(|| {
        let powers_of_ten = numbers(&[1]);
        let every = powers_of_ten.len().div_ceil(most + 1).max(1);
        powers_of_ten.into_iter().step_by(every).collect()
    });
    if numbers.len() < 3 { round_numbers(low, high, most.min(6)) } else { numbers }
}

/// `digits * 10^power`. Negative powers divide: those of `powi` are off by a bit on some systems, which moves ticks out
/// of the range.
fn decimal(digits: i64, power: i32) -> f64 {
    let scale = 10f64.powi(power.abs());
    if power < 0 { digits as f64 / scale } else { digits as f64 * scale }
}

/// `digits * 10^power` with no digit more than that needs: `0.05`, `20k`, `1.5M`, `1e-9`.
fn label(digits: i64, power: i32) -> String {
    let fixed = |power: i32| format!("{:.*}", -power.min(0) as usize, decimal(digits, power));
    match decimal(digits, power).abs() {
        1e4..1e6 => fixed(power - 3) + "k",
        1e6..1e9 => fixed(power - 6) + "M",
        _ if (-5..=5).contains(&power) => fixed(power),
        _ => format!("{digits}e{power}"),
    }
}
