//! Any bytes as a user's image: what is read has the size that was asked for, and values from 0 to 1.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::path::Path;
use trainer::picture::read_gray;

fuzz_target!(|bytes: &[u8]| {
    for size in [1, 32] {
        if let Ok(image) = read_gray(Cursor::new(bytes), Path::new("fuzz.png"), size) {
            assert_eq!(image.pixels.len(), size * size);
            assert!(image.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        }
    }
});
