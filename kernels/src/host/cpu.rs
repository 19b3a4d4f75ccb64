//! [`Cpu`]: the instruction set and the threads that passes run with.

use crate::parallel::{Pool, PoolError};
use crate::simd::{Isa, IsaError};

/// Computes in f32 with the instruction set and the threads it was made with.
#[derive(Clone, Debug)]
pub struct Cpu {
    pub(crate) isa: Isa,
    pub(crate) pool: Pool,
    forced_algo: Option<&'static str>,
}

/// Why a [`Cpu`] cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// The instruction set is unknown, or the CPU lacks it.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// The threads did not start.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Cpu {
    /// The best instruction set of this CPU (or the one that `KERNELS_ISA` forces) on `threads` threads; 0 means one
    /// per core.
    ///
    /// # Errors
    /// [`CpuError`] if the CPU lacks what `KERNELS_ISA` asks for, or the threads cannot be started.
    pub fn new(threads: usize) -> Result<Cpu, CpuError> {
        Cpu::with_isa(Isa::from_env()?, threads)
    }

    /// The given instruction set on `threads` threads; 0 means one per core.
    ///
    /// # Errors
    /// [`CpuError`] if the CPU lacks it, or the threads cannot be started.
    pub fn with_isa(isa: Isa, threads: usize) -> Result<Cpu, CpuError> {
        if !isa.is_available() {
            return Err(IsaError::Unavailable(isa).into());
        }
        Ok(Cpu { isa, pool: Pool::new(threads)?, forced_algo: None })
    }

    /// Makes passes that have a choice of algorithms take the one of this name, if it can compute them.
    pub(crate) fn with_algo(self, name: &'static str) -> Cpu {
        Cpu { forced_algo: Some(name), ..self }
    }

    /// The name of the forced algorithm.
    pub(crate) fn forced_algo(&self) -> Option<&'static str> {
        self.forced_algo
    }

    /// Wall time that this backend has spent in parallel tasks. The rest of a training step is serial.
    pub fn time_in_tasks(&self) -> std::time::Duration {
        self.pool.time_in_tasks()
    }

    /// The instruction set that kernels run with.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}
