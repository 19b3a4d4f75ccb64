//! Any bytes as a file of the dataset, plain or compressed: what is read has the size that its header says, and is what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trainer::data::idx::{Expected, parse};

fuzz_target!(|bytes: &[u8]| {
    for expected in [Expected::Exactly(&[2, 3, 4]), Expected::Items(&[60_000, 3, 4]), Expected::Items(&[60_000])] {
        if let Ok(idx) = parse(bytes, expected) {
            let len: u64 = idx.dims.iter().map(|&dim| u64::from(dim)).product();
            assert_eq!(idx.data.len() as u64, len);
            assert!(bytes.starts_with(&[0x1f, 0x8b]) || bytes.ends_with(&idx.data));
        }
    }
});
