//! Any bytes as a checkpoint: what is read can be written and read again, and the network that it seems to be is found or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use trainer::checkpoint::Checkpoint;
use trainer::settings::{Layer, resolve};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzz.safetensors");
    let Ok(checkpoint) = Checkpoint::from_bytes(path, bytes) else { return };
    let again = checkpoint.to_bytes().and_then(|bytes| Checkpoint::from_bytes(path, &bytes)).expect("readable");
    // As text, in which NaN is like NaN.
    assert_eq!(format!("{again:?}"), format!("{checkpoint:?}"));
    if let Ok(architecture) = checkpoint.architecture() {
        let _ = Layer::inferred(&architecture.network).and_then(|layer| resolve(&[layer]));
    }
    if let Some(run) = &checkpoint.run {
        let _ = Layer::resumed(&run.settings).and_then(|layer| resolve(&[layer]));
    }
});
