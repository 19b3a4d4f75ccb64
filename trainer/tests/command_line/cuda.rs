//! `--device cuda`: the real binary and the real cudarc, on the driver emulator. Its times mean nothing.

use crate::common::{Place, text, train};
use cuda_emulator::{Emulator, Mode, Order, required, sources_in};
use std::path::Path;

fn emulator() -> Option<Emulator> {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/src");
    let sources = sources_in(&kernels).unwrap();
    required(Emulator::build(&sources, &[], Mode::Plain, Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

/// Runs the binary on the emulator; it must succeed. Returns what it prints.
fn succeed(place: &Place, emulator: &Emulator, order: Order, arguments: &[&str]) -> String {
    let command = emulator.command(env!("CARGO_BIN_EXE_resconv"), order);
    let output = place.prepare(command, arguments).output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{arguments:?}: {out}{err}");
    out
}

fn losses(table: &str) -> Vec<f64> {
    table.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
}

/// Three layers, every step; among the sizes are some that no tile divides.
#[test]
fn training_on_cuda_gives_the_losses_of_the_cpu() {
    let Some(emulator) = emulator() else { return };
    let place = Place::new();
    for (name, more) in [
        ("plain", &["--layers=3", "--channels=8", "--size=12"][..]),
        ("odd", &["--layers=3", "--channels=6", "--size=11", "--stride=2", "--activation=silu", "--kernel-size=5"]),
        ("original", &["--layers=3", "--channels=4", "--size=8", "--preset=original"]),
    ] {
        let run = |device: &'static str, order: Option<Order>, out: &str| {
            let flags = [format!("--device={device}"), format!("--out={out}"), "--samples=44".to_owned()];
            let mut arguments = train(more);
            arguments.extend(flags.iter().map(String::as_str));
            match order {
                Some(order) => succeed(&place, &emulator, order, &arguments),
                None => place.succeed(&arguments),
            };
            (losses(&place.read_text(&format!("{out}/metrics.csv"))), place.read(&format!("{out}/model.safetensors")))
        };
        let (cpu, _) = run("cpu", None, &format!("{name}-cpu"));
        let (cuda, weights) = run("cuda", Some(Order::Forward), &format!("{name}-cuda"));
        assert_eq!(cpu.len(), 6, "44 images in batches of 8");
        assert_eq!(cuda.len(), cpu.len());
        for (step, (got, want)) in cuda.iter().zip(&cpu).enumerate() {
            // a loss of 1e-1 is a mean of errors that some layers of sums round
            assert!((got - want).abs() <= 2e-6 * want, "{name}: step {step} has loss {got}, the CPU has {want}");
        }
        let again = run("cuda:0", Some(Order::Random(3)), &format!("{name}-again"));
        assert!(again == (cuda, weights), "{name}: other bits in another order of threads");
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

    let command = emulator.command(env!("CARGO_BIN_EXE_resconv"), Order::Forward);
    let output = place.prepare(command, &train(&["--out=none", "--device=cuda:1"])).output().unwrap();
    let message = crate::common::failure(&output);
    assert!(message.contains("--device cuda:1: there is no GPU 1"), "{message}");
}
