//! Reading the dataset: the four files of a folder, checked.

use super::dataset::Dataset;
use super::error::DataError;
use super::fetch::{FetchError, fetch};
use super::idx::{self, Expected, Idx};
use super::known::{CLASSES, DatasetFolder, FoundBy, KnownFile, TEST_LABELS};
use super::locate::Search;
use std::path::{Path, PathBuf};

/// The dataset. Its files have the known checksums, unless [`Search::unverified`] allows others.
#[derive(Debug)]
pub struct FashionMnist {
    /// The 60,000 images to train with.
    pub train: Dataset,
    /// The 10,000 images to validate with.
    pub validation: Dataset,
    /// Where it was read from.
    pub(crate) folder: DatasetFolder,
}

/// Finds the dataset, or fetches it into the user's cache folder, and reads it. `status` gets a line for everything
/// that is tried.
///
/// # Errors
/// [`DataError`] if it is not found and cannot be fetched, or if one of its files is wrong.
pub fn load(search: &Search, status: &dyn Fn(&str)) -> Result<FashionMnist, DataError> {
    let read = if search.unverified { read_unverified } else { read_known };
    let (folder, arrays) = read_found(search, read, status, &|cache| fetch(cache, status))?;
    let [train_images, train_labels, test_images, test_labels] = arrays;
    if search.unverified {
        let [train, _, test, _] = folder.files().map(|(_, path)| path);
        check_counts(train, &train_images, &train_labels)?;
        check_counts(test, &test_images, &test_labels)?;
    }
    // Other datasets come in files of the same names, with classes of their own.
    let class_names: &[&str] = if test_labels.sha256() == TEST_LABELS.sha256 { &CLASSES } else { &[] };
    Ok(FashionMnist {
        train: Dataset::of_idx(train_images).with_labels(train_labels.data),
        validation: Dataset::of_idx(test_images).with_labels(test_labels.data).with_class_names(class_names),
        folder,
    })
}

type Read = fn(&KnownFile, PathBuf) -> Result<Idx, DataError>;

/// Fetches the files that a folder lacks, or that are damaged there.
type Fetch<'a> = &'a dyn Fn(&Path) -> Result<(), FetchError>;

/// Finds or fetches the dataset, and reads its four files. What is damaged in the user's cache folder is fetched again,
/// or else the system's files are taken. (Unverified files may be the user's own, and are not replaced.)
///
/// # Errors
/// [`DataError`].
pub(super) fn read_found(
    search: &Search,
    read: Read,
    status: &dyn Fn(&str),
    fetch: Fetch<'_>,
) -> Result<(DatasetFolder, [Idx; 4]), DataError> {
    let folder = search.locate_or_fetch(fetch)?;
    let damage = match read_all(&folder, read) {
        Ok(arrays) => return Ok((folder, arrays)),
        Err(damage) if folder.found_by != FoundBy::Cache => return Err(damage),
        Err(damage) => damage,
    };
    if search.unverified {
        return Err(DataError::DamagedCache { damage: Box::new(damage), fetch: None });
    }
    status(&format!("{damage}; fetching it again"));
    match (fetch(&folder.path), Search { cache: None, ..search.clone() }.locate()?) {
        (Ok(()), _) => read_all(&folder, read).map(|arrays| (folder, arrays)),
        (Err(_), Some(system)) => read_all(&system, read).map(|arrays| (system, arrays)),
        (Err(fetch), None) => Err(DataError::DamagedCache { damage: Box::new(damage), fetch: Some(fetch) }),
    }
}

/// Reads and checks the four files, each on a thread of its own: most of the time goes into unpacking and hashing.
pub(super) fn read_all(folder: &DatasetFolder, read: Read) -> Result<[Idx; 4], DataError> {
    std::thread::scope(|scope| {
        let readers = folder.files().map(|(file, path)| scope.spawn(move || read(file, path)));
        let mut arrays = Vec::with_capacity(4);
        for reader in readers {
            arrays.push(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(arrays.try_into().expect("four files were read"))
    })
}

/// Reads `path`, which should be the known file.
pub(super) fn read_known(file: &KnownFile, path: PathBuf) -> Result<Idx, DataError> {
    let idx = idx::read(&path, Expected::Exactly(file.dims))?;
    let got = idx.sha256();
    if got == file.sha256 { Ok(idx) } else { Err(DataError::Checksum { path, expected: file.sha256, got }) }
}

/// Reads `path`, which should be of the same kind as the known file, with any number of items of any size.
fn read_unverified(file: &KnownFile, path: PathBuf) -> Result<Idx, DataError> {
    Ok(idx::read(&path, Expected::Rank(file.dims.len() as u8))?)
}

fn check_counts(path: PathBuf, images: &Idx, labels: &Idx) -> Result<(), DataError> {
    let [images, labels] = [images, labels].map(|idx| idx.dims[0]);
    if images == labels && images > 0 { Ok(()) } else { Err(DataError::Count { path, images, labels }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::known::{FILES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES};
    use crate::data::{DataRequest, check};

    #[test]
    fn wrong_content_is_an_error_that_tells_both_sums() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TEST_LABELS.name);
        std::fs::write(&path, [&[0, 0, 8, 1, 0, 0, 0x27, 0x10][..], &[0; 10_000]].concat()).unwrap();
        let message = read_known(&TEST_LABELS, path.clone()).unwrap_err().to_string();
        let expected = format!("{}: wrong content: expected SHA-256 {}", path.display(), TEST_LABELS.sha256);
        assert!(message.starts_with(&expected), "{message}");
        assert!(
            message.contains("got fce4e2f69df0d4b98dc926db9d52e3054ec8f85ec567df277ca4efc90c53a0bc; "),
            "{message}"
        );
    }

    #[test]
    fn a_damaged_file_among_the_four_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for file in FILES {
            std::fs::write(folder.path().join(file.name), b"").unwrap();
        }
        let search = Search { argument: Some(folder.path().to_owned()), ..Search::default() };
        let expected = format!("{}: truncated: ", folder.path().join(TRAIN_IMAGES.name).display());
        for message in [
            load(&search, &|_| ()).unwrap_err().to_string(),
            check(&DataRequest { search: search.clone(), ..DataRequest::default() }, &|_| ()).unwrap_err().to_string(),
        ] {
            assert!(message.starts_with(&expected), "{message}");
        }
    }

    /// Writes the four files with some items each, the first of them cut off.
    fn write_damaged(folder: &Path) {
        write_all(folder);
        let first = folder.join(TRAIN_IMAGES.name);
        let whole = std::fs::read(&first).unwrap();
        std::fs::write(&first, &whole[..whole.len() - 1]).unwrap();
    }

    fn write_all(folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        for (file, count) in FILES.into_iter().zip([3, 3, 2, 2]) {
            write(folder, file, count);
        }
    }

    fn write(folder: &Path, file: &KnownFile, count: u8) {
        let item: u32 = file.dims[1..].iter().product();
        let dims = [u32::from(count)].into_iter().chain(file.dims[1..].iter().copied());
        let header = [0, 0, 8, file.dims.len() as u8].into_iter().chain(dims.flat_map(u32::to_be_bytes));
        let content: Vec<u8> = header.chain(vec![count; (u32::from(count) * item) as usize]).collect();
        std::fs::write(folder.join(file.name), content).unwrap();
    }

    #[test]
    fn a_damaged_cache_is_repaired_or_the_message_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let [cache, system] = ["cache", "system"].map(|name| folder.path().join(name));
        write_damaged(&cache);
        let mut search = Search { cache: Some(cache.clone()), system: Some(system.clone()), ..Search::default() };
        let said = std::cell::RefCell::new(Vec::new());
        let found = |search: &Search, fetch: Fetch| {
            read_found(search, read_unverified, &|line| said.borrow_mut().push(line.to_owned()), fetch)
        };
        let failing = |_: &Path| Err(FetchError::AllFailed { attempts: vec!["mirror: offline".to_owned()] });
        let damage = format!("{}: truncated: ", cache.join(TRAIN_IMAGES.name).display());

        let message = found(&search, &failing).unwrap_err().to_string();
        assert!(message.starts_with(&damage), "{message}");
        for told in ["it is in the cache folder, and could not be fetched again", "mirror: offline", "--data"] {
            assert!(message.contains(told), "{message}");
        }
        write_all(&system);
        let (folder, _) = found(&search, &failing).unwrap();
        assert_eq!((folder.found_by, folder.path), (FoundBy::System, system));
        let repair = |path: &Path| {
            assert_eq!(path, cache);
            write_all(path);
            Ok(())
        };
        said.borrow_mut().clear();
        let (folder, arrays) = found(&search, &repair).unwrap();
        assert_eq!((folder.found_by, folder.path, arrays[0].dims[0]), (FoundBy::Cache, cache.clone(), 3));
        assert!(said.borrow()[0].starts_with(&damage) && said.borrow()[0].ends_with("; fetching it again"));
        let (folder, _) = found(&search, &|_| panic!("fetched what is whole")).unwrap();
        assert_eq!(folder.found_by, FoundBy::Cache);

        // What the user put there is not replaced.
        write_damaged(&cache);
        search.unverified = true;
        let message = found(&search, &repair).unwrap_err().to_string();
        assert!(message.starts_with(&damage) && message.ends_with("; remove this file to have it fetched again"));
    }

    /// Runs where the system has the dataset.
    #[test]
    fn the_classes_of_the_known_dataset_have_names() {
        let Some(system) = Search::new(None).system.filter(|folder| folder.is_dir()) else { return };
        let search = Search { argument: Some(system), unverified: true, ..Search::default() };
        let data = load(&search, &|_| ()).unwrap();
        assert_eq!([1, 9, 10].map(|class| data.validation.class_name(class)), ["Trouser", "Ankle boot", "10"]);
    }

    #[test]
    fn unverified_files_may_hold_other_images_but_not_nonsense() {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path());
        let mut search = Search { argument: Some(folder.path().to_owned()), unverified: true, ..Search::default() };
        let data = load(&search, &|_| ()).unwrap();
        assert_eq!(
            (data.train.len(), data.validation.len(), data.validation.image(1).unwrap().pixels[..].to_vec()),
            (3, 2, vec![2; 784])
        );
        assert_eq!(data.validation.class_name(1), "1", "only Fashion-MNIST's classes are called as they are there");
        search.unverified = false;
        assert!(load(&search, &|_| ()).unwrap_err().to_string().contains("3 x 28 x 28, expected 60000 x 28 x 28"));
        search.unverified = true;
        for (file, count, told) in [(&TEST_LABELS, 1, "2 images and 1 labels"), (&TEST_IMAGES, 0, "0 images and 1")] {
            write(folder.path(), file, count);
            let message = load(&search, &|_| ()).unwrap_err().to_string();
            assert!(message.contains(told) && message.contains(TEST_IMAGES.name), "{message}");
        }
    }
}
