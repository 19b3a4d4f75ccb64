//! Gradients of every operation and of networks against finite differences. Wrong gradients are found.

use crate::common::{Network, network, norm_nodes};
use crate::device::Device;
use engine::gradcheck::{self, Report, check, check_backend, check_on};
use engine::*;
use kernels::faults::{Fault, Faulty};
use kernels::simd::Isa;
use std::collections::BTreeSet;

fn assert_passed(name: &str, report: &Report) {
    assert!(report.passed() && !report.rows.is_empty(), "{name}\n{report}");
}

#[test]
fn every_operation() {
    for case in gradcheck::cases() {
        for seed in 0..3 {
            for reuse in [true, false] {
                let plan = PlanOptions { poison: true, reuse, ..PlanOptions::default() };
                let options = GradcheckOptions { seed, plan, ..GradcheckOptions::default() };
                assert_passed(&case.name, &check(&case.graph, case.output, &options).unwrap());
            }
        }
    }
}

#[test]
fn random_cases_of_every_operation() {
    let operations = |cases: &[gradcheck::Case]| cases.iter().map(|case| case.op.clone()).collect::<BTreeSet<_>>();
    let all = operations(&gradcheck::cases());
    let mut names = BTreeSet::new();
    for seed in 0..4 {
        let cases = gradcheck::random_cases(seed);
        assert_eq!(operations(&cases), all, "a random case of every operation");
        assert_eq!(cases.iter().filter(|case| case.fan_out).count() * 2, cases.len());
        for case in cases {
            let options = GradcheckOptions { seed, samples: Some(8), ..GradcheckOptions::default() };
            assert_passed(&case.name, &check(&case.graph, case.output, &options).unwrap());
            names.insert(case.name);
        }
    }
    assert!(names.len() > 4 * all.len(), "shapes differ between seeds: {names:?}");
}

#[test]
fn every_operation_and_a_network_on_every_path_of_the_cpu() {
    let Network { graph, loss, .. } = network(2);
    let name = "network".to_owned();
    let network = gradcheck::Case { op: name.clone(), name, graph, output: loss, linear: Vec::new(), fan_out: false };
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2).unwrap();
        for case in gradcheck::cases().iter().chain(&gradcheck::random_cases(0)).chain([&network]) {
            let options = GradcheckOptions::default();
            assert_passed(&case.name, &check_backend(cpu.clone(), &case.graph, case.output, &options).unwrap());
        }
    }
}

#[test]
fn the_cases_exercise_every_way_to_write_a_gradient() {
    let mut plans = String::new();
    for case in gradcheck::cases() {
        plans += &Plan::gradients(&case.graph, case.output, true, &PlanOptions::default()).unwrap().to_string();
    }
    let operations = [
        "conv2d.forward",
        "conv2d.grad_input",
        "conv2d.grad_weight",
        "conv2d.grad_bias",
        "batch_norm.backward",
        "activation.backward",
        "scale",
        "pad.backward",
        "concat.slice",
        "concat.embed",
        "upsample.backward",
        "group_norm.backward",
        "loss.backward",
    ];
    for operation in operations {
        for write in ["] set ", "] add "] {
            let line = |line: &str| line.contains("backward ") && line.contains(operation) && line.contains(write);
            assert!(plans.lines().any(line), "no case lets {operation} {write} a gradient");
        }
    }
}

#[test]
fn a_network_with_every_operation() {
    let Network { graph, loss, output, .. } = network(2);
    for recompute in [true, false] {
        let plan = PlanOptions { recompute, poison: true, ..PlanOptions::default() };
        let options = GradcheckOptions { plan, samples: Some(20), ..GradcheckOptions::default() };
        assert_passed("loss", &check(&graph, loss, &options).unwrap());
        assert_passed("output", &check(&graph, output, &options).unwrap());
    }
}

/// What finds a fault: the network, or else one of the operations' cases.
fn finding_report(fault: Fault, check: impl Fn(Faulty<Reference>, &Graph, NodeId) -> Result<Report>) -> Report {
    let Network { graph, output, loss, .. } = network(2);
    let node = if fault == Fault::LossGradientNotAveraged { loss } else { output };
    let cases = gradcheck::cases();
    let cases = cases.iter().map(|case| (&case.graph, case.output));
    let mut reports = [(&graph, node)]
        .into_iter()
        .chain(cases)
        .map(|(graph, node)| check(Faulty::new(Reference, fault), graph, node).unwrap());
    reports.find(|report| !report.passed()).unwrap_or_else(|| panic!("{fault:?} was not found"))
}

#[test]
fn wrong_gradients_are_found() {
    let Network { graph, loss, .. } = network(2);
    let options = GradcheckOptions::default();
    assert_passed("no fault", &check_on(Device, &graph, loss, &options).unwrap());
    for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::StaleRunningStatistic) {
        let report = finding_report(fault, |backend, graph, node| check_on(backend, graph, node, &options));
        let failed: Vec<&str> = report.rows.iter().filter(|row| !row.passed()).map(|row| row.tensor.as_str()).collect();
        match fault {
            Fault::ScaledBiasGradient => assert_eq!(failed, ["stem.conv.bias", "up.bias"], "{report}"),
            Fault::WeightGradientOverwrites => assert_eq!(failed, ["shared.weight"], "{report}"),
            _ => {}
        }
        assert!(report.to_string().contains("FAILED"), "{report}");
    }
}

#[test]
fn another_backend_is_compared_in_its_values_gradients_and_states() {
    let Network { graph, output, .. } = network(2);
    let options = GradcheckOptions::default();
    assert_passed("no fault", &check_backend(Device, &graph, output, &options).unwrap());
    for fault in Fault::ALL {
        let report = finding_report(fault, |backend, graph, node| check_backend(backend, graph, node, &options));
        if fault == Fault::StaleRunningStatistic {
            assert!(report.rows.iter().all(|row| row.passed() != (row.kind == "state")), "{report}");
        }
    }
}

/// The sum is 0.01, that of the magnitudes of its terms 1000.
#[test]
fn a_sum_that_cancels_may_have_the_rounding_errors_of_its_terms() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 1000]).unwrap();
    let w = graph.input("w", [1000, 1]).unwrap();
    let y = graph.linear(x, w, None).unwrap();
    let values: Vec<f32> = (0..500).map(|i| 1.0 + (i as f32).sin() / 2.0).collect();
    let values = values.iter().copied().chain(values.iter().map(|x| -x + 2e-5)).map(f64::from).collect();
    let inputs = vec![(x, values), (w, vec![1.0; 1000])];
    let options = GradcheckOptions { inputs, ..GradcheckOptions::default() };
    let mut oracle = gradcheck::Oracle::new(&graph, y, &options).unwrap();
    for isa in Isa::available() {
        let [report, _] = oracle.check(Cpu::with_isa(isa, 1).unwrap(), &[]).unwrap();
        let worst = report.rows[0].worst;
        assert!(report.passed() && worst.want.abs() < 0.02, "{report}");
    }
}

/// The report of `of(x)`, where `x` has these values.
fn report_at(values: &[f64], of: impl FnOnce(&mut Graph, NodeId) -> Result<NodeId>) -> Report {
    let mut graph = Graph::new();
    let x = graph.input("x", [values.len() / 4, 4]).unwrap();
    let y = of(&mut graph, x).unwrap();
    check(&graph, y, &GradcheckOptions { inputs: vec![(x, values.to_vec())], ..GradcheckOptions::default() }).unwrap()
}

/// 64 elements, of which the first `zeros` are 0.
fn masked(zeros: usize) -> Vec<f64> {
    (0..64).map(|i| if i < zeros { 0.0 } else { (i as f64 - 40.5) / 8.0 }).collect()
}

fn relu(graph: &mut Graph, x: NodeId) -> Result<NodeId> {
    graph.activation(x, Activation::Relu)
}

#[test]
fn right_gradients_pass_at_any_number_of_kinks_which_are_counted() {
    let near: Vec<f64> = (0..64).map(|i| if i < 30 { 1e-6 * (f64::from(i) - 7.0) } else { 1.0 }).collect();
    for (values, kinks) in [(vec![0.0; 256], 256), (masked(0), 0), (masked(1), 1), (masked(32), 32), (near, 17)] {
        let report = report_at(&values, relu);
        assert!(report.passed() && report.rows[0].kinks == kinks, "{kinks}\n{report}");
    }
    // half of an image is masked, in the prediction and in the target
    let report = report_at(&masked(32), |graph, x| {
        let [target, y] = [graph.activation(x, Activation::Tanh)?, relu(graph, x)?];
        graph.l1_loss(y, target)
    });
    assert!(report.passed() && report.rows[0].kinks == 32, "{report}");
    assert!(report.to_string().contains(" 32 "), "{report}");
}

#[test]
fn at_kinks_inside_a_graph_every_operation_may_have_its_own_slope() {
    let zeros = [0.0; 8];
    let negative = |graph: &mut Graph, x| {
        let twice = graph.add(x, x, 1.0)?;
        graph.add(x, twice, -1.0)
    };
    // in a row, and with the signs of one direction and of both
    let in_a_row = |graph: &mut Graph, x| {
        let y = relu(graph, x)?;
        relu(graph, y)
    };
    let never_positive = |graph: &mut Graph, x| {
        let y = relu(graph, x)?;
        let y = negative(graph, y)?;
        graph.activation(y, Activation::LeakyRelu)
    };
    // It is x, but its gradient at 0 is 0, as that of ReLU is.
    let identity = |graph: &mut Graph, x| {
        let [y, x] = [relu(graph, x)?, negative(graph, x)?];
        let x = relu(graph, x)?;
        graph.add(y, x, -1.0)
    };
    type Build<'a> = &'a dyn Fn(&mut Graph, NodeId) -> Result<NodeId>;
    for (name, build) in [("in a row", &in_a_row as Build<'_>), ("never", &never_positive), ("identity", &identity)] {
        let report = report_at(&zeros, build);
        assert!(report.passed() && report.rows[0].kinks == 8, "{name}\n{report}");
    }
    // Rows of zeros have kinks in several outputs, whose slopes have both signs. The loss has one element.
    let report = report_at(&masked(32), |graph, x| {
        let w = graph.parameter("w", [4, 6], Init::kaiming_uniform(4))?;
        let y = graph.linear(x, w, None)?;
        let y = relu(graph, y)?;
        let target = graph.input("target", graph.shape(y))?;
        let loss = graph.l1_loss(y, target)?;
        graph.add(loss, loss, 0.5)
    });
    assert!(report.passed() && report.rows[0].kinks == 32, "{report}");
}

/// A rectifier whose gradients are what they are told to be.
#[derive(Debug)]
struct Rectifier {
    at_zero: f64,
    above: f64,
}

impl CustomOp for Rectifier {
    fn name(&self) -> &'static str {
        "rectifier"
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        Ok(inputs[0])
    }

    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], _: &mut [T]) {
        output.iter_mut().zip(inputs[0].data).for_each(|(y, x)| *y = x.max(T::ZERO));
    }

    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
        let Some(dx) = &mut gradients[0] else { return };
        for ((dx, x), dy) in dx.iter_mut().zip(of.inputs[0].data).zip(of.dy) {
            let slope = match x.to_f64() {
                0.0 => self.at_zero,
                x if x > 0.0 => self.above,
                _ => 0.0,
            };
            *dx = *dy * T::from_f64(slope);
        }
    }
}

#[test]
fn wrong_gradients_at_kinks_and_beside_them_are_found() {
    let passes = |at_zero, above, twice: bool| {
        let report = report_at(&masked(32), |graph, x| {
            let y = graph.custom(Rectifier { at_zero, above }, &[x])?;
            if twice { relu(graph, y) } else { Ok(y) }
        });
        assert_eq!(report.rows[0].kinks, 32, "{report}");
        report.passed()
    };
    for at_zero in [0.0, 0.3, 1.0] {
        assert!(passes(at_zero, 1.0, false), "{at_zero}");
        assert!(!passes(at_zero, 1.0 + 1e-5, false), "a wrong gradient where there is no kink");
    }
    for at_zero in [2.0, 1.0 + 1e-5, -1e-5] {
        assert!(!passes(at_zero, 1.0, false), "{at_zero}");
    }
    // ReLU's gradient of 0 at 0 hides what is multiplied by it, but nothing else.
    assert!(passes(0.5, 1.0, true) && !passes(0.5, 1.0 + 1e-5, true));
}

/// The cube, whose curvature is large, with a gradient that is slightly wrong.
#[derive(Debug)]
struct Cube {
    error: f64,
}

impl CustomOp for Cube {
    fn name(&self) -> &'static str {
        "cube"
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        Ok(inputs[0])
    }

    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], _: &mut [T]) {
        output.iter_mut().zip(inputs[0].data).for_each(|(y, x)| *y = *x * *x * *x);
    }

    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
        let Some(dx) = &mut gradients[0] else { return };
        for ((dx, x), dy) in dx.iter_mut().zip(of.inputs[0].data).zip(of.dy) {
            *dx = *dy * *x * *x * T::from_f64(3.0 + self.error);
        }
    }
}

#[test]
fn curvature_is_not_taken_for_a_kink() {
    let values = [0.1, 0.2, -0.1, 0.5, -0.3, 0.15, 1.0, 0.12];
    for (error, passes) in [(0.0, true), (6e-5, false)] {
        let report = report_at(&values, |graph, x| graph.custom(Cube { error }, &[x]));
        assert!(report.passed() == passes && report.rows[0].kinks == 0, "{report}");
    }
}

#[test]
fn l1_with_prediction_near_the_target_is_a_kink_not_an_error() {
    let mut graph = Graph::new();
    let [prediction, target] = ["prediction", "target"].map(|name| graph.input(name, [40]).unwrap());
    let loss = graph.l1_loss(prediction, target).unwrap();
    let mut near = vec![0.5; 40];
    near[3] += 3e-6;
    let inputs = vec![(prediction, near), (target, (0..40).map(|i| if i == 3 { 0.5 } else { 0.0 }).collect())];
    let report = check(&graph, loss, &GradcheckOptions { inputs, ..GradcheckOptions::default() }).unwrap();
    assert!(report.passed() && report.rows.iter().all(|row| row.kinks == 1), "{report}");
}

#[test]
fn a_gradient_that_is_no_number_fails() {
    let mut graph = Graph::new();
    let x = graph.input("x", [3]).unwrap();
    let y = graph.activation(x, Activation::Silu).unwrap();
    let inputs = vec![(x, vec![0.1, f64::NAN, 0.2])];
    let report = check(&graph, y, &GradcheckOptions { inputs, ..GradcheckOptions::default() }).unwrap();
    assert!(!report.passed(), "{report}");
}

#[test]
fn samples_bound_the_elements_that_are_checked() {
    let Network { graph, loss, .. } = network(1);
    let options = GradcheckOptions { samples: Some(4), ..GradcheckOptions::default() };
    let report = check(&graph, loss, &options).unwrap();
    assert!(report.passed());
    assert!(report.rows.iter().all(|row| row.checked == row.shape.len().min(4)), "{report}");
}

#[test]
fn inputs_and_parameters_that_the_output_does_not_need() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 2]).unwrap();
    graph.input("unused", [3]).unwrap();
    graph.parameter("untouched", [2], Init::Ones).unwrap();
    norm_nodes(&mut graph, "also_untouched", 2);
    let w = graph.parameter("w", [2, 2], Init::kaiming_uniform(2)).unwrap();
    let y = graph.linear(x, w, None).unwrap();
    let report = check(&graph, y, &GradcheckOptions::default()).unwrap();
    assert_passed("unused", &report);
    let tensors: Vec<&str> = report.rows.iter().map(|row| row.tensor.as_str()).collect();
    assert_eq!(tensors, ["x", "untouched", "also_untouched.weight", "also_untouched.bias", "w"]);
}

#[test]
fn outputs_that_are_leaves() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2]).unwrap();
    let w = graph.parameter("w", [3], Init::Ones).unwrap();
    for node in [x, w] {
        assert_passed("leaf", &check(&graph, node, &GradcheckOptions::default()).unwrap());
    }
}
