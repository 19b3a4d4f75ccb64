//! Signals: the first one stops a run so that it can be resumed, a second one ends it at once.

use crate::common::{Place, text, train};
use crate::stopping::{started, step, wait_until};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn signal(child: &Child, name: &str) {
    let script = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

#[test]
fn a_signal_ends_the_step_writes_a_checkpoint_and_tells_how_to_go_on() {
    let mut signals = vec![("INT", 130), ("TERM", 143), ("HUP", 129)];
    // Runs inherit what these tests ignore, and they may have been started with `nohup`.
    signals.retain(|(name, _)| *name != "HUP" || !hangups_are_ignored());
    for (name, code) in signals {
        let place = Place::new();
        let child = started(&place, &[]);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        let step = step(&place);
        let told = format!(
            "stopped by SIG{name} after step {step} ({} images); go on with `resconv train --resume --out run`\n",
            8 * step
        );
        assert_eq!(err, told);
        assert_eq!(place.read_text("run/metrics.csv").lines().count() as u64, step + 1);
        assert!(!place.files("run").iter().any(|name| name.ends_with(".tmp")));

        // It can be told to go on, and to stop again.
        let mut child = place.command(&["train", "--resume", "--out=run"]);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("no further step", || self::step(&place) > step);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{out}");
        assert!(out.contains(&format!("resuming after step {step} ({} images) from run/", 8 * step)), "{out}");
    }
}

/// Long before the first validation there is something to see, and the page says how far the run is.
#[test]
fn a_run_can_be_watched_from_its_beginning_and_says_when_it_was_interrupted() {
    let place = Place::new();
    let child = started(&place, &["--validate-every=0"]);
    wait_until("no report", || place.path("run/report.html").exists());
    for file in ["run/loss.png", "run/loss.svg", "run/reconstruction.png"] {
        assert!(place.path(file).exists(), "{file}");
    }
    let page = place.read_text("run/report.html");
    let told = page.split("<p>It is running: ").nth(1).and_then(|rest| rest.split(".</p>").next());
    let told = told.unwrap_or_else(|| panic!("{page}"));
    // A fast machine may have computed more than half of a percent.
    let (percent, images) = told.split_once(" % (").unwrap_or_else(|| panic!("{told}"));
    let images = images.split_once(" of 10,000,000 images), about ").unwrap_or_else(|| panic!("{told}")).0;
    let images: f64 = images.replace(',', "").parse().unwrap();
    assert!(percent == format!("{:.0}", images / 100_000.0) && told.ends_with(" left"), "{told}");
    assert!(page.contains("http-equiv=\"refresh\"") && page.contains("alt=\"Reconstructions: "));
    assert!(!place.path("run/validation.csv").exists() || place.read_text("run/validation.csv").lines().count() == 1);
    signal(&child, "INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    let page = place.read_text("run/report.html");
    let images = 8 * step(&place);
    let told = format!(
        "<p>It was interrupted at {:.0} % ({} of 10,000,000 images); go on with `resconv train --resume --out run`.",
        images as f64 / 100_000.0,
        indicatif::HumanCount(images)
    );
    assert!(page.contains(&told) && !page.contains("http-equiv=\"refresh\""), "{told}\n{page}");
}

fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1)
}

/// `nohup` is for runs that outlive their terminal.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_ignores_hangups_goes_on_when_its_terminal_is_closed() {
    let place = Place::new();
    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_resconv")]);
    let arguments = train(&["--samples=10000000", "--checkpoint-every=80", "--threads=1", "--out=run"]);
    let mut nohup = place.prepare(ignoring, &arguments);
    let child = nohup.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("no checkpoint", || place.path("run/checkpoint.safetensors").exists());
    signal(&child, "HUP");
    let before = step(&place);
    wait_until("no further step", || step(&place) > before);
    signal(&child, "TERM");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let place = Place::new();
    // A step that takes many seconds: naive loops over large images.
    let slow = ["--device=reference", "--size=64", "--channels=32", "--layers=3", "--batch=4"];
    let mut command = place.command(&train(&[&slow[..], &["--out=run"]].concat()));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("no table", || place.path("run/validation.csv").exists());
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(child.try_wait().unwrap(), None, "the first signal waits for the step");
    signal(&child, "INT");
    let begun = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Nothing was reached, and nothing is broken: the run is one that has begun.
    let mut files = place.files("run");
    files.retain(|file| !file.starts_with("events.out.tfevents."));
    assert_eq!(files, [".lock", "metrics.csv", "settings.toml", "validation.csv"]);
}
