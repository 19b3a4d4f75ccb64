//! Operations that are defined outside the engine.

use crate::common::numbers;
use engine::gradcheck::{self, check, check_adjoint, check_backend};
use engine::*;

/// Softmax over the innermost dimension: its backward pass reads the output, not the input.
#[derive(Debug)]
struct Softmax {
    /// Whether the backward pass forgets that a row's elements depend on each other.
    wrong: bool,
}

impl CustomOp for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        match inputs {
            [x] if x.channels() > 1 => Ok(*x),
            _ => Err(format!("expected one input of more than one channel, got {inputs:?}")),
        }
    }

    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], _: &mut [T]) {
        let View { shape, data } = inputs[0];
        for (x, y) in data.chunks_exact(shape.channels()).zip(output.chunks_exact_mut(shape.channels())) {
            let mut sum = T::ZERO;
            for (y, x) in y.iter_mut().zip(x) {
                *y = x.exp();
                sum += *y;
            }
            y.iter_mut().for_each(|y| *y /= sum);
        }
    }

    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
        assert!(gradients.len() == 1 && of.auxiliary.is_empty());
        let channels = of.inputs[0].shape.channels();
        let Some(dx) = &mut gradients[0] else { return };
        for ((dx, y), dy) in
            dx.chunks_exact_mut(channels).zip(of.output.chunks_exact(channels)).zip(of.dy.chunks_exact(channels))
        {
            let dot = if self.wrong { T::ZERO } else { dot(y, dy) };
            for i in 0..channels {
                dx[i] = y[i] * (dy[i] - dot);
            }
        }
    }
}

fn dot<T: Element>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).fold(T::ZERO, |sum, (a, b)| sum + *a * *b)
}

/// Every row divided by its norm, which is the auxiliary: `y = x / |x|`.
#[derive(Debug)]
struct Normalize {
    /// The auxiliary's size.
    rows: usize,
    /// Whether the forward pass leaves out the auxiliary's last element.
    wrong: bool,
}

impl CustomOp for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        Ok(inputs[0])
    }

    fn auxiliary(&self, _: &[Shape]) -> Option<Shape> {
        Some([self.rows].into())
    }

    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], auxiliary: &mut [T]) {
        let View { shape, data } = inputs[0];
        let rows = data.chunks_exact(shape.channels()).zip(output.chunks_exact_mut(shape.channels()));
        for (i, (x, y)) in rows.enumerate() {
            let norm = dot(x, x).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = *x / norm);
            if !self.wrong || i + 1 < auxiliary.len() {
                auxiliary[i] = norm;
            }
        }
    }

    // dx = (dy - y (y dy)) / |x|
    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
        let channels = of.inputs[0].shape.channels();
        let Some(dx) = &mut gradients[0] else { return };
        for (i, dx) in dx.chunks_exact_mut(channels).enumerate() {
            let [y, dy] = [of.output, of.dy].map(|all| &all[i * channels..][..channels]);
            let dot = dot(y, dy);
            dx.iter_mut().zip(y).zip(dy).for_each(|((dx, y), dy)| *dx = (*dy - *y * dot) / of.auxiliary[i]);
        }
    }
}

/// `a - b` of equal shapes. It computes both gradients, or one.
#[derive(Debug)]
struct Difference;

impl CustomOp for Difference {
    fn name(&self) -> &'static str {
        "difference"
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        Ok(inputs[0])
    }

    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], _: &mut [T]) {
        for (i, y) in output.iter_mut().enumerate() {
            *y = inputs[0].data[i] - inputs[1].data[i];
        }
    }

    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
        if let Some(da) = &mut gradients[0] {
            da.copy_from_slice(of.dy);
        }
        if let Some(db) = &mut gradients[1] {
            db.iter_mut().zip(of.dy).for_each(|(db, dy)| *db = -*dy);
        }
    }
}

/// A network in which the output of a custom operation has two readers, and two custom operations read one parameter.
fn network(softmax: Softmax) -> (Graph, NodeId) {
    let mut graph = Graph::new();
    let x = graph.input("x", [3, 4]).unwrap();
    let w = graph.parameter("w", [4, 5], Init::kaiming_uniform(4)).unwrap();
    let b = graph.parameter("b", [3, 5], Init::kaiming_uniform(4)).unwrap();
    let h = graph.linear(x, w, None).unwrap();
    let h = graph.custom(Difference, &[h, b]).unwrap();
    let y = graph.custom(softmax, &[h]).unwrap();
    let y = graph.add(y, h, 0.5).unwrap();
    let y = graph.custom(Difference, &[y, b]).unwrap();
    (graph, y)
}

#[test]
fn right_gradients_pass_and_wrong_ones_fail_on_every_backend() {
    let options = GradcheckOptions::default();
    for reuse in [true, false] {
        let plan = PlanOptions { reuse, poison: true, ..PlanOptions::default() };
        let options = GradcheckOptions { plan, ..options.clone() };
        let (graph, y) = network(Softmax { wrong: false });
        let report = check(&graph, y, &options).unwrap();
        assert!(report.passed() && report.rows.len() == 3, "{report}");
        let report = check_backend(Cpu::new(2).unwrap(), &graph, y, &options).unwrap();
        assert!(report.passed(), "{report}");
        let (graph, y) = network(Softmax { wrong: true });
        assert!(!check(&graph, y, &options).unwrap().passed());
    }
}

/// A network in which the auxiliaries of two operations are kept until the backward phase, and one is not wanted.
fn normalized(wrong: bool) -> (Graph, NodeId) {
    let mut graph = Graph::new();
    let x = graph.input("x", [3, 4]).unwrap();
    let w = graph.parameter("w", [4, 5], Init::kaiming_uniform(4)).unwrap();
    let h = graph.linear(x, w, None).unwrap();
    let y = graph.custom(Normalize { rows: 3, wrong: false }, &[h]).unwrap();
    let y = graph.add(y, h, 0.5).unwrap();
    let y = graph.custom(Normalize { rows: 3, wrong }, &[y]).unwrap();
    (graph, y)
}

#[test]
fn the_backward_pass_reads_what_the_forward_pass_left_in_the_auxiliary() {
    for reuse in [true, false] {
        let plan = PlanOptions { reuse, poison: true, ..PlanOptions::default() };
        let options = GradcheckOptions { plan, ..GradcheckOptions::default() };
        let (graph, y) = normalized(false);
        let report = check(&graph, y, &options).unwrap();
        assert!(report.passed() && report.rows.len() == 2, "{report}");
        let report = check_backend(Cpu::new(1).unwrap(), &graph, y, &options).unwrap();
        assert!(report.passed(), "{report}");
        let (graph, y) = normalized(true);
        assert!(!check(&graph, y, &options).unwrap().passed());
    }
}

#[test]
fn inference_computes_the_same_with_an_auxiliary() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 2]).unwrap();
    let y = graph.custom(Normalize { rows: 1, wrong: false }, &[x]).unwrap();
    let plan = Plan::inference(&graph, &[y], Statistics::Running).unwrap();
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    session.write_input(PlanId(0), x, &[3.0, 4.0]).unwrap();
    session.run(PlanId(0)).unwrap();
    let mut values = [0.0; 2];
    session.read(PlanId(0), y, &mut values).unwrap();
    assert_eq!(values, [0.6, 0.8]);
}

#[test]
fn a_custom_operation_of_one_value_twice_has_the_sum_of_both_gradients() {
    let mut graph = Graph::new();
    let x = graph.input("x", [4]).unwrap();
    let y = graph.custom(Difference, &[x, x]).unwrap();
    let plan = Plan::gradients(&graph, y, true, &PlanOptions::default()).unwrap();
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    session.write_input(PlanId(0), x, &[1.0, 2.0, 3.0, 4.0]).unwrap();
    session.write_cotangent(PlanId(0), &[1.0; 4]).unwrap();
    session.run(PlanId(0)).unwrap();
    let mut dx = [f64::NAN; 4];
    session.read_gradient(PlanId(0), x, &mut dx).unwrap();
    assert_eq!(dx, [0.0; 4]);
}

#[test]
fn it_trains() {
    let mut graph = Graph::new();
    let x = graph.input("x", [8, 3]).unwrap();
    let target = graph.input("target", [8, 4]).unwrap();
    let w = graph.parameter("w", [3, 4], Init::kaiming_uniform(3)).unwrap();
    let h = graph.linear(x, w, None).unwrap();
    let y = graph.custom(Softmax { wrong: false }, &[h]).unwrap();
    let loss = graph.mse_loss(y, target).unwrap();
    let mut session = Session::new(Cpu::new(1).unwrap(), vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    let training = PlanId(0);
    session.initialize(1);
    let inputs: Vec<f32> = numbers(24, 3).into_iter().map(|x| x as f32).collect();
    // The class of a row is the index of its largest element.
    let class = |x: &[f32]| (0..3).max_by(|&i, &j| x[i].total_cmp(&x[j])).unwrap();
    let classes: Vec<f32> =
        inputs.chunks(3).flat_map(|x| (0..4).map(|i| f32::from(u8::from(i == class(x)))).collect::<Vec<_>>()).collect();
    session.write_input(training, x, &inputs).unwrap();
    session.write_input(training, target, &classes).unwrap();
    session.run(training).unwrap();
    let before = session.loss(training).unwrap();
    for _ in 0..300 {
        session.run(training).unwrap();
        session.update(&Step::new(AdamW { weight_decay: 0.0, ..AdamW::default() }, 0.1)).unwrap();
    }
    assert!(session.loss(training).unwrap() < before / 20.0, "from {before} to {}", session.loss(training).unwrap());
}

#[test]
fn what_does_not_fit_is_an_error_that_says_why() {
    let mut graph = Graph::new();
    let x = graph.input("x", [3, 1]).unwrap();
    let error = graph.custom(Softmax { wrong: false }, &[x]).unwrap_err().to_string();
    assert_eq!(error, "softmax `softmax_1`: expected one input of more than one channel, got [[3, 1]]");
    let error = graph.custom(Difference, &[]).unwrap_err().to_string();
    assert_eq!(error, "difference `difference_1`: a custom operation has 1 to 6 inputs, not 0");
    assert!(graph.custom(Difference, &[x; 7]).unwrap_err().to_string().ends_with("not 7"));
    let error = graph.custom(Normalize { rows: 0, wrong: false }, &[x]).unwrap_err().to_string();
    assert_eq!(error, "normalize `normalize_1`: auxiliary [0] has no elements, or too many");
    let mut other = Graph::new();
    let unknown = [other.input("a", [1]).unwrap(), other.input("b", [1]).unwrap()];
    assert!(matches!(graph.custom(Difference, &unknown), Err(Error::UnknownNode { index: 0 })));
}

#[test]
fn a_backend_without_host_memory_refuses_it_when_the_session_is_made() {
    let (graph, y) = network(Softmax { wrong: false });
    let plan = Plan::gradients(&graph, y, true, &PlanOptions::default()).unwrap();
    let error = Session::new(crate::device::Device, vec![plan]).err().unwrap();
    assert!(matches!(&error, Error::NoCustom { op: "difference", .. }), "{error}");
    let says = "`difference_4`: custom operations run on the host alone, expected `Cpu` or `Reference`, got ";
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn the_adjoint_identity_holds_for_linear_operations_and_fails_for_wrong_gradients() {
    let options = GradcheckOptions::default();
    let mut checked = 0;
    for case in gradcheck::cases().iter().chain(&gradcheck::random_cases(3)) {
        let report = check_adjoint(Reference, &case.graph, case.output, &case.linear, &options).unwrap();
        assert!(report.passed() && report.rows.len() == case.linear.len(), "{}\n{report}", case.name);
        checked += report.rows.len();
    }
    assert!(checked > 50, "{checked}");

    let mut graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.input(name, [6]).unwrap());
    let y = graph.custom(Difference, &[a, b]).unwrap();
    let joint = check_adjoint(Reference, &graph, y, &[vec![a, b]], &options).unwrap();
    assert!(joint.passed(), "{joint}");
    // With b constant, a - b is not linear in a, so the identity must not hold.
    let alone = check_adjoint(Reference, &graph, y, &[vec![a]], &options).unwrap();
    assert!(!alone.passed(), "{alone}");
    let error = check_adjoint(Reference, &graph, a, &[vec![b]], &options).unwrap_err().to_string();
    assert_eq!(error, "`b` has no gradient here, expected an input or parameter that the output depends on");
}
