//! The oracle: every pass by naive loops in f64.

use crate::activation::{self, Activation};
use crate::adamw::{self, AdamWParams};
use crate::add;
use crate::batch_norm::{self, BatchNormParams, reference::Statistics};
use crate::conv2d::{self, Conv2dParams, Mapped};
use crate::custom;
use crate::epilogue::{self, EpilogueParams};
use crate::finite;
use crate::loss::{self, Loss};
use crate::pad::{self, PadParams};
use crate::prelu;
use crate::rrelu;
use crate::{Backend, HostMemory, OutOfMemory, Span, Write};

/// Naive f64 loops that follow the equations line by line. Slow; every other backend, and finite differences, are
/// checked against it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

type Memory = HostMemory<f64>;

impl Backend for Reference {
    type Element = f64;
    type Memory = Memory;

    fn name(&self) -> String {
        "reference".to_owned()
    }

    fn threads(&self) -> usize {
        1
    }

    fn allocate(&self, lens: &[usize]) -> Result<Memory, OutOfMemory> {
        HostMemory::new(lens)
    }

    fn write(&self, memory: &mut Memory, dst: Span, src: &[f64]) {
        memory.get_mut(dst).copy_from_slice(src);
    }

    fn read(&self, memory: &Memory, src: Span, dst: &mut [f64]) {
        dst.copy_from_slice(memory.get(src));
    }

    fn fill(&self, memory: &mut Memory, dst: Span, value: f64) {
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
        let ([x, scale, shift, w, bias], [y]) = memory.views([o.x, o.x_map.scale, o.x_map.shift, o.w, o.bias], [o.y]);
        let x = Mapped { values: x, scale, shift };
        p.check(x.values, w, y);
        x.check(p.c);
        assert!(bias.is_empty() || bias.len() == p.k);
        conv2d::reference::forward(p, x, w, bias, y, o.write);
    }

    fn conv2d_forward_workspace_bytes(&self, _: &Conv2dParams, _: bool) -> usize {
        0
    }

    fn conv2d_grad_input(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradInput) {
        let ([dy, scale, shift, w, bias], [dx]) =
            memory.views([o.dy, o.dy_map.scale, o.dy_map.shift, o.w, o.bias], [o.dx]);
        let dy = Mapped { values: dy, scale, shift };
        p.check(dx, w, dy.values);
        dy.check(p.k);
        assert!(bias.is_empty() || bias.len() == p.c);
        conv2d::reference::grad_input(p, dy, w, bias, dx, o.write);
    }

    fn conv2d_grad_input_workspace_bytes(&self, _: &Conv2dParams, _: bool) -> usize {
        0
    }

    fn conv2d_grad_weight(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradWeight) {
        let maps = [o.x_map.scale, o.x_map.shift, o.dy_map.scale, o.dy_map.shift];
        let ([x, dy, x_scale, x_shift, dy_scale, dy_shift], [dw]) =
            memory.views([o.x, o.dy, maps[0], maps[1], maps[2], maps[3]], [o.dw]);
        let x = Mapped { values: x, scale: x_scale, shift: x_shift };
        let dy = Mapped { values: dy, scale: dy_scale, shift: dy_shift };
        p.check(x.values, dw, dy.values);
        x.check(p.c);
        dy.check(p.k);
        assert!(x.is_plain() || dy.is_plain(), "at most one operand is mapped");
        conv2d::reference::grad_weight(p, x, dy, dw, o.write);
    }

    fn conv2d_grad_weight_workspace_bytes(&self, _: &Conv2dParams, _: bool) -> usize {
        0
    }

    fn conv2d_grad_bias(&self, memory: &mut Memory, o: conv2d::GradBias) {
        let ([dy], [db]) = memory.views([o.dy], [o.db]);
        assert_eq!(dy.len() % db.len(), 0);
        conv2d::reference::grad_bias(dy, db, o.write);
    }

    fn conv2d_grad_bias_workspace_bytes(&self, _: usize, _: usize) -> usize {
        0
    }

    fn batch_norm_forward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Forward) {
        let ([x], [running_mean, running_var, mean, rstd]) =
            memory.views([o.x], [o.running_mean, o.running_var, o.mean, o.rstd]);
        p.check_rows(x);
        p.check_channels([running_mean, running_var, mean, rstd]);
        batch_norm::reference::statistics(p, x, Statistics { running_mean, running_var, mean, rstd });
        let batch_norm::Forward { x, gamma, beta, mean, rstd, y, .. } = o;
        self.batch_norm_apply(memory, p, batch_norm::Apply { x, gamma, beta, mean, rstd, y });
    }

    fn batch_norm_forward_workspace_bytes(&self, _: &BatchNormParams) -> usize {
        0
    }

    fn batch_norm_apply(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Apply) {
        copy_unless_same(memory, o.x, o.y);
        let ([gamma, beta, mean, rstd], [y]) = memory.views([o.gamma, o.beta, o.mean, o.rstd], [o.y]);
        p.check_rows(y);
        p.check_channels([gamma, beta, mean, rstd]);
        batch_norm::reference::apply_inplace(gamma, beta, mean, rstd, y);
    }

    fn batch_norm_inference(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Inference) {
        copy_unless_same(memory, o.x, o.y);
        let ([gamma, beta, mean, var], [y]) = memory.views([o.gamma, o.beta, o.running_mean, o.running_var], [o.y]);
        p.check_rows(y);
        p.check_channels([gamma, beta, mean, var]);
        let rstd: Vec<f64> = var.iter().map(|var| 1.0 / (var + p.eps).sqrt()).collect();
        batch_norm::reference::apply_inplace(gamma, beta, mean, &rstd, y);
    }

    fn batch_norm_backward(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Backward) {
        let ([x, mean, rstd, dy], []) = memory.views([o.x, o.mean, o.rstd, o.dy], []);
        p.check_rows(x);
        p.check_rows(dy);
        p.check_channels([mean, rstd]);
        let (dgamma, dbeta) = batch_norm::reference::backward_sums(p.channels, x, mean, rstd, dy);
        for (span, sums, write) in [(o.dgamma, &dgamma, o.dgamma_write), (o.dbeta, &dbeta, o.dbeta_write)] {
            let out = memory.get_mut(span);
            assert!(out.is_empty() || out.len() == p.channels);
            out.iter_mut().zip(sums).for_each(|(out, sum)| write.put(out, *sum));
        }
        if o.dx.is_empty() {
            return;
        }
        let dy = memory.get(o.dy).to_vec();
        assert!(o.dx != o.dy || o.write_is_set());
        let ([x, gamma, mean, rstd], [dx]) = memory.views([o.x, o.gamma, o.mean, o.rstd], [o.dx]);
        p.check_rows(dx);
        p.check_channels([gamma]);
        batch_norm::reference::backward_input(p, x, gamma, mean, rstd, (&dgamma, &dbeta), &dy, dx, o.dx_write);
    }

    fn batch_norm_backward_workspace_bytes(&self, _: &BatchNormParams) -> usize {
        0
    }

    fn batch_norm_moments(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Moments) {
        let ([x], [mean, var]) = memory.views([o.x], [o.mean, o.var]);
        p.check_rows(x);
        p.check_channels([mean, var]);
        batch_norm::reference::moments(x, mean, var);
    }

    fn batch_norm_moments_workspace_bytes(&self, _: &BatchNormParams) -> usize {
        0
    }

    fn batch_norm_fold(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Fold) {
        let ([gamma, beta, mean, var], [rstd, scale, shift, running_mean, running_var]) =
            memory.views([o.gamma, o.beta, o.mean, o.var], [o.rstd, o.scale, o.shift, o.running_mean, o.running_var]);
        p.check_channels([gamma, beta, mean, var, scale, shift]);
        let reciprocal = batch_norm::reference::rstd(p, var);
        for c in 0..p.channels {
            scale[c] = gamma[c] * reciprocal[c];
            shift[c] = beta[c] - scale[c] * mean[c];
        }
        if !rstd.is_empty() {
            rstd.copy_from_slice(&reciprocal);
        }
        if !running_mean.is_empty() {
            p.check_channels([running_mean, running_var]);
            batch_norm::reference::update_running(p, [mean, var], running_mean, running_var);
        }
    }

    fn batch_norm_gradients(&self, memory: &mut Memory, p: &BatchNormParams, o: batch_norm::Gradients) {
        let ([x, gamma, mean, rstd, dy], [dgamma, dbeta, coefficients]) =
            memory.views([o.x, o.gamma, o.mean, o.rstd, o.dy], [o.dgamma, o.dbeta, o.coefficients]);
        p.check_rows(x);
        p.check_rows(dy);
        p.check_channels([gamma, mean, rstd]);
        let sums = batch_norm::reference::backward_sums(p.channels, x, mean, rstd, dy);
        for (out, sums, write) in [(dgamma, &sums.0, o.dgamma_write), (dbeta, &sums.1, o.dbeta_write)] {
            assert!(out.is_empty() || out.len() == p.channels);
            out.iter_mut().zip(sums).for_each(|(out, sum)| write.put(out, *sum));
        }
        if !coefficients.is_empty() {
            assert_eq!(coefficients.len(), 3 * p.channels);
            for c in 0..p.channels {
                let (a, m) = (gamma[c] * rstd[c], p.rows as f64);
                coefficients[c] = a;
                coefficients[p.channels + c] = -a * rstd[c] * sums.0[c] / m;
                coefficients[2 * p.channels + c] = -a * sums.1[c] / m;
            }
        }
    }

    fn batch_norm_gradients_workspace_bytes(&self, _: &BatchNormParams) -> usize {
        0
    }

    fn epilogue_forward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Forward) {
        o.check(p);
        copy_unless_same(memory, o.z, o.y);
        let ([skip], [y, mean, var]) = memory.views([o.skip], [o.y, o.mean, o.var]);
        epilogue::reference::forward_inplace(p, skip, y);
        if !mean.is_empty() {
            batch_norm::reference::moments(y, mean, var);
        }
    }

    fn epilogue_forward_workspace_bytes(&self, _: &EpilogueParams) -> usize {
        0
    }

    fn epilogue_backward(&self, memory: &mut Memory, p: &EpilogueParams, o: epilogue::Backward) {
        o.check(p);
        let total = {
            let reads = [o.norm.dy, o.norm.x, o.norm.mean, o.norm.coefficients, o.dy];
            let ([norm_dy, x, mean, coefficients, dy], []) = memory.views(reads, []);
            epilogue::reference::total(p, [norm_dy, x, mean, coefficients], dy)
        };
        let ([saved], [dz, sum, db]) = memory.views([o.saved], [o.dz, o.total, o.db]);
        sum.copy_from_slice(if sum.is_empty() { &[] } else { &total });
        epilogue::reference::backward(p, saved, &total, dz);
        if !db.is_empty() {
            conv2d::reference::grad_bias(dz, db, o.db_write);
        }
    }

    fn epilogue_backward_workspace_bytes(&self, _: &EpilogueParams) -> usize {
        0
    }

    fn activation_forward(&self, memory: &mut Memory, f: Activation, o: activation::Forward) {
        copy_unless_same(memory, o.x, o.y);
        memory.get_mut(o.y).iter_mut().for_each(|y| *y = activation::reference::value(f, *y));
    }

    fn activation_backward(&self, memory: &mut Memory, f: Activation, o: activation::Backward) {
        assert!(o.dx != o.dy || o.write == Write::Set, "an aliased gradient is set, not added to");
        let dy = memory.get(o.dy).to_vec();
        let ([saved], [dx]) = memory.views([o.saved], [o.dx]);
        assert!(saved.len() == dx.len() && dy.len() == dx.len());
        for (i, dx) in dx.iter_mut().enumerate() {
            o.write.put(dx, dy[i] * activation::reference::derivative(f, saved[i]));
        }
    }

    fn prelu_forward(&self, memory: &mut Memory, o: prelu::Forward) {
        o.check();
        copy_unless_same(memory, o.x, o.y);
        let ([slope], [y]) = memory.views([o.slope], [o.y]);
        y.iter_mut().for_each(|y| *y = prelu::reference::value(*y, slope[0]));
    }

    fn prelu_backward(&self, memory: &mut Memory, o: prelu::Backward) {
        o.check();
        let dy = memory.get(o.dy).to_vec();
        let ([x, slope], [dx, dslope]) = memory.views([o.x, o.slope], [o.dx, o.dslope]);
        for (i, dx) in dx.iter_mut().enumerate() {
            o.dx_write.put(dx, prelu::reference::grad_input(x[i], slope[0], dy[i]));
        }
        let sum = prelu::reference::grad_slope(x, &dy);
        dslope.iter_mut().for_each(|dslope| o.dslope_write.put(dslope, sum));
    }

    fn prelu_backward_workspace_bytes(&self, _: usize) -> usize {
        0
    }

    fn rrelu_forward(&self, memory: &mut Memory, slopes: rrelu::Slopes, o: rrelu::Forward) {
        o.check();
        copy_unless_same(memory, o.x, o.y);
        let y = memory.get_mut(o.y).iter_mut().enumerate();
        y.for_each(|(i, y)| *y = prelu::reference::value(*y, rrelu::reference::slope(slopes, i)));
    }

    fn rrelu_backward(&self, memory: &mut Memory, slopes: rrelu::Slopes, o: rrelu::Backward) {
        o.check();
        let dy = memory.get(o.dy).to_vec();
        let ([x], [dx]) = memory.views([o.x], [o.dx]);
        for (i, dx) in dx.iter_mut().enumerate() {
            o.write.put(dx, prelu::reference::grad_input(x[i], rrelu::reference::slope(slopes, i), dy[i]));
        }
    }

    fn add(&self, memory: &mut Memory, weight: f64, o: add::Add) {
        let (a, b) = (memory.get(o.a).to_vec(), memory.get(o.b).to_vec());
        let y = memory.get_mut(o.y);
        assert!(a.len() == y.len() && b.len() == y.len());
        add::reference::add(weight, &a, &b, y);
    }

    fn scale(&self, memory: &mut Memory, weight: f64, o: add::Scale) {
        assert!(o.x != o.y || o.write == Write::Set, "an aliased output is set, not added to");
        let x = memory.get(o.x).to_vec();
        let y = memory.get_mut(o.y);
        assert_eq!(x.len(), y.len());
        add::reference::scale(weight, &x, y, o.write);
    }

    fn pad_forward(&self, memory: &mut Memory, p: &PadParams, o: pad::Forward) {
        let ([x], [y]) = memory.views([o.x], [o.y]);
        p.check(x, y);
        pad::reference::forward(p, x, y);
    }

    fn pad_backward(&self, memory: &mut Memory, p: &PadParams, o: pad::Backward) {
        let ([dy], [dx]) = memory.views([o.dy], [o.dx]);
        p.check(dx, dy);
        pad::reference::backward(p, dy, dx, o.write);
    }

    fn loss_forward(&self, memory: &mut Memory, loss: Loss, o: loss::Forward) {
        let ([prediction, target], [out]) = memory.views([o.prediction, o.target], [o.loss]);
        assert!(prediction.len() == target.len() && out.len() == 1);
        out[0] = loss::reference::forward(loss, prediction, target);
    }

    fn loss_forward_workspace_bytes(&self, _: usize) -> usize {
        0
    }

    fn loss_backward(&self, memory: &mut Memory, loss: Loss, o: loss::Backward) {
        let ([prediction, target, dloss], [out]) = memory.views([o.prediction, o.target, o.dloss], [o.dprediction]);
        assert!(prediction.len() == target.len() && out.len() == target.len() && dloss.len() == 1);
        loss::reference::backward(loss, prediction, target, dloss[0], out, o.write);
    }

    fn adamw(&self, memory: &mut Memory, p: &AdamWParams, o: adamw::Step) {
        let ([grad, unless], [param, m, v]) = memory.views([o.grad, o.unless], [o.param, o.m, o.v]);
        assert!(param.len() == grad.len() && m.len() == grad.len() && v.len() == grad.len());
        if !finite::is_raised(unless) {
            adamw::reference::step(p, param, grad, m, v);
        }
    }

    fn runs_custom(&self) -> bool {
        true
    }

    fn custom(&self, memory: &mut Memory, pass: &dyn custom::Pass, operands: custom::Operands) {
        custom::run(memory, pass, operands);
    }
}

/// Makes an in-place pass of an out-of-place one.
fn copy_unless_same(memory: &mut Memory, x: Span, y: Span) {
    if x != y {
        let ([x], [y]) = memory.views([x], [y]);
        y.copy_from_slice(x);
    }
}
