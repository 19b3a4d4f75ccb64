//! [`Fusion`]: the backward passes without `g`.

use super::norm_conv::NormConvBackward;
use super::taps::TapSums;
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::ops::batch_norm::cpu::{coefficients, put_sums};
use crate::ops::conv2d::ConvPasses;
use crate::ops::conv2d::cpu::Then;
use crate::ops::epilogue;
use crate::ops::epilogue::cpu::{BackwardBlocks, InBlocks, blocks_workspace_len};
use crate::ops::prelude::*;
use crate::simd::{Kernel, Simd};

/// The passes of a [`Backward`](super::Backward), whose sums over `g` are taken from the gradient of the weight.
pub(super) struct Fusion<'a> {
    norm_conv: &'a NormConvBackward,
    epilogue: &'a epilogue::Backward,
    taps: TapSums,
    blocks: usize,
}

impl<'a> Fusion<'a> {
    /// None if the CPU's algorithm for `g` has no blocks. Those that have are for strides of 1 and one group, as
    /// [`TapSums`] is.
    pub(super) fn new(
        cpu: &Cpu,
        norm_conv: &'a NormConvBackward,
        epilogue: &'a epilogue::Backward,
    ) -> Option<Fusion<'a>> {
        let blocks = norm_conv.grad_input().blocks(cpu)?;
        Some(Fusion { norm_conv, epilogue, taps: TapSums::new(norm_conv), blocks })
    }

    /// Elements of the scratch of the convolutions, of `dWhat`, of its map, and of all that is f64.
    fn workspace_lens(&self, cpu: &Cpu) -> [usize; 4] {
        let NormConvBackward { norm, conv, .. } = self.norm_conv;
        let (grad_weight, grad_input) = (self.norm_conv.grad_weight(), self.norm_conv.grad_input());
        let convolutions = grad_weight.cpu_workspace_len(cpu).max(grad_input.pass().cpu_workspace_len(cpu));
        let sums = f64_workspace_len(3 * norm.channels + self.taps.len() + self.taps.scratch_len());
        let of_blocks = blocks_workspace_len(cpu, &self.epilogue.params, self.blocks);
        [convolutions, conv.params.weight_len(), 2 * norm.channels, sums.max(of_blocks)]
    }

    pub(super) fn workspace_len(&self, cpu: &Cpu) -> usize {
        self.workspace_lens(cpu).iter().sum()
    }

    pub(super) fn run(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let (n, e) = (self.norm_conv, self.epilogue);
        let reads = [n.x, n.gamma, n.beta, n.mean, n.rstd, n.w, n.dz, n.dz_sum, e.saved, e.dy];
        let writes = [n.dw.0, n.dgamma.0, n.dbeta.0, n.coefficients, e.db, e.total, e.dz, cx.workspace];
        let (
            [x, gamma, beta, mean, rstd, w, dz, dz_sum, saved, dy],
            [dw, dgamma, dbeta, coefficients_out, db, total, dz_out, workspace],
        ) = memory.views(reads, writes);
        let lens = self.workspace_lens(cpu);
        let (convolutions, rest) = workspace.split_at_mut(lens[0]);
        let (dw_hat, rest) = rest.split_at_mut(lens[1]);
        let (map, rest) = rest.split_at_mut(lens[2]);
        let sums_area = &mut rest[..lens[3]];

        // `xhat`, and what rounding adds to it.
        let channels = n.norm.channels;
        let (scale, shift) = map.split_at_mut(channels);
        let f64s = as_f64(sums_area);
        let (eps, f64s) = f64s.split_at_mut(channels);
        let (sums, f64s) = f64s.split_at_mut(2 * channels);
        let (of_taps, f64s) = f64s.split_at_mut(self.taps.len());
        for c in 0..channels {
            let exact = -f64::from(mean[c]) * f64::from(rstd[c]);
            (scale[c], shift[c]) = (rstd[c], exact as f32);
            eps[c] = f64::from(shift[c]) - exact;
        }

        let mut grad_weight = n.grad_weight();
        grad_weight.write = Write::Set;
        let (mapped, plain) = ([x, &*scale, &*shift], [dz, &[], &[]]);
        let [[a, b, c], [d, e_, f]] = if n.conv.transposed { [plain, mapped] } else { [mapped, plain] };
        grad_weight.cpu_with(cpu, [a, b, c, d, e_, f], dw_hat, convolutions);
        self.taps.compute(cpu, dz, dz_sum, f64s, of_taps);
        let write = n.dw.1;
        cpu.isa.dispatch(WeightSums { norm_conv: n, w, dw_hat, of_taps, eps, affine: [gamma, beta], dw, write, sums });
        let (sum_g_xhat, sum_g) = sums.split_at(channels);
        put_sums(dgamma, sum_g_xhat, n.dgamma.1);
        put_sums(dbeta, sum_g, n.dbeta.1);
        coefficients(&n.norm, [gamma, rstd], [sum_g_xhat, sum_g], coefficients_out);

        let grad_input = n.grad_input();
        let coefficients = &*coefficients_out;
        let operands = BackwardBlocks { saved, x, mean, coefficients, dy, total, db, db_write: e.db_write };
        let convolve = |then: Then<'_>| grad_input.cpu_then(cpu, [dz, &[], &[], w, &[]], dz_out, then, convolutions);
        let (params, blocks, workspace) = (&e.params, self.blocks, sums_area);
        InBlocks { cpu, params, operands, blocks, workspace, convolve }.run();
    }
}

/// The sums over `g xhat` and `g`, one after another, and the gradient of the weight.
struct WeightSums<'a> {
    norm_conv: &'a NormConvBackward,
    w: &'a [f32],
    dw_hat: &'a [f32],
    /// `D`
    of_taps: &'a [f64],
    /// What is added to `xhat` by rounding.
    eps: &'a [f64],
    /// `gamma` and `beta`
    affine: [&'a [f32]; 2],
    dw: &'a mut [f32],
    write: Write,
    sums: &'a mut [f64],
}

impl Kernel for WeightSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let WeightSums { norm_conv, w, dw_hat, of_taps, eps, affine: [gamma, beta], dw, write, sums } = self;
        let ConvPasses { params: p, transposed } = &norm_conv.conv;
        let (sum_g_xhat, sum_g) = sums.split_at_mut(norm_conv.norm.channels);
        sum_g_xhat.fill(0.0);
        sum_g.fill(0.0);
        let rows = w.chunks_exact(p.k).zip(dw_hat.chunks_exact(p.k)).zip(dw.chunks_exact_mut(p.k));
        for (row, ((w, dw_hat), dw)) in rows.enumerate() {
            let (tap, c) = (row / p.c, row % p.c);
            if *transposed {
                // The normalization's channels lie one after another.
                let d = of_taps[tap * p.c + c];
                for k in 0..p.k {
                    let (w, dw_hat) = (f64::from(w[k]), f64::from(dw_hat[k]) - eps[k] * d);
                    sum_g_xhat[k] += w * dw_hat;
                    sum_g[k] += w * d;
                    write.put(&mut dw[k], (f64::from(gamma[k]) * dw_hat + f64::from(beta[k]) * d) as f32);
                }
                continue;
            }
            let (eps, gamma, beta) = (eps[c], f64::from(gamma[c]), f64::from(beta[c]));
            let of_tap = &of_taps[tap * p.k..][..p.k];
            let mut products = [[0.0; 8]; 2];
            for k in 0..p.k {
                let (w, d) = (f64::from(w[k]), of_tap[k]);
                let dw_hat = f64::from(dw_hat[k]) - eps * d;
                products[0][k % 8] += w * dw_hat;
                products[1][k % 8] += w * d;
                write.put(&mut dw[k], (gamma * dw_hat + beta * d) as f32);
            }
            sum_g_xhat[c] += products[0].iter().sum::<f64>();
            sum_g[c] += products[1].iter().sum::<f64>();
        }
    }
}
