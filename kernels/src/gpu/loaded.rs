//! [`Gpu`]: a device and the kernels that are loaded on it.

use super::device::{CudaError, Device};
use super::kernel::KernelSet;
use std::any::Any;
use std::sync::Arc;

/// A GPU with the kernels of all operations: what passes are started on.
pub struct Gpu {
    pub(crate) device: Arc<Device>,
    pub(crate) ordinal: usize,
    /// The kernels of each file, in the order in which they were loaded.
    loaded: Vec<Box<dyn Any + Send + Sync>>,
}

impl Gpu {
    /// GPU `ordinal`, with no kernels yet.
    pub(crate) fn new(ordinal: usize) -> Result<Gpu, CudaError> {
        Ok(Gpu { device: Arc::new(Device::new(ordinal)?), ordinal, loaded: Vec::new() })
    }

    /// Loads the kernels of a file.
    ///
    /// # Panics
    /// If memory has been allocated on the device.
    pub(crate) fn load<K: KernelSet>(&mut self) -> Result<(), CudaError> {
        let device = Arc::get_mut(&mut self.device).expect("kernels are loaded before memory is allocated");
        let kernels = K::load(device)?;
        self.loaded.push(Box::new(kernels));
        Ok(())
    }

    /// The kernels of a file, if they are loaded.
    pub(crate) fn find<K: KernelSet>(&self) -> Option<&K> {
        self.loaded.iter().find_map(|kernels| kernels.downcast_ref())
    }

    /// The kernels of a file.
    ///
    /// # Panics
    /// If they are not loaded.
    pub(crate) fn kernels<K: KernelSet>(&self) -> &K {
        self.find().expect("the kernels of every operation are loaded with the backend")
    }
}
