//! Fault injection: runs that are killed, and checkpoints that are damaged. Nothing is lost, and nothing is silently
//! wrong.
//!
//! The counts are small enough for every test run. `FAULTS=long cargo test --release -p resconv --test command_line
//! faults -- --nocapture` takes 200 kills and 1,000 damaged checkpoints.

use crate::common::{Place, train};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use trainer::train::checkpoint::Checkpoint;

/// After so many kills a run is left to come to its end.
const KILLS_A_RUN: u32 = 10;

/// `short`, or `long` if the environment asks for it.
pub(crate) fn count(short: u32, long: u32) -> u32 {
    if std::env::var_os("FAULTS").is_some_and(|value| value == "long") { long } else { short }
}

/// A number below `bound`; which one of very many does not matter much.
pub(crate) fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    (random.next_u64() % bound as u64) as usize
}

/// The content of a checkpoint that has to be the same whether or not the run was interrupted: all but the seconds.
fn content(path: &Path) -> String {
    let mut checkpoint = Checkpoint::read(path).unwrap();
    checkpoint.path.clear();
    if let Some(run) = &mut checkpoint.run {
        run.position.as_mut().unwrap().seconds = 0.0;
        run.settings.run.out = None;
    }
    format!("{checkpoint:?}")
}

/// Whether the process ended by itself before `delay` was over; otherwise it is killed.
fn ends_within(mut child: std::process::Child, delay: Duration) -> bool {
    let killed_at = Instant::now() + delay;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return true;
        }
        if Instant::now() >= killed_at {
            child.kill().unwrap();
            return child.wait().unwrap().success();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn runs_that_are_killed_at_random_moments_end_as_if_they_had_not_been() {
    let wanted = count(20, 200);
    let place = Place::new();
    // A checkpoint after every second step, so that many kills fall into the writing of one.
    let run = ["--channels=8", "--samples=404", "--checkpoint-every=16", "--validate-every=96", "--seed=3", "--resume"];
    let arguments = |out: &'static str| train(&[&run[..], &["--threads=1", out]].concat());
    let started = Instant::now();
    place.succeed(&arguments("--out=whole"));
    let whole = started.elapsed();

    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut runs, mut kills, mut early, mut writing) = (0, 0, 0, 0);
    while kills < wanted {
        runs += 1;
        let _ = fs::remove_dir_all(place.path("killed"));
        for attempt in 0.. {
            if attempt == KILLS_A_RUN {
                place.succeed(&arguments("--out=killed"));
                break;
            }
            let delay = whole.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX) / 2.0);
            let child = place.command(&arguments("--out=killed")).stdout(Stdio::null()).spawn().unwrap();
            if ends_within(child, delay) {
                break;
            }
            kills += 1;
            let files = place.files("killed");
            early += u32::from(!files.iter().any(|name| name.starts_with("checkpoint")));
            writing += u32::from(files.iter().any(|name| name.ends_with(".tmp")));
        }
        for file in ["metrics.csv", "validation.csv", "model.safetensors", "reconstruction.png", "loss.svg"] {
            assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("killed/{file}")), "{file}");
        }
        for file in ["checkpoint.safetensors", "best.safetensors"] {
            let [whole, killed] = ["whole", "killed"].map(|run| content(&place.path(run).join(file)));
            assert!(whole == killed, "{file}");
        }
        assert!(!place.files("killed").iter().any(|name| name.ends_with(".tmp") || name.ends_with(".damaged")));
    }
    println!(
        "{kills} kills in {runs} runs: {early} before the first checkpoint, {writing} while a file was written; \
         0 runs lost, 0 with other results"
    );
}

/// Damages the content of a checkpoint, and says how.
fn damage(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) -> String {
    let header = usize::from_le_bytes(bytes[..8].try_into().unwrap()) + 8;
    match below(random, 6) {
        0 => {
            let bit = below(random, 8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            format!("bit {bit} flipped")
        }
        1 => {
            let bit = below(random, 8 * header);
            bytes[bit / 8] ^= 1 << (bit % 8);
            format!("bit {bit} of the header flipped")
        }
        2 => {
            bytes.truncate(below(random, bytes.len()));
            format!("cut off after {} bytes", bytes.len())
        }
        3 => {
            // A page that never reached the disk.
            let from = below(random, bytes.len()) & !511;
            let until = bytes.len().min(from + 512);
            if bytes[from..until].iter().all(|&byte| byte == 0) {
                bytes[from] = 1;
            }
            bytes[from..until].fill(0);
            format!("bytes {from} to {until} set to 0")
        }
        4 => {
            let file = SafeTensors::deserialize(bytes).unwrap();
            let mut views: Vec<(&str, safetensors::tensor::TensorView)> = file.iter().collect();
            views.sort_by_key(|(name, _)| name.to_owned());
            let i = below(random, views.len());
            let same = |j: &usize| views[*j].1.shape() == views[i].1.shape() && views[*j].1.data() != views[i].1.data();
            let Some(j) = (0..views.len()).find(|j| same(j)) else { return flip_last(bytes) };
            let (a, b) = (views[i].0.to_owned(), views[j].0.to_owned());
            let [first, second] = [i, j].map(|i| views[i].1.clone());
            (views[i].1, views[j].1) = (second, first);
            let metadata = SafeTensors::read_metadata(bytes).unwrap().1.metadata().clone();
            *bytes = safetensors::serialize(views, metadata).unwrap();
            format!("{a} and {b} swapped")
        }
        _ => {
            let length = below(random, 64) + 1;
            bytes.extend((0..length).map(|i| i as u8));
            format!("{length} bytes added")
        }
    }
}

fn flip_last(bytes: &mut [u8]) -> String {
    *bytes.last_mut().unwrap() ^= 1;
    "last byte".to_owned()
}

#[test]
fn every_damaged_checkpoint_is_detected() {
    let wanted = count(400, 1000);
    let place = Place::new();
    place.succeed(&train(&["--samples=24", "--checkpoint-every=8", "--out=run", "--threads=1"]));
    let path = place.path("run/checkpoint.safetensors");
    let whole = fs::read(&path).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut through_the_binary = 0;
    for n in 0..wanted {
        let mut bytes = whole.clone();
        let how = damage(&mut bytes, &mut random);
        if bytes == whole {
            // Zeros that were zeros.
            flip_last(&mut bytes);
        }
        assert!(Checkpoint::from_bytes(&path, &bytes).is_err(), "{n}: {how} went unnoticed");
        if n % 50 == 0 {
            // The run goes on from the checkpoint before, to the same end, and says so.
            through_the_binary += 1;
            let before = place.read("run/model.safetensors");
            fs::write(&path, &bytes).unwrap();
            let out = place.succeed(&["train", "--resume", "--out=run", "--threads=1"]);
            assert!(out.contains("skipping a checkpoint: run/checkpoint.safetensors: "), "{how}: {out}");
            assert!(out.contains("resuming after step 2 (16 images) from run/checkpoint-2.safetensors"), "{out}");
            assert!(place.read("run/model.safetensors") == before, "{how}");
            assert!(place.read("run/checkpoint.safetensors.damaged") == bytes, "{how}");
        }
    }
    println!(
        "{wanted} damaged checkpoints: {wanted} detected, 0 loaded; {through_the_binary} of them through the binary"
    );
}

#[test]
fn without_any_good_checkpoint_the_run_is_not_begun_again_unasked() {
    let place = Place::new();
    place.succeed(&train(&["--samples=24", "--checkpoint-every=8", "--out=run"]));
    for file in ["run/checkpoint.safetensors", "run/checkpoint-2.safetensors"] {
        fs::write(place.path(file), b"nothing of worth").unwrap();
    }
    let files = place.files("run");
    let output = place.run(&["train", "--resume", "--out=run"]);
    let message = crate::common::failure(&output);
    assert!(message.starts_with("none of the checkpoints in run can be resumed; start the run over "), "{message}");
    assert_eq!(place.files("run"), files);
    // It still can be asked for.
    place.succeed(&train(&["--samples=24", "--checkpoint-every=8", "--out=run", "--force"]));
}

#[test]
fn the_last_checkpoints_and_the_best_are_kept() {
    let place = Place::new();
    let arguments = ["--samples=80", "--checkpoint-every=8", "--validate-every=8", "--keep-checkpoints=3", "--lr=3e-2"];
    place.succeed(&train(&[&arguments[..], &["--out=run"]].concat()));
    let checkpoints: Vec<String> =
        place.files("run").into_iter().filter(|name| name.starts_with("checkpoint")).collect();
    assert_eq!(checkpoints, ["checkpoint-8.safetensors", "checkpoint-9.safetensors", "checkpoint.safetensors"]);
    let step = |name: &str| Checkpoint::read(&place.path(name)).unwrap().run.unwrap().position.unwrap().step;
    assert_eq!(
        [8, 9, 10],
        [checkpoints[0].as_str(), &checkpoints[1], &checkpoints[2]].map(|n| step(&format!("run/{n}")))
    );
    let table = place.read_text("run/validation.csv");
    let rows = table.lines().skip(1).map(|row| row.split(',').map(|x| x.parse().unwrap()).collect::<Vec<f64>>());
    let best = rows.min_by(|a, b| a[2].total_cmp(&b[2])).unwrap();
    assert_eq!(step("run/best.safetensors"), best[0] as u64, "{table}");
}
