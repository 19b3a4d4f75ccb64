//! `resconv sweep`: what is done stays done, what was killed goes on bit for bit, and what fails stops nothing else.

use crate::common::{Place, failure, text};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const FILE: &str = "
title = 'Depths'
seeds = [0, 1]
reference = 'published.csv'
[base]
channels = 4
size = 8
batch = 8
samples = 404
checkpoint_every = 40
validate_every = 160
[matrix]
layers = [1, 2, 3]
";

const REFERENCE: &str = "layers,channels,validation_loss,parameters,train_minutes\n1,4,0.16,99,0.4\n3,4,0.1,699,0.8\n";

const RUNS: [&str; 6] =
    ["layers-1_seed-0", "layers-1_seed-1", "layers-2_seed-0", "layers-2_seed-1", "layers-3_seed-0", "layers-3_seed-1"];

pub(crate) fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("my.toml"), FILE).unwrap();
    fs::write(place.path("published.csv"), REFERENCE).unwrap();
    place
}

pub(crate) fn sweep<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base = ["sweep", "my.toml", "--data=data", "--unverified-data", "--threads=1"];
    base.into_iter().chain(more.iter().copied()).collect()
}

/// Name and status of every run.
fn statuses(place: &Place, out: &str) -> Vec<(String, String)> {
    let state: serde_json::Value = serde_json::from_slice(&place.read(&format!("{out}/sweep.json"))).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    state["runs"].as_array().unwrap().iter().map(|run| (text(&run["name"]), text(&run["status"]))).collect()
}

#[test]
fn a_killed_sweep_that_is_repeated_ends_as_if_it_had_not_been() {
    let place = place();
    let out = place.succeed(&sweep(&["--out=whole"]));
    for said in ["Depths: 6 runs in whole, 0 done", "run 4 of 6: layers-2_seed-1", "left in all", "all 6 runs are done"]
    {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert_eq!(statuses(&place, "whole"), RUNS.map(|run| (run.to_owned(), "done".to_owned())));

    // Killed where the fourth run has a checkpoint, and where the fifth is still writing its first files.
    for waits_for in ["layers-2_seed-1/checkpoint.safetensors", "layers-3_seed-0/settings.toml"] {
        let arguments = sweep(&["--out=killed"]);
        let mut child = place.command(&arguments).stdout(Stdio::null()).spawn().unwrap();
        let (path, started) = (place.path("killed").join(waits_for), Instant::now());
        while !path.exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "no {waits_for}");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(!place.path("killed/layers-3_seed-1").exists(), "killed too late");
    let finished = fs::metadata(place.path("killed/layers-1_seed-0/summary.json")).unwrap().modified().unwrap();
    let out = place.succeed(&sweep(&["--out=killed"]));
    assert!(out.contains("4 done") && !out.contains("run 4 of 6"), "{out}");
    let again = fs::metadata(place.path("killed/layers-1_seed-0/summary.json")).unwrap().modified().unwrap();
    assert_eq!(finished, again, "what is done is not done again");

    for run in RUNS {
        for file in ["metrics.csv", "validation.csv", "model.safetensors", "reconstruction.png", "loss.svg"] {
            let [whole, killed] = ["whole", "killed"].map(|out| place.read(&format!("{out}/{run}/{file}")));
            assert!(whole == killed, "{run}/{file}");
        }
    }
    assert_eq!(statuses(&place, "killed"), statuses(&place, "whole"));

    // Everything is done: nothing is left to do.
    let out = place.succeed(&sweep(&["--out=killed"]));
    assert!(out.contains("6 done") && !out.contains("run 1"), "{out}");
    // Another sweep of the same folder is refused before anything is run.
    let message = place.fail(&sweep(&["--out=killed", "--samples=500"]));
    assert!(message.starts_with("killed/layers-1_seed-0: cannot resume with another samples"), "{message}");
}

#[test]
fn a_failing_run_is_recorded_and_the_others_go_on() {
    let place = place();
    // A learning rate that the numbers do not survive, and a folder that is in the way.
    fs::create_dir_all(place.path("out/layers-1_lr-0.001_seed-0")).unwrap();
    fs::write(place.path("out/layers-1_lr-0.001_seed-0/mine.txt"), "x").unwrap();
    let arguments = sweep(&["--out=out", "--layers=1,2", "--lr=1e-3,1e30", "--seed=0"]);
    let message = failure(&place.run(&arguments));
    assert!(message.starts_with("3 of 4 runs failed, the first: layers-1_lr-0.001_seed-0: "), "{message}");
    assert!(message.contains("is not empty") && message.contains("repeat the command"), "{message}");
    let state = place.read_text("out/sweep.json");
    assert_eq!(state.matches("\"failed\"").count(), 3, "{state}");
    assert_eq!(state.matches("\"done\"").count(), 1, "{state}");
    assert!(state.contains("became NaN"), "{state}");
    assert!(place.path("out/layers-2_lr-0.001_seed-0/summary.json").exists());

    // What was in the way is gone: that run is made up for, and what was done is not done again.
    fs::remove_file(place.path("out/layers-1_lr-0.001_seed-0/mine.txt")).unwrap();
    let message = failure(&place.run(&arguments));
    assert!(message.starts_with("2 of 4 runs failed"), "{message}");
}

/// The loss of every row of a table, by the value of another column.
pub(crate) fn losses(place: &Place, table: &str, column: &str) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_path(place.path(table)).unwrap();
    let headings = reader.headers().unwrap().clone();
    let at = |name: &str| headings.iter().position(|heading| heading == name).unwrap();
    let (key, loss) = (at(column), at("running_loss"));
    let mut rows: Vec<(String, String)> =
        reader.records().map(|row| row.unwrap()).map(|row| (row[key].to_owned(), row[loss].to_owned())).collect();
    rows.sort();
    rows
}

#[test]
fn a_run_that_became_nan_is_told_and_the_others_are_shown() {
    let place = place();
    let arguments = sweep(&["--out=out", "--layers=1", "--seed=0", "--lr=1e-3,1e20,2e-3", "--on-nan=skip"]);
    let out = place.succeed(&arguments);
    assert!(out.ends_with("all 3 runs are done; the report is out/report.html\n"), "{out}");
    assert!(!out.contains("not renewed"), "{out}");
    let diverged = "layers-1_lr-100000000000000000000_seed-0";
    assert!(place.read_text(&format!("out/{diverged}/summary.json")).contains("\"all\": null"));
    for folder in ["out".to_owned(), format!("out/{diverged}")] {
        let page = place.read_text(&format!("{folder}/report.html"));
        assert!(page.contains("the validation loss is NaN or infinite</li>"), "{page}");
        assert!(!page.contains("NaN</td>") && !page.contains("--v:NaN"), "{page}");
    }
    let rows = losses(&place, "out/table.csv", "lr");
    assert_eq!(rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["0.001", "0.002", "100000000000000000000"]);
    assert!(
        [&rows[0].1, &rows[1].1].into_iter().all(|loss| loss.parse::<f64>().unwrap() < 1.0) && rows[2].1.is_empty()
    );
    let output = place.run(&["report", "out"]);
    let told = text(&output.stderr);
    assert!(output.status.success() && text(&output.stdout) == "out/report.html\n", "{told}");
    assert!(
        told.starts_with("not in the report: layers-1_lr-100000000000000000000_seed-0: the validation loss"),
        "{told}"
    );
}

#[test]
fn what_is_damaged_is_told_and_the_others_are_shown() {
    let place = place();
    let arguments = sweep(&["--out=out", "--seed=0"]);
    place.succeed(&arguments);
    let whole = losses(&place, "out/table.csv", "layers");
    let cut = |file: &str| {
        let bytes = place.read(file);
        fs::write(place.path(file), &bytes[..bytes.len() / 2]).unwrap();
    };
    cut("out/layers-1_seed-0/errors.json");
    cut("out/layers-1_seed-0/summary.json");
    fs::write(place.path("out/layers-2_seed-0/settings.toml"), "[network]\nlayers = <b>").unwrap();
    cut("out/reference.csv");
    let output = place.run(&["report", "out"]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    let page = place.read_text("out/report.html");
    for (name, reason) in [
        ("layers-1_seed-0", "could not use out/layers-1_seed-0/errors.json: EOF while parsing"),
        ("layers-1_seed-0", "could not use out/layers-1_seed-0/summary.json: EOF while parsing"),
        ("layers-2_seed-0", "out/layers-2_seed-0/settings.toml: TOML parse error"),
        ("published results", "out/reference.csv: "),
    ] {
        assert!(told.contains(&format!("not in the report: {name}: {reason}")), "{told}");
        assert!(page.contains(&format!("<li class=\"failed\">{name}: {reason}")), "{page}");
        let table = place.read_text("out/table.md");
        assert!(table.contains("\nNot in the table:\n\n- ") && table.contains(&format!("\n- {name}: ")), "{table}");
    }
    // The last validation has the loss of the summary, to seven digits.
    let rows = losses(&place, "out/table.csv", "layers");
    let loss = |row: &(String, String)| row.1.parse::<f64>().unwrap();
    assert_eq!((rows.len(), &rows[1]), (2, &whole[2]));
    assert!(rows[0].0 == "1" && (loss(&rows[0]) - loss(&whole[0])).abs() < 1e-7, "{rows:?}");

    // A folder without a run takes no other along; where there is no run at all, that is an error.
    fs::create_dir(place.path("stray")).unwrap();
    let output = place.run(&["report", "out/layers-3_seed-0", "stray", "--out=both"]);
    assert_eq!(
        text(&output.stderr),
        "not in the report: stray: stray: no run: neither it nor a folder in it has a settings.toml\n"
    );
    assert_eq!(losses(&place, "both/table.csv", "layers"), [whole[2].clone()]);
    assert_eq!(place.fail(&["report", "stray"]), "stray: no run: neither it nor a folder in it has a settings.toml");

    // The sweep makes up for it from the checkpoints.
    let out = place.succeed(&arguments);
    assert!(out.contains("1 done") && out.contains("the report is out/report.html"), "{out}");
    assert_eq!(losses(&place, "out/table.csv", "layers"), whole);
    assert!(!place.read_text("out/report.html").contains("class=\"failed\""));
}

#[test]
fn a_report_that_could_not_be_renewed_is_not_announced() {
    let place = place();
    fs::create_dir_all(place.path("out/report.html")).unwrap();
    for _ in 0..2 {
        let out = place.succeed(&sweep(&["--out=out", "--seed=0", "--layers=1"]));
        assert!(out.contains("the report was not renewed: could not write out/report.html: "), "{out}");
        assert!(out.ends_with("\nall 1 runs are done\n"), "{out}");
    }
}

#[test]
fn a_dry_run_tells_the_cost_and_writes_nothing() {
    let place = place();
    let out = place.succeed(&sweep(&["--dry-run", "--layers=1,3"]));
    assert!(out.starts_with("Depths: 4 runs in runs/my-default\n"), "{out}");
    for said in ["layers-3_seed-1", " 711 ", "MiB", "about", "in all"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert_eq!(place.files("runs"), [""; 0]);
}

#[test]
fn a_dry_run_tells_that_a_folder_has_runs_of_other_settings() {
    let place = place();
    place.succeed(&sweep(&["--out=out", "--layers=1", "--seed=0", "--samples=80"]));
    let output = place.run(&sweep(&["--out=out", "--layers=1,2", "--seed=0", "--samples=160", "--dry-run"]));
    let table = text(&output.stdout);
    let line = |run: &str| table.lines().find(|line| line.starts_with(run)).unwrap().trim_end().to_owned();
    assert!(
        line("layers-1_seed-0").ends_with("other settings") && line("layers-2_seed-0").contains("about"),
        "{table}"
    );
    let message = failure(&output);
    let told = "runs of the same names and other settings: 1; the first: out/layers-1_seed-0: cannot resume with another samples: \
                the run was started with 80, now it is 160";
    assert!(message.starts_with(told), "{message}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_sweep_and_says_how_to_go_on() {
    let place = place();
    let arguments = sweep(&["--out=out", "--samples=400000", "--layers=2"]);
    let child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !place.path("out/layers-2_seed-0/checkpoint.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("repeat the command to go on"), "{message}");
    assert_eq!(statuses(&place, "out")[0].1, "stopped");
}
