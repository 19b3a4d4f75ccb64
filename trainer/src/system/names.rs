//! Names of files that are made from other names.

use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};

/// Longest name that the usual file systems take, in bytes.
const MAX_BYTES: usize = 255;

/// Bytes of the hash that stands for the rest of a name.
const HASH_BYTES: usize = 4;

/// The name `stem` + `end`. If that would be too long, the stem is shortened, and a hash of all of it tells it from
/// others that begin as it does.
pub fn derived(stem: &OsStr, end: &str) -> OsString {
    let mut name = stem.to_owned();
    name.push(end);
    if name.len() <= MAX_BYTES {
        return name;
    }
    let digest = Sha256::digest(stem.as_encoded_bytes());
    let hash: String = digest[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    let text = stem.to_string_lossy();
    let room = MAX_BYTES.saturating_sub(end.len() + 1 + hash.len()).min(text.len());
    let kept = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}-{hash}{end}", &text[..kept]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_are_put_together_and_others_stay_different() {
        assert_eq!(derived(OsStr::new("boot"), "-restored.png"), "boot-restored.png");
        let long = "x".repeat(255 - 13);
        assert_eq!(derived(OsStr::new(&long), "-restored.png").len(), 255);
        assert_eq!(derived(OsStr::new(&long), "-restored.png"), *format!("{long}-restored.png"));
        // Names of 255 bytes, which differ in their ends, the second in characters of three bytes.
        let names = ["x".repeat(254) + "a", "x".repeat(254) + "b", "\u{4e00}".repeat(85)];
        let derived = names.map(|name| derived(OsStr::new(&name), "-restored.png").into_string().unwrap());
        assert!(derived.iter().all(|name| (250..=255).contains(&name.len()) && name.ends_with("-restored.png")));
        assert_eq!(derived[0][..233], derived[1][..233]);
        assert_ne!(derived[0], derived[1]);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_can_be_shortened() {
        use std::os::unix::ffi::OsStrExt;
        let name = derived(OsStr::from_bytes(&[0xff; 255]), ".onnx");
        assert!(name.len() <= 255 && name.to_str().is_some_and(|name| name.ends_with(".onnx")), "{name:?}");
    }
}
