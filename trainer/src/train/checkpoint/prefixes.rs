//! Weights from elsewhere: the names that wrappers of PyTorch give.

use super::error::{CheckpointError, Problem};
use super::file::Checkpoint;
use std::collections::BTreeMap;
use std::path::Path;

/// What wrappers of PyTorch put before names: `DistributedDataParallel`, `torch.compile`, and modules with the network
/// in a field `model`, as those of Lightning.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

impl Checkpoint {
    /// Reads weights that may come from elsewhere: [`read`](Self::read) and [`strip_prefixes`](Self::strip_prefixes).
    /// `status` gets a line if there are prefixes.
    ///
    /// # Errors
    /// As both.
    pub fn read_weights(path: &Path, status: &dyn Fn(&str)) -> Result<Checkpoint, CheckpointError> {
        let mut checkpoint = Checkpoint::read(path)?;
        let stripped = checkpoint.strip_prefixes()?;
        if !stripped.is_empty() {
            let told: Vec<String> = stripped.iter().map(|prefix| format!("`{prefix}`")).collect();
            status(&format!("{}: names are taken without their beginning {}", path.display(), told.join(" and ")));
        }
        Ok(checkpoint)
    }

    /// Takes the prefixes of PyTorch's wrappers off the names, as many as there are. Returns those that were found.
    ///
    /// # Errors
    /// [`Problem::Architecture`] if two names are the same then. Nothing is changed.
    pub fn strip_prefixes(&mut self) -> Result<Vec<&'static str>, CheckpointError> {
        let mut found = Vec::new();
        let mut names = BTreeMap::new();
        for name in self.tensors.keys() {
            let mut rest = name.as_str();
            while let Some((prefix, after)) = PREFIXES.iter().find_map(|p| Some((*p, rest.strip_prefix(p)?))) {
                if !found.contains(&prefix) {
                    found.push(prefix);
                }
                rest = after;
            }
            if let Some(other) = names.insert(rest.to_owned(), name.clone()) {
                let reason = format!("without the beginning of its name, tensor `{name}` is the same as `{other}`");
                return Err(Problem::Architecture(reason).of(&self.path));
            }
        }
        let mut tensors = std::mem::take(&mut self.tensors);
        let moved = names.into_iter().filter_map(|(name, before)| Some((name, tensors.remove(&before)?)));
        self.tensors = moved.collect();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{Tensor, Values};
    use super::*;

    fn named(names: &[&str]) -> Checkpoint {
        let tensor = |value: usize| Tensor { shape: vec![], values: Values::F32(vec![value as f32]) };
        let tensors = names.iter().enumerate().map(|(i, name)| ((*name).to_owned(), tensor(i))).collect();
        Checkpoint { path: "x.safetensors".into(), tensors, run: None }
    }

    #[test]
    fn prefixes_of_wrappers_are_taken_off() {
        for (names, found) in [
            (["encoder.a", "decoder.module.b"], &[][..]),
            (["module.encoder.a", "module.decoder.module.b"], &["module."]),
            (["model.encoder.a", "model.decoder.module.b"], &["model."]),
            (["module._orig_mod.encoder.a", "_orig_mod.module.decoder.module.b"], &["_orig_mod.", "module."]),
        ] {
            let mut checkpoint = named(&names);
            let mut stripped = checkpoint.strip_prefixes().unwrap();
            stripped.sort_unstable();
            assert_eq!(stripped, found);
            assert_eq!(checkpoint, named(&["encoder.a", "decoder.module.b"]), "{names:?}");
        }
        let mut twice = named(&["a", "module.a"]);
        let message = twice.strip_prefixes().unwrap_err().to_string();
        assert!(message.ends_with("tensor `module.a` is the same as `a`"), "{message}");
        assert_eq!(twice, named(&["a", "module.a"]));
    }
}
