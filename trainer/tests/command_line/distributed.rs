//! `mpirun resconv train`: several processes that compute one run.

use crate::common::{Place, text, train};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use trainer::train::checkpoint::{Checkpoint, Values};

/// What `mpirun` is told: more processes than cores are fine, and so is a container's user; and not to copy between
/// processes by a system call that containers forbid.
const MPIRUN: [&str; 5] =
    ["--oversubscribe", "--allow-run-as-root", "--mca", "btl_vader_single_copy_mechanism", "none"];

/// Longest time that any of this may take.
const PATIENCE: Duration = Duration::from_secs(180);

fn command(place: &Place, ranks: usize, arguments: &[&str]) -> Command {
    let ranks = ranks.to_string();
    let program = [&["-n", &ranks, env!("CARGO_BIN_EXE_resconv")], arguments].concat();
    mpirun(place, &program)
}

fn mpirun(place: &Place, arguments: &[&str]) -> Command {
    place.prepare(Command::new("mpirun"), &[&MPIRUN, arguments].concat())
}

/// Runs a command that must succeed, and returns what it prints.
fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    // mpirun may have something to say, but not the program
    assert!(output.status.success() && err.lines().all(|line| line.starts_with("mpirun: ")), "{command:?}: {out}{err}");
    out
}

/// Of a command that must have failed: its one message, without its `error: `, whatever mpirun says beside.
fn failure(output: &Output) -> String {
    let err = text(&output.stderr);
    assert!(!output.status.success() && !err.contains("panicked"), "{err}");
    let messages: Vec<&str> = err.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    assert_eq!(messages.len(), 1, "{err}");
    messages[0].to_owned()
}

fn losses(place: &Place, run: &str) -> Vec<f64> {
    let rows = place.read_text(&format!("{run}/metrics.csv"));
    rows.lines().skip(1).map(|row| row.rsplit(',').next().unwrap().parse().unwrap()).collect()
}

/// The tensors of a run's last checkpoint, optimizer included, one behind the other.
///
/// A bias in front of a batch normalization has gradient 0, but for rounding, and AdamW makes steps of the learning
/// rate's size of that. It changes nothing but the mean that is then subtracted: with `free_biases`, both are left out.
fn tensors(place: &Place, run: &str, free_biases: bool) -> Vec<f64> {
    let checkpoint = Checkpoint::read(&place.path(run).join("checkpoint.safetensors")).unwrap();
    let is_free = |name: &str| {
        free_biases && name.contains("encoder.") && (name.ends_with("conv.bias") || name.ends_with("running_mean"))
    };
    let compared = checkpoint.tensors.iter().filter(|(name, _)| !is_free(name));
    let values = compared.flat_map(|(_, tensor)| match &tensor.values {
        Values::F32(values) => values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(),
        Values::F64(values) => values.clone(),
        Values::I64(values) => values.iter().map(|&x| x as f64).collect(),
    });
    values.collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The last batch has 5 images: ranks have one or two of them, or two or three.
const RUN: [&str; 4] = ["--samples=61", "--threads=1", "--validate-every=24", "--lr=1e-2"];

fn compare(network: &[&str], device: &str, free_biases: bool, loss_tolerance: f64, tolerance: f64) {
    let place = Place::new();
    let arguments = |out: &'static str| train(&[&RUN[..], network, &[device, out]].concat()).into_iter();
    let arguments = |out| arguments(out).map(str::to_owned).collect::<Vec<String>>();
    let run = |ranks: usize, out: &'static str| {
        let arguments = arguments(out);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if ranks == 1 { place.succeed(&arguments) } else { succeed(command(&place, ranks, &arguments)) }
    };
    run(1, "--out=1");
    let (want, want_tensors) = (losses(&place, "1"), tensors(&place, "1", free_biases));
    assert_eq!(want.len(), 8);
    for (ranks, out, name) in [(2, "--out=2", "2"), (4, "--out=4", "4")] {
        let told = run(ranks, out);
        assert!(told.contains(&format!("ranks    {ranks}, each with a part of every batch")), "{told}");
        assert!(told.contains(&format!("threads: 1 on each of {ranks} ranks")), "{told}");
        let got = losses(&place, name);
        assert_eq!(got.len(), want.len());
        for (step, (want, got)) in want.iter().zip(&got).enumerate() {
            assert!((want - got).abs() <= loss_tolerance * want, "{ranks} ranks, step {step}: {got}, alone {want}");
        }
        let error = largest_difference(&want_tensors, &tensors(&place, name, free_biases));
        assert!(error <= tolerance, "{ranks} ranks: a weight, moment or statistic differs by {error:e}");
        // but for TensorBoard's, whose name has the time in it
        let files =
            |run: &str| place.files(run).into_iter().filter(|name| !name.contains("tfevents")).collect::<Vec<_>>();
        assert_eq!(files("1"), files(name));
        let [one, many] = ["1", name].map(|run| place.read_text(&format!("{run}/validation.csv")));
        assert_eq!(one.lines().count(), many.lines().count());
    }
}

#[test]
fn ranks_train_as_one_process_does() {
    compare(&[], "--device=cpu", false, 1e-5, 1e-4);
}

/// In double precision, so that what is not rounding shows.
#[test]
fn so_do_networks_with_other_layers() {
    let other = ["--batch-norm-encoder=after_conv", "--batch-norm-decoder=after_activation", "--activation=silu"];
    compare(&other, "--device=reference", true, 1e-7, 1e-9);
}

#[test]
fn so_do_they_in_double_precision() {
    compare(&[], "--device=reference", false, 1e-7, 1e-10);
}

/// The same ranks give the same bits, whatever happened in between.
#[test]
fn a_killed_rank_ends_the_others_and_the_run_can_be_resumed() {
    let place = Place::new();
    let arguments =
        train(&["--samples=8004", "--checkpoint-every=80", "--validate-every=4000", "--threads=1", "--seed=3"]);
    let arguments = |out: &'static str| [&arguments[..], &[out]].concat();
    succeed(command(&place, 2, &arguments("--out=whole")));

    let started = Started::new(&place, command(&place, 2, &arguments("--out=killed")));
    wait_for(|| place.path("killed/checkpoint.safetensors").exists());
    started.signal(1, "KILL");
    let (code, err) = started.end();
    assert_ne!(code, Some(0), "{err}");
    assert!(err.contains("rank 1") && err.contains("signal 9 (Killed)"), "{err}");

    let out = succeed(command(&place, 2, &["train", "--resume", "--out=killed"]));
    assert!(out.contains("resuming after step "), "{out}");
    for file in ["metrics.csv", "validation.csv", "model.safetensors", "reconstruction.png"] {
        assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("killed/{file}")), "{file}");
    }
}

#[test]
fn a_signal_to_any_rank_stops_all_with_a_checkpoint() {
    let place = Place::new();
    let arguments = train(&["--samples=4000000", "--checkpoint-every=80", "--threads=1", "--out=run"]);
    let started = Started::new(&place, command(&place, 2, &arguments));
    wait_for(|| place.path("run/checkpoint.safetensors").exists());
    started.signal(1, "TERM");
    let (code, err) = started.end();
    let told =
        err.lines().find(|line| line.starts_with("stopped by SIGTERM after step ")).unwrap_or_else(|| panic!("{err}"));
    assert!(told.ends_with("; go on with `resconv train --resume --out run`"), "{told}");
    assert_eq!(code, Some(143), "{err}");
    assert!(Checkpoint::read(&place.path("run/checkpoint.safetensors")).is_ok());
}

#[test]
fn an_error_on_any_rank_ends_all_with_one_message() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let fail = |arguments: &[&str]| failure(&command(&place, 3, arguments).output().unwrap());
    let message = fail(&train(&["--out=file"]));
    assert!(message.contains("file"), "{message}");
    let message = fail(&train(&["--samples=10", "--out=run"]));
    assert!(message.starts_with("3 ranks cannot share a batch of 2 images"), "{message}");
    let message = fail(&train(&["--lr=-1", "--out=run"]));
    assert!(message.starts_with("--lr"), "{message}");
    assert_eq!(fail(&["data"]), "only `resconv train` runs in several processes: start this command without mpirun");
    let message = fail(&["train", "--layer=3"]);
    assert!(message.contains("--layer"), "{message}");
    assert!(!place.path("run").exists());

    // the second process finds another processor, or none that it can use
    let binary = env!("CARGO_BIN_EXE_resconv");
    let arguments = train(&["--out=run", "--device=cpu", "--threads=1"]);
    let two = |variable: &str| {
        let second = [&[":", "-n", "1", "env", variable, binary], &arguments[..]].concat();
        let all = [&["-n", "1", binary], &arguments[..], &second].concat();
        failure(&mpirun(&place, &all).output().unwrap())
    };
    let message = two("KERNELS_ISA=portable");
    assert!(message.starts_with("rank 1 computes on cpu-portable, rank 0 on cpu-"), "{message}");
    let message = two("KERNELS_ISA=mmx");
    assert!(message.starts_with("rank 1 of 2: the CPU cannot be used as asked"), "{message}");
}

#[test]
fn the_plan_is_that_of_the_first_rank() {
    let place = Place::new();
    let out = succeed(command(&place, 2, &train(&["--print-plan"])));
    assert!(out.contains("collective.batch_stats") && out.contains("[4, 8, 8, 1]"), "{out}");
}

/// A running `mpirun`, and the file that it writes its errors to.
struct Started {
    mpirun: Child,
    errors: PathBuf,
}

impl Started {
    fn new(place: &Place, mut command: Command) -> Started {
        let errors = place.path("errors");
        let file = fs::File::create(&errors).unwrap();
        Started { mpirun: command.stdout(Stdio::null()).stderr(file).spawn().unwrap(), errors }
    }

    /// Sends a signal to the process that is a rank.
    fn signal(&self, rank: usize, signal: &str) {
        let variable = format!("OMPI_COMM_WORLD_RANK={rank}");
        let is_rank = |process: &&str| {
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        };
        let parent = self.mpirun.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        let process = children.split_whitespace().find(is_rank).expect("a child that has its rank in its environment");
        assert!(Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status().unwrap().success());
    }

    /// Waits until it has ended; its exit code, and its errors.
    fn end(mut self) -> (Option<i32>, String) {
        wait_for(|| self.mpirun.try_wait().unwrap().is_some());
        (self.mpirun.wait().unwrap().code(), fs::read_to_string(&self.errors).unwrap())
    }
}

/// Leaves nothing behind if a test fails: mpirun ends its processes when it is asked to end.
impl Drop for Started {
    fn drop(&mut self) {
        if self.mpirun.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = Command::new("sh").args(["-c", &format!("kill {}", self.mpirun.id())]).status();
            let _ = self.mpirun.wait();
        }
    }
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "nothing happens");
        std::thread::sleep(Duration::from_millis(2));
    }
}
