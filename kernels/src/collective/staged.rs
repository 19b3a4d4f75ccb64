//! Sums over ranks by way of the host.

use super::communicator::Communicator;
use super::operations::{BatchStats, Collective};
use super::part::Part;
use crate::backend::Backend;
use crate::element::Element;
use crate::memory::Span;
use std::sync::{Arc, Mutex, PoisonError};

/// Up to this many elements of all ranks together, every rank receives all of them and sums for itself. Above, every
/// rank sums one piece of the elements for all, which moves less data, but takes one more exchange.
const FEW: usize = 1 << 14;

/// Sums over the ranks of a communicator, for every backend: operands are copied to the host, and results back.
pub struct Staged<E> {
    communicator: Arc<dyn Communicator>,
    buffers: Mutex<Buffers<E>>,
}

/// Memory on the host, kept from call to call, so that a training step allocates nothing.
struct Buffers<E> {
    values: Vec<E>,
    sent: Vec<E>,
    received: Vec<E>,
}

impl<E: Element> Staged<E> {
    /// Sums over the ranks of `communicator`.
    pub fn new(communicator: Arc<dyn Communicator>) -> Staged<E> {
        let buffers = Buffers { values: Vec::new(), sent: Vec::new(), received: Vec::new() };
        Staged { communicator, buffers: Mutex::new(buffers) }
    }

    /// Calls `f` with the number of ranks and the buffers. A panic in an earlier call does no harm: no call reads what
    /// an earlier one left.
    fn with_buffers<R>(&self, f: impl FnOnce(&dyn Communicator, usize, &mut Buffers<E>) -> R) -> R {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        f(&*self.communicator, self.communicator.ranks(), &mut buffers)
    }
}

fn zero<E: Element>() -> E {
    E::from_f64(0.0)
}

/// Adds up the rows of `[ranks, out.len()]`, in their order.
fn sum_rows<E: Element>(rows: &[E], out: &mut [E]) {
    let (first, others) = rows.split_at(out.len());
    out.copy_from_slice(first);
    for row in others.chunks_exact(out.len()) {
        out.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
    }
}

/// Replaces the values by their sums over the ranks.
fn sum<E: Element>(communicator: &dyn Communicator, ranks: usize, buffers: &mut Buffers<E>) {
    let Buffers { values, sent, received } = buffers;
    let len = values.len();
    if len * ranks <= FEW {
        received.resize(len * ranks, zero());
        communicator.all_gather(bytemuck::cast_slice(values), bytemuck::cast_slice_mut(received));
        sum_rows(received, values);
        return;
    }
    let piece = len.div_ceil(ranks);
    sent.clear();
    sent.extend_from_slice(values);
    sent.resize(piece * ranks, zero());
    received.resize(piece * ranks, zero());
    communicator.all_to_all(bytemuck::cast_slice(sent), bytemuck::cast_slice_mut(received));
    let own = &mut sent[..piece];
    sum_rows(received, own);
    communicator.all_gather(bytemuck::cast_slice(own), bytemuck::cast_slice_mut(received));
    values.copy_from_slice(&received[..len]);
}

impl<B: Backend> Collective<B> for Staged<B::Element> {
    fn rank(&self) -> usize {
        self.communicator.rank()
    }

    fn ranks(&self) -> usize {
        self.communicator.ranks()
    }

    fn shares_process(&self) -> bool {
        self.communicator.shares_process()
    }

    fn sum(&self, backend: &B, memory: &mut B::Memory, weight: f64, x: Span) {
        self.with_buffers(|communicator, ranks, buffers| {
            buffers.values.resize(x.len, zero());
            backend.read(memory, x, &mut buffers.values);
            if weight != 1.0 {
                let weight = B::Element::from_f64(weight);
                buffers.values.iter_mut().for_each(|value| *value *= weight);
            }
            sum(communicator, ranks, buffers);
            backend.write(memory, x, &buffers.values);
        });
    }

    fn batch_stats(&self, backend: &B, memory: &mut B::Memory, part: &Part, o: BatchStats) {
        let channels = o.mean.len;
        assert_eq!(o.var.len, channels, "{o:?}");
        self.with_buffers(|communicator, ranks, Buffers { values, received, .. }| {
            assert_eq!(part.ranks, ranks, "{part:?}");
            values.resize(2 * channels, zero());
            let (mean, var) = values.split_at_mut(channels);
            backend.read(memory, o.mean, mean);
            backend.read(memory, o.var, var);
            received.resize(2 * channels * ranks, zero());
            communicator.all_gather(bytemuck::cast_slice(values), bytemuck::cast_slice_mut(received));
            let (mean, var) = values.split_at_mut(channels);
            for c in 0..channels {
                let of = |rank: usize, i: usize| received[(2 * rank + i) * channels + c].to_f64();
                let over_ranks = |f: &dyn Fn(usize) -> f64| (0..ranks).map(|r| part.share_of(r) * f(r)).sum::<f64>();
                let all = over_ranks(&|rank| of(rank, 0));
                mean[c] = B::Element::from_f64(all);
                var[c] = B::Element::from_f64(over_ranks(&|rank| of(rank, 1) + (of(rank, 0) - all).powi(2)));
            }
            backend.write(memory, o.mean, mean);
            backend.write(memory, o.var, var);
        });
    }
}
