//! Typed kernels: the compiler checks the arguments of a launch against a declaration, and a test checks the
//! declaration against the PTX. The driver itself would take any bytes.

use super::device::{CudaError, Device, Module, expect};
use super::graph::stream_of_passes;
use super::{BLOCK, PER_THREAD, Ptr};
use cudarc::driver::result;
use cudarc::driver::sys;
use std::ffi::c_void;
use std::marker::PhantomData;

/// A type that a kernel can take by value.
///
/// # Safety
/// The type has the layout of the C++ type in the kernel's declaration.
pub(crate) unsafe trait Arg: Copy {}

// SAFETY: `u32` is `unsigned int`.
unsafe impl Arg for u32 {}
// SAFETY: `f32` is `float`.
unsafe impl Arg for f32 {}
// SAFETY: an address on the device, 8 bytes.
unsafe impl Arg for Ptr {}

/// The arguments of a kernel.
pub(crate) trait Args {
    /// Sizes in bytes, for the test that compares them with the PTX.
    #[cfg(test)]
    const SIZES: &'static [usize];

    /// Calls `f` with the addresses of the arguments.
    fn with_addresses<R>(&self, f: impl FnOnce(&mut [*mut c_void]) -> R) -> R;
}

macro_rules! args {
    ($($type:ident $index:tt),*) => {
        impl<$($type: Arg),*> Args for ($($type,)*) {
            #[cfg(test)]
            const SIZES: &'static [usize] = &[$(size_of::<$type>()),*];

            fn with_addresses<R>(&self, f: impl FnOnce(&mut [*mut c_void]) -> R) -> R {
                f(&mut [$((&raw const self.$index).cast_mut().cast()),*])
            }
        }
    };
}

args!(A 0, B 1, C 2);
args!(A 0, B 1, C 2, D 3);
args!(A 0, B 1, C 2, D 3, E 4);
args!(A 0, B 1, C 2, D 3, E 4, F 5);
args!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
args!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
args!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
args!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);

/// A loaded kernel.
pub(crate) struct Kernel<A> {
    function: sys::CUfunction,
    block: u32,
    args: PhantomData<fn(A)>,
}

// SAFETY: the handle is only handed to the driver, which may be called from any thread.
unsafe impl<A> Send for Kernel<A> {}
// SAFETY: as above; the driver locks.
unsafe impl<A> Sync for Kernel<A> {}

impl<A: Args> Kernel<A> {
    pub(crate) fn load(module: Module, name: &str, block: u32) -> Result<Kernel<A>, CudaError> {
        Ok(Kernel { function: module.function(name)?, block, args: PhantomData })
    }

    /// Starts the kernel after everything started before. Does nothing if the grid is empty.
    ///
    /// # Safety
    /// With these arguments, the kernel stays inside the device's memory.
    pub(crate) unsafe fn launch(&self, device: &Device, grid: [usize; 3], args: A) {
        if grid.contains(&0) {
            return;
        }
        let [x, y, z] = grid.map(|blocks| u32::try_from(blocks).expect("operands have at most 2^31 elements"));
        assert!(y < 65_536 && z < 65_536, "a grid of {grid:?} blocks is more than a GPU takes");
        device.bind();
        let (grid, block, stream) = ((x, y, z), (self.block, 1, 1), stream_of_passes(device));
        let launched = args.with_addresses(|addresses| {
            // SAFETY: the function is loaded, the addresses are those of its arguments; the caller answers for their
            // values.
            unsafe { result::launch_kernel(self.function, grid, block, 0, stream, addresses) }
        });
        expect("cuLaunchKernel", launched);
    }
}

/// The grid of an element-wise kernel over `len` elements.
pub(crate) fn flat_grid(len: usize) -> [usize; 3] {
    [len.div_ceil(BLOCK * PER_THREAD), 1, 1]
}

/// The kernels of a `.cu` file, loaded on a GPU. [`kernels!`] declares one.
pub(crate) trait KernelSet: Send + Sync + Sized + 'static {
    /// The PTX of the file, with a zero byte at the end.
    const PTX: &'static str;

    /// Compiles the file for a GPU and finds its kernels.
    fn load(device: &mut Device) -> Result<Self, CudaError>;

    /// For the tests that compare the launchers with the PTX, and the PTX with the sources.
    #[cfg(test)]
    const FILE: KernelFile;
}

/// A `.cu` file and its PTX.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct KernelFile {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    pub(crate) headers: &'static [&'static str],
    pub(crate) ptx: &'static str,
    pub(crate) signatures: &'static [Signature],
}

/// A kernel's declaration.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) block: u32,
    pub(crate) sizes: &'static [usize],
}

/// Declares the kernels of a `.cu` file, and the headers in its folder that it includes. Each kernel is a line
/// `name: threads of a block (types of the arguments)`.
macro_rules! kernels {
    ($file:literal $(with $header:literal)* { $($name:ident: $block:literal ($($arg:ty),* $(,)?),)* }) => {
        /// The kernels of this operation, loaded.
        pub(crate) struct Kernels {
            $($name: $crate::gpu::Kernel<($($arg,)*)>,)*
        }

        impl $crate::gpu::KernelSet for Kernels {
            const PTX: &'static str = concat!(include_str!(concat!($file, ".ptx")), "\0");

            fn load(device: &mut $crate::gpu::Device) -> Result<Kernels, $crate::gpu::CudaError> {
                let module = device.load(Self::PTX)?;
                Ok(Kernels { $($name: $crate::gpu::Kernel::load(module, stringify!($name), $block)?,)* })
            }

            #[cfg(test)]
            const FILE: $crate::gpu::KernelFile = $crate::gpu::KernelFile {
                name: concat!($file, ".cu"),
                source: include_str!(concat!($file, ".cu")),
                headers: &[$(include_str!($header)),*],
                ptx: Self::PTX,
                signatures: &[$($crate::gpu::Signature {
                    name: stringify!($name),
                    block: $block,
                    sizes: <($($arg,)*) as $crate::gpu::Args>::SIZES,
                }),*],
            };
        }
    };
}

pub(crate) use kernels;
