//! Where the dataset is on this machine.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{DataError, FILES, KnownFile, fetch};

/// How a folder came to be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user's `--data`.
    Argument,
    /// The user's `$FASHION_MNIST_DIR`.
    Environment,
    /// The user's cache folder.
    Cache,
    /// The folder of the system's package.
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Argument => "--data",
            Origin::Environment => "$FASHION_MNIST_DIR",
            Origin::Cache => "cache folder",
            Origin::System => "system package",
        })
    }
}

/// A folder that has all files of the dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// How it was found.
    pub origin: Origin,
}

/// As messages name it: `/usr/share/datasets/fashion-mnist (system package)`.
impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.origin)
    }
}

impl Folder {
    /// The files in the order of [`FILES`].
    pub(super) fn files(&self) -> [(&'static KnownFile, PathBuf); 4] {
        FILES.map(|file| (file, find(&self.path, file).unwrap_or_else(|| self.path.join(file.name))))
    }
}

/// The file in `folder`, plain if it is there, else compressed.
pub(super) fn find(folder: &Path, file: &KnownFile) -> Option<PathBuf> {
    [folder.join(file.name), folder.join(format!("{}.gz", file.name))].into_iter().find(|path| path.is_file())
}

fn missing(folder: &Path) -> Vec<&'static str> {
    FILES.iter().filter(|file| find(folder, file).is_none()).map(|file| file.name).collect()
}

/// The folders to look into, in order of precedence: `--data`, `$FASHION_MNIST_DIR`, the user's cache folder (on Linux
/// `~/.cache/resconv/fashion-mnist`), `/usr/share/datasets/fashion-mnist`.
///
/// A folder that the user named must have the dataset: nothing else is tried then.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The value of `--data`, if given.
    pub argument: Option<PathBuf>,
    /// The value of `$FASHION_MNIST_DIR`, if set and not empty.
    pub environment: Option<PathBuf>,
    /// The user's cache folder for this dataset, where a fetched one goes; none if the system tells none.
    pub cache: Option<PathBuf>,
    /// Where the system's package has it.
    pub system: Option<PathBuf>,
    /// Whether files are taken whose sums are not the dataset's, with any number of images. For experiments with other images.
    pub unverified: bool,
}

impl Search {
    /// The folders of this process and user, with the value of `--data`.
    pub fn new(argument: Option<PathBuf>) -> Search {
        Search {
            argument,
            environment: env::var_os("FASHION_MNIST_DIR").filter(|value| !value.is_empty()).map(PathBuf::from),
            cache: dirs::cache_dir().map(|folder| folder.join("resconv").join("fashion-mnist")),
            system: Some(PathBuf::from("/usr/share/datasets/fashion-mnist")),
            unverified: false,
        }
    }

    /// The first folder that has the dataset's files; none if it is not on this machine.
    ///
    /// # Errors
    /// [`DataError::NoDataset`] if the user named a folder, and it has not all of them.
    pub fn locate(&self) -> Result<Option<Folder>, DataError> {
        let named = self.argument.as_ref().map(|path| (path, Origin::Argument));
        let named = named.or(self.environment.as_ref().map(|path| (path, Origin::Environment)));
        if let Some((path, origin)) = named {
            let path = path.clone();
            if path.read_dir().is_err() {
                return Err(DataError::NoDataset { origin, path, missing: Vec::new() });
            }
            let missing = missing(&path);
            if !missing.is_empty() {
                return Err(DataError::NoDataset { origin, path, missing });
            }
            return Ok(Some(Folder { path, origin }));
        }
        let cache = self.cache.as_ref().map(|path| (path, Origin::Cache));
        let system = self.system.as_ref().map(|path| (path, Origin::System));
        let found = cache.into_iter().chain(system).find(|(path, _)| missing(path).is_empty());
        Ok(found.map(|(path, origin)| Folder { path: path.clone(), origin }))
    }

    /// The folder that [`locate`](Self::locate) finds; if there is none, the dataset is fetched into the cache folder. `say` is told
    /// what is tried.
    ///
    /// # Errors
    /// As `locate`, or [`DataError::Fetch`] if nothing that was tried worked, or [`DataError::File`] if the cache cannot be written.
    pub fn locate_or_fetch(&self, say: &dyn Fn(&str)) -> Result<Folder, DataError> {
        if let Some(folder) = self.locate()? {
            return Ok(folder);
        }
        let cache = self.cache.as_ref().ok_or(fetch::FetchError::NoCache)?;
        fetch::fetch(cache, say)?;
        Ok(Folder { path: cache.clone(), origin: Origin::Cache })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        folder
    }

    fn whole() -> tempfile::TempDir {
        folder_with(&[
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ])
    }

    fn owned(folder: &tempfile::TempDir) -> Option<PathBuf> {
        Some(folder.path().to_owned())
    }

    #[test]
    fn the_order_is_argument_environment_cache_system() {
        let [argument, environment, cache, system] = [whole(), whole(), whole(), whole()];
        let mut search = Search {
            argument: owned(&argument),
            environment: owned(&environment),
            cache: owned(&cache),
            system: owned(&system),
            unverified: false,
        };
        let found = |search: &Search, folder: &tempfile::TempDir, origin| {
            assert_eq!(search.locate().unwrap(), Some(Folder { path: folder.path().to_owned(), origin }));
        };
        found(&search, &argument, Origin::Argument);
        search.argument = None;
        found(&search, &environment, Origin::Environment);
        search.environment = None;
        found(&search, &cache, Origin::Cache);
        fs::remove_file(cache.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
        found(&search, &system, Origin::System);
        search.system = None;
        assert_eq!(search.locate().unwrap(), None);
        search.cache = None;
        assert_eq!(search.locate().unwrap(), None);
    }

    #[test]
    fn a_named_folder_that_is_wrong_is_an_error_and_nothing_else_is_tried() {
        let (system, incomplete) = (whole(), folder_with(&["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"]));
        let search = Search { argument: owned(&incomplete), system: owned(&system), ..Search::default() };
        let expected = format!(
            "--data: {} does not hold Fashion-MNIST: train-labels-idx1-ubyte[.gz], t10k-images-idx3-ubyte[.gz] not found there",
            incomplete.path().display()
        );
        assert_eq!(search.locate().unwrap_err().to_string(), expected);

        let search = Search { environment: Some("/nonexistent".into()), system: owned(&system), ..Search::default() };
        let expected = "$FASHION_MNIST_DIR: /nonexistent is not a folder that can be read";
        assert_eq!(search.locate().unwrap_err().to_string(), expected);
    }

    #[test]
    fn plain_files_are_preferred() {
        let folder = whole();
        let names = Folder { path: folder.path().to_owned(), origin: Origin::Cache }.files().map(|(file, path)| {
            assert!(path.starts_with(folder.path()), "{}", file.name);
            path.file_name().unwrap().to_str().unwrap().to_owned()
        });
        let expected = [
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte.gz",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn without_a_cache_folder_nothing_is_fetched() {
        let error = Search::default().locate_or_fetch(&|line| panic!("tried: {line}")).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
