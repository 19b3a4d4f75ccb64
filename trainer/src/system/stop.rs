//! Stopping a run from outside: the first SIGINT (Ctrl-C) or SIGTERM asks it to stop, a second one ends the process at
//! once.
//!
//! Ending at once damages nothing, because every file is written completely or not at all
//! ([`files`](crate::system::files)).

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A signal that asks a run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: the user pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: the system or a scheduler wants the process to end.
    Terminate,
}

impl Signal {
    /// Both.
    pub const ALL: [Signal; 2] = [Signal::Interrupt, Signal::Terminate];

    /// The exit code of a process that this signal ended, by the convention of shells: 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        })
    }
}

/// Whether a first signal was received: the next one ends the process.
static ASKED: AtomicBool = AtomicBool::new(false);
/// The number of the signal that was received; 0 for none.
static SIGNAL: AtomicUsize = AtomicUsize::new(0);

/// From now on, the first signal is kept for [`requested`], and a second one ends the process with its exit code. May
/// be called several times.
///
/// # Errors
/// If the system refuses.
pub fn catch_signals() -> io::Result<()> {
    static CAUGHT: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    let catch = || -> io::Result<()> {
        for (signal, which) in [(SIGINT, Signal::Interrupt), (SIGTERM, Signal::Terminate)] {
            // The order matters: what is registered first runs first, so the first signal does not end the process.
            flag::register_conditional_shutdown(signal, which.exit_code().into(), &ASKED)?;
            flag::register(signal, &ASKED)?;
            flag::register_usize(signal, &SIGNAL, signal as usize)?;
        }
        Ok(())
    };
    CAUGHT.get_or_init(|| catch().map_err(|error| error.kind())).map_err(io::Error::from)
}

/// The signal that asked to stop, if any.
pub fn requested() -> Option<Signal> {
    match SIGNAL.load(Ordering::Relaxed) as i32 {
        SIGINT => Some(Signal::Interrupt),
        SIGTERM => Some(Signal::Terminate),
        _ => None,
    }
}
