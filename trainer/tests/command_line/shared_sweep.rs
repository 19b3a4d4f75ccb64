//! Several `resconv sweep` processes on one folder: they share its runs, nobody does one twice, and who is killed is
//! replaced.

use crate::common::{Place, Started, text};
use crate::faults::{below, count};
use crate::sweep::{losses, place, sweep};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Processes that work on a sweep together.
const PROCESSES: usize = 3;

const RUNS: [&str; 6] =
    ["layers-1_seed-0", "layers-1_seed-1", "layers-2_seed-0", "layers-2_seed-1", "layers-3_seed-0", "layers-3_seed-1"];

fn start(place: &Place, more: &[&str]) -> Started {
    Started::new(&mut place.command(&sweep(more)))
}

/// SHA-256 of what a run leaves that must not depend on who computed it.
fn fingerprint(place: &Place, out: &str, run: &str) -> Vec<String> {
    let files = ["model.safetensors", "metrics.csv", "validation.csv", "reconstruction.png"];
    let sha256 = |file| Sha256::digest(place.read(&format!("{out}/{run}/{file}")));
    files.into_iter().map(|file| format!("{file} {:x?}", sha256(file))).collect()
}

/// When the summaries were written of the runs that are done.
fn finished(place: &Place, out: &str) -> BTreeMap<String, SystemTime> {
    let of = |run: &str| Some((run.to_owned(), modified(&place.path(out).join(run).join("summary.json"))?));
    RUNS.into_iter().filter_map(of).collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// `sweep.json` and the table have every run, done.
fn is_complete(place: &Place, out: &str) {
    let state = place.read_text(&format!("{out}/sweep.json"));
    assert_eq!(state.matches("\"done\"").count(), RUNS.len(), "{state}");
    let table = |out: &str| losses(place, &format!("{out}/table.csv"), "layers");
    assert_eq!(table(out), table("whole"));
    let files = place.files(out);
    assert!(!files.iter().any(|file| file == ".lock" || file.ends_with(".tmp")), "{files:?}");
}

#[test]
fn processes_that_are_killed_at_random_moments_do_every_run_once() {
    let wanted = count(8, 30);
    let place = place();
    let begun = Instant::now();
    place.succeed(&sweep(&["--out=whole"]));
    let whole = begun.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let (mut kills, mut rounds, mut taken_over) = (0, 0, 0);
    while kills < wanted {
        rounds += 1;
        let out = &format!("shared-{rounds}");
        let arguments = [&*format!("--out={out}")];
        let mut processes: Vec<Started> = (0..PROCESSES).map(|_| start(&place, &arguments)).collect();
        let mut done = BTreeMap::new();
        // Each round has time to end.
        let kills_before = kills;
        while finished(&place, out).len() < RUNS.len() && kills < wanted && kills - kills_before < 12 {
            std::thread::sleep(whole.mul_f64(below(&mut random, 1000) as f64 / 4000.0));
            let victim = below(&mut random, PROCESSES);
            processes[victim].kill().unwrap();
            processes[victim].wait().unwrap();
            kills += 1;
            processes[victim] = start(&place, &arguments);
            // What was done is not done again.
            let now = finished(&place, out);
            done.iter().for_each(|(run, time)| assert_eq!(now.get(run), Some(time), "{run}"));
            done = now;
        }
        for process in processes {
            let output = process.output();
            let (said, err) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "{said}{err}");
            assert!(said.contains("all 6 runs are done; the report is") && err.is_empty(), "{said}{err}");
            taken_over += said.matches("resuming after step").count();
        }
        let now = finished(&place, out);
        done.iter().for_each(|(run, time)| assert_eq!(now.get(run), Some(time), "{run}"));
        for run in RUNS {
            assert_eq!(fingerprint(&place, out, run), fingerprint(&place, "whole", run), "{run}");
        }
        is_complete(&place, out);
    }
    println!(
        "{kills} kills in {rounds} sweeps by {PROCESSES} processes: {taken_over} runs went on; 0 lost, 0 done twice"
    );
}

#[test]
fn processes_share_the_runs_and_the_status_shows_who_does_what() {
    let place = place();
    place.succeed(&sweep(&["--out=whole"]));
    // Runs that are long enough to be looked at.
    let long = ["--out=out", "--samples=400000", "--layers=2", "--seed=0,1,2"];
    let mut processes: Vec<Started> = (0..2).map(|_| start(&place, &long)).collect();
    let begun = Instant::now();
    let table = loop {
        let table = place.succeed(&sweep(&[&long[..], &["--status"]].concat()));
        // A run that has just begun has not said yet how much of it is done.
        if table.contains("2 running") && table.matches(" % ").count() == 2 && !table.contains("  0 %") {
            break table;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{table}");
        std::thread::sleep(Duration::from_millis(20));
    };
    for process in &processes {
        let line = table.lines().find(|line| line.contains(&format!(" {} ", process.id()))).unwrap();
        assert!(line.contains("running") && line.contains(" % ") && line.contains(" s ago"), "{table}");
    }
    assert!(table.ends_with("0 done, 2 running, 0 interrupted, 0 failed, 1 not begun\n"), "{table}");
    // `resconv train` keeps out of a run that a sweep has.
    let message = place.fail(&["train", "--resume", "--out=out/layers-2_seed-0"]);
    assert!(message.starts_with("out/layers-2_seed-0 is in use by another run (process "), "{message}");
    processes.iter_mut().for_each(|process| process.kill().unwrap());
    for process in &mut processes {
        process.wait().unwrap();
    }
    let table = place.succeed(&sweep(&[&long[..], &["--status"]].concat()));
    assert!(table.ends_with("0 done, 0 running, 2 interrupted, 0 failed, 1 not begun\n"), "{table}");
}

#[test]
fn shards_are_parts_of_a_sweep() {
    let place = place();
    place.succeed(&sweep(&["--out=whole"]));
    let out = place.succeed(&sweep(&["--out=parts", "--shard=2/3"]));
    assert!(out.contains("6 runs in parts, of which part 2/3 has 2, 0 done"), "{out}");
    assert!(out.contains("run 2 of 6") && out.contains("run 5 of 6") && !out.contains("run 1 of 6"), "{out}");
    assert!(out.contains("all 2 runs of part 2/3 are done"), "{out}");
    assert_eq!(finished(&place, "parts").into_keys().collect::<Vec<_>>(), [RUNS[1], RUNS[4]]);
    for shard in ["--shard=1/3", "--shard=3/3"] {
        place.succeed(&sweep(&["--out=parts", shard]));
    }
    is_complete(&place, "parts");
    for run in RUNS {
        assert_eq!(fingerprint(&place, "parts", run), fingerprint(&place, "whole", run), "{run}");
    }
    let output = place.run(&sweep(&["--out=parts", "--shard=4/3"]));
    let told = text(&output.stderr);
    assert!(told.contains("'4/3' for '--shard <K/N>': expected K/N, the K-th of N parts, as in 2/4"), "{told}");
}
