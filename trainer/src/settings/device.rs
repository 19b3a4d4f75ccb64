//! The device of a run, as settings name it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// A GPU if there is one, else the CPU.
    Auto,
    /// The CPU in f32, with its widest instruction set.
    Cpu,
    /// Naive loops in f64 on one thread: very slow, for comparison.
    Reference,
    /// An NVIDIA GPU.
    Cuda {
        /// Its number, from 0.
        gpu: usize,
    },
}

/// As it is written in settings: `cuda:1`; the first GPU is `cuda`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Reference => f.write_str("reference"),
            Device::Cuda { gpu: 0 } => f.write_str("cuda"),
            Device::Cuda { gpu } => write!(f, "cuda:{gpu}"),
        }
    }
}

/// The name is not that of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown device `{0}`: expected auto, cpu, cuda, cuda:N with the number of a GPU, or reference")]
pub struct UnknownDevice(String);

impl FromStr for Device {
    type Err = UnknownDevice;
    fn from_str(name: &str) -> Result<Device, UnknownDevice> {
        match name {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "reference" => Ok(Device::Reference),
            "cuda" => Ok(Device::Cuda { gpu: 0 }),
            _ => {
                let gpu = name.strip_prefix("cuda:").and_then(|gpu| gpu.parse().ok());
                gpu.map(|gpu| Device::Cuda { gpu }).ok_or_else(|| UnknownDevice(name.to_owned()))
            }
        }
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownDevice;
    fn try_from(name: String) -> Result<Device, UnknownDevice> {
        name.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> String {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for device in [Device::Auto, Device::Cpu, Device::Reference, Device::Cuda { gpu: 0 }, Device::Cuda { gpu: 3 }] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda:0".parse::<Device>().unwrap(), Device::Cuda { gpu: 0 });
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "Cpu", "cpu:1"] {
            let error = wrong.parse::<Device>().unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("cuda:N"), "{error}");
        }
    }
}
