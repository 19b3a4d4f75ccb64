//! Lines on standard output and standard error.
//!
//! A command whose result nobody reads any more (`resconv gradcheck | head -2`) ends without a word, with
//! [`READER_CLOSED`] as its exit code. Where standard output cannot take a line for another reason, such as a full
//! disk, that is an error: at once for a result, at the end of the command for a line about its state.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// The exit code of a command whose reader went away, by the convention of shells for SIGPIPE: 128 and the signal's
/// number.
pub const READER_CLOSED: u8 = 141;

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("could not write to standard output: {0}")]
pub struct PrintError(#[from] io::Error);

impl PrintError {
    /// Whether it is a pipe that nobody reads any more.
    pub fn is_reader_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// How much a command tells of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors and the result.
    Quiet,
    /// What most users want to know.
    Normal,
    /// Every validation and checkpoint in detail.
    Verbose,
}

static VERBOSITY: AtomicU8 = AtomicU8::new(Verbosity::Normal as u8);

/// Sets how much this process tells from now on.
pub fn set_verbosity(verbosity: Verbosity) {
    VERBOSITY.store(verbosity as u8, Ordering::Relaxed);
}

/// Whether this process tells at least that much.
pub(crate) fn tells(verbosity: Verbosity) -> bool {
    VERBOSITY.load(Ordering::Relaxed) >= verbosity as u8
}

/// The first error of [`print_status`].
static LOST: OnceLock<PrintError> = OnceLock::new();

/// Writes a line of a command's result to standard output.
///
/// # Errors
/// [`PrintError`] if it is closed or full.
pub fn print_result(line: &str) -> Result<(), PrintError> {
    let mut out = io::stdout().lock();
    write_line(&mut out, line)?;
    Ok(out.flush()?)
}

/// Writes the line and its end in one piece. In two, as `writeln!` does to standard error, another process that writes
/// to the same place can come between them.
fn write_line(out: &mut impl Write, line: &str) -> io::Result<()> {
    out.write_all(format!("{line}\n").as_bytes())
}

/// Writes a line about the state of a run to standard output, unless the user wants none. A run must not end because
/// nobody reads it any more, or nobody can: the error is kept for [`lost_status`].
pub fn print_status(line: &str) {
    if tells(Verbosity::Normal) {
        print_end(line);
    }
}

/// As [`print_status`], of a run's end: also if the user wants no other lines.
pub fn print_end(line: &str) {
    if let Err(error) = print_result(line) {
        let _ = LOST.set(error);
    }
}

/// Why a line about the state of a run was lost, if one was. A closed pipe does not count: its reader wanted no more.
pub fn lost_status() -> Option<&'static PrintError> {
    LOST.get().filter(|error| !error.is_reader_closed())
}

/// Writes a line to standard error if it is a terminal: for people who wait for the result of a command. Errors are
/// ignored, as they do not change the result.
pub fn print_while_waiting(line: &str) {
    let mut err = io::stderr();
    if err.is_terminal() {
        let _ = write_line(&mut err, line);
    }
}

/// Writes a line to standard error. If that fails, the exit code alone reports the error.
pub fn print_error(line: &str) {
    let _ = write_line(&mut io::stderr(), line);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pieces(Vec<Vec<u8>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_and_its_end_are_written_in_one_piece() {
        let mut pieces = Pieces(Vec::new());
        write_line(&mut pieces, "error: a line").unwrap();
        assert_eq!(pieces.0, [b"error: a line\n".to_vec()]);
    }
}
