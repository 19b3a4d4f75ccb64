use super::{MAX_OPERANDS, Operands, Pass};
use crate::{Backend, Cpu, Element, Reference, Region, Span};

/// `sum = a + b` and `product = a b`, element by element.
struct SumAndProduct;

fn sum_and_product<T: Element>(reads: [&[T]; MAX_OPERANDS], writes: [&mut [T]; MAX_OPERANDS]) {
    let [a, b, absent, ..] = reads;
    let [sum, product, also_absent, ..] = writes;
    assert!(absent.is_empty() && also_absent.is_empty());
    for i in 0..a.len() {
        (sum[i], product[i]) = (a[i] + b[i], a[i] * b[i]);
    }
}

impl Pass for SumAndProduct {
    fn run_f32(&self, reads: [&[f32]; MAX_OPERANDS], writes: [&mut [f32]; MAX_OPERANDS]) {
        sum_and_product(reads, writes);
    }

    fn run_f64(&self, reads: [&[f64]; MAX_OPERANDS], writes: [&mut [f64]; MAX_OPERANDS]) {
        sum_and_product(reads, writes);
    }
}

fn operands(reads: &[Span], writes: &[Span]) -> Operands {
    let fill = |spans: &[Span]| std::array::from_fn(|i| spans.get(i).copied().unwrap_or(Span::EMPTY));
    Operands { reads: fill(reads), writes: fill(writes) }
}

fn check<B: Backend>(backend: &B) {
    assert!(backend.runs_custom());
    let values: Vec<B::Element> = [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0].map(B::Element::from_f64).to_vec();
    let mut memory = backend.allocate(&[8]).unwrap();
    let span = |offset, len| Span::new(Region(0), offset, len);
    backend.write(&mut memory, span(0, 8), &values);
    let operands = operands(&[span(0, 2), span(2, 2)], &[span(4, 2), span(6, 2)]);
    backend.custom(&mut memory, &SumAndProduct, operands);
    let mut after = values;
    backend.read(&memory, span(0, 8), &mut after);
    let after: Vec<f64> = after.into_iter().map(Element::to_f64).collect();
    assert_eq!(after, [1.0, 2.0, 3.0, 4.0, 4.0, 6.0, 3.0, 8.0]);
}

#[test]
fn host_backends_run_it_in_their_precision() {
    check(&Reference);
    check(&Cpu::new(1).unwrap());
}

#[test]
#[should_panic(expected = "overlaps")]
fn an_output_must_not_be_an_operand() {
    let mut memory = Reference.allocate(&[4]).unwrap();
    let span = |offset| Span::new(Region(0), offset, 2);
    Reference.custom(&mut memory, &SumAndProduct, operands(&[span(0), span(2)], &[span(1)]));
}
