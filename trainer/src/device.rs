//! What computes: from the setting to a backend.

use crate::settings::Device;
use engine::{Backend, Cpu, Element, Reference};

/// A backend that images, which are f32, can be written to. Every backend of the engine is one.
pub trait Compute: Backend<Element: Element + From<f32> + Default> + Send + Sync {}

impl<B: Backend<Element: Element + From<f32> + Default> + Send + Sync> Compute for B {}

/// The backend of a run.
#[derive(Debug)]
pub enum Chosen {
    /// The CPU in f32.
    Cpu(Cpu),
    /// Naive loops in f64.
    Reference(Reference),
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A GPU was asked for.
    #[error("--device cuda: this build has no CUDA backend; use --device cpu")]
    NoCuda,
    /// The CPU backend did not start.
    #[error("the CPU cannot be used as asked: {0}")]
    Cpu(String),
}

/// The backend for `device` on `threads` threads, 0 for one a core.
///
/// # Errors
/// [`DeviceError`] if this build has not that device, the CPU has not the instruction set that `KERNELS_ISA` names, or threads
/// cannot be started.
pub fn choose(device: Device, threads: usize) -> Result<Chosen, DeviceError> {
    match device {
        Device::Auto | Device::Cpu => {
            Cpu::new(threads).map(Chosen::Cpu).map_err(|error| DeviceError::Cpu(error.to_string()))
        }
        Device::Reference => Ok(Chosen::Reference(Reference)),
        Device::Cuda => Err(DeviceError::NoCuda),
    }
}

/// Runs a body with the backend inside a [`Chosen`], whatever its type.
macro_rules! with_backend {
    ($chosen:expr, |$backend:ident| $body:expr) => {
        match $chosen {
            crate::device::Chosen::Cpu($backend) => $body,
            crate::device::Chosen::Reference($backend) => $body,
        }
    };
}

pub(crate) use with_backend;
