//! The fast host backend: SIMD chosen at run time, one pool of threads.

use crate::activation::{self, Activation};
use crate::adamw::{self, AdamWParams};
use crate::add;
use crate::batch_norm::{self, BatchNormParams};
use crate::conv2d::cpu::{Algo, Pass};
use crate::conv2d::{self, Conv2dParams, Mapped};
use crate::custom;
use crate::epilogue::{self, EpilogueParams};
use crate::finite;
use crate::loss::{self, Loss};
use crate::pad::{self, PadParams};
use crate::parallel::{Pool, PoolError};
use crate::prelu;
use crate::rrelu;
use crate::simd::{Isa, IsaError};
use crate::{Backend, HostMemory, OutOfMemory, Span, Write};

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

    /// Computes every convolution that `algo` [supports](Algo::supports) with it, instead of the one that [`Algo::choose`] picks.
    pub fn with_conv2d_algo(self, algo: Algo) -> Cpu {
        Cpu { conv2d_algo: Some(algo), ..self }
    }

    /// The algorithm that a pass of a convolution runs with.
    pub fn conv2d_algo(&self, p: &Conv2dParams, pass: Pass) -> Algo {
        self.conv2d_algo.filter(|algo| algo.supports(p)).unwrap_or_else(|| Algo::choose(p, pass, self.isa))
    }

    /// Wall time that this backend has spent in passes' parallel tasks; the rest of a training step's time is serial.
    pub fn time_in_tasks(&self) -> std::time::Duration {
        self.pool.time_in_tasks()
    }

    /// The instruction set that kernels run with.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

type Memory = HostMemory<f32>;

impl Backend for Cpu {
    type Element = f32;
    type Memory = Memory;

    fn name(&self) -> String {
        format!("cpu-{}", self.isa)
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.pool.enter(f)
    }

    fn allocate(&self, lens: &[usize]) -> Result<Memory, OutOfMemory> {
        HostMemory::new(lens)
    }

    fn write(&self, memory: &mut Memory, dst: Span, src: &[f32]) {
        memory.get_mut(dst).copy_from_slice(src);
    }

    fn read(&self, memory: &Memory, src: Span, dst: &mut [f32]) {
        dst.copy_from_slice(memory.get(src));
    }

    fn fill(&self, memory: &mut Memory, dst: Span, value: f32) {
        memory.get_mut(dst).fill(value);
    }

    fn find_non_finite(&self, memory: &mut Memory, o: finite::Find) {
        let ([values], [flag]) = memory.views([o.values], [o.flag]);
        finite::find(values, flag);
    }

    fn copy_if_raised(&self, memory: &mut Memory, o: finite::CopyIf) {
        let ([flag, from], [to]) = memory.views([o.flag, o.from], [o.to]);
        finite::copy_if(flag, from, to);
    }

    fn conv2d_forward(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::Forward) {
        let ([x, scale, shift, w, bias], [y, workspace]) =
            memory.views([o.x, o.x_map.scale, o.x_map.shift, o.w, o.bias], [o.y, o.workspace]);
        let x = Mapped { values: x, scale, shift };
        let workspace = scratch(workspace, conv2d::cpu::forward_workspace_len(self, p, !x.is_plain()));
        conv2d::cpu::forward(self, p, x, w, bias, y, o.write, workspace);
    }

    fn conv2d_forward_workspace_bytes(&self, p: &Conv2dParams, mapped: bool) -> usize {
        bytes(conv2d::cpu::forward_workspace_len(self, p, mapped))
    }

    fn conv2d_grad_input(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradInput) {
        let ([dy, scale, shift, w, bias], [dx, workspace]) =
            memory.views([o.dy, o.dy_map.scale, o.dy_map.shift, o.w, o.bias], [o.dx, o.workspace]);
        let dy = Mapped { values: dy, scale, shift };
        let workspace = scratch(workspace, conv2d::cpu::grad_input_workspace_len(self, p, !dy.is_plain()));
        conv2d::cpu::grad_input(self, p, dy, w, bias, dx, o.write, workspace);
    }

    fn conv2d_grad_input_workspace_bytes(&self, p: &Conv2dParams, mapped: bool) -> usize {
        bytes(conv2d::cpu::grad_input_workspace_len(self, p, mapped))
    }

    fn conv2d_grad_weight(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradWeight) {
        let maps = [o.x_map.scale, o.x_map.shift, o.dy_map.scale, o.dy_map.shift];
        let ([x, dy, x_scale, x_shift, dy_scale, dy_shift], [dw, workspace]) =
            memory.views([o.x, o.dy, maps[0], maps[1], maps[2], maps[3]], [o.dw, o.workspace]);
        let x = Mapped { values: x, scale: x_scale, shift: x_shift };
        let dy = Mapped { values: dy, scale: dy_scale, shift: dy_shift };
        let is_mapped = !(x.is_plain() && dy.is_plain());
        let workspace = scratch(workspace, conv2d::cpu::grad_weight_workspace_len(self, p, is_mapped));
        conv2d::cpu::grad_weight(self, p, x, dy, dw, o.write, workspace);
    }

    fn conv2d_grad_weight_workspace_bytes(&self, p: &Conv2dParams, mapped: bool) -> usize {
        bytes(conv2d::cpu::grad_weight_workspace_len(self, p, mapped))
    }

    fn conv2d_grad_bias(&self, memory: &mut Memory, o: conv2d::GradBias) {
        let ([dy], [db, workspace]) = memory.views([o.dy], [o.db, o.workspace]);
        assert!(!db.is_empty() && dy.len().is_multiple_of(db.len()), "{} values of {} channels", dy.len(), db.len());
        let len = conv2d::cpu::grad_bias_workspace_len(self, dy.len() / db.len(), db.len());
        conv2d::cpu::grad_bias(self, dy, db, o.write, scratch(workspace, len));
    }

    fn conv2d_grad_bias_workspace_bytes(&self, rows: usize, channels: usize) -> usize {
        bytes(conv2d::cpu::grad_bias_workspace_len(self, rows, channels))
    }

    fn batch_norm_forward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Forward) {
        let writes = [o.y, o.running_mean, o.running_var, o.mean, o.rstd, o.workspace];
        let ([x, gamma, beta], [y, running_mean, running_var, mean, rstd, workspace]) =
            views_or_output(memory, [o.x, o.gamma, o.beta], writes);
        let [gamma, beta] = [gamma, beta].map(distinct);
        p.check_rows(x.unwrap_or(y));
        p.check_rows(y);
        p.check_channels([gamma, beta, running_mean, running_var, mean, rstd]);
        let workspace = scratch(workspace, batch_norm::cpu::workspace_len(self, p));
        let statistics = batch_norm::cpu::Statistics { running_mean, running_var, mean, rstd };
        batch_norm::cpu::statistics(self, p, x.unwrap_or(y), statistics, workspace);
        batch_norm::cpu::apply(self, p, x, [gamma, beta, mean, rstd], y);
    }

    fn batch_norm_forward_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cpu::workspace_len(self, p))
    }

    fn batch_norm_apply(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Apply) {
        let ([x, gamma, beta, mean, rstd], [y]) =
            views_or_output(memory, [o.x, o.gamma, o.beta, o.mean, o.rstd], [o.y]);
        let channels = [gamma, beta, mean, rstd].map(distinct);
        p.check_rows(x.unwrap_or(y));
        p.check_rows(y);
        p.check_channels(channels);
        batch_norm::cpu::apply(self, p, x, channels, y);
    }

    fn batch_norm_inference(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Inference) {
        let ([x, gamma, beta, mean, var], [y]) =
            views_or_output(memory, [o.x, o.gamma, o.beta, o.running_mean, o.running_var], [o.y]);
        let channels = [gamma, beta, mean, var].map(distinct);
        p.check_rows(x.unwrap_or(y));
        p.check_rows(y);
        p.check_channels(channels);
        batch_norm::cpu::inference(self, p, x, channels, y);
    }

    fn batch_norm_backward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Backward) {
        assert!(!o.dx.overlaps(&o.dy) || o.write_is_set(), "an aliased gradient is set, not added to");
        let ([dy, x, gamma, mean, rstd], [dx, dgamma, dbeta, workspace]) =
            views_or_output(memory, [o.dy, o.x, o.gamma, o.mean, o.rstd], [o.dx, o.dgamma, o.dbeta, o.workspace]);
        let [x, gamma, mean, rstd] = [x, gamma, mean, rstd].map(distinct);
        p.check_rows(x);
        p.check_rows(dy.unwrap_or(dx));
        p.check_channels([gamma, mean, rstd]);
        let workspace = scratch(workspace, batch_norm::cpu::workspace_len(self, p));
        let sums = batch_norm::cpu::backward_sums(self, p, x, [mean, rstd], dy.unwrap_or(dx), workspace);
        for (out, sums, write) in [(dgamma, sums[0], o.dgamma_write), (dbeta, sums[1], o.dbeta_write)] {
            batch_norm::cpu::put_sums(p, out, sums, write);
        }
        if !dx.is_empty() {
            p.check_rows(dx);
            batch_norm::cpu::backward_input(self, p, x, [gamma, mean, rstd], sums, dy, dx, o.dx_write);
        }
    }

    fn batch_norm_backward_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cpu::workspace_len(self, p))
    }

    fn batch_norm_moments(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Moments) {
        let ([x], [mean, var, workspace]) = memory.views([o.x], [o.mean, o.var, o.workspace]);
        p.check_rows(x);
        p.check_channels([mean, var]);
        let workspace = scratch(workspace, batch_norm::cpu::workspace_len(self, p));
        batch_norm::cpu::moments(self, p, x, mean, var, workspace);
    }

    fn batch_norm_moments_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cpu::workspace_len(self, p))
    }

    fn batch_norm_fold(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Fold) {
        let ([gamma, beta, mean, var], [rstd, scale, shift, running_mean, running_var]) =
            memory.views([o.gamma, o.beta, o.mean, o.var], [o.rstd, o.scale, o.shift, o.running_mean, o.running_var]);
        p.check_channels([gamma, beta, mean, var, scale, shift]);
        assert!(rstd.is_empty() || rstd.len() == p.channels, "{p:?}");
        batch_norm::cpu::fold(p, [gamma, beta, mean, var], rstd, scale, shift);
        if !running_mean.is_empty() {
            p.check_channels([running_mean, running_var]);
            for c in 0..p.channels {
                let [mean, var] = [mean[c], var[c]].map(f64::from);
                batch_norm::cpu::update_running(p, mean, var, &mut running_mean[c], &mut running_var[c]);
            }
        }
    }

    fn batch_norm_gradients(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Gradients) {
        let ([x, gamma, mean, rstd, dy], [dgamma, dbeta, coefficients, workspace]) =
            memory.views([o.x, o.gamma, o.mean, o.rstd, o.dy], [o.dgamma, o.dbeta, o.coefficients, o.workspace]);
        p.check_rows(x);
        p.check_rows(dy);
        p.check_channels([gamma, mean, rstd]);
        let workspace = scratch(workspace, batch_norm::cpu::workspace_len(self, p));
        let sums = batch_norm::cpu::backward_sums(self, p, x, [mean, rstd], dy, workspace);
        for (out, sums, write) in [(dgamma, sums[0], o.dgamma_write), (dbeta, sums[1], o.dbeta_write)] {
            batch_norm::cpu::put_sums(p, out, sums, write);
        }
        if !coefficients.is_empty() {
            assert_eq!(coefficients.len(), 3 * p.channels, "{p:?}");
            batch_norm::cpu::coefficients(p, [gamma, rstd], sums, coefficients);
        }
    }

    fn batch_norm_gradients_workspace_bytes(&self, p: &BatchNormParams) -> usize {
        bytes(batch_norm::cpu::workspace_len(self, p))
    }

    fn epilogue_forward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Forward) {
        o.check(p);
        let ([z, skip], [y, mean, var, workspace]) =
            views_or_output(memory, [o.z, o.skip], [o.y, o.mean, o.var, o.workspace]);
        let workspace = scratch(workspace, epilogue::cpu::forward_workspace_len(self, p));
        epilogue::cpu::forward(self, p, z, distinct(skip), y, [mean, var], workspace);
    }

    fn epilogue_forward_workspace_bytes(&self, p: &EpilogueParams) -> usize {
        bytes(epilogue::cpu::forward_workspace_len(self, p))
    }

    fn epilogue_backward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Backward) {
        o.check(p);
        let reads = [o.saved, o.norm.dy, o.norm.x, o.norm.mean, o.norm.coefficients, o.dy];
        let ([saved, norm_dy, x, mean, coefficients, dy], [dz, total, db, workspace]) =
            views_or_output(memory, reads, [o.dz, o.total, o.db, o.workspace]);
        let [saved, x, mean, coefficients] = [saved, x, mean, coefficients].map(distinct);
        let norm = (!x.is_empty()).then_some(epilogue::cpu::Norm { dy: norm_dy, x, mean, coefficients });
        let workspace = scratch(workspace, epilogue::cpu::backward_workspace_len(self, p));
        epilogue::cpu::backward(self, p, saved, norm, dy, total, dz, (db, o.db_write), workspace);
    }

    fn epilogue_backward_workspace_bytes(&self, p: &EpilogueParams) -> usize {
        bytes(epilogue::cpu::backward_workspace_len(self, p))
    }

    fn activation_forward(&self, memory: &mut Memory, f: Activation, o: activation::Forward) {
        assert_eq!(o.x.len, o.y.len, "lengths of {f}");
        let ([x], [y]) = views_or_output(memory, [o.x], [o.y]);
        activation::cpu::forward(self, f, x, y);
    }

    fn activation_backward(&self, memory: &mut Memory, f: Activation, o: activation::Backward) {
        assert!(!o.dx.overlaps(&o.dy) || o.write == Write::Set, "an aliased gradient is set, not added to");
        assert!(o.saved.len == o.dx.len && o.dy.len == o.dx.len, "lengths of {f}: {o:?}");
        let ([saved, dy], [dx]) = views_or_output(memory, [o.saved, o.dy], [o.dx]);
        activation::cpu::backward(self, f, distinct(saved), dy, dx, o.write);
    }

    fn prelu_forward(&self, memory: &mut Memory, o: prelu::Forward) {
        o.check();
        let ([x, slope], [y]) = views_or_output(memory, [o.x, o.slope], [o.y]);
        prelu::cpu::forward(self, distinct(slope)[0], x, y);
    }

    fn prelu_backward(&self, memory: &mut Memory, o: prelu::Backward) {
        o.check();
        let ([x, slope, dy], [dx, dslope, workspace]) =
            views_or_output(memory, [o.x, o.slope, o.dy], [o.dx, o.dslope, o.workspace]);
        let (x, slope) = (distinct(x), distinct(slope)[0]);
        let workspace = scratch(workspace, prelu::cpu::backward_workspace_len(self, x.len()));
        let sum = prelu::cpu::backward(self, slope, x, dy, (dx, o.dx_write), workspace);
        dslope.iter_mut().for_each(|dslope| o.dslope_write.put(dslope, sum));
    }

    fn prelu_backward_workspace_bytes(&self, len: usize) -> usize {
        bytes(prelu::cpu::backward_workspace_len(self, len))
    }

    fn rrelu_forward(&self, memory: &mut Memory, slopes: rrelu::Slopes, o: rrelu::Forward) {
        o.check();
        let ([x], [y]) = views_or_output(memory, [o.x], [o.y]);
        rrelu::cpu::apply(self, slopes, [x, x], y, Write::Set);
    }

    fn rrelu_backward(&self, memory: &mut Memory, slopes: rrelu::Slopes, o: rrelu::Backward) {
        o.check();
        let ([x, dy], [dx]) = views_or_output(memory, [o.x, o.dy], [o.dx]);
        rrelu::cpu::apply(self, slopes, [Some(distinct(x)), dy], dx, o.write);
    }

    fn add(&self, memory: &mut Memory, weight: f64, o: add::Add) {
        assert!(o.a.len == o.y.len && o.b.len == o.y.len, "lengths of {o:?}");
        let ([a, b], [y]) = views_or_output(memory, [o.a, o.b], [o.y]);
        add::cpu::add(self, weight, a, b, y);
    }

    fn scale(&self, memory: &mut Memory, weight: f64, o: add::Scale) {
        assert!(!o.x.overlaps(&o.y) || o.write == Write::Set, "an aliased output is set, not added to");
        assert_eq!(o.x.len, o.y.len, "lengths of {o:?}");
        let ([x], [y]) = views_or_output(memory, [o.x], [o.y]);
        add::cpu::scale(self, weight, x, y, o.write);
    }

    fn pad_forward(&self, memory: &mut Memory, p: &PadParams, o: pad::Forward) {
        let ([x], [y]) = memory.views([o.x], [o.y]);
        p.check(x, y);
        pad::cpu::forward(self, p, x, y);
    }

    fn pad_backward(&self, memory: &mut Memory, p: &PadParams, o: pad::Backward) {
        let ([dy], [dx]) = memory.views([o.dy], [o.dx]);
        p.check(dx, dy);
        pad::cpu::backward(self, p, dy, dx, o.write);
    }

    fn loss_forward(&self, memory: &mut Memory, loss: Loss, o: loss::Forward) {
        let ([prediction, target], [out, workspace]) = memory.views([o.prediction, o.target], [o.loss, o.workspace]);
        assert!(prediction.len() == target.len() && out.len() == 1, "lengths of {o:?}");
        let workspace = scratch(workspace, loss::cpu::forward_workspace_len(prediction.len()));
        out[0] = loss::cpu::forward(self, loss, prediction, target, workspace);
    }

    fn loss_forward_workspace_bytes(&self, len: usize) -> usize {
        bytes(loss::cpu::forward_workspace_len(len))
    }

    fn loss_backward(&self, memory: &mut Memory, loss: Loss, o: loss::Backward) {
        let ([prediction, target, dloss], [out]) = memory.views([o.prediction, o.target, o.dloss], [o.dprediction]);
        assert!(prediction.len() == target.len() && out.len() == target.len(), "lengths of {o:?}");
        assert_eq!(dloss.len(), 1, "lengths of {o:?}");
        loss::cpu::backward(self, loss, prediction, target, dloss[0], out, o.write);
    }

    fn adamw(&self, memory: &mut Memory, p: &AdamWParams, o: adamw::Step) {
        let ([grad, unless], [param, m, v]) = memory.views([o.grad, o.unless], [o.param, o.m, o.v]);
        assert!(param.len() == grad.len() && m.len() == grad.len() && v.len() == grad.len(), "lengths of {o:?}");
        if !finite::is_raised(unless) {
            adamw::cpu::step(self, p, param, grad, m, v);
        }
    }

    fn runs_custom(&self) -> bool {
        true
    }

    fn custom(&self, memory: &mut Memory, pass: &dyn custom::Pass, operands: custom::Operands) {
        custom::run(memory, pass, operands);
    }
}

/// As [`HostMemory::views`], but a read that is the first written span itself, and not empty, is `None`: a pass that works
/// in place finds it in its output.
fn views_or_output<const R: usize, const W: usize>(
    memory: &mut Memory,
    reads: [Span; R],
    writes: [Span; W],
) -> ([Option<&[f32]>; R], [&mut [f32]; W]) {
    let is_output = reads.map(|read| read == writes[0] && !read.is_empty());
    let mut others = reads;
    for (other, is_output) in others.iter_mut().zip(is_output) {
        if is_output {
            *other = Span::EMPTY;
        }
    }
    let (reads, writes) = memory.views(others, writes);
    let mut is_output = is_output.into_iter();
    (reads.map(|read| (!is_output.next().unwrap_or(false)).then_some(read)), writes)
}

/// An operand that must not be the output.
fn distinct(operand: Option<&[f32]>) -> &[f32] {
    operand.expect("this operand must not be the output")
}

/// The first `len` elements of a workspace.
fn scratch(workspace: &mut [f32], len: usize) -> &mut [f32] {
    assert!(workspace.len() >= len, "workspace of {} elements, {len} needed", workspace.len());
    &mut workspace[..len]
}

/// Bytes of `len` elements.
fn bytes(len: usize) -> usize {
    len * size_of::<f32>()
}

/// f32 elements of a workspace that [`as_f64`] finds `len` f64 values in.
pub(crate) fn f64_workspace_len(len: usize) -> usize {
    if len == 0 { 0 } else { 2 * len + 1 }
}

/// The aligned f64 values in a workspace, for sums that need the precision.
pub(crate) fn as_f64(workspace: &mut [f32]) -> &mut [f64] {
    bytemuck::pod_align_to_mut(workspace).1
}
