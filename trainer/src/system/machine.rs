//! This machine and this process, as the system describes them.

use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};
use std::time::Instant;

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

/// How much of this machine other programs use, from a moment on.
#[derive(Debug)]
pub(crate) struct Others {
    begun: (Instant, ProcessTime),
    /// Time of all processors: all of it, and what they were busy.
    before: [f64; 2],
}

impl Others {
    /// Begins now; nothing where the system does not tell (Linux does).
    pub(crate) fn watch() -> Option<Others> {
        let (before, _) = processor_times(&std::fs::read_to_string("/proc/stat").ok()?)?;
        Some(Others { begun: (Instant::now(), ProcessTime::now()), before })
    }

    /// Their share of the time of all processors until now, between 0 and 1.
    pub(crate) fn share(&self) -> Option<f64> {
        let (now, processors) = processor_times(&std::fs::read_to_string("/proc/stat").ok()?)?;
        let [all, busy] = [now[0] - self.before[0], now[1] - self.before[1]];
        let (wall, own) = (self.begun.0.elapsed().as_secs_f64(), self.begun.1.elapsed().as_secs_f64());
        let share = busy / all - own / (wall * processors as f64);
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }
}

/// In `/proc/stat`, the time of all processors, what they were busy, and their number.
fn processor_times(stat: &str) -> Option<([f64; 2], usize)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what guests take is in the first two.
    let times: Vec<f64> = line.split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
    let all: f64 = times.iter().sum();
    let idle = times.get(3)? + times.get(4).unwrap_or(&0.0);
    let is_one = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
    Some(([all, all - idle], stat.lines().filter(is_one).count()))
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

    #[test]
    fn busy_is_all_but_idle_and_waiting() {
        let stat = "cpu  10 1 5 80 4 0 2 3 10 1\ncpu0 5 0 2 40 2 0 1 1 5 0\ncpu1 5 1 3 40 2 0 1 2 5 1\nintr 9\n";
        assert_eq!(processor_times(stat), Some(([105.0, 21.0], 2)));
        assert_eq!(processor_times("intr 9\n"), None);
        if let Some(others) = Others::watch() {
            std::hint::black_box((0..20_000_000u64).map(std::hint::black_box).sum::<u64>());
            assert!(others.share().is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_memory_grows_with_what_is_touched() {
        let before = peak_resident_bytes().unwrap();
        let touched = std::hint::black_box(vec![1u8; 256 << 20]);
        let after = peak_resident_bytes().unwrap();
        assert!(after >= before && after >= touched.len() as u64, "{before} then {after}");
    }
}
