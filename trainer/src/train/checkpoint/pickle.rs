//! Files of `torch.save`, which are pickles: they are told apart from damaged safetensors files, and not read.

use super::error::{CheckpointError, Problem};
use std::path::Path;

/// A pickle is told by this many bytes at its beginning.
pub(super) const PICKLE_BYTES: u64 = 1024;

/// What is wrong with a file that begins with `bytes` and is not a safetensors file for the reason `corrupt`.
pub(super) fn not_safetensors(path: &Path, bytes: &[u8], corrupt: String) -> CheckpointError {
    if !is_pickle(bytes) {
        return Problem::Corrupt(corrupt).of(path);
    }
    // Quoted as Python does.
    let [from, to] =
        [path.to_owned(), path.with_extension("safetensors")].map(|path| format!("{:?}", path.display().to_string()));
    Problem::Pickle(format!(
        "import torch, safetensors.torch; safetensors.torch.save_file({{name: tensor.contiguous() for name, tensor in \
         torch.load({from}, map_location=\"cpu\", weights_only=True).items()}}, {to})"
    ))
    .of(path)
}

/// Whether a file that begins with `bytes`, and is not a safetensors file, is one of `torch.save`: a zip archive with a
/// pickle in it, or a pickle, as old versions wrote it.
fn is_pickle(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(PICKLE_BYTES as usize)];
    let zipped = bytes.starts_with(b"PK\x03\x04") && bytes.windows(8).any(|window| window == b"data.pkl");
    // The mark of a pickle and its version. The length of a safetensors header may look the same; the header comes
    // next.
    zipped || matches!(bytes, [0x80, 2..=5, _, _, _, _, _, _, next, ..] if *next != b'{')
}

#[cfg(test)]
mod tests {
    use super::super::file::Checkpoint;
    use std::path::Path;

    #[test]
    fn a_pickle_is_named_with_the_line_that_converts_it() {
        let folder = tempfile::tempdir().unwrap();
        // Windows has no quotes in the names of files, but backslashes between them.
        let (path, quoted) = (folder.path().join("my best.pt"), Path::new("my \"best\".pt"));
        // What `torch.save` writes at the beginning, today and before version 1.6, and `pickle.dumps` with protocol 4.
        let zip = [b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0", &[0; 16][..], b"archive/data.pklFB", &[90; 2000]].concat();
        let old = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
        let pickle = b"\x80\x04\x95\x1a\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s.".to_vec();
        for bytes in [zip, old, pickle] {
            std::fs::write(&path, &bytes).unwrap();
            for (path, error) in [(&*path, Checkpoint::read(&path)), (quoted, Checkpoint::from_bytes(quoted, &bytes))] {
                let message = error.unwrap_err().to_string();
                let shown = path.display().to_string();
                assert!(message.starts_with(&format!("{shown}: a pickle, as torch.save writes it, ")), "{message}");
                let name = shown.replace('\\', "\\\\").replace('"', "\\\"");
                let line = format!("torch.load(\"{name}\", map_location=\"cpu\", weights_only=True)");
                assert!(message.contains(&line), "{message}");
                let name = name.replace(".pt", ".safetensors");
                assert!(message.contains(&format!("}}, \"{name}\")")), "{message}");
            }
        }
        // Other archives, and damaged safetensors files whose header has 640 bytes, are no pickles.
        for bytes in [&b"PK\x03\x04\0\0\x08\x08 and so on"[..], b"\x80\x02\0\0\0\0\0\0{\"a\": and so on"] {
            let message = Checkpoint::from_bytes(&path, bytes).unwrap_err().to_string();
            assert!(message.contains("not a valid safetensors file"), "{message}");
        }
    }
}
