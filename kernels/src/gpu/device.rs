//! One GPU: its context, its memory, and the stream that all passes run on, one after the other.

use crate::OutOfMemory;
use cudarc::driver::CudaContext;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdeviceptr, CUresult};
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

/// The version of CUDA that the PTX is of, as a driver counts it: the first that can load it.
const CUDA_VERSION: i32 = 12_000;

/// Bytes of what a driver's compiler has to say.
const LOG_LEN: usize = 4096;

/// Why a GPU cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// There is no driver library.
    #[error(
        "no NVIDIA driver found (libcuda.so.1): CUDA needs an NVIDIA GPU and its driver, version 525 or later, and nothing else"
    )]
    NoDriver,
    /// The library is not the driver's, but the one that a CUDA toolkit has for linking.
    #[error(
        "libcuda.so is not the NVIDIA driver but a stub of a CUDA toolkit: take its folder out of LD_LIBRARY_PATH, so \
         that the driver's libcuda.so.1 is found"
    )]
    StubDriver,
    /// The driver is older than what the kernels are compiled for.
    #[error(
        "the NVIDIA driver is too old: it is for CUDA {}, and the kernels are for CUDA {}: install driver 525 or later",
        show_version(*version),
        show_version(CUDA_VERSION)
    )]
    OldDriver {
        /// Its version of CUDA, times 1000: 11040 is 11.4.
        version: i32,
    },
    /// The driver has no GPU.
    #[error("the NVIDIA driver finds no GPU")]
    NoGpu,
    /// There is no GPU of this number.
    #[error("there is no GPU {ordinal}: the driver finds {count}, and counts from 0")]
    UnknownGpu {
        /// Number asked for.
        ordinal: usize,
        /// Number of GPUs.
        count: usize,
    },
    /// The GPU is older than what the kernels are compiled for.
    #[error("GPU {ordinal} ({name}) is too old: its compute capability is {major}.{minor}, and 7.0 is needed")]
    OldGpu {
        /// Its number.
        ordinal: usize,
        /// Its name.
        name: String,
        /// Compute capability.
        major: i32,
        /// Compute capability.
        minor: i32,
    },
    /// The GPU is older than what convolutions in TF32 are compiled for.
    #[error("GPU {ordinal} ({name}) has no TF32: its compute capability is {major}.{minor}, and 8.0 is needed")]
    NoTf32 {
        /// Its number.
        ordinal: usize,
        /// Its name.
        name: String,
        /// Compute capability.
        major: i32,
        /// Compute capability.
        minor: i32,
    },
    /// The driver does not compile the kernels for the GPU.
    #[error(
        "the NVIDIA driver, which is for CUDA {}, does not load the kernels for {name} of compute capability \
         {major}.{minor}: {error}{}: {}",
        show_version(*version),
        show_log(log),
        advice(error)
    )]
    Compile {
        /// The driver's version of CUDA, times 1000.
        version: i32,
        /// The GPU's name.
        name: String,
        /// Compute capability.
        major: i32,
        /// Compute capability.
        minor: i32,
        /// The driver's name of the error.
        error: String,
        /// What its compiler said; may be empty.
        log: String,
    },
    /// A driver call failed.
    #[error("the NVIDIA driver failed in {call}: {error}")]
    Driver {
        /// What was called.
        call: &'static str,
        /// The driver's name of the error.
        error: String,
    },
}

/// 12040 is 12.4.
fn show_version(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn show_log(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { String::new() } else { format!(" ({})", lines.join("; ")) }
}

/// What to do about a failure to load kernels, by the driver's name of the error.
fn advice(error: &str) -> &'static str {
    match error {
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" => "install a newer driver",
        "CUDA_ERROR_JIT_COMPILER_NOT_FOUND" => {
            "the driver's compiler libnvidia-ptxjitcompiler.so.1 is missing, so install the whole driver, in a \
             container with the capability `compute`"
        }
        "CUDA_ERROR_JIT_COMPILATION_DISABLED" => "unset CUDA_DISABLE_PTX_JIT: the kernels are compiled for each GPU",
        "CUDA_ERROR_OUT_OF_MEMORY" => "other programs may have the memory, of the GPU or of the host",
        _ => "a newer driver may help; if it does not, please report this message",
    }
}

/// The driver's name of an error.
fn error_name(error: DriverError) -> String {
    match error.error_name() {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("error {}", error.0 as u32),
    }
}

/// Converts a driver's error.
pub(super) fn check<T>(call: &'static str, result: Result<T, DriverError>) -> Result<T, CudaError> {
    result.map_err(|error| CudaError::Driver { call, error: error_name(error) })
}

/// The value of a call that fails only if the GPU or its driver fails. It panics then: a pass can neither report that
/// nor go on.
pub(super) fn expect<T>(call: &'static str, result: Result<T, DriverError>) -> T {
    check(call, result).unwrap_or_else(|error| {
        panic!(
            "{error}; earlier kernels may be the reason, as they run asynchronously, and after one that failed all \
                 later calls of the process do, too"
        )
    })
}

/// Checks that there is a driver, and a GPU `ordinal`.
pub(crate) fn check_gpu(ordinal: usize) -> Result<(), CudaError> {
    match device_count()? {
        0 => Err(CudaError::NoGpu),
        count if ordinal < count => Ok(()),
        count => Err(CudaError::UnknownGpu { ordinal, count }),
    }
}

/// Number of GPUs that the driver finds; may be 0.
pub(crate) fn device_count() -> Result<usize, CudaError> {
    // SAFETY: loads the driver library; its initialisers are NVIDIA's concern. Without this question, cudarc would
    // panic where there is none.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    let count = result::init().and_then(|()| result::device::get_count());
    if count == Err(DriverError(CUresult::CUDA_ERROR_STUB_LIBRARY)) {
        return Err(CudaError::StubDriver);
    }
    let version = driver_version()?;
    if version < CUDA_VERSION {
        return Err(CudaError::OldDriver { version });
    }
    match count {
        Ok(count) => Ok(count.max(0) as usize),
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        Err(error) => check("cuInit", Err(error)),
    }
}

/// The newest version of CUDA that the driver knows, times 1000.
fn driver_version() -> Result<i32, CudaError> {
    let mut version = 0;
    // SAFETY: the number is written by the call.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&mut version) }.result())?;
    Ok(version)
}

/// A GPU with a context and a stream.
pub(crate) struct Device {
    /// Declared before the context, so that it is dropped first: it cannot be destroyed without the context.
    pub(crate) stream: OwnedStream,
    context: Arc<CudaContext>,
    modules: Vec<sys::CUmodule>,
    pub(crate) name: String,
    pub(crate) capability: (i32, i32),
    /// Why the driver would not record passes, the first time that it did not.
    pub(crate) refused_graph: OnceLock<CudaError>,
}

/// A stream that does not wait for others. Its device must be bound when it is made and when it is dropped.
pub(crate) struct OwnedStream(pub(crate) sys::CUstream);

// SAFETY: the driver may be called from any thread; the handle is only handed to it.
unsafe impl Send for OwnedStream {}
// SAFETY: as above; the driver locks.
unsafe impl Sync for OwnedStream {}

impl OwnedStream {
    pub(super) fn new() -> OwnedStream {
        expect("cuStreamCreate", OwnedStream::try_new())
    }

    fn try_new() -> Result<OwnedStream, DriverError> {
        result::stream::create(result::stream::StreamKind::NonBlocking).map(OwnedStream)
    }
}

impl Drop for OwnedStream {
    fn drop(&mut self) {
        // An error here cannot be handled. If it matters, an earlier call has reported it.
        // SAFETY: the stream is alive, and not used again.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}

/// Allocates uninitialised memory on the device that is bound.
///
/// # Errors
/// [`OutOfMemory`] if there is not enough.
pub(super) fn allocate(bytes: usize) -> Result<CUdeviceptr, OutOfMemory> {
    // SAFETY: only an address on the device is returned; to read there is for kernels and copies, whose callers answer
    // for it.
    match unsafe { result::malloc_sync(bytes) } {
        Ok(address) => Ok(address),
        Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Err(OutOfMemory { bytes, device: "the GPU" }),
        Err(error) => expect("cuMemAlloc", Err(error)),
    }
}

// SAFETY: the driver may be called from any thread; the handles are only handed to it.
unsafe impl Send for Device {}
// SAFETY: as above; the driver locks.
unsafe impl Sync for Device {}

impl Device {
    pub(crate) fn new(ordinal: usize) -> Result<Device, CudaError> {
        check_gpu(ordinal)?;
        let context = check("cuDevicePrimaryCtxRetain", CudaContext::new(ordinal))?;
        let name = check("cuDeviceGetName", context.name())?;
        let capability = check("cuDeviceGetAttribute", context.compute_capability())?;
        let (major, minor) = capability;
        if major < 7 {
            return Err(CudaError::OldGpu { ordinal, name, major, minor });
        }
        let stream = check("cuStreamCreate", OwnedStream::try_new())?;
        Ok(Device { context, stream, modules: Vec::new(), name, capability, refused_graph: OnceLock::new() })
    }

    /// Makes this the device of this thread's driver calls.
    pub(crate) fn bind(&self) {
        expect("cuCtxSetCurrent", self.context.bind_to_thread());
    }

    /// Compiles a module for this GPU and loads it.
    pub(crate) fn load(&mut self, ptx: &'static str) -> Result<Module, CudaError> {
        let ptx = CStr::from_bytes_with_nul(ptx.as_bytes()).expect("PTX that ends with its only zero byte");
        let (mut module, mut log) = (ptr::null_mut(), [0u8; LOG_LEN]);
        let mut options =
            [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        // The size is a number in the place of an address.
        let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), ptr::without_provenance_mut(LOG_LEN)];
        let (count, options, values) = (options.len() as u32, options.as_mut_ptr(), values.as_mut_ptr());
        // SAFETY: the image is text that ends with a zero byte, the log has the bytes that the options say; all outlive
        // the call.
        let loaded = unsafe { sys::cuModuleLoadDataEx(&mut module, ptx.as_ptr().cast(), count, options, values) };
        if let Err(error) = loaded.result() {
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().into_owned();
            let ((major, minor), name) = (self.capability, self.name.clone());
            let (version, error) = (driver_version()?, error_name(error));
            return Err(CudaError::Compile { version, name, major, minor, error, log });
        }
        self.modules.push(module);
        Ok(Module(module))
    }

    /// Waits until everything started has ended.
    pub(crate) fn synchronize(&self) {
        self.bind();
        // SAFETY: the stream is alive.
        expect("cuStreamSynchronize", unsafe { result::stream::synchronize(self.stream.0) });
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // An error here cannot be handled. If it matters, an earlier call has reported it.
        // SAFETY: stream and modules are alive, and the modules not used again.
        unsafe {
            let _ = self.context.bind_to_thread();
            let _ = result::stream::synchronize(self.stream.0);
            for &module in &self.modules {
                let _ = result::module::unload(module);
            }
        }
    }
}

/// A loaded module, valid as long as its [`Device`] lives.
#[derive(Clone, Copy)]
pub(crate) struct Module(sys::CUmodule);

impl Module {
    /// A kernel by name.
    pub(super) fn function(self, name: &str) -> Result<sys::CUfunction, CudaError> {
        let name = CString::new(name).expect("names of kernels have no zero byte");
        // SAFETY: the module is loaded.
        check("cuModuleGetFunction", unsafe { result::module::get_function(self.0, name) })
    }
}
