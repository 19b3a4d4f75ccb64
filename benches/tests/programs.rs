//! The programs that the scripts in `peers` and `gpu` run print one JSON object, with what these scripts read.

use serde_json::Value;
use std::process::Command;

fn report(program: &str, arguments: &[&str]) -> Value {
    let output = Command::new(program).args(arguments).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

/// A list of positive numbers.
#[track_caller]
fn assert_positive(value: &Value, len: usize) {
    let numbers: Vec<f64> = value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    assert!(numbers.len() == len && numbers.iter().all(|&number| number > 0.0), "{numbers:?}");
}

/// What `Times::report` writes, of two timed steps.
#[track_caller]
fn assert_timed(report: &Value) {
    assert!(report["backend"].as_str().unwrap().starts_with("cpu-"), "{report}");
    assert!(report["threads"] == 1 && report["parameters"].as_u64().unwrap() > 0, "{report}");
    assert_positive(&report["wall_ms"], 2);
    assert_positive(&report["cpu_ms"], 2);
}

#[test]
fn step_reports_times_and_losses() {
    let network = ["--layers=2", "--channels=4", "--size=8", "--batch=2", "--steps=2", "--threads=1"];
    let training = report(env!("CARGO_BIN_EXE_step"), &network);
    assert_timed(&training);
    assert_positive(&training["losses"], 3);
    let inference = report(env!("CARGO_BIN_EXE_step"), &[&network[..], &["--inference"]].concat());
    assert_timed(&inference);
    assert_eq!(inference["losses"].as_array().unwrap().len(), 0);
}

#[test]
fn network_reports_times_and_losses() {
    for network in ["lenet", "unet"] {
        let training = report(env!("CARGO_BIN_EXE_network"), &[network, "--batch=2", "--steps=2", "--threads=1"]);
        assert_timed(&training);
        assert_positive(&training["losses"], 3);
    }
}

#[test]
fn operation_reports_both_passes() {
    let times = report(env!("CARGO_BIN_EXE_operation"), &["cross-entropy, 64 of 10", "--calls=2", "--threads=1"]);
    let times = times["cross-entropy, 64 of 10"].as_array().unwrap();
    assert_eq!(times.len(), 2, "forward and backward");
    for pass in times {
        assert_positive(pass, 2);
    }
}
