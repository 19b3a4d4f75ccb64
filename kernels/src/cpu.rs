//! The fast host backend: SIMD chosen at run time, one pool of threads.

use crate::conv2d::Conv2dParams;
use crate::conv2d::cpu::{Algo, Pass};
use crate::parallel::{Pool, PoolError};
use crate::simd::{Isa, IsaError};

/// Computes in f32 with the instruction set and the threads it was made with.
#[derive(Clone, Debug)]
pub struct Cpu {
    pub(crate) isa: Isa,
    pub(crate) pool: Pool,
    conv2d_algo: Option<Algo>,
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
    /// The best instruction set of this CPU (or the one that `KERNELS_ISA` forces) on `threads` threads, 0 for one a core.
    ///
    /// # Errors
    /// [`CpuError`] if `KERNELS_ISA` asks for what is not to be had, or the threads cannot be started.
    pub fn new(threads: usize) -> Result<Cpu, CpuError> {
        Cpu::with_isa(Isa::from_env()?, threads)
    }

    /// The given instruction set on `threads` threads, 0 for one a core.
    ///
    /// # Errors
    /// [`CpuError`] if the CPU lacks it, or the threads cannot be started.
    pub fn with_isa(isa: Isa, threads: usize) -> Result<Cpu, CpuError> {
        if !isa.is_available() {
            return Err(IsaError::Unavailable(isa).into());
        }
        Ok(Cpu { isa, pool: Pool::new(threads)?, conv2d_algo: None })
    }

    /// Computes every convolution with `algo`, whatever its shape, instead of the one that [`Algo::choose`] picks.
    pub fn with_conv2d_algo(self, algo: Algo) -> Cpu {
        Cpu { conv2d_algo: Some(algo), ..self }
    }

    /// The algorithm that a pass of a convolution runs with.
    pub fn conv2d_algo(&self, p: &Conv2dParams, pass: Pass) -> Algo {
        self.conv2d_algo.unwrap_or_else(|| Algo::choose(p, pass, self.isa))
    }

    /// The instruction set that kernels run with.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}
