//! The oracle: every pass by naive loops in f64.

use crate::activation::{self, Activation};
use crate::adamw::{self, AdamWParams};
use crate::add;
use crate::batch_norm::{self, BatchNormParams, reference::Statistics};
use crate::conv2d::{self, Conv2dParams};
use crate::custom;
use crate::loss::{self, Loss};
use crate::pad::{self, PadParams};
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

    fn conv2d_forward(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::Forward) {
        let ([x, w, bias], [y]) = memory.views([o.x, o.w, o.bias], [o.y]);
        p.check(x, w, y);
        assert!(bias.is_empty() || bias.len() == p.k);
        conv2d::reference::forward(p, x, w, bias, y, o.write);
    }

    fn conv2d_forward_workspace_bytes(&self, _: &Conv2dParams) -> usize {
        0
    }

    fn conv2d_grad_input(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradInput) {
        let ([dy, w, bias], [dx]) = memory.views([o.dy, o.w, o.bias], [o.dx]);
        p.check(dx, w, dy);
        assert!(bias.is_empty() || bias.len() == p.c);
        conv2d::reference::grad_input(p, dy, w, bias, dx, o.write);
    }

    fn conv2d_grad_input_workspace_bytes(&self, _: &Conv2dParams) -> usize {
        0
    }

    fn conv2d_grad_weight(&self, memory: &mut Memory, p: &Conv2dParams, o: conv2d::GradWeight) {
        let ([x, dy], [dw]) = memory.views([o.x, o.dy], [o.dw]);
        p.check(x, dw, dy);
        conv2d::reference::grad_weight(p, x, dy, dw, o.write);
    }

    fn conv2d_grad_weight_workspace_bytes(&self, _: &Conv2dParams) -> usize {
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
        let ([grad], [param, m, v]) = memory.views([o.grad], [o.param, o.m, o.v]);
        assert!(param.len() == grad.len() && m.len() == grad.len() && v.len() == grad.len());
        adamw::reference::step(p, param, grad, m, v);
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
