//! Ranks in threads, compared with one rank alone.

use super::{Alone, BatchStats, Collective, Part, RankStep, Staged, Threads};
use crate::batch_norm::reference;
use crate::{Access, Backend, Reference, Region, Span};
use std::panic::catch_unwind;

const X: Span = Span::new(Region(0), 0, 0);

/// Calls `f` on every rank with its staged sums and memory that holds `values(rank)`. Returns what the memory holds
/// afterwards.
fn run(
    ranks: usize,
    values: impl Fn(usize) -> Vec<f64> + Sync,
    f: impl Fn(&Staged<f64>, usize, &mut <Reference as Backend>::Memory) + Sync,
) -> Vec<Vec<f64>> {
    Threads::run(ranks, |communicator| {
        let rank = communicator.rank();
        let mut values = values(rank);
        let mut memory = Reference.allocate(&[values.len()]).unwrap();
        let all = Span { len: values.len(), ..X };
        Reference.write(&mut memory, all, &values);
        f(&Staged::new(communicator), rank, &mut memory);
        Reference.read(&memory, all, &mut values);
        values
    })
}

#[test]
fn parts_cover_the_batch_and_differ_by_an_image_at_most() {
    for (ranks, batch) in [(1, 1), (2, 5), (3, 3), (4, 63), (7, 64)] {
        let part = |rank| Part { rank, ranks, batch };
        let mut next = 0;
        for rank in 0..ranks {
            let images = part(rank).images();
            assert_eq!(images.start, next);
            assert!((batch / ranks..=batch.div_ceil(ranks)).contains(&images.len()));
            next = images.end;
        }
        assert_eq!(next, batch);
        assert!(((0..ranks).map(|rank| part(rank).share()).sum::<f64>() - 1.0).abs() < 1e-15);
    }
}

/// Whole numbers have exact sums. The lengths are on both sides of the threshold above which every rank sums a piece
/// for all.
#[test]
fn sums_are_weighted_and_leave_the_rest_of_memory_alone() {
    for ranks in 1..=4 {
        for len in [1, 7, (1 << 14) / ranks, (1 << 14) / ranks + 1, 20_011] {
            let value = |rank: usize, i: usize| ((i * 7 + rank * 13) % 101) as f64;
            let weight = |rank: usize| (rank + 2) as f64;
            let got = run(
                ranks,
                |rank| (0..len + 2).map(|i| value(rank, i)).collect(),
                |staged, rank, memory| staged.sum(&Reference, memory, weight(rank), Span { offset: 1, len, ..X }),
            );
            for (rank, got) in got.iter().enumerate() {
                assert_eq!([got[0], got[len + 1]], [value(rank, 0), value(rank, len + 1)]);
                for (i, &got) in got.iter().enumerate().take(len + 1).skip(1) {
                    let want: f64 = (0..ranks).map(|rank| weight(rank) * value(rank, i)).sum();
                    assert_eq!(got, want, "element {i} of {len} on {ranks} ranks");
                }
            }
        }
    }
}

/// The sum of 1, 1e16 and -1e16 is 0 or 1, depending on their order.
#[test]
fn sums_have_the_order_of_the_ranks() {
    for len in [1, 20_000] {
        let values = |rank: usize| vec![[1e16, -1e16, 1.0][rank]; len];
        let got = run(3, values, |staged, _, memory| staged.sum(&Reference, memory, 1.0, Span { len, ..X }));
        assert!(got.iter().flatten().all(|&sum| sum == 1.0));
        let values = |rank: usize| vec![[1.0, 1e16, -1e16][rank]; len];
        let got = run(3, values, |staged, _, memory| staged.sum(&Reference, memory, 1.0, Span { len, ..X }));
        assert!(got.iter().flatten().all(|&sum| sum == 0.0));
    }
}

/// The mean is many times the deviation, which sums of squares would lose.
#[test]
fn batch_stats_of_parts_are_those_of_the_batch() {
    let (channels, pixels) = (3, 5);
    for (ranks, batch) in [(1, 2), (2, 4), (2, 5), (3, 3), (4, 7)] {
        let image = channels * pixels;
        let x: Vec<f64> = (0..batch * image).map(|i| 1e6 + ((i * 37) % 29) as f64 / 29.0).collect();
        let (mut mean, mut var) = (vec![0.0; channels], vec![0.0; channels]);
        reference::batch_stats(&x, &mut mean, &mut var);
        let part = |rank| Part { rank, ranks, batch };
        let got = run(
            ranks,
            |rank| {
                let images = part(rank).images();
                let mut stats = vec![0.0; 2 * channels];
                let (mean, var) = stats.split_at_mut(channels);
                reference::batch_stats(&x[images.start * image..images.end * image], mean, var);
                stats
            },
            |staged, rank, memory| {
                let [mean, var] = [0, channels].map(|offset| Span { offset, len: channels, ..X });
                staged.batch_stats(&Reference, memory, &part(rank), BatchStats { mean, var });
            },
        );
        for got in got {
            for c in 0..channels {
                assert!((got[c] - mean[c]).abs() <= 1e-9, "{} and {}", got[c], mean[c]);
                assert!((got[channels + c] - var[c]).abs() <= 1e-9, "{} and {}", got[channels + c], var[c]);
            }
        }
    }
}

#[test]
fn ranks_in_threads_exchange_bytes() {
    for ranks in [1, 2, 5] {
        Threads::run(ranks, |communicator| {
            let own = communicator.rank() as u8;
            for round in 0..50 {
                let mut all = vec![0; 2 * ranks];
                communicator.all_gather(&[own, round], &mut all);
                assert!(all.chunks(2).enumerate().all(|(rank, given)| given == [rank as u8, round]));
                let pieces: Vec<u8> = (0..ranks as u8).map(|to| 10 * own + to).collect();
                let mut got = vec![0; ranks];
                communicator.all_to_all(&pieces, &mut got);
                assert!(got.iter().enumerate().all(|(from, &given)| given == 10 * from as u8 + own));
                let mut data = [own + round];
                communicator.broadcast(&mut data);
                assert_eq!(data, [round]);
            }
        });
    }
}

#[test]
fn a_rank_that_panics_ends_the_others() {
    let result = catch_unwind(|| {
        Threads::run(3, |communicator| {
            assert_ne!(communicator.rank(), 1, "on purpose");
            communicator.all_gather(&[0], &mut [0; 3]);
        })
    });
    assert!(result.is_err());
}

#[test]
fn one_rank_keeps_what_it_has() {
    let mut memory = Reference.allocate(&[2]).unwrap();
    let all = Span { len: 2, ..X };
    Reference.write(&mut memory, all, &[3.0, 4.0]);
    Alone.sum(&Reference, &mut memory, 0.5, all);
    let part = Part { rank: 0, ranks: 1, batch: 4 };
    let [mean, var] = [0, 1].map(|offset| Span { offset, len: 1, ..X });
    Alone.batch_stats(&Reference, &mut memory, &part, BatchStats { mean, var });
    let mut got = [0.0; 2];
    Reference.read(&memory, all, &mut got);
    assert_eq!(got, [1.5, 2.0]);
}

#[test]
fn steps_do_what_they_say() {
    let [mean, var] = [0, 1].map(|offset| Span { offset, len: 1, ..X });
    let sum = RankStep::Sum { weight: 3.0, x: mean };
    let stats =
        |rank| RankStep::BatchStats { part: Part { rank, ranks: 2, batch: 4 }, operands: BatchStats { mean, var } };
    for (mut step, name, want) in
        [(sum, "collective.sum", vec![mean]), (stats(0), "collective.batch_stats", vec![mean, var])]
    {
        let mut operands = Vec::new();
        step.operands_mut(&mut |span, access| {
            assert_eq!(access, Access::Update);
            operands.push(*span);
        });
        assert_eq!((step.name(), operands), (name, want));
    }
    let values = |rank: usize| vec![[2.0, 4.0][rank], 1.0];
    let summed = run(2, values, |staged, _, memory| sum.run(staged, &Reference, memory));
    assert_eq!(summed, [[18.0, 1.0]; 2]);
    // Each rank has half of the batch. Its mean differs from that of the batch by 1.
    let merged = run(2, values, |staged, rank, memory| stats(rank).run(staged, &Reference, memory));
    assert_eq!(merged, [[3.0, 2.0]; 2]);
}
