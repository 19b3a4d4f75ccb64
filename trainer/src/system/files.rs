//! Files that are either complete or absent: every output is written to a temporary file in the same folder, which is
//! then renamed.
//!
//! What is at the path stays what it is: links are followed, a file that is replaced keeps its rights, and devices and
//! pipes are written into. [`check_outputs`] is for paths that the user names.

pub use super::replace::is_leftover;

use super::replace::{self, persist, temporary};
use super::rights::give;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf, Prefix};
use tempfile::NamedTempFile;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 16;

/// Something could not be done with a file or folder. The message names the path and the reason.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}: {cause}", path.display())]
pub struct FileError {
    /// What was tried, as a verb: `create`, `read`, `write`.
    pub action: &'static str,
    /// The file or folder that it was tried on.
    pub path: PathBuf,
    /// The reason.
    pub cause: io::Error,
}

impl FileError {
    /// For `map_err`: the error of doing `action` with `path`.
    pub fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
        move |cause| FileError { action, path: path.to_owned(), cause }
    }

    /// The content of the file `path` is wrong.
    pub(crate) fn content(path: &Path, reason: impl Into<Box<dyn Error + Send + Sync>>) -> FileError {
        FileError::at("use", path)(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

/// Refuses to write to the paths that the user named, before anything is computed for them: to files that are there,
/// unless `overwrite` allows it, and to one file twice. Devices and pipes are free.
///
/// # Errors
/// [`OutputError`].
pub fn check_outputs<'a>(paths: impl IntoIterator<Item = &'a Path>, overwrite: bool) -> Result<(), OutputError> {
    let mut files = BTreeSet::new();
    for path in paths {
        let Place::File(file) = place(path).map_err(FileError::at("write", path))? else { continue };
        if file.is_dir() {
            return Err(FileError::at("write", path)(io::ErrorKind::IsADirectory.into()).into());
        }
        if file.exists() && !overwrite {
            return Err(OutputError::Exists { path: path.to_owned() });
        }
        let folder = folder_of(&file).canonicalize().unwrap_or_else(|_| folder_of(&file).to_owned());
        if !files.insert(folder.join(file.file_name().unwrap_or_default())) {
            return Err(OutputError::Twice { path: path.to_owned() });
        }
    }
    Ok(())
}

/// A path that the user named is not written to.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file is there, and would be overwritten.
    #[error("{} exists: use --force to overwrite it, or choose another place", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Two things would be written to one file.
    #[error("{}: two files would be written there: choose different places", path.display())]
    Twice {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be looked at, or is a folder.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where that goes which is written to a path.
#[derive(Debug)]
enum Place {
    /// To a file at this path, the end of all links. It need not be there.
    File(PathBuf),
    /// Into a device, a pipe, or an open file of a process.
    Stream,
}

fn place(path: &Path) -> io::Result<Place> {
    if is_named_device(path) {
        return Ok(Place::Stream);
    }
    match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => return Ok(Place::Stream),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut end = path.to_owned();
    while let Ok(target) = fs::read_link(&end) {
        let folder = folder_of(&end);
        // Its links are open files: /dev/stdout leads there, and may be a file that a shell has opened.
        if folder.canonicalize()?.starts_with("/proc") {
            return Ok(Place::Stream);
        }
        end = folder.join(target);
    }
    Ok(Place::File(end))
}

/// Whether the path is the name of a device of Windows, such as `NUL`, which has no metadata.
fn is_named_device(path: &Path) -> bool {
    let absolute = std::path::absolute(path);
    let first = absolute.as_ref().ok().and_then(|path| path.components().next());
    matches!(first, Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::DeviceNS(_)))
}

/// Writes into what is at `path`.
fn write_into(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Opened again, a file would be written from its beginning.
    let stream: Box<dyn Write> = match path.to_str() {
        Some("/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Box::new(io::stdout()),
        Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => Box::new(io::stderr()),
        _ => Box::new(OpenOptions::new().append(true).open(path)?),
    };
    let mut buffered = BufWriter::with_capacity(BUFFER, stream);
    write(&mut buffered)?;
    buffered.flush()
}

/// Writes the file `path` by `write`, so that a reader sees, and a crash leaves, either the old content or the complete
/// new one.
///
/// The content goes to a temporary file in the same folder, which is flushed to the disk and then renamed. After an
/// error, `path` is unchanged, and the temporary file is removed. A link stays a link to the file that is replaced, and
/// the rights of that file stay. A device or a pipe is written into.
///
/// # Errors
/// [`FileError`] if the folder does not exist or is not writable, the disk is full, `write` fails, or `path` is a
/// folder.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    Staged::new(path, write)?.commit()
}

/// Writes `content` as the file `path`, as [`write_atomic`] does.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_bytes(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_atomic(path, |file| file.write_all(content))
}

/// The text of the file `path`, if it has at most `limit` bytes. No more are read.
///
/// # Errors
/// [`FileError`] if it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let bytes = read_bytes(path, limit)?;
    let invalid = |error| FileError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, error));
    String::from_utf8(bytes).map_err(|error| invalid(error.utf8_error()))
}

/// The content of the file `path`, if it has at most `limit` bytes. No more are read.
///
/// # Errors
/// [`FileError`] if it cannot be read, or is longer.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let reason = format!("longer than {limit} bytes, which it cannot be");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        Ok(bytes)
    };
    read().map_err(FileError::at("read", path))
}

/// Writes a value, as JSON, as the file `path`, as [`write_atomic`] does.
///
/// # Errors
/// As [`write_atomic`], or if it cannot be JSON.
pub(crate) fn write_json(path: &Path, json: serde_json::Result<String>) -> Result<(), FileError> {
    let json = json.map_err(io::Error::from).map_err(FileError::at("write", path))?;
    write_bytes(path, format!("{json}\n").as_bytes())
}

/// The value in the JSON file `path`, if it has at most `limit` bytes.
///
/// # Errors
/// [`FileError`] if the file cannot be read, is longer, or is not such a value.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, FileError> {
    serde_json::from_str(&read_text(path, limit)?).map_err(io::Error::from).map_err(FileError::at("use", path))
}

/// A file that is written and flushed to the disk, under a temporary name in the folder where it is going to be. What
/// goes into a device or a pipe is there already.
///
/// Without [`commit`](Self::commit), dropping it removes the file. If the process is killed, the file stays, under a
/// name that begins with a dot and ends with `.tmp`, until [`remove_leftovers`].
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    /// Where the file is going to be, and the file.
    file: Option<(PathBuf, NamedTempFile)>,
}

impl Staged {
    /// Writes the content of the file `path` by `write`.
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn new(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Staged, FileError> {
        let stage = || match place(path)? {
            Place::File(end) => stage(&end, write).map(|temporary| Some((end, temporary))),
            Place::Stream => write_into(path, write).map(|()| None),
        };
        Ok(Staged { path: path.to_owned(), file: stage().map_err(FileError::at("write", path))? })
    }

    /// Renames it to its path.
    ///
    /// # Errors
    /// [`FileError`] if the path is a folder, or the disk fails.
    pub fn commit(self) -> Result<(), FileError> {
        let Some((end, temporary)) = self.file else { return Ok(()) };
        let commit = || {
            persist(temporary, &end)?;
            sync_folder(folder_of(&end))
        };
        commit().map_err(FileError::at("write", &self.path))
    }
}

fn stage(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<NamedTempFile> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    }
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // The result must have the rights of any other new file.
    let mut temporary = temporary(folder_of(path), 0o666)?;
    if let Ok(before) = path.metadata() {
        keep_rights(temporary.as_file(), &before)?;
    }
    let mut buffered = BufWriter::with_capacity(BUFFER, temporary.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    sync(temporary.as_file())?;
    Ok(temporary)
}

/// Gives a new file the rights, and where possible the owner, of the one that it is going to replace.
fn keep_rights(new: &File, before: &Metadata) -> io::Result<()> {
    give(new, before);
    // Some file systems have the same rights for all files, and refuse to set them.
    if new.metadata()?.permissions() == before.permissions() {
        return Ok(());
    }
    new.set_permissions(before.permissions())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Removes the files that killed processes left in `folder`. No other process may write to it at the same time.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn remove_leftovers(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::at("look into", folder))? {
        let entry = entry.map_err(FileError::at("look into", folder))?;
        if is_leftover(&entry.file_name()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the file `path`, if it is there.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Gives the file `from` a second name, replacing what is at `to`: `from` stays there at every moment, for its readers.
/// A file system without hard links makes that impossible; there it is renamed, or copied if `from` is a link.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn keep_as(from: &Path, to: &Path) -> Result<(), FileError> {
    remove(to)?;
    let otherwise = |_| if from.is_symlink() { fs::copy(from, to).map(drop) } else { replace::rename(from, to) };
    let keep = || fs::hard_link(from.canonicalize()?, to).or_else(otherwise);
    keep().map_err(FileError::at("keep", from))
}

/// Renames a file, replacing what is at `to`.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    replace::rename(from, to).map_err(FileError::at("rename", from))
}

/// Makes what was written survive a loss of power, where the file can be flushed: devices and some file systems cannot.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Makes a renaming survive a loss of power. Only Unix can open folders, if the user may read them, and some of its
/// file systems cannot flush them, for which they have many errors. The file in it is flushed already, so only the
/// disk's own errors count.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(folder).map_or(Ok(()), |folder| folder.sync_all()).or_else(|error| match is_of_disk(&error) {
        true => Err(error),
        false => Ok(()),
    })
}

/// Whether an error is that of a disk that is full or broken.
fn is_of_disk(error: &io::Error) -> bool {
    /// Of every Unix; it has no kind.
    const EIO: i32 = 5;
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    full || error.raw_os_error() == Some(EIO)
}

/// The path from the root, if it can be written as text.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).ok().filter(|path| path.to_str().is_some());
    absolute.unwrap_or_else(|| path.to_owned())
}

/// Creates the folder `path` and its parents, unless they exist.
///
/// # Errors
/// [`FileError`] if that is not allowed, or a file is in the way.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::at("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_content_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        write_bytes(&path, b"first, and longer").unwrap();
        write_bytes(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["metrics.csv"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_bytes(&path, b"old").unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(&vec![7; 1 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("could not write ") && message.contains("model.safetensors: "), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["model.safetensors"]);
    }

    #[test]
    fn a_folder_in_the_way_and_a_missing_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none/file"), PathBuf::from("/"), PathBuf::from("..")]
        {
            let message = write_bytes(&path, b"x").unwrap_err().to_string();
            assert!(message.starts_with(&format!("could not write {}: ", path.display())), "{message}");
        }
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_is_not_committed_leaves_nothing_and_what_was_killed_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        write_bytes(&path, b"old").unwrap();
        let staged = Staged::new(&path, |file| file.write_all(b"new")).unwrap();
        let killed = names(folder.path()).into_iter().find(|name| name.ends_with(".tmp")).unwrap();
        assert!(is_leftover(OsStr::new(&killed)), "{killed}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(staged);
        assert_eq!(names(folder.path()), ["checkpoint.safetensors"]);

        fs::write(folder.path().join(&killed), b"half").unwrap();
        fs::write(folder.path().join("mine.tmp"), b"mine").unwrap();
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["checkpoint.safetensors", "mine.tmp"]);
        Staged::new(&path, |file| file.write_all(b"new")).unwrap().commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        let message = read_text(&path, 4).unwrap_err().to_string();
        assert!(message.contains("my.toml: longer than 4 bytes"), "{message}");
        fs::write(&path, b"\xff").unwrap();
        let message = read_text(&path, 4).unwrap_err().to_string();
        assert!(message.contains("my.toml: invalid utf-8"), "{message}");
        #[cfg(target_os = "linux")]
        assert!(read_bytes(Path::new("/dev/zero"), 1 << 10).unwrap_err().to_string().contains("longer than 1024"));
    }

    #[test]
    fn a_file_that_is_kept_outlives_what_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let (newest, kept) = (folder.path().join("checkpoint"), folder.path().join("checkpoint-1"));
        write_bytes(&kept, b"what a killed process left").unwrap();
        write_bytes(&newest, b"first").unwrap();
        keep_as(&newest, &kept).unwrap();
        assert_eq!((fs::read(&newest).unwrap(), fs::read(&kept).unwrap()), (b"first".to_vec(), b"first".to_vec()));
        write_bytes(&newest, b"second").unwrap();
        assert_eq!((fs::read(&newest).unwrap(), fs::read(&kept).unwrap()), (b"second".to_vec(), b"first".to_vec()));
        let message = keep_as(&folder.path().join("none"), &kept).unwrap_err().to_string();
        assert!(message.starts_with("could not keep "), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn the_result_has_the_rights_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_bytes(&ours, b"").unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_rights_are_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [far, link, second, broken] = ["far", "link", "second", "broken"].map(|name| folder.path().join(name));
        fs::create_dir(&far).unwrap();
        let file = far.join("file");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink("far/file", &link).unwrap();
        symlink("link", &second).unwrap();
        symlink("far/new", &broken).unwrap();
        write_bytes(&second, b"new").unwrap();
        write_bytes(&broken, b"first").unwrap();
        assert_eq!(
            (fs::read(&file).unwrap(), fs::read(far.join("new")).unwrap()),
            (b"new".to_vec(), b"first".to_vec())
        );
        assert!([&link, &second, &broken].into_iter().all(|path| path.is_symlink()));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!((names(&far), names(folder.path()).len()), (vec!["file".to_owned(), "new".to_owned()], 4));

        // What is kept of a link is the content, not the link.
        keep_as(&link, &folder.path().join("kept")).unwrap();
        write_bytes(&link, b"newest").unwrap();
        assert_eq!(fs::read(folder.path().join("kept")).unwrap(), b"new");

        symlink("round", folder.path().join("round")).unwrap();
        assert!(write_bytes(&folder.path().join("round"), b"").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        check_outputs([pipe.as_path(), Path::new("/dev/null"), Path::new("/dev/null")], false).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_bytes(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert_eq!(names(folder.path()), ["pipe"]);
        write_bytes(Path::new("/dev/null"), b"away").unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
        #[cfg(target_os = "linux")]
        {
            let message = write_bytes(Path::new("/dev/full"), b"x").unwrap_err().to_string();
            assert!(message.starts_with("could not write /dev/full: No space left"), "{message}");
        }
    }

    #[cfg(windows)]
    #[test]
    fn devices_have_names_on_windows() {
        check_outputs([Path::new("NUL"), Path::new("nul")], false).unwrap();
        write_bytes(Path::new("NUL"), b"away").unwrap();
    }

    #[test]
    fn outputs_are_refused_before_they_are_lost() {
        let folder = tempfile::tempdir().unwrap();
        let [there, new] = ["there", "new"].map(|name| folder.path().join(name));
        fs::write(&there, "mine").unwrap();
        check_outputs([new.as_path()], false).unwrap();
        let message = check_outputs([new.as_path(), &there], false).unwrap_err().to_string();
        let told = format!("{} exists: use --force to overwrite it, or choose another place", there.display());
        assert_eq!(message, told);
        check_outputs([new.as_path(), &there], true).unwrap();
        let same = folder.path().join(".").join("new");
        let message = check_outputs([new.as_path(), &same], true).unwrap_err().to_string();
        assert!(message.contains("two files would be written there"), "{message}");
        let message = check_outputs([folder.path()], true).unwrap_err().to_string();
        assert!(message.starts_with("could not write "), "{message}");
    }

    #[test]
    fn a_name_may_be_as_long_as_the_file_system_allows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(255));
        write_bytes(&path, b"content").unwrap();
        write_bytes(&path, b"again").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"again");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_flushed_is_no_error_but_a_broken_disk_is() {
        // EBADF, EACCES, EINVAL, ENOSYS and ENOTTY, then EIO, ENOSPC and EDQUOT, of Linux.
        for errno in [9, 13, 22, 38, 25] {
            assert!(!is_of_disk(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        #[cfg(target_os = "linux")]
        for errno in [5, 28, 122] {
            assert!(is_of_disk(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        sync_folder(Path::new("/dev/null")).unwrap();
        sync(&OpenOptions::new().write(true).open("/dev/null").unwrap()).unwrap();
    }

    #[test]
    fn a_folder_is_made_with_its_parents_and_may_exist() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        create_folder(&deep).unwrap();
        create_folder(&deep).unwrap();
        write_bytes(&deep.join("file"), b"x").unwrap();
        let message = create_folder(&deep.join("file/c")).unwrap_err().to_string();
        assert!(message.starts_with("could not create "), "{message}");
    }
}
