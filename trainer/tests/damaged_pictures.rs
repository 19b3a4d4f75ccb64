//! A thousand damaged picture files: none makes a panic, and each is either read or refused by a message that names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use trainer::data::{self, DataRequest, Dataset, Format, Search, picture_file};

/// Files to make.
const FILES: u64 = 1000;

/// Ends of the names of pictures, whatever is in them.
const ENDS: [&str; 5] = ["png", "jpg", "JPEG", "webp", "bmp"];

/// Numbers that look random (Steele, Lea and Flood's SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// The valid pictures among the seeds of the fuzz target, in the order of their names.
fn whole() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/image");
    let paths: BTreeSet<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_whole = |path: &PathBuf| picture_file::decode_file(path).is_ok();
    paths.into_iter().filter(is_whole).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The places of the numbers of width and height in a file, and the most bytes that they have there.
fn size_fields(bytes: &[u8]) -> Vec<(usize, usize)> {
    let find = |marker: &[u8]| bytes.windows(marker.len()).position(|window| window == marker);
    match bytes {
        [0x89, b'P', ..] => vec![(16, 4), (20, 4)],
        [b'B', b'M', ..] => vec![(18, 4), (22, 4)],
        [0xff, 0xd8, ..] => [0xc0, 0xc2]
            .into_iter()
            .filter_map(|code| find(&[0xff, code]))
            .flat_map(|at| [(at + 5, 2), (at + 7, 2)])
            .collect(),
        _ => [(&b"VP8X"[..], 12, 3), (b"VP8L", 9, 2), (b"VP8 ", 14, 2)]
            .into_iter()
            .filter_map(|(chunk, offset, bytes)| Some((find(chunk)? + offset, bytes)))
            .flat_map(|(at, bytes)| [(at, bytes), (at + bytes, bytes)])
            .collect(),
    }
}

/// Damages a picture in one of several ways.
fn damaged(mut bytes: Vec<u8>, numbers: &mut Numbers) -> Vec<u8> {
    match numbers.below(4) {
        0 => bytes.truncate(numbers.below(bytes.len())),
        1 => {
            for _ in 0..=numbers.below(8) {
                let bit = numbers.below(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        2 => {
            for (at, len) in size_fields(&bytes) {
                let huge = [[0xff; 4], [0x7f, 0xff, 0xff, 0x7f], [0; 4], [0, 0x3f, 0, 0x3f]][numbers.below(4)];
                let end = bytes.len().min(at + len);
                bytes[at.min(end)..end].copy_from_slice(&huge[..end.saturating_sub(at)]);
            }
            correct_png(&mut bytes);
        }
        // Only the name is wrong.
        _ => {}
    }
    bytes
}

/// Makes the checksum of a PNG file's header right again: else nothing else of it would be looked at.
fn correct_png(bytes: &mut [u8]) {
    if bytes.starts_with(b"\x89PNG") && bytes.len() > 33 {
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    }
}

/// Writes the files, and says which of them can be read.
fn write_all(folder: &Path) -> BTreeSet<PathBuf> {
    let seeds = whole();
    assert!(seeds.len() >= 21, "{} pictures", seeds.len());
    let mut numbers = Numbers(0);
    let mut readable = BTreeSet::new();
    for i in 0..FILES {
        let (_, bytes) = &seeds[numbers.below(seeds.len())];
        let path = folder.join(format!("{i:04}.{}", ENDS[numbers.below(ENDS.len())]));
        fs::write(&path, damaged(bytes.clone(), &mut numbers)).unwrap();
        let decoded = std::panic::catch_unwind(|| picture_file::decode_file(&path));
        match decoded.unwrap_or_else(|_| panic!("{} makes a panic", path.display())) {
            Ok(_) => {
                readable.insert(path);
            }
            Err(error) => assert!(error.to_string().contains(path.to_str().unwrap()), "{error}"),
        }
    }
    readable
}

#[test]
fn each_is_read_or_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let readable = write_all(folder.path());
    assert!((300..800).contains(&readable.len()), "{} of {FILES} can be read", readable.len());
    let search = Search { argument: Some(folder.path().to_owned()), ..Search::default() };
    let request = DataRequest {
        search,
        format: Format::Pictures,
        size: 8,
        validation_share: 0.5,
        skip_unreadable: true,
        // Some stay in memory, others are read again below.
        memory_limit: 30_000,
        ..DataRequest::default()
    };
    let told = Mutex::new(Vec::new());
    let data = data::open(&request, &|line| told.lock().unwrap().push(line.to_owned())).unwrap();
    assert_eq!([&data.train, &data.validation].map(Dataset::len).iter().sum::<usize>(), readable.len());
    for images in [&data.train, &data.validation] {
        for i in 0..images.len() {
            let image = images.image(i).unwrap();
            assert_eq!(([image.height, image.width], image.channels), (images.size(i), images.channels()));
        }
    }
    let left_out = format!("left out {} unreadable pictures: ", FILES as usize - readable.len());
    assert!(told.lock().unwrap()[1].starts_with(&left_out), "{told:?}");

    let first =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !readable.contains(path));
    let names: BTreeSet<String> = first.map(|path| path.display().to_string()).collect();
    let message = data::open(&DataRequest { skip_unreadable: false, ..request }, &|_| ()).unwrap_err().to_string();
    assert!(names.iter().any(|name| message.contains(name)), "{message}");
}
