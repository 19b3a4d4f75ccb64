//! This machine and this process, as the system describes them.

use serde::{Deserialize, Serialize};

/// A computer, as far as the system describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of its processor.
    pub processor: Option<String>,
    /// Threads that it runs at the same time.
    pub cores: usize,
    /// Its system and architecture.
    pub system: String,
    /// Version of this program.
    pub version: String,
}

impl Machine {
    /// The one that this process runs on.
    pub fn this() -> Machine {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = info.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1));
        Machine {
            processor: processor.map(|name| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Starts the measurement of [`peak_resident_bytes`] afresh, where the system can (Linux), so that a run of a sweep
/// does not report the peak of an earlier one.
pub fn reset_peak_resident_bytes() {
    // Where it fails, the peak is that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process had resident so far, in bytes, where the system reports it (Linux).
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_memory_grows_with_what_is_touched() {
        let before = peak_resident_bytes().unwrap();
        let touched = std::hint::black_box(vec![1u8; 256 << 20]);
        let after = peak_resident_bytes().unwrap();
        assert!(after >= before && after >= touched.len() as u64, "{before} then {after}");
    }
}
