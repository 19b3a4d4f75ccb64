//! The real CUDA kernels against the reference: this crate's unit tests, run again with the emulator as the driver. Its
//! README (`tests/cuda-emulator`) says what it can find and what it cannot. Times on it mean nothing.
#![cfg(feature = "cuda")]

use cuda_emulator::{Emulator, Mode, Order, required, sources_in};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit tests that use the GPU, but for convolutions': those of the runtime, and of every operation with a
/// `tests.rs`. The custom pass runs on the host alone.
fn elementwise() -> Vec<String> {
    let ops = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops")).unwrap();
    let tested = ops.map(|entry| entry.unwrap()).filter(|entry| entry.path().join("tests.rs").exists());
    let names = tested.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != "custom");
    names.map(|name| format!("ops::{name}::tests")).chain(["gpu::tests".to_owned()]).collect()
}

/// Those of convolutions.
const CONVOLUTIONS: [&str; 5] = [
    "conv2d::tests::whole_numbers_are_exact_in_every_case",
    "conv2d::tests::real_numbers",
    "conv2d::tests::nan_stays",
    "conv2d::tests::an_empty_batch",
    "conv2d::tests::gpu::sums_in_3xtf32",
];

/// The newest program of this crate's unit tests, in the folder of this one. Cargo builds all of a crate's tests before
/// it runs one. With `--test` it builds only that one, and the unit tests may be older than their sources.
fn unit_tests() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let programs = std::fs::read_dir(here.parent().unwrap()).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let hash = path.file_name()?.to_str()?.strip_prefix("kernels-")?;
        let is_program = !hash.is_empty() && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_program.then(|| (path.metadata().unwrap().modified().unwrap(), path.clone()))
    });
    programs.max().expect("the crate's test programs: run `cargo test -p resconv-kernels emulated`, without --test").1
}

/// The emulator with this crate's kernels; none where there is no compiler for it.
fn emulator(mode: Mode) -> Option<Emulator> {
    let sources = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    required(Emulator::build(&sources, &[], mode, Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

/// Which cases run.
struct Cases {
    /// Most elements of a case of [`elementwise`] tests and of [`CONVOLUTIONS`].
    largest: [usize; 2],
    random: bool,
}

impl Cases {
    fn up_to(largest: [usize; 2]) -> Cases {
        Cases { largest, random: false }
    }
}

/// Runs the tests. All must pass, and together they must launch every kernel.
fn run(mode: Mode, order: Order, cases: &Cases) {
    let Some(emulator) = emulator(mode) else { return };
    let launched =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("launched-{mode:?}-{order}-{}", std::process::id()));
    let convolutions = CONVOLUTIONS.map(str::to_owned).to_vec();
    for (i, filters) in [elementwise(), convolutions].into_iter().enumerate() {
        let mut command = emulator.command(unit_tests(), order);
        command.args(&filters).env("KERNELS_TEST_PATHS", "cuda").env("CUDA_EMULATOR_LAUNCHED", &launched);
        command.env("KERNELS_TEST_LARGEST", cases.largest[i].to_string());
        if !cases.random {
            command.args(["--skip", "any_"]);
        }
        succeed(command, &format!("{}, {mode:?}, order {order}", filters[0]));
    }
    let names = std::fs::read_to_string(&launched).unwrap();
    std::fs::remove_file(&launched).unwrap();
    let names: BTreeSet<&str> = names.lines().collect();
    let missed: Vec<_> = emulator.kernels().iter().filter(|kernel| !names.contains(kernel.as_str())).collect();
    assert!(missed.is_empty(), "{mode:?}, order {order}: no test launched {missed:?}");
}

/// Runs tests: there must be some, and all must pass.
fn succeed(mut command: Command, what: &str) {
    let output = command.output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && !out.contains(" 0 passed"), "{what}: {}\n{out}{err}", output.status);
}

/// Larger cases take most of the time that all would take; they have more blocks, but no other kinds of them.
#[test]
fn emulated_kernels_equal_the_reference_in_every_order_of_threads() {
    for order in Order::ALL {
        let cases = match order {
            Order::Reverse => Cases { largest: [36_000, usize::MAX], random: true },
            _ => Cases::up_to([20_000; 2]),
        };
        run(Mode::Plain, order, &cases);
    }
}

#[test]
fn emulated_kernels_stay_inside_their_operands() {
    run(Mode::AddressSanitizer, Order::Forward, &Cases::up_to([6_000; 2]));
}

/// The largest shapes take two blocks, or two chunks of a sum, but hardly more.
#[test]
fn emulated_threads_do_not_race() {
    run(Mode::ThreadSanitizer, Order::Forward, &Cases::up_to([4_400, 1_030]));
}

/// The case above has a tile for each block; this one has more.
#[test]
fn emulated_tiles_do_not_race() {
    let Some(emulator) = emulator(Mode::ThreadSanitizer) else { return };
    let mut command = emulator.command(unit_tests(), Order::Forward);
    command.arg("conv2d::tests::gpu::tiles_of_a_block").env("KERNELS_TEST_PATHS", "cuda");
    succeed(command, "tiles of a block");
}

/// A GPU may have no memory left for the pieces in which the host copies to it.
#[test]
fn the_emulated_runtime_copies_without_memory_of_its_own() {
    let Some(emulator) = emulator(Mode::Plain) else { return };
    let mut command = emulator.command(unit_tests(), Order::Forward);
    command.arg("gpu::tests::copies_need_no_memory_of_their_own").env("KERNELS_TEST_PATHS", "cuda");
    command.env("CUDA_EMULATOR_MEMORY_BYTES", "4000000");
    succeed(command, "4 MB");
}

/// Results must not depend on when the device does its work, or on whether its driver makes graphs.
#[test]
fn the_emulated_runtime_waits_where_it_must() {
    for (mode, variable, value) in [
        (Mode::Plain, "STREAMS", "late"),
        (Mode::AddressSanitizer, "STREAMS", "late"),
        (Mode::Plain, "CAPTURE", "refuse"),
    ] {
        let Some(emulator) = emulator(mode) else { return };
        let mut command = emulator.command(unit_tests(), Order::Forward);
        command.arg("gpu::tests").env("KERNELS_TEST_PATHS", "cuda");
        command.env(format!("CUDA_EMULATOR_{variable}"), value);
        succeed(command, &format!("{mode:?}, {variable} {value}"));
    }
}
