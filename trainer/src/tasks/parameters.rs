//! Parameters of damage, as text.

use super::damage::Draws;
use std::cmp::Ordering;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A number, or a range from which each image draws its own. As text: `0.1`, `25/255` or `0..55/255`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range<N = Number> {
    low: N,
    high: N,
}

/// A number as it was written: a decimal number, or one divided by another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    numerator: f64,
    denominator: f64,
}

impl<N: Copy + PartialOrd + FromStr> Range<N> {
    /// The lowest and the highest number.
    pub(super) fn new(low: impl Into<N>, high: impl Into<N>) -> Range<N> {
        Range { low: low.into(), high: high.into() }
    }

    /// The range that a text says, if it is within `bounds`.
    pub(super) fn parse(text: &str, bounds: RangeInclusive<impl Into<N> + Copy>) -> Option<Range<N>> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let range = Range { low: low.parse().ok()?, high: high.parse().ok()? };
        let ascends = (*bounds.start()).into() <= range.low && range.low <= range.high;
        (ascends && range.high <= (*bounds.end()).into()).then_some(range)
    }
}

impl Range<Number> {
    /// The number, or one of the range, all equally likely.
    pub(super) fn draw(self, draws: &mut Draws) -> f64 {
        let [low, high] = [self.low.value(), self.high.value()];
        if low == high { low } else { draws.between(low, high) }
    }
}

impl Range<u32> {
    /// The number, or one of the range, all equally likely.
    pub(super) fn draw(self, draws: &mut Draws) -> u32 {
        if self.low == self.high { self.low } else { self.low + draws.below(self.high - self.low + 1) }
    }
}

impl<N: fmt::Display + PartialEq> fmt::Display for Range<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.low)?;
        if self.low == self.high { Ok(()) } else { write!(f, "..{}", self.high) }
    }
}

impl Number {
    fn value(self) -> f64 {
        self.numerator / self.denominator
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Number {
        Number { numerator: number, denominator: 1.0 }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.value() == other.value()
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        self.value().partial_cmp(&other.value())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.numerator)?;
        if self.denominator == 1.0 { Ok(()) } else { write!(f, "/{}", self.denominator) }
    }
}

impl FromStr for Number {
    type Err = ();

    fn from_str(text: &str) -> Result<Number, ()> {
        let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
        let number = |text: &str| text.parse::<f64>().map_err(drop);
        let number = Number { numerator: number(numerator)?, denominator: number(denominator)? };
        if number.value().is_finite() { Ok(number) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_divided() {
        let range = |text: &str| Range::<Number>::parse(text, 0.0..=1.0).map(|range| range.to_string());
        for text in ["0", "0.1", "25/255", "0..1", "1/4..0.5", "0.5..1"] {
            assert_eq!(range(text).as_deref(), Some(text));
        }
        assert_eq!(range("1/2..0.5").as_deref(), Some("1/2"));
        for text in
            ["", "x", "1..0", "-0.1", "1.01", "0..2", "nan", "1/0", "0/0", "inf", "..", "0..", "0..1..1", "1/2/2"]
        {
            assert_eq!(range(text), None, "{text}");
        }
        let whole = |text: &str| Range::<u32>::parse(text, 1u32..=9).map(|range| range.to_string());
        assert_eq!([whole("3"), whole("1..9")], [Some("3".to_owned()), Some("1..9".to_owned())]);
        assert_eq!(["3.5", "0", "0..3", "10", "-1", "4/2"].map(whole), [const { None }; 6]);
    }

    #[test]
    fn every_number_of_a_range_is_drawn() {
        let range = Range::<u32>::new(2u32, 4u32);
        let mut counts = [0; 3];
        (0..3000).for_each(|image| counts[range.draw(&mut Draws::of_validation(image)) as usize - 2] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        let range = Range::<Number>::new(0.25, 0.75);
        let draws: Vec<f64> = (0..3000).map(|image| range.draw(&mut Draws::of_validation(image))).collect();
        assert!(draws.iter().all(|number| (0.25..=0.75).contains(number)));
        let mean = draws.iter().sum::<f64>() / 3000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
