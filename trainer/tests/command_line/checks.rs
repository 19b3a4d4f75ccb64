//! `gradcheck` and `profile`: what they print and write, and how they fail.

use crate::common::{Place, failure, text};

#[test]
fn right_gradients_are_a_table_and_wrong_ones_an_exit_code_too() {
    let place = Place::new();
    let arguments = ["gradcheck", "--op=linear", "--cases=1", "--isa=portable", "--algo=direct"];
    let table = place.succeed(&arguments);
    for part in ["grad_weight", "conv2d-direct-portable", "h^2 f'''/6", "f32 eps", " 0 lines failed"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(!table.contains("FAILED"), "{table}");

    let output = place.run(&[&arguments[..], &["--inject-fault=scaled-bias-gradient"]].concat());
    let table = text(&output.stdout);
    assert!(failure(&output).ends_with("lines of the gradient check failed"), "{}", failure(&output));
    let failed = table.lines().filter(|line| line.contains("FAILED") && line.starts_with("linear  "));
    assert!(
        failed.clone().count() >= 2
            && failed.clone().all(|line| line.contains("grad_bias") || line.contains("adjoint"))
    );
    let repeat =
        "  resconv gradcheck --op linear --device cpu --isa portable --algo direct --cases 1 --seed 0 --case 'linear [";
    assert!(table.contains(repeat), "{table}");
}

#[test]
fn checks_of_what_is_not_there_are_refused() {
    let place = Place::new();
    let message = place.fail(&["gradcheck", "--device=cuda"]);
    assert!(message.starts_with("--device cuda: no NVIDIA driver found"), "{message}");
    assert!(
        place.fail(&["gradcheck", "--op=conv3d"]).starts_with("unknown operation `conv3d`: expected one of conv2d, ")
    );
    for (flag, told) in [
        ("--algo=fft", "unknown algorithm `fft`: expected one of im2col, direct, winograd2x3, winograd4x3"),
        ("--isa=sse9", "unknown instruction set `sse9`"),
        ("--inject-fault=typo", "unknown fault `typo`: expected one of off-by-one-padding, "),
    ] {
        let output = place.run(&["gradcheck", flag]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    }
}

#[test]
fn a_training_step_is_profiled_to_tables_and_a_trace() {
    let place = Place::new();
    let network = ["profile", "step", "--layers=1", "--channels=4", "--size=8", "--batch=2", "--threads=1", "--runs=2"];
    let files = ["--trace=trace.json", "--csv=steps.csv"];
    let out = place.succeed(&[&network[..], &files, &["--by=op", "--by=layer", "--by=step"]].concat());
    for part in ["conv2d.grad_weight", "encoder.layer_1", "arena in use", "GFLOP/s", "adamw", "written to trace.json"] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    let trace: serde_json::Value = serde_json::from_slice(&place.read("trace.json")).unwrap();
    let steps = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X" && e["tid"] == 1).count();
    assert_eq!(place.read_text("steps.csv").lines().count(), steps + 1);
    assert!(place.fail(&[&network[..], &["--device=cuda"]].concat()).contains("no NVIDIA driver found"));
    assert!(place.fail(&["profile", "step", "--layers=0"]).starts_with("--layers: expected 1 to 1000"));
}

#[test]
fn convolutions_are_profiled_to_tables_and_a_roofline() {
    let place = Place::new();
    let arguments = ["profile", "conv", "--shape=1,8,8,16,16,3,3,1,1", "--rounds=2", "--threads=1", "--algo=all"];
    let files = ["--csv=conv.csv", "--json=conv.json", "--roofline=roof.svg", "--roofline=roof.png"];
    let out = place.succeed(&[&arguments[..], &files].concat());
    for part in ["winograd4x3", "grad_input", "peak, the best of turns", "chosen", " of 3 passes"] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    assert_eq!(place.read_text("conv.csv").lines().count(), 1 + 3 * 4);
    let json: serde_json::Value = serde_json::from_slice(&place.read("conv.json")).unwrap();
    assert_eq!((json["threads"].as_u64(), json["rows"].as_array().map(Vec::len)), (Some(1), Some(12)));
    assert!(place.read_text("roof.svg").starts_with("<svg") && place.read("roof.png").starts_with(b"\x89PNG"));

    let message = place.fail(&[&arguments[..], &["--roofline=roof.pdf"]].concat());
    assert_eq!(message, "--roofline roof.pdf: expected a name that ends with .svg or .png");
    let message = place.fail(&["profile", "conv", "--shape=1,8,8,4,4,5,5,1,2", "--algo=winograd2x3"]);
    assert_eq!(message, "none of the algorithms takes any of the shapes");
    let output = place.run(&["profile", "conv", "--shape=1,2,3"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("expected 9 numbers N,H,W,C,K,R,S,stride,pad, or a tenth for the groups, got 3")
    );
}
