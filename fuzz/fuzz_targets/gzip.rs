//! Any bytes, compressed as they are, as a file of the dataset: the fuzzer gets past the checksums of gzip that it cannot guess. The
//! first two bytes choose how well the rest is compressed, and at which byte the compressed file is damaged.
#![no_main]

use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use trainer::data::idx::{Expected, parse};

fuzz_target!(|bytes: &[u8]| {
    let [level, damage, content @ ..] = bytes else { return };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(u32::from(level % 10)));
    encoder.write_all(content).expect("writing to memory");
    let mut file = encoder.finish().expect("writing to memory");
    let expected = Expected::Items(&[60_000, 3, 4]);
    let plain = parse(content, expected);
    let packed = parse(&file[..], expected);
    // Content that is compressed data itself is unpacked once, not twice.
    if !content.starts_with(&[0x1f, 0x8b]) {
        assert_eq!(plain.as_ref().ok(), packed.as_ref().ok());
    }
    let at = usize::from(*damage) % file.len();
    file[at] ^= level | 1;
    if let Ok(idx) = parse(&file[..], expected) {
        assert_eq!(Some(idx), packed.ok(), "damage at byte {at} of the file went unnoticed and changed its content");
    }
});
