//! Every parser of outside bytes on the seeds of the fuzz targets and on what is left of them after damage: no panic,
//! no memory for what a length only promises, and the properties of `tests/fuzz/properties.rs`.

#[path = "../../tests/fuzz/properties.rs"]
mod properties;

use proptest::prelude::*;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use trainer::output::picture::read_gray;

type Property = fn(&[u8]);

const TARGETS: [(&str, Property); 8] = [
    ("checkpoint", properties::checkpoint),
    ("cifar", properties::cifar),
    ("gzip", properties::gzip),
    ("idx", properties::idx),
    ("image", properties::image),
    ("settings", properties::settings),
    ("table", properties::table),
    ("tensors", properties::tensors),
];

/// Longest seed that is damaged at every byte. Longer ones are at some.
const SHORT: usize = 300;

/// The seeds of a target, with their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
    seeds
}

/// Checks every seed of every target, damaged at one byte after the other.
fn damaged(mut damage: impl FnMut(&[u8], usize) -> Vec<u8>) {
    for (target, property) in TARGETS {
        for (name, seed) in seeds(target) {
            for at in (0..seed.len()).step_by(1 + seed.len() / SHORT) {
                let bytes = damage(&seed, at);
                let checked = std::panic::catch_unwind(|| property(&bytes));
                assert!(checked.is_ok(), "{target}/{name}, damaged at byte {at}");
            }
        }
    }
}

#[test]
fn seeds_hold() {
    for (target, property) in TARGETS {
        for (_, seed) in seeds(target) {
            property(&seed);
        }
    }
}

#[test]
fn files_cut_off_anywhere_hold() {
    damaged(|seed, at| seed[..at].to_vec());
}

/// As in other readers (Pillow 12): a picture is never made up of the part of a file that is there.
#[test]
fn an_image_that_is_cut_off_is_refused_or_lacks_no_pixel() {
    let read = |bytes: &[u8]| read_gray(Cursor::new(bytes), Path::new("seed"), 32).ok().map(|image| image.pixels);
    let mut whole_images = 0;
    for (name, seed) in seeds("image") {
        let Some(whole) = read(&seed) else { continue };
        whole_images += 1;
        for at in 0..seed.len() {
            let cut = read(&seed[..at]);
            assert!(cut.as_ref().is_none_or(|pixels| *pixels == whole), "{name}, cut off at byte {at}");
            assert!(cut.is_none() || !name.ends_with(".jpg"), "{name}, cut off at byte {at}, has no end");
        }
    }
    assert!(whole_images >= 21, "{whole_images} seeds are images");
}

#[test]
fn files_with_a_flipped_bit_hold() {
    for bit in [0, 3, 7] {
        damaged(|seed, at| {
            let mut bytes = seed.to_vec();
            bytes[at] ^= 1 << bit;
            bytes
        });
    }
}

#[test]
fn files_with_huge_numbers_anywhere_hold() {
    for huge in [(1u64 << 63).to_le_bytes(), (1u64 << 63).to_be_bytes(), u64::MAX.to_le_bytes(), 0u64.to_le_bytes()] {
        damaged(|seed, at| {
            let mut bytes = seed.to_vec();
            let end = bytes.len().min(at + 8);
            bytes[at..end].copy_from_slice(&huge[..end - at]);
            bytes
        });
    }
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, property) in TARGETS {
            property(&bytes);
        }
    }

    #[test]
    fn seeds_that_are_put_together_hold(target in 0..TARGETS.len(), a: prop::sample::Index, b: prop::sample::Index, cuts: [prop::sample::Index; 2]) {
        let (name, property) = TARGETS[target];
        let seeds = seeds(name);
        let (a, b) = (&a.get(&seeds).1, &b.get(&seeds).1);
        let [first, second] = [(cuts[0], a), (cuts[1], b)].map(|(cut, seed)| cut.index(seed.len() + 1));
        property(&[&a[..first], &b[second..]].concat());
    }
}
