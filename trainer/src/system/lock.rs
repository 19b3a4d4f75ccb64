//! Locks of folders: one process at a time writes to the folder of a run, also where several machines share it.
//!
//! A lock is the file `.lock` in the folder, which is there as long as somebody has the lock. It says who: the host,
//! the process, and when that began. It is written under a temporary name and gets its own by a hard link, which only
//! one process succeeds with, also on NFS; a file system without hard links has exclusive creation. No `flock` is
//! needed, which many shared file systems do not have, or not between machines.
//!
//! # Dead holders
//!
//! Whoever has a lock writes it again every [`HEARTBEAT`], so that the file's time is renewed. A holder is dead
//!
//! - if it ran on this machine, since it was started, and no process of its number is there that began when it did (on
//!   Linux, which tells; numbers are used again, so the number alone says nothing);
//! - if it ran elsewhere, and the file is older than [`PATIENCE`] by the file system's own clock: that of a file that
//!   is written for the comparison.
//!
//! Two processes that find the same dead lock must not both take its place: the second one would remove the lock of
//! the first. So each lock has a random token, and the lock with the token T may be replaced only by the process that
//! has the lock `.lock-T.tmp` and then still finds T. As that is a lock like any other, a process that is killed
//! meanwhile is replaced in the same way. The name ends as those of other temporary files do, and is
//! [removed](super::files::remove_leftovers) with them.
//!
//! A process that was stopped for longer than [`PATIENCE`] may find that it has lost its lock: `Lock::is_lost`.

use super::files::{FileError, remove};
use super::replace::{persist, temporary};
use super::rights::{names, owner};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// The name of a folder's lock.
pub(crate) const LOCK: &str = ".lock";

/// How often the holder of a lock renews it.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// A holder on another machine is dead if it has not renewed its lock for so long. File systems that are shared show
/// another machine's writes after up to a minute.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Longest lock that is read, in bytes.
const MAX_BYTES: u64 = 1 << 12;

/// The right to write to a folder, until all copies of it are dropped or the process ends.
#[derive(Clone, Debug)]
pub struct Lock {
    file: Arc<LockFile>,
}

#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    token: String,
    heart: Option<(Sender<()>, JoinHandle<()>)>,
}

/// A process that has a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The name of its machine.
    pub(crate) host: String,
    /// Its number there.
    pub(crate) pid: u32,
    /// Where and when it began, if the system tells.
    birth: Option<Birth>,
    /// Different for every lock.
    token: String,
}

/// What tells a process from others of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Birth {
    /// The numbers that this one is among: a start of a machine, and a container in it.
    world: String,
    /// When it began, in a unit of the system.
    time: u64,
}

/// A lock that somebody has, or had.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Who; nothing if the file does not say it.
    pub(crate) holder: Option<Holder>,
    /// When it was renewed.
    renewed: SystemTime,
    /// The owner of the file.
    owner: Option<u32>,
}

impl Lock {
    /// Takes the lock of a folder; if somebody has it who lives, says who.
    ///
    /// # Errors
    /// [`FileError`] if the folder is not there or not writable.
    pub(crate) fn take(folder: &Path) -> Result<Result<Lock, Held>, FileError> {
        let path = folder.join(LOCK);
        let take = || match take(folder, &path)? {
            Ok(taken) => Lock::beating(path.clone(), taken).map(Ok),
            Err(held) => Ok(Err(held)),
        };
        take().map_err(FileError::at("create", &path))
    }

    /// Who has the lock of a folder now, and lives.
    pub(crate) fn holder(folder: &Path) -> Option<Held> {
        let path = folder.join(LOCK);
        let held = Held::read(&path).ok().flatten()?;
        held.lives(SystemTime::now(), held.owner).then_some(held)
    }

    fn beating(path: PathBuf, taken: Taken) -> io::Result<Lock> {
        let Taken { mut file, content, token } = taken;
        let (end, ended) = mpsc::channel();
        let beat = move || {
            while ended.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                // The open file, not what is at its path by now. An error is as if the process were dead.
                let _ = file.rewind().and_then(|()| file.write_all(&content)).and_then(|()| file.sync_data());
            }
        };
        let thread = Builder::new().name("heartbeat".to_owned()).spawn(beat);
        let mut file = LockFile { path, token, heart: None };
        file.heart = Some((end, thread?));
        Ok(Lock { file: Arc::new(file) })
    }

    /// Whether another process has taken the lock over, because this one seemed to be dead.
    pub(crate) fn is_lost(&self) -> bool {
        self.file.is_lost()
    }
}

impl LockFile {
    fn is_lost(&self) -> bool {
        let held = Held::read(&self.path).ok().flatten();
        held.and_then(|held| held.holder).is_some_and(|holder| holder.token != self.token)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.heart.take() {
            drop(end);
            let _ = thread.join();
        }
        if !self.is_lost() {
            // What stays is the lock of a dead process.
            let _ = remove(&self.path);
        }
    }
}

impl Holder {
    /// This process, with a new token.
    fn new() -> Holder {
        let pid = std::process::id();
        let birth = process_began(pid).and_then(|time| Some(Birth { world: world()?, time }));
        let token = format!("{:016x}", RandomState::new().hash_one((pid, SystemTime::now())));
        Holder { host: host(), pid, birth, token }
    }
}

impl Held {
    /// The lock at `path`, if it is there.
    fn read(path: &Path) -> io::Result<Option<Held>> {
        let read = || -> io::Result<Held> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            let holder = serde_json::from_reader(io::Read::take(file, MAX_BYTES)).ok();
            Ok(Held { holder, renewed: metadata.modified()?, owner: owner(&metadata) })
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            held => held.map(Some),
        }
    }

    /// What no other lock has.
    fn token(&self) -> String {
        let renewed = || self.renewed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        self.holder.as_ref().map_or_else(|| format!("{:x}", renewed()), |holder| holder.token.clone())
    }

    /// Whether its holder lives, at the time `now` of its file system, as far as the user `user` can know.
    fn lives(&self, now: SystemTime, user: Option<u32>) -> bool {
        let birth = self.holder.as_ref().and_then(|holder| holder.birth.as_ref());
        match (&self.holder, birth) {
            // Processes of other users may be hidden.
            (Some(holder), Some(birth)) if world().as_ref() == Some(&birth.world) && self.owner == user => {
                process_began(holder.pid) == Some(birth.time)
            }
            _ => now.duration_since(self.renewed).unwrap_or_default() <= PATIENCE,
        }
    }

    /// How long ago it was renewed, by this machine's clock.
    pub(crate) fn age(&self) -> Duration {
        SystemTime::now().duration_since(self.renewed).unwrap_or_default()
    }
}

/// `process 12`, where that is, if it is not on this machine, and its age where that decides whether it lives.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) if holder.host == host() => write!(f, "process {}", holder.pid),
            Some(holder) => write!(f, "process {} on {}", holder.pid, holder.host),
            None => write!(f, "an unknown process"),
        }?;
        match &self.holder {
            Some(holder) if holder.host == host() && holder.birth.is_some() => Ok(()),
            _ => write!(f, ", last heard of {} s ago", self.age().as_secs()),
        }
    }
}

/// A lock that was just taken.
struct Taken {
    file: File,
    content: Vec<u8>,
    token: String,
}

/// Makes `path` a lock of this process, by way of files in `folder`.
fn take(folder: &Path, path: &Path) -> io::Result<Result<Taken, Held>> {
    loop {
        let holder = Holder::new();
        let content = serde_json::to_vec(&holder)?;
        // Others must be able to read who has the lock.
        let mut candidate = temporary(folder, 0o644)?;
        candidate.write_all(&content)?;
        candidate.as_file().sync_data()?;
        let taken = |file| Ok(Ok(Taken { file, content: content.clone(), token: holder.token.clone() }));
        match create(&candidate, &content, path) {
            Ok(file) => return taken(file),
            // The process that has the lock removes what others left, and this may look like it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !candidate.path().exists() && folder.is_dir() => {
                continue;
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
        }
        let Some(held) = Held::read(path)? else { continue };
        let metadata = candidate.as_file().metadata()?;
        if held.lives(metadata.modified()?, owner(&metadata)) {
            return Ok(Err(held));
        }
        let marker = folder.join(format!("{LOCK}-{}.tmp", held.token()));
        if let Err(other) = take(folder, &marker)? {
            return Ok(Err(other));
        }
        let is_same = Held::read(path)?.is_some_and(|now| now.token() == held.token());
        let file = candidate.reopen();
        let replaced = is_same && file.is_ok() && persist(candidate, path).is_ok();
        // Now it is of no meaning any more.
        let _ = fs::remove_file(&marker);
        if replaced {
            return taken(file?);
        }
    }
}

/// Gives the candidate the name `path`, unless that is taken. Returns the file there.
fn create(candidate: &NamedTempFile, content: &[u8], path: &Path) -> io::Result<File> {
    match fs::hard_link(candidate.path(), path) {
        Ok(()) => candidate.reopen(),
        // The answer of a server may be lost, not the name.
        Err(_) if names(candidate.as_file()) == Some(2) => candidate.reopen(),
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => Err(error),
        Err(_) => {
            let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
            file.write_all(content)?;
            file.sync_data()?;
            Ok(file)
        }
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let told = told.or_else(|| ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok()));
    told.filter(|name| !name.is_empty()).unwrap_or_else(|| "an unknown machine".to_owned())
}

/// This start of this machine, and the container that the process is in: process numbers mean something only there.
fn world() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let container = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), container.display()))
}

/// When a process began, in the system's ticks since the machine was started. Nothing if it is not there, or has ended
/// and waits for its parent to notice.
fn process_began(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may have any characters.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // The 22nd field; the state is the third.
    fields.nth(18).filter(|_| !["Z", "X"].contains(&state))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn write(folder: &Path, holder: &Holder, age: Duration) {
        let path = folder.join(LOCK);
        fs::write(&path, serde_json::to_vec(holder).unwrap()).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    /// A process of another machine.
    fn stranger() -> Holder {
        Holder { host: "far".to_owned(), birth: None, ..Holder::new() }
    }

    #[test]
    fn one_has_the_lock_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lock::holder(folder.path()).is_none());
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        let held = Lock::take(folder.path()).unwrap().unwrap_err();
        let told = held.to_string();
        assert_eq!(told.split(", last heard").next(), Some(&*format!("process {}", std::process::id())), "{told}");
        assert_eq!(Lock::holder(folder.path()).unwrap().holder, held.holder);
        assert!(!lock.is_lost());
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        drop(Lock::take(folder.path()).unwrap().unwrap());
    }

    #[test]
    fn a_holder_elsewhere_is_dead_after_some_time() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &stranger(), PATIENCE - Duration::from_secs(20));
        let told = Lock::take(folder.path()).unwrap().unwrap_err().to_string();
        assert!(told.contains(" on far, last heard of 10"), "{told}");
        write(folder.path(), &stranger(), PATIENCE + Duration::from_secs(20));
        assert!(Lock::holder(folder.path()).is_none());
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        assert!(Lock::take(folder.path()).unwrap().is_err());
        // It was not dead after all, or somebody else thinks that this process is.
        write(folder.path(), &stranger(), Duration::ZERO);
        assert!(lock.is_lost());
        drop(lock);
        assert!(folder.path().join(LOCK).exists(), "the lock of another is not removed");
    }

    #[test]
    fn a_file_that_says_nobody_counts_by_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        // That of an earlier version, which was locked by other means.
        fs::write(&path, "4711\n").unwrap();
        let told = Lock::take(folder.path()).unwrap().unwrap_err().to_string();
        assert!(told.starts_with("an unknown process, last heard of 0 s ago"), "{told}");
        OpenOptions::new().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        Lock::take(folder.path()).unwrap().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_holder_here_is_dead_as_soon_as_its_process_is() {
        let folder = tempfile::tempdir().unwrap();
        let living = Holder::new();
        write(folder.path(), &living, 2 * PATIENCE);
        assert!(Lock::take(folder.path()).unwrap().is_err(), "it is there, even if it is stopped");
        // Another process has its number now.
        let mut earlier = living.clone();
        earlier.birth.as_mut().unwrap().time -= 1;
        write(folder.path(), &earlier, Duration::ZERO);
        drop(Lock::take(folder.path()).unwrap().unwrap());
        // A child that was killed, and that nobody has noticed yet.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let began = process_began(child.id());
        let mut holder = Holder { pid: child.id(), ..living.clone() };
        holder.birth.as_mut().unwrap().time = began.unwrap();
        write(folder.path(), &holder, Duration::ZERO);
        assert!(Lock::take(folder.path()).unwrap().is_err());
        child.kill().unwrap();
        while process_began(child.id()).is_some() {
            std::thread::yield_now();
        }
        drop(Lock::take(folder.path()).unwrap().unwrap());
        child.wait().unwrap();
        // The same number in another container.
        let mut other = living;
        other.birth.as_mut().unwrap().world += "x";
        other.birth.as_mut().unwrap().time += 1;
        write(folder.path(), &other, Duration::ZERO);
        assert!(Lock::take(folder.path()).unwrap().is_err());
    }

    #[test]
    fn one_of_many_takes_the_place_of_the_dead() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let dead = stranger();
            write(folder.path(), &dead, 2 * PATIENCE);
            // One that was killed while it took the place of the dead.
            let marker = folder.path().join(format!("{LOCK}-{}.tmp", dead.token));
            write(folder.path(), &stranger(), 2 * PATIENCE);
            fs::rename(folder.path().join(LOCK), &marker).unwrap();
            write(folder.path(), &dead, 2 * PATIENCE);
            let (have, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let Ok(lock) = Lock::take(folder.path()).unwrap() else { continue };
                            most.fetch_max(have.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            super::super::files::remove_leftovers(folder.path()).unwrap();
                            std::thread::yield_now();
                            have.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    });
                }
            });
            assert_eq!(most.load(Ordering::SeqCst), 1);
            let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(left.iter().all(|path| path.extension().is_some_and(|end| end == "tmp")), "{left:?}");
        }
    }
}
