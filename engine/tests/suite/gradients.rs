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
            let options = GradcheckOptions { backend_tolerance: 1e-5, ..GradcheckOptions::default() };
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

#[test]
fn wrong_gradients_are_found() {
    let Network { graph, output, loss, .. } = network(2);
    let options = GradcheckOptions::default();
    assert_passed("no fault", &check_on(Device, &graph, loss, &options).unwrap());
    for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::StaleRunningStatistic) {
        let node = if fault == Fault::LossGradientNotAveraged { loss } else { output };
        let report = check_on(Faulty::new(Reference, fault), &graph, node, &options).unwrap();
        assert!(!report.passed(), "{fault:?} was not found\n{report}");
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
    let Network { graph, output, loss, .. } = network(2);
    let options = GradcheckOptions::default();
    assert_passed("no fault", &check_backend(Device, &graph, output, &options).unwrap());
    let tight = GradcheckOptions { backend_tolerance: 1e-6, ..options };
    for fault in Fault::ALL {
        let node = if fault == Fault::LossGradientNotAveraged { loss } else { output };
        let report = check_backend(Faulty::new(Reference, fault), &graph, node, &tight).unwrap();
        assert!(!report.passed(), "{fault:?} was not found\n{report}");
        if fault == Fault::StaleRunningStatistic {
            assert!(report.rows.iter().all(|row| row.passed() != (row.kind == "state")), "{report}");
        }
    }
}

#[test]
fn kinks_are_skipped_counted_and_bounded() {
    let mut graph = Graph::new();
    let x = graph.input("x", [100]).unwrap();
    let y = graph.activation(x, Activation::Relu).unwrap();
    let with_kinks = |kinks: usize| {
        let values = (0..100).map(|i| if i < kinks { 1e-6 } else { 0.1 + i as f64 }).collect();
        let options = GradcheckOptions { inputs: vec![(x, values)], ..GradcheckOptions::default() };
        check(&graph, y, &options).unwrap()
    };
    for kinks in [0, 1, 5] {
        let report = with_kinks(kinks);
        assert!(report.passed() && report.rows[0].kinks == kinks, "{report}");
    }
    let report = with_kinks(6);
    assert!(!report.passed() && report.rows[0].kinks == 6, "{report}");
    assert!(report.to_string().contains("6/5"), "{report}");
    assert!(report.rows[0].worst.error < 1e-6, "the elements that were not skipped are right\n{report}");
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
