//! The GPU backend: hand-written CUDA kernels, launched through the NVIDIA driver.

use crate::activation::{self, Activation};
use crate::adamw::{self, AdamWParams};
use crate::add;
use crate::batch_norm::cuda::{ChannelGradients, Statistics};
use crate::batch_norm::{self, BatchNormParams};
#[cfg(feature = "nccl")]
use crate::collective::{Collective, CollectiveError, Communicator};
use crate::conv2d::cuda::{Direction, Mapped};
use crate::conv2d::{self, Conv2dParams};
use crate::cuda_rt::{self, CudaError, CudaMemory, Device, Slice, fill};
use crate::epilogue::{self, EpilogueParams};
use crate::finite;
use crate::loss::{self, Loss};
use crate::pad::{self, PadParams};
use crate::prelu;
use crate::rrelu;
use crate::{Backend, OutOfMemory, Span, Write};
use std::fmt;
use std::sync::Arc;

/// Computes in f32 on an NVIDIA GPU of compute capability 7.0 or later (2017).
///
/// Passes are started, and run one after the other; reading waits for them, writing does not. All kernels sum in an order that depends
/// on the shapes alone, so the same calls give the same bits on one GPU.
///
/// [`Cuda::with_tf32`] computes convolutions on tensor cores, of operands with less precision.
///
/// **No GPU has run this backend yet**: see the README for how it has been checked.
///
/// # Panics
/// Passes panic if the driver fails, as it does when a GPU is lost.
#[derive(Clone)]
pub struct Cuda {
    runtime: Arc<Runtime>,
    graphs: bool,
}

/// A GPU and what is loaded on it.
struct Runtime {
    device: Arc<Device>,
    ordinal: usize,
    activation: activation::cuda::Kernels,
    adamw: adamw::cuda::Kernels,
    add: add::cuda::Kernels,
    batch_norm: batch_norm::cuda::Kernels,
    conv2d: conv2d::cuda::Kernels,
    /// Convolutions on tensor cores, if they are to be used.
    conv2d_tf32: Option<conv2d::cuda::tf32::Kernels>,
    epilogue: epilogue::cuda::Kernels,
    fill: fill::Kernels,
    finite: finite::cuda::Kernels,
    loss: loss::cuda::Kernels,
    pad: pad::cuda::Kernels,
    prelu: prelu::cuda::Kernels,
    rrelu: rrelu::cuda::Kernels,
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cuda").field("gpu", &self.runtime.ordinal).field("name", &self.gpu_name()).finish()
    }
}

impl Cuda {
    /// Number of GPUs, which may be 0.
    ///
    /// # Errors
    /// [`CudaError::NoDriver`] if there is no driver, [`CudaError::Driver`] if it does not start.
    pub fn gpu_count() -> Result<usize, CudaError> {
        cuda_rt::device_count()
    }

    /// Whether there is a driver, and a GPU `ordinal`.
    ///
    /// # Errors
    /// [`CudaError`] if not.
    pub fn check(ordinal: usize) -> Result<(), CudaError> {
        match cuda_rt::device_count()? {
            0 => Err(CudaError::NoGpu),
            count if ordinal < count => Ok(()),
            count => Err(CudaError::UnknownGpu { ordinal, count }),
        }
    }

    /// GPU `ordinal`, counted from 0. The driver compiles the kernels for it, which takes seconds the first time and is cached.
    ///
    /// # Errors
    /// [`CudaError`] if there is no driver or no such GPU, the GPU is too old, or the driver fails.
    pub fn new(ordinal: usize) -> Result<Cuda, CudaError> {
        Cuda::load(ordinal, Device::new(ordinal)?, None)
    }

    /// As [`new`](Self::new), with convolutions on tensor cores: operands are rounded to TF32, which has 10 bits of mantissa in place of
    /// 23, and sums are in f32. Each product is off by at most about 2^-10 of its magnitude, so a result by that of the sum of its
    /// products' magnitudes, and by f32's rounding; whole numbers up to 2048 are multiplied exactly. Shapes that the tensor cores'
    /// kernels do not take, those with channels (of a group) not in fours, stay in f32.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`CudaError::NoTf32`] if the GPU's compute capability is less than 8.0 (2020).
    pub fn with_tf32(ordinal: usize) -> Result<Cuda, CudaError> {
        let mut device = Device::new(ordinal)?;
        let (major, minor) = device.capability;
        if major < 8 {
            return Err(CudaError::NoTf32 { ordinal, name: device.name.clone(), major, minor });
        }
        let tf32 = conv2d::cuda::tf32::Kernels::load(&mut device)?;
        Cuda::load(ordinal, device, Some(tf32))
    }

    fn load(
        ordinal: usize,
        mut device: Device,
        conv2d_tf32: Option<conv2d::cuda::tf32::Kernels>,
    ) -> Result<Cuda, CudaError> {
        Ok(Cuda {
            graphs: true,
            runtime: Arc::new(Runtime {
                activation: activation::cuda::Kernels::load(&mut device)?,
                adamw: adamw::cuda::Kernels::load(&mut device)?,
                add: add::cuda::Kernels::load(&mut device)?,
                batch_norm: batch_norm::cuda::Kernels::load(&mut device)?,
                conv2d: conv2d::cuda::Kernels::load(&mut device)?,
                conv2d_tf32,
                epilogue: epilogue::cuda::Kernels::load(&mut device)?,
                fill: fill::Kernels::load(&mut device)?,
                finite: finite::cuda::Kernels::load(&mut device)?,
                loss: loss::cuda::Kernels::load(&mut device)?,
                pad: pad::cuda::Kernels::load(&mut device)?,
                prelu: prelu::cuda::Kernels::load(&mut device)?,
                rrelu: rrelu::cuda::Kernels::load(&mut device)?,
                ordinal,
                device: Arc::new(device),
            }),
        })
    }

    /// The same without CUDA graphs: every kernel is launched by itself. It gives the same bits; to see which launch fails, or what graphs
    /// are worth.
    pub fn without_graphs(self) -> Cuda {
        Cuda { graphs: false, ..self }
    }

    /// What the driver calls the GPU.
    pub fn gpu_name(&self) -> &str {
        &self.runtime.device.name
    }

    /// Its number.
    pub fn ordinal(&self) -> usize {
        self.runtime.ordinal
    }

    /// Whether it is [`with_tf32`](Self::with_tf32).
    pub fn uses_tf32(&self) -> bool {
        self.runtime.conv2d_tf32.is_some()
    }
}

type Memory = CudaMemory;

impl Backend for Cuda {
    type Element = f32;
    type Memory = Memory;

    /// A few hundred milliseconds of small networks.
    const STEPS_AHEAD: usize = 32;

    fn name(&self) -> String {
        let (major, minor) = self.runtime.device.capability;
        format!("cuda-sm_{major}{minor}{}", if self.uses_tf32() { "-tf32" } else { "" })
    }

    /// One: the one that starts the passes.
    fn threads(&self) -> usize {
        1
    }

    fn synchronize(&self) {
        self.runtime.device.synchronize();
    }

    /// As a CUDA graph, if the driver makes one.
    fn replay(&self, memory: &mut Memory, number: usize, passes: &mut dyn FnMut(&mut Memory)) {
        if self.graphs {
            memory.replay(number, passes);
        } else {
            passes(memory);
        }
    }

    fn allocate(&self, lens: &[usize]) -> Result<Memory, OutOfMemory> {
        CudaMemory::new(&self.runtime.device, lens)
    }

    fn write(&self, memory: &mut Memory, dst: Span, src: &[f32]) {
        memory.write(dst, src);
    }

    fn read(&self, memory: &Memory, src: Span, dst: &mut [f32]) {
        memory.read(src, dst);
    }

    fn fill(&self, memory: &mut Memory, dst: Span, value: f32) {
        let ([], [dst]) = memory.operands([], [dst]);
        self.runtime.fill.fill(&self.runtime.device, dst, value);
    }

    fn find_non_finite(&self, memory: &mut Memory, o: finite::Find) {
        let ([values], [flag]) = memory.operands([o.values], [o.flag]);
        self.runtime.finite.find(&self.runtime.device, values, flag);
    }

    fn copy_if_raised(&self, memory: &mut Memory, o: finite::CopyIf) {
        let ([flag, from], [to]) = memory.operands([o.flag, o.from], [o.to]);
        self.runtime.finite.copy_if(&self.runtime.device, flag, from, to);
    }

    fn conv2d_forward(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::Forward) {
        let ([x, scale, shift, w, bias], [y]) =
            memory.operands([o.x, o.x_map.scale, o.x_map.shift, o.w, o.bias], [o.y]);
        check_conv2d(p, x, w, y);
        assert!(bias.len == 0 || bias.len == p.k, "bias of {p:?}");
        let x = Mapped::new(x, [scale, shift], p.c);
        let Runtime { device, conv2d, conv2d_tf32, .. } = &*self.runtime;
        conv2d.gather(conv2d_tf32.as_ref(), device, Direction::Forward, p, x, w, bias, y, o.write);
    }

    fn conv2d_forward_workspace_bytes(&self, _: &Conv2dParams, _: bool) -> usize {
        0
    }

    fn conv2d_grad_input(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradInput) {
        let ([dy, scale, shift, w, bias], [dx]) =
            memory.operands([o.dy, o.dy_map.scale, o.dy_map.shift, o.w, o.bias], [o.dx]);
        check_conv2d(p, dx, w, dy);
        assert!(bias.len == 0 || bias.len == p.c, "bias of {p:?}");
        let dy = Mapped::new(dy, [scale, shift], p.k);
        let Runtime { device, conv2d, conv2d_tf32, .. } = &*self.runtime;
        conv2d.gather(conv2d_tf32.as_ref(), device, Direction::Adjoint, p, dy, w, bias, dx, o.write);
    }

    fn conv2d_grad_input_workspace_bytes(&self, _: &Conv2dParams, _: bool) -> usize {
        0
    }

    fn conv2d_grad_weight(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradWeight) {
        let maps = [o.x_map.scale, o.x_map.shift, o.dy_map.scale, o.dy_map.shift];
        let ([x, dy, x_scale, x_shift, dy_scale, dy_shift], [dw, workspace]) =
            memory.operands([o.x, o.dy, maps[0], maps[1], maps[2], maps[3]], [o.dw, o.workspace]);
        check_conv2d(p, x, dw, dy);
        let x = Mapped::new(x, [x_scale, x_shift], p.c);
        let dy = Mapped::new(dy, [dy_scale, dy_shift], p.k);
        let Runtime { device, conv2d, conv2d_tf32, .. } = &*self.runtime;
        conv2d.grad_weight(conv2d_tf32.as_ref(), device, p, x, dy, dw, o.write, workspace);
    }

    fn conv2d_grad_weight_workspace_bytes(&self, p: &Conv2dParams, _: bool) -> usize {
        bytes(conv2d::cuda::grad_weight_workspace_len(p))
    }

    fn conv2d_grad_bias(&self, memory: &mut Memory, o: conv2d::GradBias) {
        let ([dy], [db, workspace]) = memory.operands([o.dy], [o.db, o.workspace]);
        assert!(db.len > 0 && dy.len.is_multiple_of(db.len), "{} values of {} channels", dy.len, db.len);
        self.runtime.conv2d.grad_bias(&self.runtime.device, dy, db, o.write, workspace);
    }

    fn conv2d_grad_bias_workspace_bytes(&self, rows: usize, channels: usize) -> usize {
        bytes(conv2d::cuda::grad_bias_workspace_len(rows, channels))
    }

    fn batch_norm_forward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Forward) {
        let reads = [(o.x, true), (o.gamma, false), (o.beta, false)];
        let writes = [o.y, o.running_mean, o.running_var, o.mean, o.rstd, o.workspace];
        let ([x, gamma, beta], [y, running_mean, running_var, mean, rstd, workspace]) =
            memory.operands_inplace(reads, writes);
        check_rows(p, [x, y]);
        check_channels(p, [gamma, beta, running_mean, running_var, mean, rstd]);
        let Runtime { device, batch_norm, .. } = &*self.runtime;
        let statistics = Statistics { running_mean, running_var, mean, rstd };
        batch_norm.statistics(device, p, x, &statistics, workspace);
        batch_norm.apply(device, p, x, [gamma, beta, mean, rstd], y);
    }

    fn batch_norm_forward_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cuda::moments_workspace_len(p))
    }

    fn batch_norm_apply(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Apply) {
        let reads = [(o.x, true), (o.gamma, false), (o.beta, false), (o.mean, false), (o.rstd, false)];
        let ([x, channels @ ..], [y]) = memory.operands_inplace(reads, [o.y]);
        check_rows(p, [x, y]);
        check_channels(p, channels);
        self.runtime.batch_norm.apply(&self.runtime.device, p, x, channels, y);
    }

    fn batch_norm_inference(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Inference) {
        let reads = [(o.x, true), (o.gamma, false), (o.beta, false), (o.running_mean, false), (o.running_var, false)];
        let ([x, channels @ ..], [y]) = memory.operands_inplace(reads, [o.y]);
        check_rows(p, [x, y]);
        check_channels(p, channels);
        self.runtime.batch_norm.inference(&self.runtime.device, p, x, channels, y);
    }

    fn batch_norm_backward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Backward) {
        assert!(!o.dx.overlaps(&o.dy) || o.write_is_set(), "an aliased gradient is set, not added to");
        let reads = [(o.dy, true), (o.x, false), (o.gamma, false), (o.mean, false), (o.rstd, false)];
        let ([dy, x, channels @ ..], [dx, dgamma, dbeta, workspace]) =
            memory.operands_inplace(reads, [o.dx, o.dgamma, o.dbeta, o.workspace]);
        check_rows(p, [x, dy]);
        check_channels(p, channels);
        check_gradients(p, [dgamma, dbeta]);
        let Runtime { device, batch_norm, .. } = &*self.runtime;
        let out = ChannelGradients { dgamma, dgamma_write: o.dgamma_write, dbeta, dbeta_write: o.dbeta_write };
        if dx.len > 0 {
            check_rows(p, [dx]);
            batch_norm.backward(device, p, x, channels, dy, &out, dx, o.dx_write, workspace);
        } else {
            batch_norm.gradients(device, p, x, channels, dy, &out, Slice::EMPTY, workspace);
        }
    }

    fn batch_norm_backward_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cuda::backward_workspace_len(p))
    }

    fn batch_norm_moments(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Moments) {
        let ([x], [mean, var, workspace]) = memory.operands([o.x], [o.mean, o.var, o.workspace]);
        check_rows(p, [x]);
        check_channels(p, [mean, var]);
        self.runtime.batch_norm.moments(&self.runtime.device, p, x, [mean, var], workspace);
    }

    fn batch_norm_moments_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cuda::moments_workspace_len(p))
    }

    fn batch_norm_fold(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Fold) {
        let writes = [o.rstd, o.scale, o.shift, o.running_mean, o.running_var];
        let (channels, [rstd, scale, shift, running_mean, running_var]) =
            memory.operands([o.gamma, o.beta, o.mean, o.var], writes);
        check_channels(p, channels);
        check_channels(p, [scale, shift]);
        check_gradients(p, [rstd, running_mean, running_var]);
        assert_eq!(running_mean.len, running_var.len, "both running statistics are given, or none");
        let out = batch_norm::cuda::Fold { running_mean, running_var, rstd, scale, shift };
        self.runtime.batch_norm.fold(&self.runtime.device, p, channels, &out);
    }

    fn batch_norm_gradients(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Gradients) {
        let writes = [o.dgamma, o.dbeta, o.coefficients, o.workspace];
        let ([x, dy, channels @ ..], [dgamma, dbeta, coefficients, workspace]) =
            memory.operands([o.x, o.dy, o.gamma, o.mean, o.rstd], writes);
        check_rows(p, [x, dy]);
        check_channels(p, channels);
        check_gradients(p, [dgamma, dbeta]);
        assert!(coefficients.len == 0 || coefficients.len == 3 * p.channels, "{p:?}");
        let out = ChannelGradients { dgamma, dgamma_write: o.dgamma_write, dbeta, dbeta_write: o.dbeta_write };
        self.runtime.batch_norm.gradients(&self.runtime.device, p, x, channels, dy, &out, coefficients, workspace);
    }

    fn batch_norm_gradients_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cuda::gradients_workspace_len(p))
    }

    fn epilogue_forward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Forward) {
        o.check(p);
        let ([z, skip], [y, mean, var, workspace]) =
            memory.operands_inplace([(o.z, true), (o.skip, false)], [o.y, o.mean, o.var, o.workspace]);
        let Runtime { device, epilogue, batch_norm, .. } = &*self.runtime;
        epilogue.forward(device, batch_norm, p, z, skip, y, [mean, var], workspace);
    }

    fn epilogue_forward_workspace_bytes(&self, p: &EpilogueParams) -> usize {
        bytes(epilogue::cuda::forward_workspace_len(p))
    }

    fn epilogue_backward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Backward) {
        o.check(p);
        let norm = [(o.norm.dy, true), (o.norm.x, false), (o.norm.mean, false), (o.norm.coefficients, false)];
        let reads = [(o.saved, false), (o.dy, true), norm[0], norm[1], norm[2], norm[3]];
        let ([saved, dy, norm @ ..], [dz, total, db, workspace]) =
            memory.operands_inplace(reads, [o.dz, o.total, o.db, o.workspace]);
        let operands = epilogue::cuda::Backward { saved, norm, dy, total, dz, db, db_write: o.db_write };
        let Runtime { device, epilogue, conv2d, .. } = &*self.runtime;
        epilogue.backward(device, conv2d, p, &operands, workspace);
    }

    fn epilogue_backward_workspace_bytes(&self, p: &EpilogueParams) -> usize {
        bytes(epilogue::cuda::backward_workspace_len(p))
    }

    fn activation_forward(&self, memory: &mut Memory, f: Activation, o: activation::Forward) {
        assert_eq!(o.x.len, o.y.len, "lengths of {f}");
        let ([x], [y]) = memory.operands_inplace([(o.x, true)], [o.y]);
        self.runtime.activation.forward(&self.runtime.device, f, x, y);
    }

    fn activation_backward(&self, memory: &mut Memory, f: Activation, o: activation::Backward) {
        assert!(!o.dx.overlaps(&o.dy) || o.write == Write::Set, "an aliased gradient is set, not added to");
        assert!(o.saved.len == o.dx.len && o.dy.len == o.dx.len, "lengths of {f}: {o:?}");
        let ([saved, dy], [dx]) = memory.operands_inplace([(o.saved, false), (o.dy, true)], [o.dx]);
        self.runtime.activation.backward(&self.runtime.device, f, saved, dy, dx, o.write);
    }

    fn prelu_forward(&self, memory: &mut Memory, o: prelu::Forward) {
        o.check();
        let ([x, slope], [y]) = memory.operands_inplace([(o.x, true), (o.slope, false)], [o.y]);
        self.runtime.prelu.forward(&self.runtime.device, x, slope, y);
    }

    fn prelu_backward(&self, memory: &mut Memory, o: prelu::Backward) {
        o.check();
        let reads = [(o.x, false), (o.slope, false), (o.dy, true)];
        let (reads, [dx, dslope, workspace]) = memory.operands_inplace(reads, [o.dx, o.dslope, o.workspace]);
        let (dx, dslope) = ((dx, o.dx_write), (dslope, o.dslope_write));
        self.runtime.prelu.backward(&self.runtime.device, reads, dx, dslope, workspace);
    }

    fn prelu_backward_workspace_bytes(&self, len: usize) -> usize {
        bytes(prelu::cuda::backward_workspace_len(len))
    }

    fn rrelu_forward(&self, memory: &mut Memory, slopes: rrelu::Slopes, o: rrelu::Forward) {
        o.check();
        let ([x], [y]) = memory.operands_inplace([(o.x, true)], [o.y]);
        self.runtime.rrelu.apply(&self.runtime.device, slopes, [x, x], y, Write::Set);
    }

    fn rrelu_backward(&self, memory: &mut Memory, slopes: rrelu::Slopes, o: rrelu::Backward) {
        o.check();
        let (reads, [dx]) = memory.operands_inplace([(o.x, false), (o.dy, true)], [o.dx]);
        self.runtime.rrelu.apply(&self.runtime.device, slopes, reads, dx, o.write);
    }

    fn add(&self, memory: &mut Memory, weight: f64, o: add::Add) {
        assert!(o.a.len == o.y.len && o.b.len == o.y.len, "lengths of {o:?}");
        let ([a, b], [y]) = memory.operands_inplace([(o.a, true), (o.b, true)], [o.y]);
        self.runtime.add.add(&self.runtime.device, weight, a, b, y);
    }

    fn scale(&self, memory: &mut Memory, weight: f64, o: add::Scale) {
        assert!(!o.x.overlaps(&o.y) || o.write == Write::Set, "an aliased output is set, not added to");
        assert_eq!(o.x.len, o.y.len, "lengths of {o:?}");
        let ([x], [y]) = memory.operands_inplace([(o.x, true)], [o.y]);
        self.runtime.add.scale(&self.runtime.device, weight, x, y, o.write);
    }

    fn pad_forward(&self, memory: &mut Memory, p: &PadParams, o: pad::Forward) {
        let ([x], [y]) = memory.operands([o.x], [o.y]);
        check_pad(p, x, y);
        self.runtime.pad.forward(&self.runtime.device, p, x, y);
    }

    fn pad_backward(&self, memory: &mut Memory, p: &PadParams, o: pad::Backward) {
        let ([dy], [dx]) = memory.operands([o.dy], [o.dx]);
        check_pad(p, dx, dy);
        self.runtime.pad.backward(&self.runtime.device, p, dy, dx, o.write);
    }

    fn loss_forward(&self, memory: &mut Memory, loss: Loss, o: loss::Forward) {
        let ([prediction, target], [out, workspace]) = memory.operands([o.prediction, o.target], [o.loss, o.workspace]);
        assert!(prediction.len == target.len && out.len == 1, "lengths of {o:?}");
        self.runtime.loss.forward(&self.runtime.device, loss, prediction, target, out, workspace);
    }

    fn loss_forward_workspace_bytes(&self, len: usize) -> usize {
        bytes(loss::cuda::forward_workspace_len(len))
    }

    fn loss_backward(&self, memory: &mut Memory, loss: Loss, o: loss::Backward) {
        let ([prediction, target, dloss], [out]) = memory.operands([o.prediction, o.target, o.dloss], [o.dprediction]);
        assert!(prediction.len == target.len && out.len == target.len && dloss.len == 1, "lengths of {o:?}");
        self.runtime.loss.backward(&self.runtime.device, loss, prediction, target, dloss, out, o.write);
    }

    #[cfg(feature = "nccl")]
    fn collective(&self, communicator: Arc<dyn Communicator>) -> Result<Arc<dyn Collective<Cuda>>, CollectiveError> {
        Ok(Arc::new(cuda_rt::Nccl::new(&self.runtime.device, communicator)?))
    }

    fn adamw(&self, memory: &mut Memory, p: &AdamWParams, o: adamw::Step) {
        let ([grad, unless], [param, m, v]) = memory.operands([o.grad, o.unless], [o.param, o.m, o.v]);
        assert!(param.len == grad.len && m.len == grad.len && v.len == grad.len, "lengths of {o:?}");
        assert!(unless.len <= 1, "a flag of {} elements", unless.len);
        self.runtime.adamw.step(&self.runtime.device, p, [param, grad, m, v], unless);
    }
}

/// Asserts the lengths of an input, a weight and an output, or of their gradients.
fn check_conv2d(p: &Conv2dParams, x: Slice, w: Slice, y: Slice) {
    assert_eq!(x.len, p.input_len(), "input of {p:?}");
    assert_eq!(w.len, p.weight_len(), "weight of {p:?}");
    assert_eq!(y.len, p.output_len(), "output of {p:?}");
}

/// Asserts the length of `[rows, channels]` operands.
fn check_rows<const N: usize>(p: &BatchNormParams, operands: [Slice; N]) {
    assert!(operands.iter().all(|operand| operand.len == p.rows * p.channels), "{p:?}");
}

/// Asserts the length of `[channels]` operands.
fn check_channels<const N: usize>(p: &BatchNormParams, operands: [Slice; N]) {
    assert!(operands.iter().all(|operand| operand.len == p.channels), "{p:?}");
}

/// Asserts the length of `[channels]` operands that may be absent.
fn check_gradients<const N: usize>(p: &BatchNormParams, operands: [Slice; N]) {
    assert!(operands.iter().all(|operand| operand.len == 0 || operand.len == p.channels), "{p:?}");
}

/// Asserts the lengths of an input and an output, or of their gradients.
fn check_pad(p: &PadParams, x: Slice, y: Slice) {
    assert!(p.h0 <= p.h1 && p.w0 <= p.w1, "{p:?}");
    assert_eq!(x.len, p.n * p.h0 * p.w0 * p.c, "input of {p:?}");
    assert_eq!(y.len, p.n * p.h1 * p.w1 * p.c, "output of {p:?}");
}

/// Bytes of `len` elements.
fn bytes(len: usize) -> usize {
    len * size_of::<f32>()
}
