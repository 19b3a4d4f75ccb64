//! Running the real binary, on a small dataset that the tests write.

use image::{Rgb, RgbImage};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) const TRAIN_IMAGES: u32 = 40;
pub(crate) const TEST_IMAGES: u32 = 20;

/// A process that a test started. It is killed if the test fails before the process has ended.
pub(crate) struct Started(Option<Child>);

impl Started {
    /// Starts it; what it prints can be read.
    pub(crate) fn new(command: &mut Command) -> Started {
        Started(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// Waits until it has ended.
    pub(crate) fn output(mut self) -> Output {
        self.0.take().expect("it is taken here alone").wait_with_output().unwrap()
    }
}

impl Deref for Started {
    type Target = Child;
    fn deref(&self) -> &Child {
        self.0.as_ref().expect("nobody waits for it yet")
    }
}

impl DerefMut for Started {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().expect("nobody waits for it yet")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder for a test, with a dataset in `data`.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.path("data")).unwrap();
        for (name, count) in [("train", TRAIN_IMAGES), ("t10k", TEST_IMAGES)] {
            let images: Vec<u8> = (0..count).flat_map(image).collect();
            place.write_idx(&format!("{name}-images-idx3-ubyte"), &[count, 28, 28], &images);
            place.write_idx(&format!("{name}-labels-idx1-ubyte"), &[count], &vec![0; count as usize]);
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_idx(&self, name: &str, dims: &[u32], data: &[u8]) {
        let header = [0, 0, 8, dims.len() as u8].into_iter().chain(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        let content: Vec<u8> = header.chain(data.iter().copied()).collect();
        fs::write(self.path("data").join(name), content).unwrap();
    }

    /// The binary in this folder, which finds no other dataset on this machine and writes nowhere else.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepare(Command::new(env!("CARGO_BIN_EXE_resconv")), arguments)
    }

    /// As [`command`](Self::command), with a command that has more in its environment.
    pub(crate) fn prepare(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env_remove("XDG_CACHE_HOME").env_remove("FASHION_MNIST_DIR");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the binary, which must succeed, and returns what it prints.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        assert_eq!(err, "", "{arguments:?}");
        out
    }

    /// Runs the binary, which must fail with one clear message, and returns that.
    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        failure(&self.run(arguments))
    }

    /// Names of the files in a folder; none if there is no folder.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn read_text(&self, name: &str) -> String {
        text(&self.read(name))
    }
}

/// The one message of a command that must have failed, without its `error: `.
pub(crate) fn failure(output: &Output) -> String {
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(!err.contains("panicked"), "{err}");
    let message = err.strip_prefix("error: ").unwrap_or_else(|| panic!("{err}")).trim_end().to_owned();
    assert!(!message.contains('\n') && !message.contains("error: "), "more than one message: {err}");
    message
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A bright rectangle on black, of another size and place in every image.
fn image(i: u32) -> Vec<u8> {
    let (width, height) = (6 + i % 11, 8 + i % 7);
    let (left, top) = (i % 9, 2 + i % 5);
    let inside = |at: u32, from: u32, len: u32| (from..from + len).contains(&at);
    (0..28 * 28).map(|p| if inside(p % 28, left, width) && inside(p / 28, top, height) { 200 } else { 0 }).collect()
}

/// The arguments of a small run, to which more are added.
pub(crate) fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let small = ["train", "--data=data", "--unverified-data", "--layers=2", "--channels=4", "--size=8", "--batch=8"];
    small.into_iter().chain(more.iter().copied()).collect()
}

/// A file of `tests/data`.
pub(crate) fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).to_str().unwrap().to_owned()
}

/// Writes small pictures in colour to the folders `photos/train` and `photos/validation`.
pub(crate) fn write_photos(place: &Place) {
    for part in ["train", "validation"] {
        std::fs::create_dir_all(place.path(&format!("photos/{part}"))).unwrap();
        for i in 0..3 {
            let level = |x: u32, y: u32, c: u32| ((x * (3 + i) + y * 2 + c * 40) % 256) as u8;
            let photo = RgbImage::from_fn(40 + i, 33, |x, y| Rgb([0, 1, 2].map(|c| level(x, y, c))));
            photo.save(place.path(&format!("photos/{part}/{i}.png"))).unwrap();
        }
    }
}
