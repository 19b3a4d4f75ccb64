//! Properties of every parser of bytes from outside, for any bytes. The fuzz targets check them on inputs from
//! libFuzzer, and the test `parsers` of the crate `trainer` on the seeds, whole and damaged.

use engine::{Graph, Init, Plan, Reference, Session};
use flate2::{Compression, write::GzEncoder};
use std::io::{Cursor, Write};
use std::path::Path;
use trainer::data::cifar::parse as parse_cifar;
use trainer::data::idx::{Expected, parse as parse_idx};
use trainer::data::picture_file;
use trainer::output::picture::read_gray;
use trainer::settings::{SettingsSource, resolve};
use trainer::train::checkpoint::Checkpoint;
use trainer::train::log;

/// What gzip data begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads a file of the dataset, plain or compressed: the data has the size that the header says, and is that of the
/// file.
pub(crate) fn idx(bytes: &[u8]) {
    for expected in [Expected::Exactly(&[2, 3, 4]), Expected::Rank(3), Expected::Rank(1)] {
        if let Ok(idx) = parse_idx(bytes, expected) {
            let len: u64 = idx.dims.iter().map(|&dim| u64::from(dim)).product();
            assert_eq!(idx.data.len() as u64, len);
            assert!(bytes.starts_with(&GZIP_MAGIC) || bytes.ends_with(&idx.data));
        }
    }
}

/// Compresses a file of the dataset and reads it, because the fuzzer cannot guess the checksums of gzip. The first two
/// bytes choose how well the rest is compressed, and which byte of the compressed file is then damaged: no damage may
/// change the data that is read.
pub(crate) fn gzip(bytes: &[u8]) {
    let [level, damage, content @ ..] = bytes else { return };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(u32::from(level % 10)));
    encoder.write_all(content).expect("writing to memory");
    let mut file = encoder.finish().expect("writing to memory");
    let expected = Expected::Rank(3);
    let packed = parse_idx(&file[..], expected).ok();
    // Content that is compressed data itself is unpacked once, not twice.
    if !content.starts_with(&GZIP_MAGIC) {
        assert_eq!(packed, parse_idx(content, expected).ok());
    }
    let at = usize::from(*damage) % file.len();
    file[at] ^= level | 1;
    if let Ok(idx) = parse_idx(&file[..], expected) {
        assert_eq!(Some(idx), packed, "damage at byte {at} of the file");
    }
}

/// Reads a checkpoint: it can be written and read again, and its network is inferred or refused.
pub(crate) fn checkpoint(bytes: &[u8]) {
    let path = Path::new("fuzz.safetensors");
    let Ok(checkpoint) = Checkpoint::from_bytes(path, bytes) else { return };
    let again = checkpoint.to_bytes().and_then(|bytes| Checkpoint::from_bytes(path, &bytes)).expect("readable");
    // Compared as text, in which NaN equals NaN.
    assert_eq!(format!("{again:?}"), format!("{checkpoint:?}"));
    let mut stripped = checkpoint.clone();
    if stripped.strip_prefixes().is_ok() {
        assert_eq!(stripped.strip_prefixes().expect("names that differ"), [""; 0]);
        assert_eq!(stripped.tensors.len(), checkpoint.tensors.len());
    }
    if let Ok(architecture) = checkpoint.architecture() {
        let _ = SettingsSource::inferred(&architecture.network).and_then(|source| resolve(&[source]));
    }
    if let Some(run) = &checkpoint.run {
        let _ = SettingsSource::resumed(&run.settings).and_then(|source| resolve(&[source]));
    }
}

/// Loads weights and a checkpoint into a session of the engine: what is refused changes nothing, and what is loaded can
/// be saved and loaded again.
pub(crate) fn tensors(bytes: &[u8]) {
    let mut graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.parameter(name, [2, 3], Init::Ones).expect("a parameter"));
    let loss = graph.mse_loss(a, b).expect("a loss");
    let plan = Plan::training(&graph, loss).expect("a plan");
    let mut session = Session::new(Reference, vec![plan]).expect("a session");
    for load in [Session::load_weights_from_bytes, Session::load_checkpoint_from_bytes] {
        let before = session.checkpoint_to_bytes().expect("writable");
        let is_loaded = load(&mut session, bytes).is_ok();
        let after = session.checkpoint_to_bytes().expect("writable");
        assert!(is_loaded || after == before);
        session.load_checkpoint_from_bytes(&after).expect("readable");
        assert!(session.checkpoint_to_bytes().expect("writable") == after);
    }
}

/// Reads a settings file: accepted settings that are written and read again are the same.
pub(crate) fn settings(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let path = Path::new("fuzz.toml");
    let Ok(settings) = SettingsSource::text(path, text).and_then(|source| resolve(&[source])) else { return };
    let written = settings.to_toml().expect("settings that can be written");
    let again =
        SettingsSource::text(path, &written).and_then(|source| resolve(&[source])).expect("settings that can be read");
    assert_eq!(again, settings);
}

/// Reads a table of a run: what was cut is not cut any further, and the number of rows is right.
pub(crate) fn table(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (path, header) = (Path::new("fuzz.csv"), "step,samples,lr,loss");
    if let Ok((kept, rows)) = log::cut(path, text, header, |step| step <= 7) {
        assert_eq!(kept.split_inclusive('\n').count() as u64, rows + 1);
        assert_eq!(log::cut(path, &kept, header, |_| true).expect("a table"), (kept.clone(), rows));
        let _ = log::parse::<[f64; 4]>(path, &kept);
    }
    let _ = log::parse::<[f64; 4]>(path, text);
}

/// Reads a file of CIFAR-10 and of CIFAR-100: every byte of an accepted one is in the images or in front of them.
pub(crate) fn cifar(bytes: &[u8]) {
    for (header, classes) in [(1, 10), (2, 100)] {
        if let Ok(records) = parse_cifar(bytes, header, classes) {
            let images = records.classes.len();
            assert_eq!((records.pixels.len(), bytes.len()), (images * 3072, images * (header + 3072)));
            assert!(images > 0 && records.classes.iter().all(|&class| usize::from(class) < classes));
        }
    }
}

/// Reads a user's image: it has as many bytes as its size needs; and made grey and square, the requested size, and
/// values from 0 to 1.
pub(crate) fn image(bytes: &[u8]) {
    if let Ok(image) = picture_file::read(Cursor::new(bytes), Path::new("fuzz.png")) {
        assert!([1, 3].contains(&image.channels) && image.area() > 0);
        assert_eq!(image.pixels.len(), image.area() * image.channels);
    }
    for size in [1, 32] {
        if let Ok(image) = read_gray(Cursor::new(bytes), Path::new("fuzz.png"), size) {
            assert_eq!(image.pixels.len(), size * size);
            assert!(image.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        }
    }
}
