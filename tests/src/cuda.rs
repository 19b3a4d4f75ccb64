//! Runs tests of the GPU backend on any machine.

use cuda_emulator::{Emulator, Mode, Order, is_child, required, sources_in};
use engine::Cuda;
use std::path::Path;

/// Calls `check` with the first GPU. If there is none, runs the calling test, named `test`, again in a process in which
/// the emulator is the driver and threads run in this order. `cache` is the test's `CARGO_TARGET_TMPDIR`. Without a C++
/// compiler, the test passes and says so: see [`required`].
///
/// # Panics
/// If that process fails, or the emulator cannot be built.
pub fn on_cuda(test: &str, cache: &str, order: Order, check: impl FnOnce(Cuda)) {
    let error = match Cuda::new(0) {
        Ok(cuda) => return check(cuda),
        Err(error) => error,
    };
    assert!(!is_child(), "{error}");
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/src");
    let sources = sources_in(&kernels).expect("the kernels' sources");
    let Some(emulator) = required(Emulator::build(&sources, &[], Mode::Plain, Path::new(cache))) else { return };
    let output = emulator.rerun(test, order).expect("the test program");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && out.contains("1 passed"), "on the emulator, order {order}: {out}{err}");
}
