//! Writes the settings of runs into their weights, for files of versions that did not: `settings.toml` into
//! `model.safetensors`. The tensors stay as they are.
//!
//! ```sh
//! cargo run --release -p resconv --example add_settings -- trainer/results/original-*/
//! ```

use std::path::PathBuf;
use trainer::settings::Settings;
use trainer::train::checkpoint::{Checkpoint, RunState};

fn main() -> anyhow::Result<()> {
    for folder in std::env::args_os().skip(1).map(PathBuf::from) {
        let settings = Settings::read(&folder.join("settings.toml"))?;
        let weights = Checkpoint::read(&folder.join("model.safetensors"))?;
        Checkpoint { run: Some(RunState::of_weights(&settings)), ..weights }.write()?;
    }
    Ok(())
}
