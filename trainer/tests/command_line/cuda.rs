//! `--device cuda`: the real binary and the real cudarc, on the driver emulator. Its times mean nothing.

use crate::common::{Place, failure, fixture, text, train};
use cuda_emulator::{Emulator, Mode, Order, required, sources_in};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

/// What the emulator writes to stderr, and no GPU does.
const BANNER: &str = "cuda-emulator: this is no GPU; times mean nothing\n";

fn emulator() -> Option<Emulator> {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/src");
    let sources = sources_in(&kernels).unwrap();
    required(Emulator::build(&sources, &[], Mode::Plain, Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

/// Runs the binary on the emulator.
fn run(place: &Place, emulator: &Emulator, order: Order, arguments: &[&str]) -> Output {
    let command = emulator.command(env!("CARGO_BIN_EXE_resconv"), order);
    let mut output = place.prepare(command, arguments).output().unwrap();
    let err = text(&output.stderr);
    let rest = err.strip_prefix(BANNER).unwrap_or_else(|| panic!("not on the emulator: {err}"));
    output.stderr = rest.as_bytes().to_vec();
    output
}

/// As [`run`]; it must succeed. Returns what it prints.
fn succeed(place: &Place, emulator: &Emulator, order: Order, arguments: &[&str]) -> String {
    let output = run(place, emulator, order, arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{arguments:?}: {out}{err}");
    out
}

fn losses(table: &str) -> Vec<f64> {
    table.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
}

/// Three layers on real images, every step; among the sizes are some that no tile divides.
#[test]
fn training_on_cuda_gives_the_losses_of_the_cpu() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    let data = format!("--data={}", fixture("fashion-mnist"));
    let common = ["train", &data, "--unverified-data", "--layers=3", "--batch=8", "--samples=44"];
    for (name, more) in [
        ("plain", &["--channels=8", "--size=12"][..]),
        ("odd", &["--channels=6", "--size=11", "--stride=2", "--activation=silu", "--kernel-size=5"]),
        ("original", &["--channels=4", "--size=8", "--preset=original"]),
    ] {
        let train = |device: &str, order: Option<Order>, out: &str| {
            let flags = [format!("--device={device}"), format!("--out={out}")];
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let arguments = [&common[..], more, &flags].concat();
            match order {
                Some(order) => succeed(&place, &emulator, order, &arguments),
                None => place.succeed(&arguments),
            };
            (losses(&place.read_text(&format!("{out}/metrics.csv"))), place.read(&format!("{out}/model.safetensors")))
        };
        let (cpu, _) = train("cpu", None, &format!("{name}-cpu"));
        let (cuda, weights) = train("cuda", Some(Order::Forward), &format!("{name}-cuda"));
        assert_eq!(cpu.len(), 6, "44 images in batches of 8");
        assert_eq!(cuda.len(), cpu.len());
        for (step, (got, want)) in cuda.iter().zip(&cpu).enumerate() {
            // a loss of 1e-1 is a mean of errors that some layers of sums round
            assert!((got - want).abs() <= 2e-6 * want, "{name}: step {step} has loss {got}, the CPU has {want}");
        }
        let again = train("cuda:0", Some(Order::Random(3)), &format!("{name}-again"));
        assert!(again == (cuda, weights), "{name}: other bits in another order of threads");
    }
}

/// Steps are started before it is known that one has failed. The run still ends at that step, or goes on without it, as
/// on the CPU.
#[test]
fn a_step_that_fails_is_found_where_it_is() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    let common =
        ["--layers=1", "--channels=2", "--size=8", "--batch=4", "--samples=40", "--lr=1e25", "--schedule=constant"];
    let arguments = |more: &[&'static str]| train(&[&common[..], more].concat());
    let message = |output: &Output| failure(output).lines().next().unwrap_or_default().replace("stop-cuda", "stop-cpu");
    let cpu = message(&place.run(&arguments(&["--device=cpu", "--out=stop-cpu"])));
    assert!(cpu.contains("NaN") && cpu.contains("step"), "{cpu}");
    let cuda = arguments(&["--device=cuda", "--out=stop-cuda"]);
    assert_eq!(message(&run(&place, &emulator, Order::Forward, &cuda)), cpu);

    let skipped =
        |out: &str| out.lines().filter(|line| line.contains("skipping a step")).map(str::to_owned).collect::<Vec<_>>();
    let cpu = skipped(&place.succeed(&arguments(&["--device=cpu", "--out=cpu", "--on-nan=skip"])));
    assert!(cpu.len() > 1, "{cpu:?}");
    let cuda = arguments(&["--device=cuda", "--out=cuda", "--on-nan=skip"]);
    assert_eq!(skipped(&succeed(&place, &emulator, Order::Forward, &cuda)), cpu);
    let [cpu, cuda] = ["cpu", "cuda"].map(|out| {
        let table = place.read_text(&format!("{out}/metrics.csv"));
        table.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(cuda, cpu, "steps, samples and learning rates");
}

/// Tensor cores multiply numbers of 10 bits of mantissa: nearly the same training, in any order of threads, but not the
/// same. With two of them for each operand, training is as far off as f32's rounding.
#[test]
fn training_on_tensor_cores_is_off_by_its_rounding() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    let data = format!("--data={}", fixture("fashion-mnist"));
    let train = |order: Order, out: &str, device: &[&str]| {
        let common = ["train", &data, "--unverified-data", "--layers=3", "--batch=8", "--samples=44"];
        let out_flag = format!("--out={out}");
        let more = ["--channels=8", "--size=12", "--lr=3e-3", &out_flag];
        succeed(&place, &emulator, order, &[&common[..], &more, device].concat());
        (losses(&place.read_text(&format!("{out}/metrics.csv"))), place.read(&format!("{out}/model.safetensors")))
    };
    let (in_f32, of_f32) = train(Order::Forward, "f32", &["--device=cuda"]);
    let (in_tf32, weights) = train(Order::Forward, "tf32", &["--device=cuda", "--precision=tf32"]);
    // six layers, each of which multiplies two operands that are off by 2^-11 at most
    let allowed = 6.0 * 2f64.powi(-10);
    for (step, (got, want)) in in_tf32.iter().zip(&in_f32).enumerate() {
        assert!((got - want).abs() <= allowed * want, "step {step} has loss {got}, {want} in f32");
        assert!(got != want, "step {step} has loss {got} in f32, too");
    }
    let (in_tf32x3, of_x3) = train(Order::Forward, "tf32x3", &["--device=cuda", "--precision=tf32x3"]);
    for (step, (got, want)) in in_tf32x3.iter().zip(&in_f32).enumerate() {
        assert!((got - want).abs() <= 1e-5 * want, "step {step} has loss {got} in 3xTF32, {want} in f32");
    }
    assert!(of_x3 != of_f32 && of_x3 != weights, "in 3xTF32, weights have other last digits");
    assert_eq!(in_tf32.len(), 6, "44 images in batches of 8");
    assert!(place.read_text("tf32/summary.json").contains("-tf32\""), "the summary says what computed");

    // its settings say so, too, and a resumed run is told that it changes
    let again = train(Order::Random(3), "again", &["--config=tf32/settings.toml"]);
    assert!(again == (in_tf32, weights), "other bits in another order of threads");
    let resume = ["train", "--resume", "--out=tf32", "--precision=f32"];
    let said = succeed(&place, &emulator, Order::Forward, &resume);
    assert!(said.contains("was started on cuda-sm_86-tf32, now it is cuda-sm_86: the numbers will differ"), "{said}");
}

/// What has no tensor cores refuses them, before anything is written.
#[test]
fn tf32_needs_a_gpu_that_has_it() {
    let place = Place::new();
    let refuse = |arguments: &[&str]| failure(&place.run(arguments));
    for device in ["cpu", "reference"] {
        let message = refuse(&train(&["--out=none", "--precision=tf32", &format!("--device={device}")]));
        let want = format!(
            "--precision tf32: only NVIDIA GPUs have tensor cores; leave it out, or choose another --device than {device}"
        );
        assert!(message.contains(&want), "{message}");
        let message = refuse(&["gradcheck", "--precision=tf32x3", &format!("--device={device}")]);
        assert!(
            message.contains(&format!("--precision tf32x3: expected --device cuda or cuda:N, got --device {device}")),
            "{message}"
        );
    }
    let Some(emulator) = emulator() else { return };
    let old = |arguments: &[&str]| {
        let mut command = emulator.command(env!("CARGO_BIN_EXE_resconv"), Order::Forward);
        command.env("CUDA_EMULATOR_COMPUTE_CAPABILITY", "7.5");
        place.prepare(command, arguments).output().unwrap()
    };
    let common = train(&["--layers=1", "--samples=8", "--out=old", "--device=cuda"]);
    let output = old(&[&common[..], &["--precision=tf32x3"]].concat());
    let message = text(&output.stderr);
    assert!(!output.status.success() && message.contains("has no TF32: its compute capability is 7.5"), "{message}");
    assert!(old(&common).status.success(), "in f32 it trains");
}

/// Without graphs, the run is slower and the same. It says so if that is the driver's doing, and once.
#[test]
fn a_driver_without_graphs_is_told_once() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    let train = |out: &str, capture: &str, more: &[&str]| {
        let (out_flag, calls) = (format!("--out={out}"), place.path(&format!("{out}.calls")));
        let common =
            ["--layers=1", "--channels=2", "--size=8", "--batch=4", "--samples=40", "--device=cuda", &out_flag];
        let mut command = emulator.command(env!("CARGO_BIN_EXE_resconv"), Order::Forward);
        command.env("CUDA_EMULATOR_CAPTURE", capture).env("CUDA_EMULATOR_CALLS", &calls);
        let output = place.prepare(command, &train(&[&common[..], more].concat())).output().unwrap();
        let out_text = text(&output.stdout);
        assert!(output.status.success(), "{out_text}{}", text(&output.stderr));
        let remarks = out_text.matches("no CUDA graphs, as the NVIDIA driver failed in cuStreamBeginCapture").count();
        let calls = std::fs::read_to_string(calls).unwrap();
        let graphs = calls.lines().filter(|call| *call == "cuGraphLaunch").count();
        (remarks, graphs, place.read(&format!("{out}/model.safetensors")))
    };
    let (remarks, graphs, weights) = train("graphs", "allow", &[]);
    assert!(remarks == 0 && graphs > 0, "{remarks} {graphs}");
    assert!(train("refused", "refuse", &[]) == (1, 0, weights.clone()), "a driver that refuses");
    assert!(train("without", "refuse", &["--no-graphs"]) == (0, 0, weights), "--no-graphs");
}

/// A driver that cannot run the kernels is named, with what to do about it, before anything is written.
#[test]
fn drivers_that_do_not_serve_are_named() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    for (variable, value, expected) in [
        (
            "DRIVER_VERSION",
            "11040",
            "--device cuda: the NVIDIA driver is too old: it is for CUDA 11.4, and the kernels are for CUDA 12.0: install \
             driver 525 or later; use --device cpu",
        ),
        (
            "STUB",
            "1",
            "--device cuda: libcuda.so is not the NVIDIA driver but a stub of a CUDA toolkit: take its folder",
        ),
        (
            "COMPILER",
            "refuse",
            "does not load the kernels for CUDA driver emulator (not a GPU) of compute capability 8.6: \
             CUDA_ERROR_INVALID_PTX (this driver compiles nothing, as CUDA_EMULATOR_COMPILER says): a newer driver may",
        ),
    ] {
        let mut command = emulator.command(env!("CARGO_BIN_EXE_resconv"), Order::Forward);
        command.env(format!("CUDA_EMULATOR_{variable}"), value);
        let arguments = train(&["--layers=1", "--samples=8", "--out=none", "--device=cuda"]);
        let output = place.prepare(command, &arguments).output().unwrap();
        let message = text(&output.stderr);
        assert!(!output.status.success() && message.contains(expected), "{variable}: {message}");
        assert!(!place.path("none").exists(), "{variable}");
    }
}

#[test]
fn auto_takes_the_gpu_and_says_so() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    let arguments = train(&["--layers=1", "--samples=8", "--out=run", "--device=auto"]);
    let out = succeed(&place, &emulator, Order::Forward, &arguments);
    assert!(out.contains("device   cuda-sm_") && out.contains("as there is a GPU"), "{out}");

    // A checkpoint of a GPU is one like any other.
    let validated = place.succeed(&["eval", "run/checkpoint.safetensors", "--data=data", "--unverified-data"]);
    assert!(validated.contains("running"), "{validated}");

    let output = run(&place, &emulator, Order::Forward, &train(&["--out=none", "--device=cuda:1"]));
    let message = failure(&output);
    assert!(message.contains("--device cuda:1: there is no GPU 1"), "{message}");
}

/// Kernels that are no part of a gradient: optimizers, averages, and what watches them.
const WITHOUT_GRADIENTS: [&str; 6] = ["adamw_", "sgd_", "ema_", "norm_", "find_non_finite", "copy_if_raised"];

/// Every operation but the user's own, on its awkward cases and random ones; and every kernel.
#[test]
fn gradients_on_cuda_pass_the_check() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    let launched = place.path("launched");
    let succeed = |arguments: &[&str]| {
        let mut command = emulator.command(env!("CARGO_BIN_EXE_resconv"), Order::Random(1));
        command.env("CUDA_EMULATOR_LAUNCHED", &launched);
        let output = place.prepare(command, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    let table = succeed(&["gradcheck", "--device=cuda", "--cases=2"]);
    for part in ["grad_weight", "cuda-sm_", "running statistics", "adjoint", " 0 lines failed"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    // Where operands are rounded more, so is the tolerance; and nowhere else.
    let table = succeed(&["gradcheck", "--device=cuda", "--precision=tf32", "--cases=2"]);
    for part in ["cuda-sm_86-tf32 ", " tf32 eps", " f32 eps", " 0 lines failed"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let table = succeed(&["gradcheck", "--device=cuda", "--precision=tf32x3", "--cases=2"]);
    for part in ["cuda-sm_86-tf32x3 ", " f32 eps", " 0 lines failed"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(!table.contains("tf32 eps"), "tolerances are those of f32:\n{table}");
    let launched = place.read_text("launched");
    let launched: BTreeSet<&str> = launched.lines().collect();
    let is_checked = |kernel: &String| {
        launched.contains(kernel.as_str()) || WITHOUT_GRADIENTS.iter().any(|part| kernel.starts_with(part))
    };
    let unchecked: Vec<_> = emulator.kernels().iter().filter(|kernel| !is_checked(kernel)).collect();
    assert!(unchecked.is_empty(), "no case of the gradient check launches {unchecked:?}");
    let output =
        run(&place, &emulator, Order::Forward, &["gradcheck", "--device=cuda", "--inject-fault=transposed-weight"]);
    assert!(failure(&output).starts_with("--inject-fault transposed-weight: expected --device cpu"));
}
