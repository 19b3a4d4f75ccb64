//! The networks that ship with the program: each has a name, which commands take in place of a file of weights. What
//! they were trained with, and how good they are, is in `trainer/results/README.md`.

use crate::train::checkpoint::{Checkpoint, CheckpointError};
use std::path::Path;

/// A network that ships with the program.
#[derive(Debug)]
pub struct ShippedNetwork {
    /// What commands call it.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    weights: &'static [u8],
}

macro_rules! networks {
    ($($name:literal: $about:literal from $folder:literal,)*) => {
        /// All of them.
        pub const NETWORKS: &[ShippedNetwork] = &[$(ShippedNetwork {
            name: $name,
            about: $about,
            weights: include_bytes!(concat!("../results/", $folder, "/model.safetensors")),
        },)*];
    };
}

networks! {
    "denoise-25": "noise of deviation 25/255, grey or colour" from "denoise-25",
    "denoise": "noise of any deviation up to 55/255, grey or colour" from "denoise",
    "jpeg": "JPEG files of quality 10 to 40, colour" from "jpeg",
    "inpaint": "missing rectangles, colour; what is missing is said by --mask or transparent" from "inpaint",
    "super-resolution-2": "twice the height and width, grey or colour" from "super-resolution-2",
    "half-crop": "the study's: the missing half of a garment, 32 x 32 pixels" from "original-l17",
}

impl ShippedNetwork {
    /// The network of a name.
    pub fn find(name: &Path) -> Option<&'static ShippedNetwork> {
        NETWORKS.iter().find(|network| Path::new(network.name) == name)
    }

    /// Its weights and settings.
    ///
    /// # Errors
    /// [`CheckpointError`] if they are damaged.
    pub fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::from_bytes(Path::new(self.name), self.weights)
    }

    /// A line for each of them.
    pub fn list() -> String {
        let width = NETWORKS.iter().map(|network| network.name.len()).max().unwrap_or_default();
        NETWORKS.iter().map(|network| format!("  {:width$}  {}\n", network.name, network.about)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_that_ships_has_its_settings() {
        for network in NETWORKS {
            let checkpoint = network.checkpoint().unwrap();
            assert!(checkpoint.run.is_some(), "{}", network.name);
            assert_eq!(checkpoint.non_finite(), None, "{}", network.name);
            let of_name = ShippedNetwork::find(Path::new(network.name)).unwrap();
            assert_eq!(of_name.about, network.about);
        }
        assert!(ShippedNetwork::find(Path::new("./half-crop")).is_none());
    }
}
