//! Every path against what the values say.

use crate::testing::{Operand, Pass, Path, check, lengths, normal, paths};
use crate::{Backend, Element, Reference, Region, Span};

/// The check, with the answer that is due.
struct AllFinite(bool);

impl Pass for AllFinite {
    fn name(&self) -> String {
        format!("all_finite of values that are {}", if self.0 { "finite" } else { "not" })
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        assert_eq!(backend.all_finite(memory, operands[0]), self.0, "{} on {}", self.name(), backend.name());
    }
}

/// Around the values are NaNs, which are none of the check's business.
#[test]
fn values_as_large_and_as_small_as_can_be_are_finite() {
    for len in lengths() {
        let mut values = normal(1, len);
        let extremes = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), -0.0];
        for (value, extreme) in values.iter_mut().rev().zip(extremes) {
            *value = extreme;
        }
        check(&AllFinite(true), &[Operand::In(values)], &[]);
    }
}

#[test]
fn one_value_that_is_not_finite_is_found_at_any_place() {
    let places = lengths().filter(|len| *len > 0).flat_map(|len| [0, len / 2, len - 1].map(|place| (len, place)));
    for (i, (len, place)) in places.enumerate() {
        let mut values = normal(1, len);
        values[place] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN][i % 4];
        check(&AllFinite(false), &[Operand::In(values)], &[]);
    }
}

#[test]
fn an_answer_does_not_depend_on_the_one_before() {
    fn ask<B: Backend>(backend: &B) {
        let mut memory = backend.allocate(&[3000]).unwrap();
        let [all, one, rest] = [(0, 3000), (1500, 1), (1501, 1499)].map(|(at, len)| Span::new(Region(0), at, len));
        backend.fill(&mut memory, one, B::Element::from_f64(f64::NAN));
        let answers = [rest, all, rest, one, Span::EMPTY].map(|span| backend.all_finite(&mut memory, span));
        assert_eq!(answers, [true, false, true, false, true], "{}", backend.name());
    }
    ask(&Reference);
    for path in paths() {
        match path {
            Path::Cpu(cpus) => ask(&cpus[0]),
            #[cfg(feature = "cuda")]
            Path::Cuda(cuda) => ask(cuda),
        }
    }
}
