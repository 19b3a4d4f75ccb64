//! Runs programs with the emulator as their driver.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    process::{Command, Output},
};

use crate::{Emulator, Error, Mode, Result};

/// Set in the processes that [`Emulator::rerun`] starts.
const CHILD: &str = "CUDA_EMULATOR_CHILD";
/// With this set to 1, a machine without g++ fails the tests instead of skipping them.
const REQUIRED: &str = "CUDA_EMULATOR_REQUIRED";

/// The order in which threads run between two barriers, and in which the blocks of a grid run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Thread 0 first.
    Forward,
    /// Thread 0 last.
    Reverse,
    /// Shuffled again at every barrier, with this seed.
    Random(u64),
}

impl Order {
    /// Forward, reverse and two random ones: the orders that kernels are tested in.
    pub const ALL: [Order; 4] = [Order::Forward, Order::Reverse, Order::Random(1), Order::Random(2)];
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Forward => write!(f, "forward"),
            Order::Reverse => write!(f, "reverse"),
            Order::Random(seed) => write!(f, "random:{seed}"),
        }
    }
}

impl Emulator {
    /// A command that runs `program` with the emulator as its CUDA driver.
    pub fn command(&self, program: impl AsRef<OsStr>, order: Order) -> Command {
        let mut libraries = OsString::from(&self.directory);
        if let Some(more) = std::env::var_os("LD_LIBRARY_PATH").filter(|more| !more.is_empty()) {
            libraries.push(":");
            libraries.push(more);
        }
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", libraries).env("CUDA_EMULATOR_ORDER", order.to_string());
        if let Some(preload) = &self.preload {
            command.env("LD_PRELOAD", preload);
        }
        match self.mode {
            Mode::Plain => {}
            // Drivers leak memory, which the tests do not look for.
            Mode::AddressSanitizer => _ = command.env("ASAN_OPTIONS", "detect_leaks=0"),
            // The rest of the program isn't compiled for it, so synchronization between its threads would not be seen.
            Mode::ThreadSanitizer => {
                _ = command.env("TSAN_OPTIONS", "halt_on_error=1 ignore_noninstrumented_modules=1")
            }
        }
        command
    }

    /// Runs the test `name` of the calling test program again, in a process under the emulator, where [`is_child`] is
    /// true.
    ///
    /// # Errors
    /// If the program can't be started.
    pub fn rerun(&self, name: &str, order: Order) -> Result<Output> {
        self.rerun_with(name, order, &[])
    }

    /// [`rerun`](Emulator::rerun) with more environment variables.
    ///
    /// # Errors
    /// As `rerun`.
    pub fn rerun_with(&self, name: &str, order: Order, environment: &[(&str, &str)]) -> Result<Output> {
        let file = |error| Error::File { path: "the test program".into(), error };
        let program = std::env::current_exe().map_err(file)?;
        let mut command = self.command(program, order);
        command
            .args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "0");
        command.envs(environment.iter().copied()).output().map_err(file)
    }
}

/// Whether this process was started by [`Emulator::rerun`].
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The emulator; or `None` and a message if there is no g++, so that a test can skip itself.
///
/// # Panics
/// On every other error. Also if g++ is missing and the environment variable `CUDA_EMULATOR_REQUIRED` is 1, as in CI.
pub fn required(built: Result<Emulator>) -> Option<Emulator> {
    match built {
        Ok(emulator) => Some(emulator),
        Err(error @ Error::NoCompiler(_)) if std::env::var_os(REQUIRED).is_none_or(|value| value != "1") => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
