//! The folder of a run: its files, its lock, and what an earlier process left in it.

use super::checkpoint::{Checkpoint, CheckpointError, Problem};
use super::log;
use crate::output::tensorboard::Events;
use crate::settings::Settings;
use crate::system::files::{self, FileError};
use crate::system::lock::{LOCK, Lock};
use crate::system::names::derived;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The files of a run's report.
const REPORT: [&str; 4] = ["curves.svg", "report.html", "table.csv", "table.md"];

/// Longest file of a failure that is read, in bytes.
const MAX_FAILURE_BYTES: u64 = 1 << 20;

const EARLIER: [&str; 2] = ["checkpoint-", ".safetensors"];

/// A run's folder and the files in it.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// The folder cannot be used for a run.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not empty.
    #[error(
        "{} is not empty: continue the run in it with --resume, start it over with --force, or choose another folder with --out",
        path.display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes to it.
    #[error(
        "{} is in use by another run ({by}): wait for it to end, or choose another folder with --out",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process, and where it is.
        by: String,
    },
    /// Another process has begun to write to it.
    #[error("{}: another process has taken the run over, because this one did not move for a long time", path.display())]
    Lost {
        /// The folder.
        path: PathBuf,
    },
    /// All checkpoints in it are damaged.
    #[error("none of the checkpoints in {} can be resumed; start the run over with --force: {}", path.display(), reasons.join("; "))]
    NoGoodCheckpoint {
        /// The folder.
        path: PathBuf,
        /// What is wrong with each of them.
        reasons: Vec<String>,
    },
    /// It cannot be read or created.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where a run is resumed.
#[derive(Debug)]
pub struct ResumePoint {
    /// Its newest good checkpoint.
    pub checkpoint: Checkpoint,
    pub(super) lock: Lock,
}

/// What can be resumed in a folder. The folder is locked, if it is there.
#[derive(Debug)]
pub enum Resumable {
    /// A run with a checkpoint.
    FromCheckpoint(Box<ResumePoint>),
    /// A run that was interrupted before its first checkpoint: its settings.
    FromStart(Box<Settings>, Lock),
    /// There is no run.
    Nothing(Option<Lock>),
}

/// Why a run failed, as its folder tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// What was printed.
    pub(crate) error: String,
    /// When, in nanoseconds since 1970, which tells it from earlier failures of the run.
    pub(crate) at: u64,
}

impl RunFolder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: &Path) -> RunFolder {
        RunFolder { path: path.to_owned() }
    }

    /// Checks that a new run may use the folder: that there is no such folder, or that it is empty but for a lock and
    /// leftovers.
    ///
    /// # Errors
    /// [`FolderError`] if it is not empty, is a file, or cannot be read.
    pub fn check_new(&self) -> Result<(), FolderError> {
        let failure = self.failure();
        let is_ignored = |name: &OsStr| name == LOCK || Some(name) == failure.file_name() || files::is_leftover(name);
        match self.names() {
            Ok(names) if names.iter().all(|name| is_ignored(OsStr::new(name))) => Ok(()),
            Ok(_) => Err(FolderError::NotEmpty { path: self.path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FileError::at("look into", &self.path)(error).into()),
        }
    }

    /// A new folder for a run with the settings of another one, whose settings file this is: beside the other's folder,
    /// with a number. Nothing if it is not the settings file of a run.
    pub fn beside(settings: &Path) -> Option<PathBuf> {
        let folder = match settings.parent() {
            Some(folder) if folder.file_name().is_some() => folder.to_owned(),
            _ => settings.canonicalize().ok()?.parent()?.to_owned(),
        };
        let run = RunFolder::new(&folder);
        if run.settings().file_name() != settings.file_name() || !run.metrics().exists() {
            return None;
        }
        let name = folder.file_name()?;
        let mut numbered = (2..).map(|number: u32| folder.with_file_name(derived(name, &format!("-{number}"))));
        numbered.find(|path| path.symlink_metadata().is_err())
    }

    fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    /// Keeps other processes from writing to the folder, until the lock is dropped.
    ///
    /// # Errors
    /// [`FolderError::InUse`], or if the folder is not there or not writable.
    pub fn lock(&self) -> Result<Lock, FolderError> {
        Lock::take(&self.path)?.map_err(|held| FolderError::InUse { path: self.path.clone(), by: held.to_string() })
    }

    /// Whether a process writes to the folder.
    pub(crate) fn is_in_use(&self) -> bool {
        Lock::holder(&self.path).is_some()
    }

    /// Checks that the lock of the folder is still that of this process.
    ///
    /// # Errors
    /// [`FolderError::Lost`].
    pub(super) fn check_lock(&self, lock: &Lock) -> Result<(), FolderError> {
        if lock.is_lost() { Err(FolderError::Lost { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Keeps why the run in the folder failed.
    pub(crate) fn write_failure(&self, error: &str) -> Result<(), FileError> {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let failure = Failure { error: error.to_owned(), at };
        files::write_json(&self.failure(), serde_json::to_string_pretty(&failure))
    }

    /// Training images that the run in the folder has seen, as far as its table tells it, and those that it is going to
    /// see.
    pub(crate) fn progress(&self) -> Option<(u64, u64)> {
        let all = Settings::read(&self.settings()).ok()?.training.samples;
        Some((log::last_samples(&self.metrics()).unwrap_or(0), all))
    }

    /// Why the run in the folder failed, if it did.
    pub(crate) fn read_failure(&self) -> Option<Failure> {
        files::read_json(&self.failure(), MAX_FAILURE_BYTES).ok()
    }

    /// Begins a run in the folder: creates it, locks it, writes the run's settings and removes what an earlier run
    /// left. With `new`, it fails if the folder is not empty. `lock` is the folder's lock, if it is locked already.
    ///
    /// The settings are written first: a process that is killed in between leaves a run that has begun, or the earlier
    /// run.
    pub(super) fn start(&self, new: bool, lock: Option<Lock>, settings: &str) -> Result<Lock, FolderError> {
        files::create_folder(&self.path)?;
        let lock = lock.map_or_else(|| self.lock(), Ok)?;
        if new {
            self.check_new()?;
        }
        files::remove_leftovers(&self.path)?;
        files::write_bytes(&self.settings(), settings.as_bytes())?;
        let earlier = self.earlier_checkpoints()?.into_iter().map(|(_, path)| path);
        let outputs = [
            self.model(),
            self.summary(),
            self.live(),
            self.picture(),
            self.errors(),
            self.curve_png(),
            self.curve_svg(),
            self.best(),
            self.failure(),
        ];
        Events::remove_all(&self.path)?;
        let report = REPORT.map(|name| self.path.join(name));
        for path in [self.checkpoint()].into_iter().chain(earlier).chain(outputs).chain(report) {
            files::remove(&path)?;
        }
        Ok(lock)
    }

    /// What can be resumed: the newest good checkpoint, or else a run that has no checkpoint yet. `status` gets a line
    /// for each damaged checkpoint. If there is a good one, the damaged ones are renamed to `NAME.damaged`.
    ///
    /// # Errors
    /// [`FolderError`] if the folder is in use, or all its checkpoints are damaged.
    pub fn resume(&self, status: &dyn Fn(&str)) -> Result<Resumable, FolderError> {
        if !self.path.is_dir() {
            return Ok(Resumable::Nothing(None));
        }
        self.resume_locked(self.lock()?, status)
    }

    /// As [`resume`](Self::resume), of a folder that is locked already.
    pub(crate) fn resume_locked(&self, lock: Lock, status: &dyn Fn(&str)) -> Result<Resumable, FolderError> {
        files::remove_leftovers(&self.path)?;
        let newest = Some(self.checkpoint()).filter(|path| path.exists());
        let earlier = self.earlier_checkpoints()?.into_iter().rev().map(|(_, path)| path);
        let mut reasons = Vec::new();
        let mut damaged: Vec<PathBuf> = Vec::new();
        for path in newest.into_iter().chain(earlier) {
            match read_resumable(&path) {
                Ok(checkpoint) => {
                    for path in damaged {
                        let mut aside = path.clone().into_os_string();
                        aside.push(".damaged");
                        files::rename(&path, Path::new(&aside))?;
                    }
                    return Ok(Resumable::FromCheckpoint(Box::new(ResumePoint { checkpoint, lock })));
                }
                Err(error) => {
                    status(&format!("skipping a checkpoint: {error}"));
                    reasons.push(error.to_string());
                    damaged.push(path);
                }
            }
        }
        if !reasons.is_empty() {
            return Err(FolderError::NoGoodCheckpoint { path: self.path.clone(), reasons });
        }
        // A trained network without checkpoints must not be overwritten.
        if !self.settings().exists() || self.model().exists() {
            return Ok(Resumable::Nothing(Some(lock)));
        }
        match Settings::read(&self.settings()) {
            Ok(settings) => Ok(Resumable::FromStart(Box::new(settings), lock)),
            Err(_) => Ok(Resumable::Nothing(Some(lock))),
        }
    }

    /// The checkpoints before the newest, the oldest first: the steps in their names, and their paths.
    fn earlier_checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, FileError> {
        let names = self.names().map_err(FileError::at("look into", &self.path))?;
        let step = |name: &OsStr| name.to_str()?.strip_prefix(EARLIER[0])?.strip_suffix(EARLIER[1])?.parse().ok();
        let found = names.iter().filter_map(|name| Some((step(name)?, self.path.join(name))));
        let mut found: Vec<(u64, PathBuf)> = found.collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Writes `checkpoint` as the newest one, and removes the oldest ones so that `keep` are left. The one that was the
    /// newest, of the step `before`, is kept under a name with its step.
    ///
    /// At any moment, and after any error, there is a good newest checkpoint if there was one before.
    pub(super) fn put_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        before: Option<u64>,
        keep: usize,
    ) -> Result<(), CheckpointError> {
        debug_assert_eq!(checkpoint.path, self.checkpoint());
        let staged = checkpoint.stage()?;
        if let Some(step) = before {
            let kept = format!("{}{step}{}", EARLIER[0], EARLIER[1]);
            files::keep_as(&self.checkpoint(), &self.path.join(kept))?;
        }
        staged.commit()?;
        let earlier = self.earlier_checkpoints()?;
        for (_, path) in &earlier[..earlier.len().saturating_sub(keep.saturating_sub(1))] {
            files::remove(path)?;
        }
        Ok(())
    }

    /// The file of weights that a path stands for: itself, or of a run's folder, the trained network, or the newest
    /// checkpoint if the run has not ended.
    ///
    /// # Errors
    /// [`Problem::NoRun`] for a folder that has neither.
    pub fn weights_of(path: &Path) -> Result<PathBuf, CheckpointError> {
        if !path.is_dir() {
            return Ok(path.to_owned());
        }
        match RunFolder::new(path).weights() {
            Some(weights) => Ok(weights),
            None => Err(Problem::NoRun { runs: RunFolder::runs_in(path)? }.of(path)),
        }
    }

    /// The runs in a folder that have weights, by name.
    fn runs_in(path: &Path) -> Result<Vec<PathBuf>, FileError> {
        let folder = RunFolder::new(path);
        let names = folder.names().map_err(FileError::at("look into", path))?;
        let mut runs: Vec<PathBuf> = names.iter().map(|name| path.join(name)).collect();
        runs.retain(|run| run.is_dir() && RunFolder::new(run).weights().is_some());
        runs.sort_unstable();
        Ok(runs)
    }

    fn weights(&self) -> Option<PathBuf> {
        [self.model(), self.checkpoint()].into_iter().find(|path| path.is_file())
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Defines a method for the path of each file.
macro_rules! files {
    ($($(#[$content:meta])* $name:ident = $file:literal;)*) => {
        impl RunFolder {
            $($(#[$content])* pub(crate) fn $name(&self) -> PathBuf { self.path.join($file) })*
        }
    };
}

files! {
    /// `settings.toml`: the effective settings.
    settings = "settings.toml";
    /// `metrics.csv`: a row a step.
    metrics = "metrics.csv";
    /// `validation.csv`: a row a validation.
    validation = "validation.csv";
    /// `checkpoint.safetensors`: where `--resume` goes on. Those before it are `checkpoint-STEP.safetensors`.
    checkpoint = "checkpoint.safetensors";
    /// `best.safetensors`: the checkpoint with the lowest validation loss so far, with running statistics.
    best = "best.safetensors";
    /// `model.safetensors`: the trained network alone, as PyTorch's `state_dict`, with its settings.
    model = "model.safetensors";
    /// `summary.json`.
    summary = "summary.json";
    /// `failure.json`: why the run failed, if its last attempt did.
    failure = "failure.json";
    /// `live.json`: how long it still takes, while it goes on.
    live = "live.json";
    /// `reconstruction.png`: validation images, as the network sees them and as it restores them.
    picture = "reconstruction.png";
    /// `errors.json`: where the network errs, by pixel and by class.
    errors = "errors.json";
    /// `loss.png`: the loss over the run.
    curve_png = "loss.png";
    /// `loss.svg`: the same.
    curve_svg = "loss.svg";
}

/// Reads a checkpoint that a run can be resumed from.
fn read_resumable(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = Checkpoint::read(path)?;
    checkpoint.resumable()?;
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_locked_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::new(folder.path());
        let lock = run.lock().unwrap();
        let told = run.lock().unwrap_err().to_string();
        let holder = format!("in use by another run (process {}", std::process::id());
        // Where a process has no time of birth, the message says when it was last heard of.
        let rest = told.split(&holder).nth(1).unwrap_or_else(|| panic!("{told}"));
        assert!(rest.starts_with(')') || rest.starts_with(", last heard"), "{told}");
        drop(lock);
        run.lock().unwrap();
    }
}
