//! Runs that end early, that are lengthened, that are measured in epochs, and that say more or less.

use crate::common::{Place, train};
use crate::resume::kill_after_a_checkpoint;
use std::f64::consts::PI;
use std::fs;
use trainer::train::checkpoint::Checkpoint;

/// Files that do not depend on where and how often a run was interrupted.
const FILES: [&str; 4] = ["metrics.csv", "validation.csv", "model.safetensors", "reconstruction.png"];

fn same(place: &Place, a: &str, b: &str) {
    for file in FILES {
        assert!(place.read(&format!("{a}/{file}")) == place.read(&format!("{b}/{file}")), "{file}");
    }
}

fn summary(place: &Place, run: &str) -> serde_json::Value {
    serde_json::from_slice(&place.read(&format!("{run}/summary.json"))).unwrap()
}

/// A run whose weights stay what they are, so that no validation is better than the first.
fn without_progress<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["--lr=1e-20", "--batch-norm-encoder=none", "--batch-norm-decoder=none", "--validate-every=40"];
    train(&[&fixed[..], &["--samples=800", "--patience=3", "--threads=1"], more].concat())
}

#[test]
fn a_run_without_progress_ends_early() {
    let place = Place::new();
    let out = place.succeed(&without_progress(&["--out=run", "--checkpoint-every=0"]));
    let table = place.read_text("run/validation.csv");
    let samples: Vec<&str> = table.lines().skip(1).map(|row| row.split(',').nth(1).unwrap()).collect();
    assert_eq!(samples, ["40", "80", "120", "160"], "{table}");
    let best = table.lines().nth(1).unwrap().split(',').nth(2).unwrap();
    let told = format!(
        "stopped early               no lower validation loss in 3 validations; the best, {:.5} after 40 images, is best.safetensors\n",
        best.parse::<f64>().unwrap()
    );
    assert!(out.contains(&told) && out.contains("trained                     160 images in 20 steps"), "{out}");
    let page = place.read_text("run/report.html");
    assert!(page.contains("run stopped early: no lower validation loss in 3 validations; the best, "), "{page}");
    let summary = summary(&place, "run");
    assert_eq!((&summary["samples"], &summary["early_stop"]["best_samples"]), (&160.into(), &40.into()), "{summary}");
    let step = |file: &str| Checkpoint::read(&place.path(file)).unwrap().run.unwrap().position.unwrap().step;
    assert_eq!([step("run/best.safetensors"), step("run/checkpoint.safetensors")], [5, 20]);

    // A run that was interrupted counts the validations before.
    place.succeed(&without_progress(&["--out=again", "--checkpoint-every=40"]));
    fs::remove_file(place.path("again/checkpoint.safetensors")).unwrap();
    let out = place.succeed(&["train", "--resume", "--out=again", "--threads=1"]);
    assert!(out.contains("resuming after step 15 "), "{out}");
    same(&place, "run", "again");
    // One that has ended ends again; with more patience, it goes on.
    place.succeed(&["train", "--resume", "--out=again", "--threads=1"]);
    same(&place, "run", "again");
    let out = place.succeed(&["train", "--resume", "--out=again", "--threads=1", "--patience=5"]);
    assert!(out.contains("no lower validation loss in 5 validations") && out.contains("240 images in 30"), "{out}");

    let message = place.fail(&without_progress(&["--out=other", "--validate-every=0"]));
    assert_eq!(message, "--patience: expected 0 if there are no validations before the end, got 3");
}

#[test]
fn a_run_with_progress_does_not_end_early() {
    let place = Place::new();
    let arguments = train(&["--samples=400", "--lr=3e-3", "--validate-every=80", "--patience=3", "--out=run"]);
    let out = place.succeed(&arguments);
    assert!(out.contains("400 images in 50 steps") && !out.contains("stopped early"), "{out}");
    assert!(summary(&place, "run").get("early_stop").is_none());
}

#[test]
fn a_lengthened_run_of_a_constant_rate_is_as_if_it_had_been_that_long() {
    let place = Place::new();
    let run = ["--schedule=constant", "--validate-every=160", "--threads=1", "--seed=5"];
    place.succeed(&train(&[&run[..], &["--samples=480", "--out=long"]].concat()));
    place.succeed(&train(&[&run[..], &["--samples=160", "--out=short"]].concat()));
    let out = place.succeed(&["train", "--resume", "--out=short", "--samples=480", "--threads=1"]);
    assert!(out.contains("lengthened from 160 to 480 images"), "{out}");
    same(&place, "long", "short");
    assert!(place.read_text("short/settings.toml").contains("samples = 480"));
    let message = place.fail(&["train", "--resume", "--out=short", "--samples=160"]);
    assert!(message.starts_with("cannot resume with another samples: the run was started with 480, now "), "{message}");
}

#[test]
fn a_lengthened_run_goes_on_with_the_cosine_of_its_new_length() {
    let place = Place::new();
    // The last batch of the short run has four images.
    let run = ["--samples=164", "--validate-every=96", "--checkpoint-every=80", "--threads=1", "--lr=1e-3"];
    for out in ["--out=whole", "--out=killed"] {
        place.succeed(&train(&[&run[..], &[out]].concat()));
    }
    let longer = ["train", "--resume", "--samples=2404", "--threads=1"];
    let out = place.succeed(&[&longer[..], &["--out=whole"]].concat());
    let rate = |step: f64, steps: f64| 1e-3 * 0.5 * (1.0 + (PI * step / steps).cos());
    let told = format!(
        "lengthened from 164 to 2404 images; the learning rate, which was 0.00e0 here, goes on with {:.2e}, as in a run of 2404",
        rate(21.0, 301.0)
    );
    assert!(out.contains(&told), "{told}: {out}");
    let table = place.read_text("whole/metrics.csv");
    let rows: Vec<Vec<f64>> =
        table.lines().skip(1).map(|row| row.split(',').map(|x| x.parse().unwrap()).collect()).collect();
    assert_eq!((rows.len(), rows[20][1], rows[21][1], rows[300][1]), (301, 164.0, 172.0, 2404.0));
    for (step, row) in rows.iter().enumerate() {
        let steps = if step < 21 { 21.0 } else { 301.0 };
        assert!((row[2] - rate(step as f64, steps)).abs() < 1e-9, "step {step}: {row:?}");
    }
    // The last validation of the short run is kept.
    let validations = place.read_text("whole/validation.csv");
    assert!(validations.contains("\n21,164,"), "{validations}");

    // The longer run is killed, and goes on bit for bit.
    let before = Checkpoint::read(&place.path("killed/checkpoint.safetensors")).unwrap().run.unwrap().position.unwrap();
    assert_eq!(before.samples, 164);
    fs::rename(place.path("killed/checkpoint.safetensors"), place.path("killed/checkpoint-21.safetensors")).unwrap();
    let step = kill_after_a_checkpoint(&place, &[&longer[..], &["--out=killed"]].concat());
    assert!((22..301).contains(&step), "killed at step {step}");
    assert!(!place.path("killed/summary.json").exists(), "the run is not done any more");
    place.succeed(&["train", "--resume", "--out=killed", "--threads=1"]);
    same(&place, "whole", "killed");
}

#[test]
fn epochs_are_another_word_for_samples() {
    let place = Place::new();
    let out = place.succeed(&train(&["--epochs=2", "--out=run"]));
    assert!(out.contains("80 images in 10 steps"), "{out}");
    assert!(place.read_text("run/settings.toml").contains("samples = 80"));
    place.succeed(&train(&["--samples=80", "--out=same"]));
    same(&place, "run", "same");
    let out = place.succeed(&["train", "--resume", "--out=run", "--epochs=3"]);
    assert!(out.contains("lengthened from 80 to 120 images"), "{out}");
    let message = place.fail(&train(&["--epochs=2", "--warmup=81", "--out=other"]));
    assert_eq!(message, "--warmup: expected a whole number from 0 to 80, got 81");
    let both = place.run(&train(&["--epochs=2", "--samples=80", "--out=other"]));
    let told = crate::common::text(&both.stderr);
    assert!(told.contains("'--epochs <NUMBER>' cannot be used with '--samples <SAMPLES>'"), "{told}");
    assert!(!place.path("other").exists());
}

#[test]
fn a_quiet_command_prints_its_result_and_a_verbose_one_its_details() {
    let place = crate::sweep::place();
    let run = ["--samples=80", "--validate-every=40", "--checkpoint-every=40"];
    assert_eq!(
        place.succeed(&train(&[&run[..], &["--out=quiet", "-q"]].concat())),
        "written to                  quiet\n"
    );
    let normal = place.succeed(&train(&[&run[..], &["--out=normal"]].concat()));
    let verbose = place.succeed(&train(&[&run[..], &["--out=verbose", "-v"]].concat()));
    for (told, count) in [
        ("checkpoint after step ", 2),
        ("the best so far", 1),
        ("missing L1            ", 2),
        ("batch statistics      ", 2),
    ] {
        assert!(verbose.matches(told).count() >= count && !normal.contains(told), "{told}: {verbose}");
    }
    same(&place, "quiet", "verbose");
    let result = place.succeed(&["eval", "quiet", "--data=data", "--unverified-data", "--quiet"]);
    assert!(result.starts_with("validation L1 ") && result.contains("batch statistics"), "{result}");
    let swept = place.succeed(&crate::sweep::sweep(&["--out=out", "--layers=1", "--seed=0", "--quiet"]));
    assert_eq!(swept, "all 1 runs are done; the report is out/report.html\n");
    let output = place.run(&crate::sweep::sweep(&["--out=nan", "--layers=1", "--seed=0", "--lr=1e30", "-q"]));
    let err = crate::common::text(&output.stderr);
    assert!(output.stdout.is_empty() && err.contains("seed-0 failed: ") && err.contains("error: 1 of 1 runs"), "{err}");
}
