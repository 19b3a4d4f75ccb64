//! Fetching the dataset into the user's cache folder: over HTTPS, or else from Debian's package.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tempfile::TempDir;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

use super::idx;
use super::known::{FILES, KnownFile, find};
use crate::system::files::{FileError, create_folder, write_bytes};

/// Where the dataset is published: its authors' repository; the HTTPS address of the bucket that the links of its
/// README point to; the copy that Keras downloads. The files are checked, so the servers need not be trusted.
const MIRRORS: [&str; 3] = [
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
];

/// The package that has the dataset in Debian and its derivatives.
const PACKAGE: &str = "dataset-fashion-mnist";

/// Where the files are in the package.
const PACKAGE_FOLDER: &str = "usr/share/datasets/fashion-mnist";

/// The dataset is not on this machine, and could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The system names no cache folder to fetch it into.
    #[error(
        "Fashion-MNIST is not on this machine, and there is no cache folder to fetch it into: set $HOME, or name a folder that has it by --data"
    )]
    NoCache,
    /// Every source failed.
    #[error(
        "Fashion-MNIST is not on this machine, and could not be fetched:\n{}\n\
         Install the package `{PACKAGE}` (Debian, Ubuntu), or put the four files of \
         https://github.com/zalandoresearch/fashion-mnist#get-the-data into a folder and name it by --data or $FASHION_MNIST_DIR.",
        attempts.iter().map(|attempt| format!("  {attempt}")).collect::<Vec<_>>().join("\n")
    )]
    AllFailed {
        /// What was tried, and why it failed.
        attempts: Vec<String>,
    },
    /// A fetched file cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Somewhere to get the files from.
trait Source {
    /// Its name in messages.
    fn name(&self) -> String;
    /// The bytes of a file, compressed or not. They may be wrong. At most `file.limit()` are used.
    fn get(&mut self, file: &KnownFile) -> Result<Vec<u8>, String>;
}

impl KnownFile {
    /// Longest copy of the file that is read, in bytes. Compression may add a little to bytes that it cannot reduce.
    fn limit(&self) -> u64 {
        self.bytes() + (1 << 16)
    }
}

/// Fetches the files that the folder `cache` lacks.
pub(super) fn fetch(cache: &Path, status: &dyn Fn(&str)) -> Result<(), FetchError> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let tls = TlsConfig::builder().root_certs(authorities()).build();
    let agent = agent_config(PATIENCE).https_only(true).tls_config(tls).build().new_agent();
    for url in MIRRORS {
        sources.push(Box::new(Mirror { url: url.to_owned(), agent: agent.clone() }));
    }
    sources.push(Box::new(Package { unpacked: None }));
    fetch_from(sources, &FILES, cache, status)
}

/// The certificate authorities that this machine trusts, of which one may be that of a proxy; where it names none,
/// those of Mozilla.
fn authorities() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::from(found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()))
}

/// Tries the sources one after the other, and keeps the files that are right.
fn fetch_from(
    sources: Vec<Box<dyn Source>>,
    files: &[&KnownFile],
    cache: &Path,
    status: &dyn Fn(&str),
) -> Result<(), FetchError> {
    create_folder(cache)?;
    status(&format!("Fashion-MNIST is not on this machine; fetching it into {}", cache.display()));
    let mut wanted: Vec<&KnownFile> = files.iter().rev().copied().filter(|file| !is_whole(cache, file)).collect();
    let mut attempts = Vec::new();
    for mut source in sources {
        let name = source.name();
        status(&format!("trying {name}"));
        while let Some(file) = wanted.last() {
            match source.get(file).and_then(|bytes| check(file, &bytes).map(|()| bytes)) {
                Ok(bytes) => {
                    let extension = if bytes.starts_with(&idx::GZIP_MAGIC) { ".gz" } else { "" };
                    let path = cache.join(format!("{}{extension}", file.name));
                    write_bytes(&path, &bytes)?;
                    // A damaged file of the other kind would be read instead.
                    if let Some(damaged) = find(cache, file).filter(|found| *found != path) {
                        fs::remove_file(&damaged).map_err(FileError::at("remove", &damaged))?;
                    }
                    status(&format!("got {}, {}, checksum ok", file.name, HumanBytes(bytes.len() as u64)));
                    wanted.pop();
                }
                Err(reason) => {
                    status(&format!("failed: {reason}"));
                    attempts.push(format!("{name}: {reason}"));
                    break;
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
    }
    Err(FetchError::AllFailed { attempts })
}

/// Whether an earlier try left the file in the cache folder.
fn is_whole(cache: &Path, file: &KnownFile) -> bool {
    let read = |path: PathBuf| idx::read(&path, idx::Expected::Exactly(file.dims));
    find(cache, file).is_some_and(|path| read(path).is_ok_and(|idx| idx.sha256() == file.sha256))
}

/// Whether these are the bytes of the file, compressed or not.
fn check(file: &KnownFile, bytes: &[u8]) -> Result<(), String> {
    let idx =
        idx::parse(bytes, idx::Expected::Exactly(file.dims)).map_err(|problem| format!("{}: {problem}", file.name))?;
    if idx.sha256() == file.sha256 { Ok(()) } else { Err(format!("{}: wrong content, by its SHA-256", file.name)) }
}

/// Reads to the end. More than `file.limit()` bytes are an error.
fn read_bounded(file: &KnownFile, source: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    source.take(file.limit() + 1).read_to_end(&mut bytes).map_err(|error| format!("{}: {error}", file.name))?;
    if bytes.len() as u64 > file.limit() {
        return Err(format!("{}: longer than {} bytes, which it cannot be", file.name, file.limit()));
    }
    Ok(bytes)
}

/// A folder on the web that has the compressed files.
struct Mirror {
    url: String,
    agent: ureq::Agent,
}

/// Longest wait for the next answer of a server.
const PATIENCE: Duration = Duration::from_secs(20);

fn agent_config(patience: Duration) -> ConfigBuilder<AgentScope> {
    ureq::Agent::config_builder()
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
}

impl Source for Mirror {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn get(&mut self, file: &KnownFile) -> Result<Vec<u8>, String> {
        let name = format!("{}.gz", file.name);
        let response = self.agent.get(format!("{}/{name}", self.url)).call();
        let body = response.map_err(|error| format!("{name}: {error}"))?.into_body();
        // Drawn only if the standard error is a terminal.
        let bar = match body.content_length() {
            Some(bytes) => ProgressBar::new(bytes).with_style(bar_style()),
            None => ProgressBar::no_length(),
        };
        bar.set_message(name);
        let bytes = read_bounded(file, bar.wrap_read(body.into_reader()));
        bar.finish_and_clear();
        bytes
    }
}

fn bar_style() -> ProgressStyle {
    let template = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    ProgressStyle::with_template(template).expect("a valid template")
}

/// Debian's package, downloaded and unpacked, but not installed, which would need root.
struct Package {
    unpacked: Option<TempDir>,
}

impl Source for Package {
    fn name(&self) -> String {
        format!("the package {PACKAGE}, by apt-get")
    }

    fn get(&mut self, file: &KnownFile) -> Result<Vec<u8>, String> {
        let folder = match &self.unpacked {
            Some(folder) => folder,
            None => self.unpacked.insert(unpack()?),
        };
        let folder = folder.path().join(PACKAGE_FOLDER);
        let path =
            find(&folder, file).ok_or_else(|| format!("the package has no {} in its {PACKAGE_FOLDER}", file.name))?;
        read_bounded(file, File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?)
    }
}

/// Downloads the package and unpacks it into a new folder.
fn unpack() -> Result<TempDir, String> {
    let in_folder = |error: io::Error| format!("a temporary folder could not be used: {error}");
    let folder = tempfile::tempdir().map_err(in_folder)?;
    let path = folder.path();
    apt_get(path, &["--version"])?;
    // With the system's list of packages. If that was never fetched, as in a new container, with one of our own.
    if let Err(reason) = apt_get(path, &["download", PACKAGE]) {
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(path.join(name)).map_err(in_folder)?;
        }
        let lists = format!("Dir::State::Lists={}/lists", path.display());
        let cache = format!("Dir::Cache={}/cache", path.display());
        let own = ["-o", &lists, "-o", &cache];
        let update = apt_get(path, &[&own[..], &["-o", "APT::Update::Error-Mode=any", "update"]].concat());
        // The update may have failed for a list that does not matter.
        let download = apt_get(path, &[&own[..], &["download", PACKAGE]].concat());
        download
            .map_err(|again| format!("{reason}; with a new list of packages: {}", update.err().unwrap_or(again)))?;
    }
    let entries = fs::read_dir(path).map_err(in_folder)?;
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let package = names.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).max();
    let package = package.ok_or("apt-get downloaded nothing")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(path))?;
    Ok(folder)
}

/// Runs apt-get in `folder`, as this user, with a limit on the time that it waits for a server.
fn apt_get(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let seconds = PATIENCE.as_secs();
    let mut command = Command::new("apt-get");
    for protocol in ["http", "https"] {
        command.arg("-o").arg(format!("Acquire::{protocol}::Timeout={seconds}"));
    }
    // As root, apt-get would download as another user, who cannot enter the folder.
    command.args(["-o", "Acquire::Retries=1", "-o", "APT::Sandbox::User=root"]);
    run(command.args(arguments).current_dir(folder))
}

/// Runs a program. If it fails, the error is its message.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {program} on this machine"),
        _ => format!("{program} could not be run: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // apt-get marks errors by `E:`; its last lines say less.
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines().find(|line| line.starts_with("E:")).or(lines().next_back()).unwrap_or("no message");
    Err(format!("{program} failed ({}): {message}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::cell::RefCell;
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// Three labels: `abc`.
    const ABC: KnownFile = KnownFile {
        name: "abc",
        dims: &[3],
        sha256: "379a7afbfd9f0de0a36184463dd209c260f4582821ea2e5e4c40c7eb713dbda2",
    };
    const ABC_BYTES: &[u8] = b"\0\0\x08\x01\0\0\0\x03abc";
    /// Two labels: `de`.
    const DE: KnownFile = KnownFile {
        name: "de",
        dims: &[2],
        sha256: "e536bf6e3d8ce2b710fb4e3e7a2f6e4fbf6b37badbf61a95677280f3eb9237b7",
    };
    const DE_BYTES: &[u8] = b"\0\0\x08\x01\0\0\0\x02de";

    /// Gives what it has for a file, and fails for the others.
    struct Fake(&'static str, Vec<(&'static str, Vec<u8>)>);

    impl Source for Fake {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn get(&mut self, file: &KnownFile) -> Result<Vec<u8>, String> {
            let found = self.1.iter().find(|(name, _)| *name == file.name);
            found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| format!("no {}", file.name))
        }
    }

    fn fetch_both(sources: Vec<Fake>, cache: &Path) -> (Result<(), FetchError>, Vec<String>) {
        let said = RefCell::new(Vec::new());
        let sources = sources.into_iter().map(|source| Box::new(source) as Box<dyn Source>).collect();
        let result = fetch_from(sources, &[&ABC, &DE], cache, &|line| said.borrow_mut().push(line.to_owned()));
        (result, said.into_inner())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_one_source_lacks_comes_from_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("new/folder");
        let sources = vec![
            Fake("first", vec![("abc", ABC_BYTES.to_vec())]),
            Fake("second", vec![("abc", b"not asked for".to_vec()), ("de", DE_BYTES.to_vec())]),
            Fake("third", vec![]),
        ];
        let (result, said) = fetch_both(sources, &cache);
        result.unwrap();
        assert_eq!(
            said[1..],
            [
                "trying first",
                "got abc, 11 B, checksum ok",
                "failed: no de",
                "trying second",
                "got de, 10 B, checksum ok"
            ]
        );
        assert_eq!(names(&cache), ["abc", "de"]);
        assert_eq!(fs::read(cache.join("abc")).unwrap(), ABC_BYTES);
    }

    #[test]
    fn what_is_whole_in_the_cache_is_not_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join("abc"), ABC_BYTES).unwrap();
        fs::write(cache.path().join("de"), b"cut off").unwrap();
        let mut compressed = GzEncoder::new(Vec::new(), Compression::none());
        compressed.write_all(DE_BYTES).unwrap();
        let compressed = compressed.finish().unwrap();
        let (result, said) = fetch_both(vec![Fake("only", vec![("de", compressed.clone())])], cache.path());
        result.unwrap();
        assert_eq!(said[1..], ["trying only", "got de, 33 B, checksum ok"]);
        assert_eq!(names(cache.path()), ["abc", "de.gz"]);
        assert_eq!(fs::read(cache.path().join("de.gz")).unwrap(), compressed);
    }

    #[test]
    fn wrong_content_is_not_kept_and_every_failure_is_told() {
        let cache = tempfile::tempdir().unwrap();
        let sources = vec![
            Fake("page", vec![("abc", b"<html>moved</html>".to_vec())]),
            Fake("other", vec![("abc", b"\0\0\x08\x01\0\0\0\x03abd".to_vec())]),
            Fake("none", vec![]),
        ];
        let (result, _) = fetch_both(sources, cache.path());
        let message = result.unwrap_err().to_string();
        for line in [
            "  page: abc: not the expected idx file: ",
            "  other: abc: wrong content, by its SHA-256\n",
            "  none: no abc\n",
        ] {
            assert!(message.contains(line), "{message}");
        }
        assert!(message.contains("--data or $FASHION_MNIST_DIR"), "{message}");
        assert!(names(cache.path()).is_empty());
    }

    #[test]
    fn an_unusable_cache_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let (result, _) = fetch_both(vec![], &file.join("cache"));
        assert!(result.unwrap_err().to_string().starts_with(&format!("could not create {}", file.display())));
    }

    #[test]
    fn an_endless_answer_is_cut_off() {
        let message = read_bounded(&ABC, io::repeat(0)).unwrap_err();
        assert_eq!(message, "abc: longer than 65547 bytes, which it cannot be");
        assert_eq!(read_bounded(&ABC, ABC_BYTES).unwrap(), ABC_BYTES);
    }

    /// A mirror on this machine, which sends `answer` to its only caller and then waits until that hangs up.
    fn mirror(answer: Vec<u8>) -> (Mirror, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/folder", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut caller, _) = listener.accept().unwrap();
            let mut request = [0; 1000];
            let len = caller.read(&mut request).unwrap();
            // The caller may hang up in the middle of it.
            let _ = caller.write_all(&answer);
            let _ = caller.read(&mut [0]);
            String::from_utf8_lossy(&request[..len]).into_owned()
        });
        let agent = agent_config(Duration::from_millis(300)).proxy(None).build().new_agent();
        (Mirror { url, agent }, server)
    }

    fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n").as_bytes(), body].concat()
    }

    fn got_from_mirror(answer: Vec<u8>) -> (Result<Vec<u8>, String>, String) {
        let (mut mirror, server) = mirror(answer);
        let got = mirror.get(&ABC);
        drop(mirror);
        (got, server.join().unwrap())
    }

    #[test]
    fn a_mirror_gives_the_compressed_file() {
        let (got, request) = got_from_mirror(answer("200 OK", 11, ABC_BYTES));
        assert_eq!(got.unwrap(), ABC_BYTES);
        assert!(request.starts_with("GET /folder/abc.gz HTTP/1.1\r\n"), "{request}");
    }

    #[test]
    fn a_mirror_that_lacks_the_file_stops_early_or_falls_silent_is_an_error() {
        let missing = got_from_mirror(answer("404 Not Found", 4, b"none")).0.unwrap_err();
        assert!(missing.starts_with("abc.gz: ") && missing.contains("404"), "{missing}");
        // It never sends the rest, so these wait until the patience ends.
        for silent in [answer("200 OK", 11, &ABC_BYTES[..5]), Vec::new()] {
            let message = got_from_mirror(silent).0.unwrap_err();
            assert!(message.starts_with("abc") && message.contains("timeout"), "{message}");
        }
        let endless = got_from_mirror(answer("200 OK", 1 << 30, &vec![0; 1 << 18])).0.unwrap_err();
        assert_eq!(endless, "abc: longer than 65547 bytes, which it cannot be");
    }

    #[test]
    fn a_failing_program_is_an_error_with_its_last_words() {
        assert_eq!(
            run(&mut Command::new("no-such-program")).unwrap_err(),
            "there is no no-such-program on this machine"
        );
        let folder = tempfile::tempdir().unwrap();
        let extract = |command: &mut Command| {
            run(command.arg("--extract").arg(folder.path().join("none.deb")).arg(folder.path()))
        };
        assert!(extract(&mut Command::new("dpkg-deb")).is_err());
        assert!(names(folder.path()).is_empty());
    }

    /// Needs the network or a package mirror: `cargo test -p resconv -- --ignored fetch`.
    #[test]
    #[ignore = "downloads 30 MB"]
    fn the_dataset_is_fetched() {
        let cache = tempfile::tempdir().unwrap();
        fetch(cache.path(), &|line| println!("{line}")).unwrap();
        for file in FILES {
            assert!(is_whole(cache.path(), file), "{}", file.name);
        }
    }
}
