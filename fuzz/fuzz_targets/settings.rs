//! Any text as a settings file: settings that are accepted come back from the file that they are written to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use trainer::settings::{Layer, resolve};

fuzz_target!(|text: &str| {
    let path = Path::new("fuzz.toml");
    let Ok(settings) = Layer::text(path, text).and_then(|layer| resolve(&[layer])) else { return };
    let written = settings.to_toml().expect("settings that can be written");
    let again = Layer::text(path, &written).and_then(|layer| resolve(&[layer])).expect("settings that can be read");
    assert_eq!(again, settings);
});
