//! Which run a process of a sweep does next: the first that nobody has.

use super::file::PlannedRun;
use super::state::is_done;
use crate::system::files;
use crate::system::lock::Lock;
use crate::train::{Failure, FolderError, RunFolder};
use std::path::Path;

/// The runs that this process has not done and that are not known to be done.
pub(super) struct Queue<'a> {
    out: &'a Path,
    left: Vec<Waiting<'a>>,
    /// The names and the errors of runs that failed since the queue was made, here or in another process.
    pub(super) failures: Vec<(String, String)>,
}

struct Waiting<'a> {
    number: usize,
    run: &'a PlannedRun,
    /// An earlier failure, which another attempt is made for. A later one is that attempt's, of another process.
    earlier: Option<Failure>,
}

/// What a process may do next.
pub(super) enum Next<'a> {
    /// This run, whose folder it has locked.
    Run { number: usize, run: &'a PlannedRun, lock: Lock },
    /// Nothing yet: other processes have all runs that are left, so many.
    Wait(usize),
    /// Nothing: all runs have ended.
    End,
}

impl<'a> Queue<'a> {
    /// The runs that are not done, with their numbers in the sweep.
    pub(super) fn new(out: &'a Path, runs: impl Iterator<Item = (usize, &'a PlannedRun)>) -> Queue<'a> {
        let left = runs.filter(|(_, run)| !is_done(out, run));
        let earlier = |run: &PlannedRun| RunFolder::new(&out.join(&run.name)).read_failure();
        let left = left.map(|(number, run)| Waiting { number, run, earlier: earlier(run) }).collect();
        Queue { out, left, failures: Vec::new() }
    }

    /// The runs in it.
    pub(super) fn runs(&self) -> impl ExactSizeIterator<Item = &'a PlannedRun> {
        self.left.iter().map(|waiting| waiting.run)
    }

    /// Takes the first run that nobody has out of the queue, and locks its folder.
    pub(super) fn next(&mut self) -> Next<'a> {
        let mut at = 0;
        while let Some(Waiting { number, run, earlier }) = self.left.get(at) {
            let (number, run) = (*number, *run);
            let folder = RunFolder::new(&self.out.join(&run.name));
            let locked = match Queue::has_ended(self.out, run, earlier.as_ref()) {
                Some(ended) => Err(ended),
                None => {
                    match files::create_folder(folder.path()).map_err(FolderError::from).and_then(|()| folder.lock()) {
                        // Somebody may have done it meanwhile.
                        Ok(lock) => Queue::has_ended(self.out, run, earlier.as_ref()).map_or(Ok(lock), Err),
                        Err(FolderError::InUse { .. }) => {
                            at += 1;
                            continue;
                        }
                        Err(error) => Err(Some(error.to_string())),
                    }
                }
            };
            self.left.remove(at);
            match locked {
                Ok(lock) => return Next::Run { number, run, lock },
                Err(failed) => self.failures.extend(failed.map(|error| (run.name.clone(), error))),
            }
        }
        if self.left.is_empty() { Next::End } else { Next::Wait(self.left.len()) }
    }

    /// Whether a run has ended: with an error, if it has failed again since the queue was made.
    fn has_ended(out: &Path, run: &PlannedRun, earlier: Option<&Failure>) -> Option<Option<String>> {
        if is_done(out, run) {
            return Some(None);
        }
        let failure = RunFolder::new(&out.join(&run.name)).read_failure()?;
        (Some(&failure) != earlier).then_some(Some(failure.error))
    }
}
