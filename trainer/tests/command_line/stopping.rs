//! Locks, values that are not finite, and disks that refuse: a run that cannot go on says so and can be resumed.

use crate::common::{Place, train};
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use trainer::train::checkpoint::Checkpoint;

/// Waits until `done`.
pub(super) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A run that goes on for long, and has written a checkpoint.
pub(super) fn started(place: &Place, more: &[&str]) -> Child {
    let arguments = ["--samples=10000000", "--checkpoint-every=80", "--threads=1", "--out=run"];
    let mut command = place.command(&train(&[&arguments[..], more].concat()));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("no checkpoint", || place.path("run/checkpoint.safetensors").exists());
    child
}

pub(super) fn step(place: &Place) -> u64 {
    Checkpoint::read(&place.path("run/checkpoint.safetensors")).unwrap().run.unwrap().position.unwrap().step
}

#[test]
fn two_runs_cannot_write_to_one_folder() {
    let place = Place::new();
    let mut child = started(&place, &[]);
    let before = place.read("run/settings.toml");
    for arguments in [&["train", "--resume", "--out=run"][..], &train(&["--samples=8", "--out=run", "--force"])] {
        let message = place.fail(arguments);
        let told = format!("run is in use by another run (process {}): wait for it to end, ", child.id());
        assert!(message.starts_with(&told), "{message}");
    }
    assert_eq!(place.read("run/settings.toml"), before);
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock goes with the process.
    place.succeed(&train(&["--samples=8", "--out=run", "--force"]));
}

#[test]
fn a_run_that_was_interrupted_before_its_first_checkpoint_begins_again() {
    let place = Place::new();
    let run = train(&["--samples=24", "--seed=4", "--resume", "--out=run"]);
    let out = place.succeed(&run);
    assert!(out.contains("no checkpoint in run yet: the run begins at its beginning"), "{out}");
    let model = place.read("run/model.safetensors");
    // As after a kill in the first steps, and one in the writing of the settings.
    for left in [&["settings.toml", "metrics.csv", "validation.csv"][..], &[]] {
        for name in place.files("run").iter().filter(|name| !left.contains(&name.as_str())) {
            fs::remove_file(place.path("run").join(name)).unwrap();
        }
        fs::write(place.path("run/.settings.toml8f3k2a.tmp"), "[netw").unwrap();
        let out = match left.len() {
            // The settings of the run are known.
            3 => place.succeed(&["train", "--resume", "--out=run"]),
            _ => place.succeed(&run),
        };
        assert!(out.contains("the run begins at its beginning"), "{out}");
        assert!(place.read("run/model.safetensors") == model);
        assert!(!place.files("run").iter().any(|name| name.ends_with(".tmp")));
    }
}

#[test]
fn checkpoints_are_written_after_some_time_too() {
    let place = Place::new();
    let mut child = started(&place, &["--checkpoint-every=0", "--checkpoint-minutes=0.0001"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(step(&place) > 0);
}

#[test]
fn steps_that_are_not_finite_can_be_skipped() {
    let place = Place::new();
    let out =
        place.succeed(&train(&["--samples=80", "--out=run", "--lr=1e25", "--on-nan=skip", "--schedule=constant"]));
    assert!(out.contains("skipping a step: the loss became NaN at step "), "{out}");
    let summary: serde_json::Value = serde_json::from_slice(&place.read("run/summary.json")).unwrap();
    let skipped = summary["skipped_steps"].as_u64().unwrap();
    assert!((5..10).contains(&skipped), "{skipped} of 10 steps");
    assert!(summary["training_loss"].as_f64().unwrap().is_finite());
    assert!(out.contains(&format!("{skipped} steps: a loss or gradient was not finite")), "{out}");
    let table = place.read_text("run/metrics.csv");
    assert_eq!(table.lines().filter(|line| line.ends_with("NaN")).count() as u64, skipped, "{table}");
    let checkpoint = Checkpoint::read(&place.path("run/checkpoint.safetensors")).unwrap();
    assert_eq!(checkpoint.non_finite(), None);
    assert_eq!(checkpoint.resumable().unwrap().1.skipped, skipped);

    // A run that skipped resumes bit for bit, too.
    let arguments = |samples: &'static str| {
        train(&["--samples=80", "--lr=1e25", "--on-nan=skip", "--schedule=constant", "--out=again", samples])
    };
    place.succeed(&arguments("--checkpoint-every=24"));
    fs::remove_file(place.path("again/checkpoint.safetensors")).unwrap();
    let out = place.succeed(&["train", "--resume", "--out=again"]);
    assert!(out.contains("resuming after step 9 (72 images) from again/checkpoint-9.safetensors"), "{out}");
    for file in ["metrics.csv", "validation.csv", "model.safetensors"] {
        assert_eq!(place.read(&format!("run/{file}")), place.read(&format!("again/{file}")), "{file}");
    }
}

/// A small file system that fills up, becomes larger, and becomes read-only. Needs a kernel that lets this user mount
/// one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_or_read_only_disk_ends_the_run_and_spares_the_checkpoint() {
    use std::process::Command;
    let place = Place::new();
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let can = Command::new(unshare[0]).args(&unshare[1..]).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("left out: no file system can be mounted here");
        return;
    }
    let run = train(&["--samples=2400", "--checkpoint-every=40", "--validate-every=800", "--threads=1"]).join(" ");
    fs::create_dir(place.path("disk")).unwrap();
    place.succeed(&format!("{run} --out=whole").split(' ').collect::<Vec<_>>());
    let script = r#"
        mount -t tmpfs -o size=96k none disk || exit 9
        $PROGRAM $RUN --keep-checkpoints=100 --out=disk/run >out1 2>err1; echo $? >code1
        cp disk/run/checkpoint.safetensors intact.safetensors; ls -A disk/run >files1
        mount -o remount,ro disk
        $PROGRAM train --resume --out=disk/run >out2 2>err2; echo $? >code2
        mount -o remount,rw,size=64m disk
        cmp disk/run/checkpoint.safetensors intact.safetensors || exit 8
        $PROGRAM train --resume --out=disk/run >out3 2>err3; echo $? >code3
        cp -r disk/run resumed
    "#;
    let mut command = Command::new(unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", script]).current_dir(place.path(""));
    command.env("PROGRAM", env!("CARGO_BIN_EXE_resconv")).env("RUN", run).env("HOME", place.path(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", crate::common::text(&output.stderr));
    let [first, second, third] = ["1", "2", "3"].map(|n| place.read_text(&format!("err{n}")));
    assert_eq!(["1", "2", "3"].map(|n| place.read_text(&format!("code{n}")).trim().to_owned()), ["1", "1", "0"]);
    assert!(first.starts_with("error: could not write disk/run/"), "{first}");
    assert!(first.contains(": No space left on device"), "{first}");
    let told = "; the last checkpoint is disk/run/checkpoint.safetensors; go on with `resconv train --resume --out disk/run`\n";
    assert!(first.ends_with(told), "{first}");
    assert!(!place.read_text("files1").contains(".tmp"), "{}", place.read_text("files1"));
    assert!(Checkpoint::read(&place.path("intact.safetensors")).is_ok());
    assert!(second.starts_with("error: could not create disk/run/.lock: Read-only file system"), "{second}");
    assert_eq!(third, "");
    for file in ["metrics.csv", "validation.csv", "model.safetensors"] {
        assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("resumed/{file}")), "{file}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::create_dir(place.path("mine")).unwrap();
    fs::set_permissions(place.path("mine"), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::create_dir(place.path("mine/probe")).is_ok() {
        println!("left out: this user may write everywhere");
        return;
    }
    let message = place.fail(&train(&["--samples=8", "--out=mine/run"]));
    assert!(message.starts_with("could not create mine/run: Permission denied"), "{message}");
}
