//! `resconv train --resume`: a run that was killed goes on as if it had not been.

use crate::common::{Place, failure, text, train, write_photos};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use trainer::train::checkpoint::Checkpoint;

const RUN: [&str; 4] = ["--samples=2404", "--checkpoint-every=80", "--validate-every=300", "--seed=3"];

/// Starts a run and kills it when it has written a checkpoint. Returns the checkpoint's step.
pub(crate) fn kill_after_a_checkpoint(place: &Place, arguments: &[&str]) -> u64 {
    let mut child: Child = place.command(arguments).stdout(Stdio::null()).spawn().unwrap();
    let checkpoint = place.path("killed/checkpoint.safetensors");
    let started = Instant::now();
    while !checkpoint.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    Checkpoint::read(&checkpoint).unwrap().run.unwrap().position.unwrap().step
}

/// Resumes the killed run, and compares what it leaves with what the undisturbed one left.
fn resumed_is_whole(place: &Place, step: u64) {
    let out = place.succeed(&["train", "--resume", "--out=killed", "--threads=2"]);
    assert!(out.contains(&format!("resuming after step {step} ")), "{out}");
    for file in ["metrics.csv", "validation.csv", "model.safetensors", "reconstruction.png", "loss.svg"] {
        assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("killed/{file}")), "{file}");
    }
}

#[test]
fn a_killed_run_on_pictures_resumes_bit_for_bit_whatever_is_wrong_with_them() {
    for (task, loss) in [
        ("half-crop", "l1"),
        ("box:1..3,pixels:0..0.5", "charbonnier"),
        ("box:1..3,pixels:0..0.5,fill", "l1"),
        ("blur:0..1,noise:0..0.2,quantize:16,downscale:2,jpeg:30..90", "ssim"),
        ("colorize", "mse"),
    ] {
        let place = Place::new();
        write_photos(&place);
        let arguments = |out: &'static str| {
            let network = ["--layers=1", "--channels=4", "--size=16", "--batch=8", "--samples=804", "--augment"];
            let data = ["--data=photos", "--validate-images=5", "--data-memory=0", "--checkpoint-every=80"];
            [&["train", "--threads=1", "--task", task, "--loss", loss, out][..], &network, &data].concat()
        };
        let out = place.succeed(&arguments("--out=whole"));
        assert!(out.contains("decoded again"), "{out}");
        let step = kill_after_a_checkpoint(&place, &arguments("--out=killed"));
        assert!((10..101).contains(&step), "killed at step {step}");
        resumed_is_whole(&place, step);
        let rows = place.read_text("whole/metrics.csv");
        let losses: Vec<f64> =
            rows.lines().skip(1).map(|row| row.rsplit(',').next().unwrap().parse().unwrap()).collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(
            losses.iter().all(|loss| *loss > 0.0) && mean(&losses[81..]) < mean(&losses[..20]),
            "{task}: {losses:?}"
        );
    }
}

fn resumes_bit_for_bit(device: &'static str, activation: &'static str) {
    let place = Place::new();
    let arguments = |out: &'static str| train(&[&RUN[..], &[device, activation, out, "--threads=1"]].concat());
    place.succeed(&arguments("--out=whole"));
    let step = kill_after_a_checkpoint(&place, &arguments("--out=killed"));
    assert!((10..301).contains(&step), "killed at step {step}");
    resumed_is_whole(&place, step);
    let [whole, killed] =
        ["whole", "killed"].map(|run| Checkpoint::read(&place.path(run).join("checkpoint.safetensors")).unwrap());
    assert_eq!(whole.tensors, killed.tensors);
    assert!(whole.tensors.keys().any(|name| name.starts_with("optimizer.exp_avg_sq.")));
    let [whole, killed] = [whole, killed].map(|checkpoint| checkpoint.run.unwrap().position.unwrap());
    assert_eq!((whole.step, whole.samples), (killed.step, killed.samples));
    assert_eq!((whole.step, whole.samples), (301, 2404));

    // A run that is done can be resumed too: it writes its results again, and no more.
    let tables = || ["metrics.csv", "validation.csv"].map(|file| place.read(&format!("killed/{file}")));
    let before = tables();
    place.succeed(&["train", "--resume", "--out=killed"]);
    assert_eq!(tables(), before);
}

#[test]
fn a_killed_run_on_the_cpu_resumes_bit_for_bit() {
    resumes_bit_for_bit("--device=cpu", "--activation=gelu");
}

#[test]
fn a_killed_run_on_the_reference_device_resumes_bit_for_bit() {
    resumes_bit_for_bit("--device=reference", "--activation=prelu");
}

#[test]
fn a_killed_run_draws_the_random_slopes_of_an_undisturbed_one() {
    resumes_bit_for_bit("--device=cpu", "--activation=rrelu");
}

#[test]
fn what_would_change_the_numbers_is_refused() {
    let place = Place::new();
    place.succeed(&train(&["--samples=24", "--out=run"]));
    for (flag, told) in [
        ("--layers=3", "cannot resume with another layers: the run was started with 2, now it is 3"),
        ("--lr=1e-4", "cannot resume with another lr: the run was started with 0.0003, now it is 0.0001"),
        ("--samples=16", "cannot resume with another samples: the run was started with 24, now it is 16"),
        ("--seed=1", "cannot resume with another seed: the run was started with 0, now it is 1"),
        ("--device=reference", "cannot resume with another device: the run was started on cpu"),
    ] {
        let message = place.fail(&["train", "--resume", "--out=run", flag]);
        assert!(message.starts_with(told), "{message}");
    }

    std::fs::copy(place.path("run/model.safetensors"), place.path("run/checkpoint.safetensors")).unwrap();
    let message = place.fail(&["train", "--resume", "--out=run"]);
    assert!(message.starts_with("none of the checkpoints in run can be resumed; start the run over "), "{message}");
    assert!(message.contains("weights only, without the optimizer's state"), "{message}");
}

#[test]
fn a_run_is_resumed_from_any_folder_and_what_is_not_found_is_not_blamed_on_a_flag() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=first"]));
    let arguments = train(&["--samples=24", "--out=run", "--init=first/model.safetensors"]);
    place.succeed(&arguments);
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    let resume = |more: &[&str]| {
        let arguments = [&["train", "--resume", "--out=../run"], more].concat();
        let mut command = place.command(&arguments);
        command.current_dir(place.path("elsewhere")).output().unwrap()
    };
    let output = resume(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // The same command as at first, and the same files by other paths.
    place.succeed(&[&arguments[..], &["--resume"]].concat());
    let output = resume(&["--data=../data", "--unverified-data"]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    std::fs::rename(place.path("data"), place.path("moved")).unwrap();
    let message = failure(&resume(&[]));
    assert!(message.starts_with("`data` in the settings of the run: /"), "{message}");
    assert!(
        message.ends_with("data is not a folder that can be read; say where the dataset is with --data"),
        "{message}"
    );
    let output = resume(&["--data=../moved"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_table_that_lacks_rows_is_refused() {
    let place = Place::new();
    place.succeed(&train(&["--samples=24", "--out=run"]));
    std::fs::write(place.path("run/metrics.csv"), "step,samples,lr,loss\n1,8,0.0003,0.5\n").unwrap();
    let message = place.fail(&["train", "--resume", "--out=run"]);
    assert_eq!(message, "run/metrics.csv: expected the rows of the checkpoint's first 3 steps, got 1");
}

/// Earlier versions wrote only the losses of validations.
#[test]
fn a_run_of_an_earlier_version_gets_the_columns_that_it_lacks() {
    let place = Place::new();
    place.succeed(&train(&["--samples=24", "--validate-every=8", "--out=run"]));
    let table = place.read_text("run/validation.csv");
    let losses = |table: &str| {
        let first = |line: &str| line.split(',').take(4).collect::<Vec<_>>().join(",") + "\n";
        table.lines().map(first).collect::<String>()
    };
    std::fs::write(place.path("run/validation.csv"), losses(&table)).unwrap();
    std::fs::remove_file(place.path("run/summary.json")).unwrap();
    // It can be shown, and it can go on.
    place.succeed(&["report", "run"]);
    assert!(!place.read_text("run/table.csv").contains("psnr"));
    place.succeed(&["train", "--resume", "--out=run"]);
    let resumed = place.read_text("run/validation.csv");
    assert_eq!(losses(&resumed), losses(&table));
    let [lines, before] = [&resumed, &table].map(|table| table.lines().collect::<Vec<_>>());
    assert_eq!((lines[0], lines[3]), (before[0], before[3]));
    assert!(lines[1..3].iter().all(|line| line.ends_with(",,,,")), "{resumed}");
}
