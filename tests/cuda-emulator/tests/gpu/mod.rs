//! A small wrapper of cudarc, with what the tests need of a device.

use std::sync::Arc;

use cudarc::{
    driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DriverError, LaunchArgs, LaunchConfig},
    nvrtc::Ptx,
};

/// The device and a stream.
pub(crate) struct Gpu {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) stream: Arc<CudaStream>,
}

impl Gpu {
    pub(crate) fn new() -> Result<Gpu, DriverError> {
        let context = CudaContext::new(0)?;
        let stream = context.new_stream()?;
        Ok(Gpu { context, stream })
    }

    pub(crate) fn upload(&self, values: &[f32]) -> CudaSlice<f32> {
        self.stream.clone_htod(values).unwrap()
    }

    pub(crate) fn uninitialized<T: cudarc::driver::DeviceRepr>(&self, len: usize) -> CudaSlice<T> {
        // SAFETY: the tests are about what happens to memory that nobody has written; every bit pattern is a value of
        // their types.
        unsafe { self.stream.alloc(len) }.unwrap()
    }

    pub(crate) fn download(&self, values: &CudaSlice<f32>) -> Vec<f32> {
        self.stream.clone_dtoh(values).unwrap()
    }

    /// A kernel, from PTX that has only its declaration: the emulator reads nothing else. `parameters` are PTX types.
    pub(crate) fn function(&self, kernel: &str, parameters: &str) -> CudaFunction {
        self.load(kernel, parameters, "").unwrap()
    }

    /// `directives`: between the parameters and the body.
    pub(crate) fn load(&self, kernel: &str, parameters: &str, directives: &str) -> Result<CudaFunction, DriverError> {
        let declare = |(i, kind): (usize, &str)| match kind.strip_prefix("b8x") {
            Some(bytes) => format!(".param .align 8 .b8 {kernel}_param_{i}[{bytes}]"),
            None => format!(".param .{kind} {kernel}_param_{i}"),
        };
        let parameters: Vec<String> = parameters.split_whitespace().enumerate().map(declare).collect();
        self.load_ptx(
            kernel,
            &format!(
                "//\n// Not made by a compiler\n//\n\n.version 7.0\n.target sm_70\n.address_size 64\n\n\
                 .visible .entry {kernel}(\n\t{}\n)\n{directives}\n{{\n\tret;\n}}\n",
                parameters.join(",\n\t")
            ),
        )
    }

    pub(crate) fn load_ptx(&self, kernel: &str, ptx: &str) -> Result<CudaFunction, DriverError> {
        self.context.load_module(Ptx::from_src(ptx))?.load_function(kernel)
    }

    /// Launches and waits.
    pub(crate) fn launch<'a>(
        &'a self,
        function: &'a CudaFunction,
        blocks: u32,
        threads: u32,
        push: impl FnOnce(&mut LaunchArgs<'a>),
    ) -> Result<(), DriverError> {
        let mut arguments = self.stream.launch_builder(function);
        push(&mut arguments);
        let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: not known to be sound: that is what the emulator is there to find, in memory that is the test's own.
        unsafe { arguments.launch(config) }?;
        self.stream.synchronize()
    }

    /// # Panics
    /// With the words `wrong results`, unless the values are exactly the expected ones.
    pub(crate) fn compare(&self, values: &CudaSlice<f32>, expected: &[f32]) {
        let values = self.download(values);
        assert!(values == expected, "wrong results: {values:?}, expected {expected:?}");
    }
}

/// 1, 2, 3, ...
pub(crate) fn ramp(len: usize) -> Vec<f32> {
    (1..=len).map(|i| i as f32).collect()
}
