//! Any text as a table of a run: a table that was cut is cut no further, and has the rows that it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use trainer::train::log::{cut, parse};

fuzz_target!(|text: &str| {
    let (path, header) = (Path::new("fuzz.csv"), "step,samples,lr,loss");
    if let Ok((kept, rows)) = cut(path, text, header, |step| step <= 7) {
        assert_eq!(kept.lines().count() as u64, rows + 1);
        assert_eq!(cut(path, &kept, header, |_| true).expect("a table"), (kept.clone(), rows));
        let _ = parse::<4>(path, &kept);
    }
    let _ = parse::<4>(path, text);
});
