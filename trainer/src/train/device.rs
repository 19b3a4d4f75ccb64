//! What computes: from the setting to a backend.

use crate::settings::{RunSettings, Settings};
use engine::{Backend, Cpu, Element, Reference};
#[cfg(feature = "cuda")]
use engine::{Cuda, CudaError};
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

/// What is to compute, and how.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What computes.
    pub device: Device,
    /// Whether convolutions run on tensor cores in TF32, which only GPUs have.
    pub tf32: bool,
    /// Threads that compute; 0 for one a core.
    pub threads: usize,
}

impl From<&RunSettings> for Wanted {
    fn from(run: &RunSettings) -> Wanted {
        Wanted { device: run.device, tf32: run.tf32, threads: run.threads }
    }
}

/// A backend that images, which are f32, can be written to. Every backend of the engine is one.
pub trait Compute: Backend<Element: Element + From<f32> + Default> + Send + Sync {}

impl<B: Backend<Element: Element + From<f32> + Default> + Send + Sync> Compute for B {}

/// The backend of a run.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// The CPU in f32.
    Cpu(Cpu),
    /// A GPU in f32.
    #[cfg(feature = "cuda")]
    Cuda(Cuda),
    /// Naive loops in f64.
    Reference(Reference),
}

impl Chosen {
    /// The setting that chooses it.
    pub fn device(&self) -> Device {
        match self {
            Chosen::Cpu(_) => Device::Cpu,
            #[cfg(feature = "cuda")]
            Chosen::Cuda(cuda) => Device::Cuda { gpu: cuda.ordinal() },
            Chosen::Reference(_) => Device::Reference,
        }
    }

    /// Whether its convolutions are in TF32.
    pub fn uses_tf32(&self) -> bool {
        match self {
            #[cfg(feature = "cuda")]
            Chosen::Cuda(cuda) => cuda.uses_tf32(),
            Chosen::Cpu(_) | Chosen::Reference(_) => false,
        }
    }
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A GPU was asked for, and cannot be used.
    #[error("--device {device}: {reason}; use --device cpu")]
    Cuda {
        /// What was asked for.
        device: Device,
        /// Why it is not to be had.
        reason: String,
    },
    /// TF32 was asked for, and there is none.
    #[error("--tf32: {reason}; leave it out, or choose another --device than {device}")]
    Tf32 {
        /// What was asked for.
        device: Device,
        /// Why there is none.
        reason: String,
    },
    /// The CPU backend did not start.
    #[error("the CPU cannot be used as asked: {0}")]
    Cpu(String),
}

/// The backend that is wanted. Says what it is and, if `device` left the choice open, why. With TF32 it is a GPU or none.
///
/// # Errors
/// [`DeviceError`] if there is no such GPU, it has no TF32, this build has no CUDA backend, the CPU has not the instruction set that
/// `KERNELS_ISA` names, or threads cannot be started.
pub fn choose(wanted: Wanted, say: &mut dyn FnMut(&str)) -> Result<Chosen, DeviceError> {
    check_tf32(wanted)?;
    let Wanted { device, tf32, threads } = wanted;
    let chosen = match device {
        Device::Auto if !tf32 => match gpu(wanted, 0) {
            Ok(gpu) => {
                say(&format!("device   {}, as there is a GPU; --device cpu does without", describe(&gpu)));
                return Ok(gpu);
            }
            Err(DeviceError::Cuda { reason, .. }) => {
                let cpu = cpu(threads)?;
                say(&format!("device   {}, as {}", describe(&cpu), first_clause(&reason)));
                return Ok(cpu);
            }
            Err(error) => return Err(error),
        },
        Device::Auto => gpu(wanted, 0)?,
        Device::Cuda { gpu: ordinal } => gpu(wanted, ordinal)?,
        Device::Reference => Chosen::Reference(Reference),
        Device::Cpu => cpu(threads)?,
    };
    say(&format!("device   {}", describe(&chosen)));
    Ok(chosen)
}

/// The backend of a run's settings on the `local_rank`th process on this machine, counted from 0: each takes a GPU of its own, from that of
/// the settings on.
///
/// # Errors
/// As [`choose`].
pub fn choose_of(local_rank: usize, settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Chosen, DeviceError> {
    let device = match settings.run.device {
        Device::Cuda { gpu } => Device::Cuda { gpu: gpu + local_rank },
        // the leader's choice: every process of a machine with a GPU has to have one
        Device::Auto if local_rank > 0 && check_gpu(0).is_ok() => Device::Cuda { gpu: local_rank },
        device => device,
    };
    choose(Wanted { device, ..Wanted::from(&settings.run) }, say)
}

/// Whether [`choose`] is going to find what is wanted, as far as can be told at once.
///
/// # Errors
/// As [`choose`].
pub fn check(wanted: Wanted) -> Result<(), DeviceError> {
    check_tf32(wanted)?;
    match wanted.device {
        Device::Cuda { gpu } => check_gpu(gpu).map_err(|reason| no_gpu(wanted, reason)),
        Device::Auto if wanted.tf32 => check_gpu(0).map_err(|reason| no_gpu(wanted, reason)),
        Device::Auto | Device::Cpu => cpu(wanted.threads).map(drop),
        Device::Reference => Ok(()),
    }
}

/// TF32 is asked for on a device that may have it, or not at all.
fn check_tf32(Wanted { device, tf32, .. }: Wanted) -> Result<(), DeviceError> {
    match device {
        Device::Cpu | Device::Reference if tf32 => {
            Err(DeviceError::Tf32 { device, reason: "only NVIDIA GPUs have tensor cores".to_owned() })
        }
        _ => Ok(()),
    }
}

/// There is no GPU: what was asked for in vain.
fn no_gpu(Wanted { device, tf32, .. }: Wanted, reason: String) -> DeviceError {
    match device {
        Device::Auto if tf32 => DeviceError::Tf32 { device, reason },
        _ => DeviceError::Cuda { device, reason },
    }
}

fn cpu(threads: usize) -> Result<Chosen, DeviceError> {
    Cpu::new(threads).map(Chosen::Cpu).map_err(|error| DeviceError::Cpu(error.to_string()))
}

#[cfg(feature = "cuda")]
fn gpu(wanted: Wanted, ordinal: usize) -> Result<Chosen, DeviceError> {
    let cuda = if wanted.tf32 { Cuda::with_tf32(ordinal) } else { Cuda::new(ordinal) };
    cuda.map(Chosen::Cuda).map_err(|error| match error {
        CudaError::NoTf32 { .. } => DeviceError::Tf32 { device: wanted.device, reason: error.to_string() },
        _ => no_gpu(wanted, error.to_string()),
    })
}

#[cfg(feature = "cuda")]
fn check_gpu(ordinal: usize) -> Result<(), String> {
    Cuda::check(ordinal).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn gpu(wanted: Wanted, ordinal: usize) -> Result<Chosen, DeviceError> {
    check_gpu(ordinal).map_err(|reason| no_gpu(wanted, reason))?;
    unreachable!("there is no GPU without CUDA")
}

#[cfg(not(feature = "cuda"))]
fn check_gpu(_: usize) -> Result<(), String> {
    Err("this build has no CUDA backend (it was built without the feature `cuda`)".to_owned())
}

fn describe(chosen: &Chosen) -> String {
    match chosen {
        Chosen::Cpu(cpu) => format!("{}, threads: {}", cpu.name(), cpu.threads()),
        #[cfg(feature = "cuda")]
        Chosen::Cuda(cuda) => {
            format!(
                "{} (GPU {}, {}); no GPU has been tried by the authors",
                cuda.name(),
                cuda.ordinal(),
                cuda.gpu_name()
            )
        }
        Chosen::Reference(reference) => reference.name(),
    }
}

/// Up to the first colon: what is wrong, without what to do about it.
fn first_clause(reason: &str) -> &str {
    reason.split(':').next().unwrap_or(reason)
}

/// Runs a body with the backend inside a [`Chosen`], whatever its type.
macro_rules! with_backend {
    ($chosen:expr, |$backend:ident| $body:expr) => {
        match $chosen {
            crate::train::device::Chosen::Cpu($backend) => $body,
            #[cfg(feature = "cuda")]
            crate::train::device::Chosen::Cuda($backend) => $body,
            crate::train::device::Chosen::Reference($backend) => $body,
        }
    };
}

pub(crate) use with_backend;

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

    #[test]
    fn auto_finds_a_device_and_says_why() {
        let mut said = Vec::new();
        let wanted = Wanted { device: Device::Auto, tf32: false, threads: 1 };
        choose(wanted, &mut |line| said.push(line.to_owned())).unwrap();
        assert!(said.len() == 1 && said[0].contains(", as "), "{said:?}");
        check(wanted).unwrap();
    }

    #[test]
    fn only_a_gpu_has_tf32() {
        for device in [Device::Cpu, Device::Reference] {
            let wanted = Wanted { device, tf32: true, threads: 1 };
            for error in [choose(wanted, &mut |_| ()).unwrap_err(), check(wanted).unwrap_err()] {
                let want = format!(
                    "--tf32: only NVIDIA GPUs have tensor cores; leave it out, or choose another --device than {device}"
                );
                assert_eq!(error.to_string(), want);
            }
        }
    }
}
