//! Shared by the peers in Rust: their arguments, which are those of our `step`, and the JSON object that they print.

use std::time::Instant;

/// What to run.
pub struct Arguments {
    /// Layers of the encoder, and of the decoder.
    pub layers: usize,
    pub channels: usize,
    pub kernel_size: usize,
    /// Height and width of the images.
    pub size: usize,
    pub batch: usize,
    /// Timed steps, after one that is not timed.
    pub steps: usize,
    /// Forward passes in evaluation mode instead of training steps.
    pub inference: bool,
}

impl Arguments {
    /// Reads `--layers 15 --channels 32 ... [--inference]`; every number must be given.
    pub fn parse() -> Arguments {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let number = |name: &str| -> usize {
            let at = arguments.iter().position(|argument| argument == name).unwrap_or_else(|| panic!("{name} is missing"));
            let value = arguments.get(at + 1).and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("{name}: expected a number"))
        };
        Arguments {
            layers: number("--layers"),
            channels: number("--channels"),
            kernel_size: number("--kernel-size"),
            size: number("--size"),
            batch: number("--batch"),
            steps: number("--steps"),
            inference: arguments.iter().any(|argument| argument == "--inference"),
        }
    }
}

/// Times the steps, which return their losses, and prints the report.
pub fn report(name: &str, parameters: usize, steps: usize, mut step: impl FnMut() -> Option<f64>) {
    let (mut wall, mut cpu, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..=steps {
        let (start, cpu_start) = (Instant::now(), cpu_time::ProcessTime::now());
        losses.extend(step());
        if i > 0 {
            wall.push(start.elapsed().as_secs_f64() * 1e3);
            cpu.push(cpu_start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let report = serde_json::json!({
        "backend": name,
        "parameters": parameters,
        "wall_ms": wall,
        "cpu_ms": cpu,
        "losses": losses,
        "peak_rss_mib": peak_rss_mib(),
    });
    println!("{report}");
}

/// Peak resident memory of this process, as the kernel counts it (Linux).
fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// The version of a dependency, from the lock file.
pub fn version(lock: &str, package: &str) -> String {
    let after_name = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, rest)| rest);
    let version = after_name.and_then(|rest| rest.split_once('"')).map(|(version, _)| version);
    format!("{package} {}", version.unwrap_or("of unknown version"))
}
