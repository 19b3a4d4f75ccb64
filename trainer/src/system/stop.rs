//! Stopping a run from outside: the first SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal was closed) asks it to stop,
//! a second one ends the process at once. On Windows these are Ctrl-C and Ctrl-Break; a window that is closed ends the
//! process there.
//!
//! Ending at once damages nothing, because every file is written completely or not at all
//! ([`files`](crate::system::files)).

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::flag;

/// A signal that asks a run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: the user pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: the system or a scheduler wants the process to end. On Windows it is Ctrl-Break.
    Terminate,
    /// SIGHUP: the terminal was closed.
    Hangup,
}

impl Signal {
    /// All of them.
    pub const ALL: [Signal; 3] = [Signal::Interrupt, Signal::Terminate, Signal::Hangup];

    /// The exit code of a process that this signal ended, by the convention of shells: 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
            Signal::Hangup => 129,
        }
    }

    /// The signal with this exit code, if there is one.
    pub(crate) fn of_exit_code(code: u8) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.exit_code() == code)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::Hangup => "SIGHUP",
        })
    }
}

/// Whether a first signal was received: the next one ends the process.
static ASKED: AtomicBool = AtomicBool::new(false);
/// The exit code of the signal that was received; 0 for none.
static SIGNAL: AtomicUsize = AtomicUsize::new(0);

/// From now on, the first signal is kept for [`requested`], and a second one ends the process with its exit code. May
/// be called several times.
///
/// # Errors
/// If the system refuses.
pub fn catch_signals() -> io::Result<()> {
    static CAUGHT: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    let catch = || -> io::Result<()> {
        for (signal, which) in sent::signals() {
            // The order matters: what is registered first runs first, so the first signal does not end the process.
            flag::register_conditional_shutdown(signal, which.exit_code().into(), &ASKED)?;
            flag::register(signal, &ASKED)?;
            flag::register_usize(signal, &SIGNAL, which.exit_code().into())?;
        }
        Ok(())
    };
    CAUGHT.get_or_init(|| catch().map_err(|error| error.kind())).map_err(io::Error::from)
}

/// The signal that asked to stop, if any.
pub fn requested() -> Option<Signal> {
    u8::try_from(SIGNAL.load(Ordering::Relaxed)).ok().and_then(Signal::of_exit_code)
}

/// The signals of Unix, by their numbers.
#[cfg(unix)]
mod sent {
    use super::Signal;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    pub(super) fn signals() -> Vec<(i32, Signal)> {
        let mut signals = vec![(SIGINT, Signal::Interrupt), (SIGTERM, Signal::Terminate)];
        if hangup_ends_the_process() {
            signals.push((SIGHUP, Signal::Hangup));
        }
        signals
    }

    /// Whether a closed terminal would end this process. It would not under `nohup`, and that is to stay so. Only Linux
    /// tells which signals are ignored.
    fn hangup_ends_the_process() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask & 1 << (SIGHUP - 1) == 0)
    }
}

/// What a console of Windows sends, by the numbers that the C library gives it. It sends no SIGTERM.
#[cfg(windows)]
mod sent {
    use super::Signal;
    use signal_hook::consts::{SIGBREAK, SIGINT};

    pub(super) fn signals() -> Vec<(i32, Signal)> {
        vec![(SIGINT, Signal::Interrupt), (SIGBREAK, Signal::Terminate)]
    }
}
