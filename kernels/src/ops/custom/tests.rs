use super::{Custom, Function, MAX_OPERANDS};
use crate::{Backend, Call, Context, Cpu, Element, Reference, Region, Span};
use std::sync::Arc;

/// `sum = a + b` and `product = a b`, element by element.
#[derive(Debug)]
struct SumAndProduct;

fn sum_and_product<T: Element>(reads: [&[T]; MAX_OPERANDS], writes: [&mut [T]; MAX_OPERANDS]) {
    let [a, b, absent, ..] = reads;
    let [sum, product, also_absent, ..] = writes;
    assert!(absent.is_empty() && also_absent.is_empty());
    for i in 0..a.len() {
        (sum[i], product[i]) = (a[i] + b[i], a[i] * b[i]);
    }
}

impl Function for SumAndProduct {
    fn name(&self) -> &'static str {
        "sum_and_product"
    }

    fn run_f32(&self, reads: [&[f32]; MAX_OPERANDS], writes: [&mut [f32]; MAX_OPERANDS]) {
        sum_and_product(reads, writes);
    }

    fn run_f64(&self, reads: [&[f64]; MAX_OPERANDS], writes: [&mut [f64]; MAX_OPERANDS]) {
        sum_and_product(reads, writes);
    }
}

fn call(reads: &[Span], writes: &[Span]) -> Call {
    let fill = |spans: &[Span]| std::array::from_fn(|i| spans.get(i).copied().unwrap_or(Span::EMPTY));
    Custom { function: Arc::new(SumAndProduct), reads: fill(reads), writes: fill(writes) }.into()
}

fn check<B: Backend>(backend: &B) {
    let values: Vec<B::Element> = [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0].map(B::Element::from_f64).to_vec();
    let mut memory = backend.allocate(&[8]).unwrap();
    let span = |offset, len| Span::new(Region(0), offset, len);
    backend.write(&mut memory, span(0, 8), &values);
    let call = call(&[span(0, 2), span(2, 2)], &[span(4, 2), span(6, 2)]);
    assert_eq!(backend.refusal(&call), None);
    backend.run(&mut memory, &call, Context::NONE);
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
    Reference.run(&mut memory, &call(&[span(0), span(2)], &[span(1)]), Context::NONE);
}
