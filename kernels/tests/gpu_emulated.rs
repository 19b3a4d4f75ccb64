//! The tests of the passes on the CUDA driver emulator: this crate's other test programs, run again where it is the driver. Its README
//! (`tests/cuda-emulator`) says what it finds and what it cannot; its times mean nothing.
#![cfg(feature = "cuda")]

use cuda_emulator::{Emulator, Mode, Order, required, sources_in};
use std::path::{Path, PathBuf};

/// The newest test program of a target of this crate, beside this one.
fn test_program(target: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let programs = std::fs::read_dir(here.parent().unwrap()).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        let hash = name.strip_prefix(target)?.strip_prefix('-')?;
        let is_program = !hash.is_empty() && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_program.then(|| (path.metadata().unwrap().modified().unwrap(), path.clone()))
    });
    programs.max().expect("cargo builds all tests of a crate before it runs one").1
}

/// Runs the tests whose names contain one of `filters`; they must succeed.
fn run(target: &str, filters: &[&str], mode: Mode, order: Order) {
    let sources = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(emulator) = required(Emulator::build(&sources, &[], mode, cache)) else { return };
    let mut command = emulator.command(test_program(target), order);
    let output = command.args(filters).env("KERNELS_TEST_PATHS", "cuda").output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && !out.contains(" 0 passed"), "{target}, {mode:?}, order {order}: {out}{err}");
}

/// The tests of all passes but the convolutions.
const PASSES: [&str; 8] = [
    "activation::tests::passes",
    "adamw::tests",
    "add::tests::passes",
    "batch_norm::tests::passes",
    "batch_norm::tests::an_outlier",
    "epilogue::tests::passes",
    "loss::tests::passes",
    "pad::tests::passes",
];

#[test]
fn passes_equal_the_reference() {
    run("kernels", &PASSES, Mode::Plain, Order::Reverse);
}

#[test]
fn convolutions_equal_the_reference() {
    run("conv2d", &["whole_numbers_are_exact_in_every_case"], Mode::Plain, Order::Random(1));
}
