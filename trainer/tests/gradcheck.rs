//! The gradient check covers everything, is green, and finds every injected fault.

use kernels::conv2d::{Algo, Tile};
use kernels::faults::Fault;
use kernels::simd::Isa;
use std::collections::BTreeSet;
use trainer::lab::gradcheck::{Request, Summary, run};

fn check(request: &Request) -> Summary {
    run(request, &mut |_| {}).unwrap()
}

#[test]
fn every_operation_is_right_on_every_path_with_every_algorithm() {
    let summary = check(&Request { cases: 2, ..Request::default() });
    assert!(summary.passed(), "{summary}");

    // what there is to check, from the lists of operations, instruction sets and algorithms
    let with_algorithms = ["conv2d", "conv_transpose2d", "linear", "norm_conv_act"];
    let awkward = engine::gradcheck::cases();
    let ops: BTreeSet<&str> = awkward.iter().map(|case| case.op.as_str()).collect();
    for op in with_algorithms.into_iter().chain(["batch_norm", "gelu", "add", "pad", "l1_loss", "mse_loss", "custom"]) {
        assert!(ops.contains(op), "{op} is not in {ops:?}");
    }
    let lines = |op: &str, path: &str, against: &str| -> Vec<_> {
        let same =
            |line: &&trainer::lab::gradcheck::Line| line.op == op && line.path == path && line.against == against;
        summary.lines.iter().filter(same).collect()
    };
    for &op in &ops {
        let differences = lines(op, "reference", "differences");
        assert!(!differences.is_empty(), "{op} is not compared with differences");
        // every gradient that differences check is checked on every path
        let gradients: BTreeSet<&str> = differences.iter().map(|line| line.pass.as_str()).collect();
        let linear = awkward.iter().any(|case| case.op == op && !case.linear.is_empty());
        for isa in Isa::available() {
            let paths: Vec<String> = if with_algorithms.contains(&op) {
                // Winograd's algorithm does not compute what a linear layer is: a convolution of 1x1
                let winograd = op != "linear";
                let algos = Algo::ALL.into_iter().filter(|algo| winograd || !algo.name().starts_with("winograd"));
                algos.map(|algo| algo.kernel_name(isa)).collect()
            } else {
                vec![format!("cpu-{isa}")]
            };
            for path in paths {
                let compared = lines(op, &path, "reference");
                let passes: BTreeSet<&str> = compared.iter().map(|line| line.pass.as_str()).collect();
                assert!(passes.contains("forward"), "{op} forward on {path}");
                assert!(gradients.is_subset(&passes), "{op} on {path}: {passes:?} of {gradients:?}");
                assert_eq!(!lines(op, &path, "adjoint").is_empty(), linear, "{op} on {path}");
                for line in compared {
                    assert!(line.cases > 0 && line.fan_outs == line.cases, "{op} {} on {path}", line.pass);
                }
            }
        }
    }
    for isa in Isa::available() {
        let algos = Algo::ALL.map(|algo| ("norm_conv_act", algo.kernel_name(isa)));
        for (op, path) in algos.into_iter().chain([("batch_norm", format!("cpu-{isa}"))]) {
            let states = lines(op, &path, "reference").into_iter().filter(|line| line.pass == "running statistics");
            assert_eq!(states.count(), 1, "running statistics of {op} on {path}");
        }
    }
}

/// In these cases sums cancel, and layers multiply the rounding errors of those before them: bounds that follow from
/// the lengths of sums call right gradients wrong.
#[test]
fn rounding_errors_that_grow_through_layers_are_not_called_wrong() {
    for seed in [108, 111, 112, 125, 136, 144, 1128] {
        let (op, case) = (Some("norm_conv_act".to_owned()), Some("several".to_owned()));
        let summary = check(&Request { op, case, reference: false, cases: 0, seed, ..Request::default() });
        assert!(summary.passed(), "seed {seed}\n{summary}");
    }
}

/// Near the zeros of a function or of its derivative, the error of its polynomial is large in proportion to its value.
#[test]
fn rounding_errors_of_functions_are_not_called_wrong() {
    for (op, seed) in [("gelu", 4202), ("gelu", 14683), ("tanhshrink", 0)] {
        let op = Some(op.to_owned());
        let summary = check(&Request { op, reference: false, cases: 100, seed, ..Request::default() });
        assert!(summary.passed(), "seed {seed}\n{summary}");
    }
}

/// One pixel meets one tap, but Winograd's algorithm rounds sums of all taps. And random errors of so few operands must
/// not all be 0.
#[test]
fn rounding_errors_of_a_single_pixel_are_not_called_wrong() {
    let (op, case) = (Some("conv2d".to_owned()), Some("conv2d x [1, 1, 1, 1] w [3, 3, 1, 1]".to_owned()));
    for seed in 0..300 {
        let (op, case) = (op.clone(), case.clone());
        let summary = check(&Request { op, case, reference: false, cases: 0, seed, ..Request::default() });
        assert!(summary.passed(), "seed {seed}\n{summary}");
    }
}

#[test]
fn every_injected_fault_is_found_on_every_path() {
    let convolutions = ["conv2d", "conv_transpose2d", "linear"];
    for fault in Fault::ALL {
        // What must fail, on every path that has it.
        let expected: Vec<(&str, &str)> = match fault {
            // The forward pass of a transposed convolution is the input gradient of a convolution.
            Fault::OffByOnePadding | Fault::TransposedWeight => {
                vec![("conv2d", "grad_input"), ("linear", "grad_input"), ("conv_transpose2d", "forward")]
            }
            Fault::MissedBoundaryTile => {
                convolutions.into_iter().chain(["norm_conv_act"]).map(|op| (op, "grad_weight")).collect()
            }
            Fault::OverwriteInsteadOfAdd => convolutions.map(|op| (op, "grad_input")).to_vec(),
            Fault::ScaledBiasGradient => {
                convolutions.into_iter().chain(["norm_conv_act"]).map(|op| (op, "grad_bias")).collect()
            }
            Fault::StaleRunningStatistic => {
                vec![("batch_norm", "running statistics"), ("norm_conv_act", "running statistics")]
            }
            Fault::WeightGradientOverwrites | Fault::WeightGradientNeverReset => {
                convolutions.map(|op| (op, "grad_weight")).to_vec()
            }
            Fault::InputGradientOverwrites => vec![("conv2d", "grad_input"), ("linear", "grad_input")],
            Fault::NormGradientOverwrites | Fault::StatisticsAreConstants => {
                vec![("batch_norm", "grad_input"), ("group_norm", "grad_input")]
            }
            Fault::GroupScaleForgotten => vec![("group_norm", "grad_input")],
            Fault::ActivationGradientOverwrites => vec![("relu", "grad_input"), ("prelu", "grad_input")],
            Fault::SlopeGradientIgnoresSigns => vec![("prelu", "grad_slope")],
            Fault::SlopesDrawnAgain => vec![("rrelu", "grad_input")],
            Fault::GeluDerivativeApproximate => vec![("gelu", "grad_input")],
            Fault::PadCutsOffTheWrongSide => vec![("pad", "grad_input")],
            Fault::ChannelOffsetForgotten => vec![("concat", "grad_b"), ("slice_channels", "grad_input")],
            Fault::UpsampleForgetsTheEdge | Fault::UpsampleOfTheOtherKind => vec![("upsample", "grad_input")],
            Fault::LossGradientNotAveraged => vec![("mse_loss", "grad_prediction")],
            Fault::CharbonnierEpsilonForgotten => vec![("charbonnier_loss", "grad_prediction")],
            Fault::SsimOfTheOtherImage | Fault::SsimWindowsShifted => vec![("ssim", "grad_input"), ("ssim", "grad_y")],
            Fault::BceForgetsTheTarget => vec![("bce_with_logits", "grad_logits")],
            Fault::CrossEntropyNextClass => vec![("softmax_cross_entropy", "grad_logits")],
            Fault::PoolGradientShifted => vec![("max_pool2d", "grad_input"), ("avg_pool2d", "grad_input")],
            Fault::DroppedAgain => vec![("dropout", "grad_input")],
            // Only finite differences, in f64, find so little.
            Fault::WeightGradientSlightlyOff => Vec::new(),
            Fault::ScaleOverwrites => vec![("add", "grad_a")],
        };
        let found = |op: Option<&str>| {
            let op = op.map(str::to_owned);
            let summary = check(&Request { op, cases: 0, fault: Some(fault), ..Request::default() });
            let text = summary.to_string();
            assert!(text.contains("FAILED") && text.contains("resconv gradcheck --op "), "{text}");
            summary
        };
        let only = matches!(fault, Fault::ScaledBiasGradient | Fault::StaleRunningStatistic);
        // The other operations take most of the time, and nothing is expected of them.
        let summaries: Vec<Summary> = if only || expected.is_empty() {
            vec![found(None)]
        } else {
            expected.iter().map(|&(op, _)| op).collect::<BTreeSet<_>>().into_iter().map(|op| found(Some(op))).collect()
        };
        for &(op, pass) in &expected {
            let lines: Vec<_> = summaries
                .iter()
                .flat_map(|summary| &summary.lines)
                .filter(|line| line.op == op && line.pass == pass && line.against != "adjoint")
                .collect();
            assert!(lines.len() >= Isa::available().len(), "{fault}: {} lines of {op} {pass}", lines.len());
            for line in lines {
                assert!(
                    !line.passed(),
                    "{fault} is not found by {op} {pass} on {} against {}",
                    line.path,
                    line.against
                );
            }
        }
        if only {
            let of_values = summaries.iter().flat_map(Summary::failed).filter(|line| line.against != "adjoint");
            let failed: BTreeSet<(&str, &str)> = of_values.map(|line| (line.op.as_str(), line.pass.as_str())).collect();
            assert_eq!(failed, expected.into_iter().collect(), "nothing else is wrong");
        }
    }
}

#[test]
fn filters_leave_what_was_asked_for_or_say_why_nothing_is_left() {
    let request = Request {
        op: Some("conv2d".to_owned()),
        case: Some("groups 2".to_owned()),
        reference: false,
        isas: vec![Isa::Portable],
        algos: vec![Algo::Im2col],
        cases: 0,
        ..Request::default()
    };
    let summary = check(&request);
    assert!(summary.passed(), "{summary}");
    assert!(summary.lines.iter().all(|line| line.op == "conv2d" && line.path == "conv2d-im2col-portable"));
    assert!(summary.lines.iter().all(|line| line.cases == 1 && line.worst_case.contains("groups 2")), "{summary}");

    // Winograd's algorithm has no groups
    let nothing = Request { algos: vec![Algo::Winograd(Tile::F4x3)], ..request.clone() };
    let error = run(&nothing, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("no case of conv2d has `groups 2` in its name"), "{error}");
    let unknown = Request { op: Some("gelo".to_owned()), ..request };
    let error = run(&unknown, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("unknown operation `gelo`: expected one of conv2d, "), "{error}");
}

/// What the table says about repeating a failure is true.
#[test]
fn a_worst_case_is_found_again_by_its_name_and_seed() {
    let request = Request {
        op: Some("mse_loss".to_owned()),
        reference: false,
        isas: vec![Isa::best()],
        cases: 5,
        seed: 40,
        ..Request::default()
    };
    let summary = check(&request);
    for line in &summary.lines {
        let again =
            check(&Request { case: Some(line.worst_case.clone()), seed: line.seed, cases: 1, ..request.clone() });
        let found = again.lines.iter().find(|other| other.pass == line.pass).unwrap();
        assert_eq!(found.worst_error, line.worst_error, "{} {}", line.pass, line.repeat);
    }
}
