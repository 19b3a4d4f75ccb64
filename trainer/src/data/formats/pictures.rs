//! A folder of pictures, of any sizes.

use super::{Data, DataRequest, FolderFormat, counted, description, no_dataset, some_of};
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::image::Image;
use crate::data::patches::Fit;
use crate::data::picture_file::{EXTENSIONS, PictureError, PictureFile};
use crate::data::split::by_share;
use crate::system::files::FileError;
use engine::mib;
use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

/// Any folder that has a picture, or in which there is a folder that has one.
pub(super) struct PictureFolder;

/// Names of the subfolder that has the pictures to train with, and of that which has those to validate with.
const TRAIN: &str = "train";
const VALIDATION: [&str; 3] = ["validation", "val", "test"];

impl FolderFormat for PictureFolder {
    fn files(&self) -> String {
        format!("files .{} in it and in the folders inside it", EXTENSIONS.join(", ."))
    }

    fn is_in(&self, folder: &Path) -> bool {
        // A folder that cannot be listed is told by reading it.
        list(folder).map_or(true, |listing| !listing.pictures.is_empty())
    }

    fn read(&self, folder: &Path, request: &DataRequest, status: &dyn Fn(&str)) -> Result<Data, DataError> {
        let fit = request.fit.unwrap_or(Fit::Crop);
        let square = (fit == Fit::Resize).then_some(request.size);
        let (parts, split) = self.split(folder, request.validation_share)?;
        let parts = parts.map(|paths| paths.into_iter().map(|path| PictureFile { path, square }).collect::<Vec<_>>());
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let [train, validation] = read_parts(folder, &parts, request, threads, status)?;
        let description = description(folder, [&train, &validation], "picture", &split);
        Ok(Data { train, validation, fit, description, is_fashion_mnist: false })
    }
}

impl PictureFolder {
    /// The pictures to train with and to validate with, and how that was decided.
    fn split(&self, folder: &Path, share: f64) -> Result<([Vec<PathBuf>; 2], String), DataError> {
        let train = folder.join(TRAIN);
        let validation = VALIDATION.into_iter().find(|name| folder.join(name).is_dir());
        if let Some(validation) = validation.filter(|_| train.is_dir()) {
            let parts = [self.pictures(&train)?, self.pictures(&folder.join(validation))?];
            return Ok((parts, format!("subfolders {TRAIN} and {validation}")));
        }
        let pictures = self.pictures(folder)?;
        let parts = by_share(pictures.len(), share).ok_or_else(|| {
            let problem = "holds one picture only: expected some to train and to validate with";
            no_dataset(folder, problem.to_owned())
        })?;
        let parts = parts.map(|part| part.into_iter().map(|i| pictures[i].clone()).collect());
        Ok((parts, format!("a share of {share}, drawn")))
    }

    /// The pictures in a folder, of which there is at least one.
    fn pictures(&self, folder: &Path) -> Result<Vec<PathBuf>, DataError> {
        let Listing { pictures, others } = list(folder)?;
        if pictures.is_empty() {
            let found = match others {
                0 => "no file".to_owned(),
                others => counted(others, "other file"),
            };
            let problem = format!("holds no pictures; looked for {}, and found {found}", self.files());
            return Err(no_dataset(folder, problem));
        }
        Ok(pictures)
    }
}

/// The files in a folder and in all folders inside it.
#[derive(Debug, Default, PartialEq)]
struct Listing {
    /// Those that should be pictures, in the order of the bytes of their paths.
    pictures: Vec<PathBuf>,
    /// Number of the others.
    others: usize,
}

/// The picture files in a folder and in all folders inside it, in order. Hidden ones are left out.
///
/// # Errors
/// [`FileError`] if a folder cannot be read.
pub(crate) fn picture_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    Ok(list(folder)?.pictures)
}

/// Lists a folder. Hidden files and folders are left out; links are followed, but no folder is visited twice.
fn list(folder: &Path) -> Result<Listing, FileError> {
    let mut listing = Listing::default();
    let (mut visited, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let of_folder = |error| FileError::at("read", &folder)(error);
        if !visited.insert(folder.canonicalize().map_err(of_folder)?) {
            continue;
        }
        let entries =
            folder.read_dir().and_then(|entries| entries.collect::<io::Result<Vec<_>>>()).map_err(of_folder)?;
        let mut paths: Vec<PathBuf> = entries
            .into_iter()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .map(|entry| entry.path())
            .collect();
        // Which of two links to a folder is followed must not depend on the file system.
        paths.sort();
        for path in paths.into_iter().rev() {
            match path.metadata() {
                Ok(found) if found.is_dir() => folders.push(path),
                // A link that leads nowhere is a picture that cannot be read; a pipe would be waited for.
                Ok(found) if !found.is_file() => listing.others += 1,
                _ if is_named_as_picture(&path) => listing.pictures.push(path),
                _ => listing.others += 1,
            }
        }
    }
    listing.pictures.sort_by(|a, b| ordered_bytes(a).cmp(ordered_bytes(b)));
    Ok(listing)
}

/// The bytes of a path that the order of pictures goes by, and with it which of them are for validation. That must not
/// depend on the system's separator.
fn ordered_bytes(path: &Path) -> impl Iterator<Item = u8> {
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes.map(|&byte| if char::from(byte) == MAIN_SEPARATOR { b'/' } else { byte })
}

fn is_named_as_picture(path: &Path) -> bool {
    path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// Reads the pictures of both parts, grey if all are, else in colours. Tells what they take.
fn read_parts(
    folder: &Path,
    parts: &[Vec<PictureFile>; 2],
    request: &DataRequest,
    threads: usize,
    status: &dyn Fn(&str),
) -> Result<[Dataset; 2], DataError> {
    status(&format!("reading {}", counted(parts.iter().map(Vec::len).sum(), "picture")));
    let read = match read_as(1, !request.grey, parts, request, threads)? {
        Some(read) => read,
        None => read_as(3, false, parts, request, threads)?.expect("pictures of colours are wanted"),
    };
    let Read { parts: datasets, unreadable } = read;
    if !unreadable.is_empty() {
        let names: Vec<String> = unreadable.iter().map(|path| path.display().to_string()).collect();
        status(&format!("left out {}: {}", counted(names.len(), "unreadable picture"), some_of(&names)));
    }
    for ((images, files), purpose) in datasets.iter().zip(parts).zip(["train", "validate"]) {
        if images.is_empty() {
            let pictures = counted(files.len(), "picture");
            return Err(no_dataset(folder, format!("has {pictures} to {purpose} with, of which none can be read")));
        }
    }
    status(&taken(&datasets));
    let small = datasets.iter().map(|images| smaller(images, request.size)).sum();
    if small > 0 {
        let size = request.size;
        status(&format!("enlarging {} smaller than {size} x {size} pixels", counted(small, "picture")));
    }
    Ok(datasets)
}

/// How many pictures there are, and what they take.
fn taken(datasets: &[Dataset]) -> String {
    let sum = |of: fn(&Dataset) -> usize| datasets.iter().map(of).sum::<usize>();
    let pixels = sum(|images| (0..images.len()).map(|i| images.size(i).iter().product::<usize>()).sum());
    let in_files = sum(Dataset::in_files);
    let again = match in_files {
        0 => String::new(),
        files => format!(", {files} of them decoded again for each use: --data-memory allows no more"),
    };
    format!(
        "{} in {}, {:.1} megapixels, {:.1} MiB in memory{again}",
        counted(sum(Dataset::len), "picture"),
        if datasets[0].channels() == 1 { "grey" } else { "colour" },
        pixels as f64 / 1e6,
        mib(sum(Dataset::bytes_in_memory))
    )
}

/// Number of images that have a side shorter than `size`.
fn smaller(images: &Dataset, size: usize) -> usize {
    (0..images.len()).filter(|&i| images.size(i).iter().any(|side| *side < size)).count()
}

/// What was read, and which files could not be.
struct Read {
    parts: [Dataset; 2],
    unreadable: Vec<PathBuf>,
}

/// Reads the pictures of both parts. `None` if `grey_only` and there is one that has colours.
fn read_as(
    channels: usize,
    grey_only: bool,
    parts: &[Vec<PictureFile>; 2],
    request: &DataRequest,
    threads: usize,
) -> Result<Option<Read>, DataError> {
    let files: Vec<&PictureFile> = parts.iter().flatten().collect();
    let mut read = Read { parts: [0, 1].map(|_| Dataset::new(channels)), unreadable: Vec::new() };
    let mut left = request.memory_limit;
    let mut take = |i: usize, result: Result<(Image<'static>, bool), PictureError>| {
        let (image, has_color) = match result {
            Ok(found) => found,
            Err(_) if request.skip_unreadable => {
                read.unreadable.push(files[i].path.clone());
                return ControlFlow::Continue(());
            }
            Err(error) => return ControlFlow::Break(Some(error)),
        };
        if grey_only && has_color {
            return ControlFlow::Break(None);
        }
        let dataset = &mut read.parts[usize::from(i >= parts[0].len())];
        match left.checked_sub(image.pixels.len()) {
            Some(rest) => {
                left = rest;
                dataset.push(&image);
            }
            None => dataset.push_file(&image, files[i].clone()),
        }
        ControlFlow::Continue(())
    };
    match in_order(files.len(), threads, |i| files[i].read(channels), &mut take) {
        ControlFlow::Continue(()) => Ok(Some(read)),
        ControlFlow::Break(None) => Ok(None),
        ControlFlow::Break(Some(error)) => Err(error.into()),
    }
}

/// Gives `compute(0)`, `compute(1)` and so on to `take`, in this order, until it breaks. Several threads compute; each
/// is at most two results ahead of what was taken.
fn in_order<T: Send, B>(
    count: usize,
    threads: usize,
    compute: impl Fn(usize) -> T + Sync,
    take: &mut dyn FnMut(usize, T) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let threads = threads.clamp(1, count.max(1));
    thread::scope(|scope| {
        let compute = &compute;
        let results: Vec<_> = (0..threads)
            .map(|first| {
                let (sender, receiver) = sync_channel(1);
                scope.spawn(move || {
                    // A send fails if nothing is taken any more.
                    (first..count).step_by(threads).all(|i| sender.send(compute(i)).is_ok())
                });
                receiver
            })
            .collect();
        for i in 0..count {
            // A thread that panicked sends nothing; the scope goes on with its panic.
            let Ok(result) = results[i % threads].recv() else { break };
            take(i, result)?;
        }
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::formats::{Format, open};
    use crate::data::locate::Search;
    use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
    use std::cell::RefCell;
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A grey picture, told apart from others by its levels.
    fn grey(width: u32, height: u32, first: u8) -> DynamicImage {
        GrayImage::from_fn(width, height, |x, y| Luma([first.wrapping_add((x + 3 * y) as u8)])).into()
    }

    fn colours(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 200])).into()
    }

    fn write(path: &Path, picture: DynamicImage) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save_with_format(path, ImageFormat::Png).unwrap();
    }

    fn request(folder: &Path) -> DataRequest {
        let search = Search { argument: Some(folder.to_owned()), ..Search::default() };
        DataRequest { search, size: 4, validation_share: 0.25, memory_limit: 1 << 20, ..DataRequest::default() }
    }

    fn refused(request: &DataRequest) -> String {
        open(request, &|_| ()).unwrap_err().to_string()
    }

    /// Ten pictures of different sizes, in three folders.
    fn ten() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..10u32 {
            let place = ["", "a", "a/deep"][i as usize % 3];
            write(&folder.path().join(place).join(format!("{i}.png")), grey(4 + i, 9 - i / 2, 10 * i as u8));
        }
        folder
    }

    #[test]
    fn folders_are_listed_in_the_order_of_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["b.png", "B.JPG", "a/z.jpeg", "a.webp", "a-b.bmp", "ä.PNG", "a/x/y.Png", "aB.png"];
        let others = [".hidden.png", ".hidden/a.png", "notes.txt", "png", "a/png.gz"];
        for name in names.iter().chain(&others) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let Listing { pictures, others } = list(folder.path()).unwrap();
        let sorted = ["B.JPG", "a-b.bmp", "a.webp", "a/x/y.Png", "a/z.jpeg", "aB.png", "b.png", "ä.PNG"];
        assert_eq!(pictures, sorted.map(|name| folder.path().join(name)));
        assert_eq!(others, 3, "hidden files are not counted");
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_end_and_pipes_are_not_waited_for() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        fs::write(at("b/c/1.png"), b"").unwrap();
        symlink(folder.path(), at("b/c/up")).unwrap();
        symlink(at("b/c"), at("again")).unwrap();
        symlink("nowhere", at("broken.png")).unwrap();
        symlink("turning", at("turning")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(at("pipe.png")).status().unwrap();
        assert!(pipe.success());
        let Listing { pictures, others } = list(folder.path()).unwrap();
        assert_eq!(pictures, [at("again/1.png"), at("broken.png")]);
        assert_eq!(others, 2);
    }

    #[test]
    fn a_share_is_drawn_and_everything_is_told() {
        let folder = ten();
        let told = RefCell::new(Vec::new());
        let data = open(&request(folder.path()), &|line| told.borrow_mut().push(line.to_owned())).unwrap();
        let [of_training, of_validation] = by_share(10, 0.25).unwrap();
        assert_eq!(
            [&data.train, &data.validation].map(Dataset::len),
            [of_training, of_validation].map(|part| part.len())
        );
        assert_eq!((data.train.channels(), data.fit), (1, Fit::Crop));
        let split = "7 pictures to train with, 3 to validate with (a share of 0.25, drawn)";
        assert_eq!(data.description, format!("{} (--data): {split}", folder.path().display()));
        let bytes = [&data.train, &data.validation].map(Dataset::bytes_in_memory).iter().sum::<usize>();
        assert_eq!(
            told.borrow()[..],
            ["reading 10 pictures", "10 pictures in grey, 0.0 megapixels, 0.0 MiB in memory"]
        );
        assert_eq!(bytes, (0..10).map(|i| (4 + i) * (9 - i / 2)).sum::<usize>());
    }

    #[test]
    fn subfolders_may_say_which_pictures_are_for_validation() {
        for name in VALIDATION {
            let folder = tempfile::tempdir().unwrap();
            write(&folder.path().join("train/x/1.png"), grey(4, 4, 1));
            write(&folder.path().join("train/2.png"), grey(4, 4, 2));
            write(&folder.path().join("3.png"), grey(4, 4, 3));
            let alone = open(&request(folder.path()), &|_| ()).unwrap();
            assert_eq!(
                [&alone.train, &alone.validation].map(Dataset::len),
                [2, 1],
                "one of the two is a folder as any"
            );
            write(&folder.path().join(name).join("4.png"), grey(4, 4, 4));
            let data = open(&request(folder.path()), &|_| ()).unwrap();
            let first = |images: &Dataset, i| images.image(i).unwrap().pixels[0];
            assert_eq!([first(&data.train, 0), first(&data.train, 1), first(&data.validation, 0)], [2, 1, 4]);
            assert!(data.description.ends_with(&format!("(subfolders train and {name})")), "{}", data.description);
        }
    }

    #[test]
    fn a_set_is_in_colour_if_one_picture_is() {
        let folder = ten();
        write(&folder.path().join("z.png"), colours(5, 6));
        let in_colour = open(&request(folder.path()), &|_| ()).unwrap();
        assert_eq!([in_colour.train.channels(), in_colour.validation.channels()], [3, 3]);
        let grey = open(&DataRequest { grey: true, ..request(folder.path()) }, &|_| ()).unwrap();
        assert_eq!([grey.train.channels(), grey.validation.channels()], [1, 1]);
        for (wide, narrow) in [(&in_colour.train, &grey.train), (&in_colour.validation, &grey.validation)] {
            for i in 0..wide.len() {
                let [wide, narrow] = [wide, narrow].map(|images| images.image(i).unwrap().pixels.into_owned());
                // Of a grey picture, all channels are its levels.
                let is_grey = wide.chunks_exact(3).all(|pixel| pixel == [pixel[0]; 3]);
                assert_eq!(is_grey, wide.iter().step_by(3).eq(&narrow));
            }
        }
    }

    #[test]
    fn pictures_may_be_reduced_to_squares() {
        let folder = ten();
        write(&folder.path().join("large.png"), grey(300, 200, 0));
        let data = open(&DataRequest { fit: Some(Fit::Resize), ..request(folder.path()) }, &|_| ()).unwrap();
        for images in [&data.train, &data.validation] {
            assert!((0..images.len()).all(|i| images.size(i) == [4, 4]));
        }
        assert_eq!(data.fit, Fit::Resize);
    }

    /// Whatever the number of threads, and whether in memory or in files, the images are the same.
    #[test]
    fn threads_and_memory_change_nothing() {
        let folder = ten();
        for i in 0..7 {
            write(&folder.path().join(format!("b/{i}.png")), colours(30 + i, 20));
        }
        for fit in [Fit::Crop, Fit::Resize] {
            let request = DataRequest { fit: Some(fit), ..request(folder.path()) };
            let whole = open(&request, &|_| ()).unwrap();
            let square = (fit == Fit::Resize).then_some(4);
            let (parts, _) = PictureFolder.split(folder.path(), 0.25).unwrap();
            let parts = parts.map(|part| part.into_iter().map(|path| PictureFile { path, square }).collect::<Vec<_>>());
            for threads in [1, 2, 3, 40] {
                let again = read_parts(folder.path(), &parts, &request, threads, &|_| ()).unwrap();
                assert_eq!(again, [&whole.train, &whole.validation].map(Clone::clone), "{threads} threads");
            }
            let all = [&whole.train, &whole.validation].map(Dataset::bytes_in_memory).iter().sum::<usize>();
            for memory_limit in [0, 50, all / 2, all - 1, all] {
                let told = RefCell::new(String::new());
                let request = DataRequest { memory_limit, ..request.clone() };
                let data = open(&request, &|line| *told.borrow_mut() = line.to_owned()).unwrap();
                let mut in_files = 0;
                for (part, expected) in [(&data.train, &whole.train), (&data.validation, &whole.validation)] {
                    assert!((0..part.len()).all(|i| part.image(i).unwrap() == expected.image(i).unwrap()));
                    assert!(part.bytes_in_memory() <= memory_limit);
                    in_files += part.in_files();
                }
                assert_eq!(in_files == 0, memory_limit == all, "{memory_limit} of {all} bytes");
                let again = format!(", {in_files} of them decoded again for each use: --data-memory allows no more");
                assert_eq!(told.borrow().ends_with(&again), in_files > 0, "{told:?}");
            }
        }
    }

    #[test]
    fn the_first_unreadable_file_is_named_or_all_are_left_out() {
        let folder = ten();
        let at = |name: &str| folder.path().join(name);
        for i in 0..7 {
            fs::write(at(&format!("b{i}.png")), b"\x89PNG\r\n\x1a\n").unwrap();
        }
        fs::write(at("a.jpg"), b"\xff\xd8\xff\xe0").unwrap();
        let told = format!("{}: not a readable PNG, JPEG, WebP or BMP picture: ", at("a.jpg").display());
        let whole = request(folder.path());
        // Those to train with come first.
        let drawn = by_share(18, 0.25).unwrap();
        let message = refused(&DataRequest { validation_share: 0.001, ..whole.clone() });
        assert!(drawn[0].len() > drawn[1].len() && message.starts_with(&told), "{message}");
        let lines = RefCell::new(Vec::new());
        let request = DataRequest { skip_unreadable: true, ..whole };
        let data = open(&request, &|line| lines.borrow_mut().push(line.to_owned())).unwrap();
        assert_eq!(data.train.len() + data.validation.len(), 10);
        let line = &lines.borrow()[1];
        assert!(line.starts_with("left out 8 unreadable pictures: ") && line.ends_with(" and 3 more"), "{line}");
    }

    #[test]
    fn folders_without_enough_pictures_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let of_pictures = DataRequest { format: Format::Pictures, ..request(folder.path()) };
        assert!(refused(&of_pictures).ends_with("and found no file"));
        assert!(refused(&request(folder.path())).ends_with("\nand found nothing"));
        fs::create_dir(at("deep")).unwrap();
        for i in 0..7 {
            fs::write(at(&format!("deep/{i}.tiff")), b"").unwrap();
        }
        let told = "holds no pictures; looked for files .png, .jpg, .jpeg, .webp, .bmp in it and in the folders inside it, and found 7 other files";
        assert_eq!(refused(&of_pictures), format!("--data: {} {told}", folder.path().display()));
        let message = refused(&request(folder.path()));
        let names = ["fashion-mnist", "idx", "cifar10", "cifar100", "pictures"];
        assert!(names.iter().all(|name| message.contains(&format!("\n  {name}: "))), "{message}");
        assert!(message.ends_with("\nand found deep/"), "{message}");
        write(&at("one.png"), grey(4, 4, 0));
        assert!(refused(&of_pictures).ends_with("holds one picture only: expected some to train and to validate with"));
        fs::write(at("two.png"), b"").unwrap();
        assert!(refused(&of_pictures).contains("two.png: not a readable "));
        let skipping = DataRequest { skip_unreadable: true, ..of_pictures };
        assert!(refused(&skipping).ends_with(" with, of which none can be read"));
    }

    #[test]
    fn results_come_in_order_and_not_far_ahead() {
        for threads in [1, 2, 3, 8, 100] {
            let (started, mut taken) = (AtomicUsize::new(0), 0);
            let compute = |i| {
                started.fetch_add(1, Ordering::Relaxed);
                // Later ones are ready sooner.
                thread::sleep(std::time::Duration::from_micros(2000 / (i as u64 + 1)));
                i
            };
            let result = in_order(50, threads, compute, &mut |i, value| {
                assert_eq!((i, value), (taken, taken));
                taken += 1;
                let ahead = started.load(Ordering::Relaxed).saturating_sub(taken);
                assert!(ahead <= 2 * threads.min(50), "{ahead} ahead of {taken}");
                if taken == 40 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
            });
            assert_eq!((result, taken), (ControlFlow::Break("enough"), 40));
        }
        let nothing: ControlFlow<()> = in_order(0, 4, |i| i, &mut |_, _| panic!("there is nothing"));
        assert!(nothing.is_continue());
    }
}
