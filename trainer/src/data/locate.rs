//! Where the dataset is on this machine.

use super::error::DataError;
use super::fetch::FetchError;
use super::known::{DatasetFolder, FoundBy, missing};
use std::env;
use std::path::{Path, PathBuf};

/// The folders to look into, in order of precedence: `--data`, `$FASHION_MNIST_DIR`, the user's cache folder (on Linux
/// `~/.cache/resconv/fashion-mnist`), `/usr/share/datasets/fashion-mnist`.
///
/// If the user named a folder, no other is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The value of `--data`, if given.
    pub argument: Option<PathBuf>,
    /// The value of `$FASHION_MNIST_DIR`, if set and not empty.
    pub environment: Option<PathBuf>,
    /// The user's cache folder for this dataset, which a fetched dataset is written to. `None` if the system does not
    /// name one.
    pub cache: Option<PathBuf>,
    /// Where the system's package puts it.
    pub system: Option<PathBuf>,
    /// Whether to accept files with other checksums, and any number and size of images. For experiments with other
    /// images.
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

    /// The first folder that has the dataset's files. `None` if it is not on this machine.
    ///
    /// # Errors
    /// [`DataError::NoDataset`] if the user named a folder that lacks some of them.
    pub(crate) fn locate(&self) -> Result<Option<DatasetFolder>, DataError> {
        let named = self.argument.as_ref().map(|path| (path, FoundBy::Argument));
        let named = named.or(self.environment.as_ref().map(|path| (path, FoundBy::Environment)));
        if let Some((path, found_by)) = named {
            let path = path.clone();
            if path.read_dir().is_err() {
                let problem = "is not a folder that can be read".to_owned();
                return Err(DataError::NoDataset { found_by, path, problem });
            }
            let missing: Vec<String> = missing(&path).iter().map(|name| format!("{name}[.gz]")).collect();
            if !missing.is_empty() {
                let problem = format!("does not hold Fashion-MNIST: {} not found there", missing.join(", "));
                return Err(DataError::NoDataset { found_by, path, problem });
            }
            return Ok(Some(DatasetFolder { path, found_by }));
        }
        let cache = self.cache.as_ref().map(|path| (path, FoundBy::Cache));
        let system = self.system.as_ref().map(|path| (path, FoundBy::System));
        let found = cache.into_iter().chain(system).find(|(path, _)| missing(path).is_empty());
        Ok(found.map(|(path, found_by)| DatasetFolder { path: path.clone(), found_by }))
    }

    /// The folder that [`locate`](Self::locate) finds. If there is none, the dataset is fetched into the cache folder
    /// by `fetch`.
    ///
    /// # Errors
    /// As `locate`, or [`DataError::Fetch`] if the dataset cannot be fetched or the cache cannot be written.
    pub(super) fn locate_or_fetch(
        &self,
        fetch: &dyn Fn(&Path) -> Result<(), FetchError>,
    ) -> Result<DatasetFolder, DataError> {
        if let Some(folder) = self.locate()? {
            return Ok(folder);
        }
        let cache = self.cache.as_ref().ok_or(FetchError::NoCache)?;
        fetch(cache)?;
        Ok(DatasetFolder { path: cache.clone(), found_by: FoundBy::Cache })
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
        let found = |search: &Search, folder: &tempfile::TempDir, found_by| {
            assert_eq!(search.locate().unwrap(), Some(DatasetFolder { path: folder.path().to_owned(), found_by }));
        };
        found(&search, &argument, FoundBy::Argument);
        search.argument = None;
        found(&search, &environment, FoundBy::Environment);
        search.environment = None;
        found(&search, &cache, FoundBy::Cache);
        fs::remove_file(cache.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
        found(&search, &system, FoundBy::System);
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

        let none = system.path().join("none");
        let search = Search { environment: Some(none.clone()), system: owned(&system), ..Search::default() };
        let expected = format!("$FASHION_MNIST_DIR: {} is not a folder that can be read", none.display());
        assert_eq!(search.locate().unwrap_err().to_string(), expected);
    }

    #[test]
    fn plain_files_are_preferred() {
        let folder = whole();
        let names =
            DatasetFolder { path: folder.path().to_owned(), found_by: FoundBy::Cache }.files().map(|(file, path)| {
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
        let error = Search::default().locate_or_fetch(&|path| panic!("tried: {path:?}")).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
