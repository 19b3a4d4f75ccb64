//! Lines on standard output and standard error.

use std::io::{self, IsTerminal, Write};

/// Writes a line of a command's result to standard output.
///
/// # Errors
/// If it is closed or full.
pub fn print_result(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes a line about the state of a run to standard output. Errors are ignored: a run must not end because nobody
/// reads it any more.
pub fn print_status(line: &str) {
    let _ = print_result(line);
}

/// Writes a line to standard error if it is a terminal: for people who wait for the result of a command. Errors are
/// ignored, as they do not change the result.
pub fn print_while_waiting(line: &str) {
    let mut err = io::stderr();
    if err.is_terminal() {
        let _ = writeln!(err, "{line}");
    }
}

/// Writes a line to standard error. If that fails, the exit code alone reports the error.
pub fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
