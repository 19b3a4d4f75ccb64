//! From the device of the settings to the backend that computes.

use crate::settings::{Device, PrecisionSetting, RunSettings, Settings};
use engine::{Backend, Cpu, Distributed, Element, Reference};
#[cfg(feature = "cuda")]
use engine::{Cuda, CudaError};

/// Which backend is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct BackendRequest {
    /// The device.
    pub device: Device,
    /// What convolutions multiply; another precision than f32 is for GPUs.
    pub precision: PrecisionSetting,
    /// Whether a GPU's kernels are launched one by one, not as CUDA graphs.
    pub no_graphs: bool,
    /// Threads that compute; 0 for one a core.
    pub threads: usize,
}

impl From<&RunSettings> for BackendRequest {
    fn from(run: &RunSettings) -> BackendRequest {
        BackendRequest { device: run.device, precision: run.precision, no_graphs: run.no_graphs, threads: run.threads }
    }
}

/// A backend whose elements f32 pixels convert to. Every backend of the engine is one.
pub trait ImageBackend: Distributed<Element: Element + From<f32> + Default> + Send + Sync {}

impl<B: Distributed<Element: Element + From<f32> + Default> + Send + Sync> ImageBackend for B {}

/// Elements of a backend as pixels.
pub(crate) fn to_pixels<E: Element>(elements: &[E]) -> Vec<f32> {
    elements.iter().map(|element| element.to_f64() as f32).collect()
}

/// Any of the backends.
#[derive(Clone, Debug)]
pub enum AnyBackend {
    /// The CPU in f32.
    Cpu(Cpu),
    /// A GPU in f32.
    #[cfg(feature = "cuda")]
    Cuda(Cuda),
    /// Naive loops in f64.
    Reference(Reference),
}

impl AnyBackend {
    /// The device that it is on, as settings name it.
    pub fn device(&self) -> Device {
        match self {
            AnyBackend::Cpu(_) => Device::Cpu,
            #[cfg(feature = "cuda")]
            AnyBackend::Cuda(cuda) => Device::Cuda { gpu: cuda.ordinal() },
            AnyBackend::Reference(_) => Device::Reference,
        }
    }
}

/// The device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The GPU cannot be used.
    #[error("--device {device}: {reason}; use --device cpu")]
    Cuda {
        /// What was asked for.
        device: Device,
        /// Why it cannot be used.
        reason: String,
    },
    /// The device does not have the precision.
    #[error("--precision {precision}: {reason}; leave it out, or choose another --device than {device}")]
    Precision {
        /// What was asked for.
        precision: PrecisionSetting,
        /// What was asked for.
        device: Device,
        /// Why it cannot.
        reason: String,
    },
    /// The CPU backend did not start.
    #[error("the CPU cannot be used as asked: {0}")]
    Cpu(String),
}

/// Opens a backend. `status` gets a line that names it and, for the device `auto`, the reason for the choice. With
/// another precision than f32, `auto` takes a GPU or fails.
///
/// # Errors
/// [`DeviceError`] if there is no such GPU, it does not have the precision, this build has no CUDA backend, the CPU
/// lacks the instruction set that `KERNELS_ISA` names, or threads cannot be started.
pub fn open(request: impl Into<BackendRequest>, status: &mut dyn FnMut(&str)) -> Result<AnyBackend, DeviceError> {
    let request = request.into();
    check_precision(request)?;
    let BackendRequest { device, precision, threads, .. } = request;
    let backend = match device {
        Device::Auto if precision == PrecisionSetting::F32 => match gpu(request, 0) {
            Ok(gpu) => {
                status(&format!("device   {}, as there is a GPU; --device cpu does without", describe(&gpu, threads)));
                return Ok(gpu);
            }
            Err(DeviceError::Cuda { reason, .. }) => {
                let cpu = cpu(threads)?;
                status(&format!("device   {}, as {}", describe(&cpu, threads), first_clause(&reason)));
                return Ok(cpu);
            }
            Err(error) => return Err(error),
        },
        Device::Auto => gpu(request, 0)?,
        Device::Cuda { gpu: ordinal } => gpu(request, ordinal)?,
        Device::Reference => AnyBackend::Reference(Reference),
        Device::Cpu => cpu(threads)?,
    };
    status(&format!("device   {}", describe(&backend, threads)));
    Ok(backend)
}

/// Opens the backend of one of several processes on this machine. `local_rank` is its number among them. Each takes a
/// GPU of its own: the first one that of the settings, the others those that follow.
///
/// # Errors
/// As [`open`].
pub fn open_for_rank(
    local_rank: usize,
    settings: &Settings,
    status: &mut dyn FnMut(&str),
) -> Result<AnyBackend, DeviceError> {
    let device = match settings.run.device {
        Device::Cuda { gpu } => Device::Cuda { gpu: gpu + local_rank },
        // As the leader chooses: if the machine has a GPU, each of its processes needs one.
        Device::Auto if local_rank > 0 && check_gpu(0).is_ok() => Device::Cuda { gpu: local_rank },
        device => device,
    };
    open(BackendRequest { device, ..BackendRequest::from(&settings.run) }, status)
}

/// Checks, as far as is possible in a moment, that [`open`] is going to succeed.
pub(crate) fn check(request: impl Into<BackendRequest>) -> Result<(), DeviceError> {
    let request = request.into();
    check_precision(request)?;
    match request.device {
        Device::Cuda { gpu } => check_gpu(gpu).map_err(|reason| no_gpu(request, reason)),
        Device::Auto if request.precision != PrecisionSetting::F32 => {
            check_gpu(0).map_err(|reason| no_gpu(request, reason))
        }
        Device::Auto | Device::Cpu => cpu(request.threads).map(drop),
        Device::Reference => Ok(()),
    }
}

/// Refuses a precision on a device that never has it.
fn check_precision(BackendRequest { device, precision, .. }: BackendRequest) -> Result<(), DeviceError> {
    match device {
        Device::Cpu | Device::Reference if precision != PrecisionSetting::F32 => {
            Err(DeviceError::Precision { precision, device, reason: "only NVIDIA GPUs have tensor cores".to_owned() })
        }
        _ => Ok(()),
    }
}

/// The error for a request that needs a GPU, if there is none.
fn no_gpu(BackendRequest { device, precision, .. }: BackendRequest, reason: String) -> DeviceError {
    match device {
        Device::Auto if precision != PrecisionSetting::F32 => DeviceError::Precision { precision, device, reason },
        _ => DeviceError::Cuda { device, reason },
    }
}

fn cpu(threads: usize) -> Result<AnyBackend, DeviceError> {
    Cpu::new(threads).map(AnyBackend::Cpu).map_err(|error| DeviceError::Cpu(error.to_string()))
}

#[cfg(feature = "cuda")]
fn gpu(request: BackendRequest, ordinal: usize) -> Result<AnyBackend, DeviceError> {
    let precision = request.precision;
    let cuda = Cuda::with_precision(ordinal, precision.into());
    let cuda = cuda.map(|cuda| if request.no_graphs { cuda.without_graphs() } else { cuda });
    cuda.map(AnyBackend::Cuda).map_err(|error| match error {
        CudaError::NoTf32 { .. } => {
            DeviceError::Precision { precision, device: request.device, reason: error.to_string() }
        }
        _ => no_gpu(request, error.to_string()),
    })
}

#[cfg(feature = "cuda")]
fn check_gpu(ordinal: usize) -> Result<(), String> {
    Cuda::check(ordinal).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn gpu(request: BackendRequest, ordinal: usize) -> Result<AnyBackend, DeviceError> {
    check_gpu(ordinal).map_err(|reason| no_gpu(request, reason))?;
    unreachable!("there is no GPU without CUDA")
}

#[cfg(not(feature = "cuda"))]
fn check_gpu(_: usize) -> Result<(), String> {
    Err("this build has no CUDA backend (it was built without the feature `cuda`)".to_owned())
}

/// What computes, and on how many threads and why, if so many were asked for.
fn describe(backend: &AnyBackend, threads: usize) -> String {
    match backend {
        AnyBackend::Cpu(cpu) => {
            let why = if threads == 0 { " (one a core)" } else { "" };
            format!("{}, threads: {}{why}", cpu.name(), cpu.threads())
        }
        #[cfg(feature = "cuda")]
        AnyBackend::Cuda(cuda) => {
            format!(
                "{} (GPU {}, {}); no GPU has been tried by the authors",
                cuda.name(),
                cuda.ordinal(),
                cuda.gpu_name()
            )
        }
        AnyBackend::Reference(reference) => reference.name(),
    }
}

/// A message up to its first colon: what is wrong, without what to do about it.
fn first_clause(reason: &str) -> &str {
    reason.split(':').next().unwrap_or(reason)
}

/// Runs a body with the backend inside an [`AnyBackend`], whatever its type.
macro_rules! with_backend {
    ($any:expr, |$backend:ident| $body:expr) => {
        match $any {
            crate::train::backend::AnyBackend::Cpu($backend) => $body,
            #[cfg(feature = "cuda")]
            crate::train::backend::AnyBackend::Cuda($backend) => $body,
            crate::train::backend::AnyBackend::Reference($backend) => $body,
        }
    };
}

pub(crate) use with_backend;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_finds_a_device_and_says_why() {
        let mut said = Vec::new();
        let request =
            BackendRequest { device: Device::Auto, precision: PrecisionSetting::F32, no_graphs: false, threads: 1 };
        open(request, &mut |line| said.push(line.to_owned())).unwrap();
        assert!(said.len() == 1 && said[0].contains(", as "), "{said:?}");
        check(request).unwrap();
    }

    #[test]
    fn only_a_gpu_has_tensor_cores() {
        for device in [Device::Cpu, Device::Reference] {
            let request = BackendRequest { device, precision: PrecisionSetting::Tf32, no_graphs: false, threads: 1 };
            for error in [open(request, &mut |_| ()).unwrap_err(), check(request).unwrap_err()] {
                let want = format!(
                    "--precision tf32: only NVIDIA GPUs have tensor cores; leave it out, or choose another --device than {device}"
                );
                assert_eq!(error.to_string(), want);
            }
        }
    }
}
