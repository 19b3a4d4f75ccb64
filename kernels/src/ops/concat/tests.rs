//! Every path against the reference.

use super::{ChannelsParams, Concat, Embed, MAX_PARTS, Slice};
use crate::testing::{Bound, Operand, cases, check, is_tested, normal};
use crate::{Span, Write};
use proptest::prelude::*;

/// Operands: the parts and y.
fn concat(rows: usize, channels: Vec<usize>) -> impl Fn(&[Span]) -> Concat {
    move |o| {
        let parts: Vec<(Span, usize)> = o.iter().copied().zip(channels.iter().copied()).collect();
        Concat::new(rows, &parts, o[channels.len()])
    }
}

/// Operands: x and y.
fn slice(params: ChannelsParams, write: Write) -> impl Fn(&[Span]) -> Slice {
    move |o| Slice { params, x: o[0], y: o[1], write }
}

/// Operands: x and y.
fn embed(params: ChannelsParams, write: Write) -> impl Fn(&[Span]) -> Embed {
    move |o| Embed { params, x: o[0], y: o[1], write }
}

fn check_concat(rows: usize, channels: &[usize]) {
    let width: usize = channels.iter().sum();
    if is_tested(rows * width) {
        let part = |(seed, channels): (usize, &usize)| Operand::In(normal(seed as u64, rows * channels));
        let operands = channels.iter().enumerate().map(part).chain([Operand::Out(rows * width)]);
        let operands: Vec<Operand> = operands.collect();
        check(&concat(rows, channels.to_vec()), &operands, &[Bound::relative(0.0)]);
    }
}

fn check_params(p: ChannelsParams) {
    let [wide, narrow] = [p.rows * p.wide, p.rows * p.narrow];
    if !is_tested(wide) {
        return;
    }
    for write in [Write::Set, Write::Add] {
        // A sum of two values, each below 8, is rounded once.
        let bound = if write == Write::Set { Bound::relative(0.0) } else { Bound::absolute(1.0, 16.0) };
        let operands = |x, y| [Operand::In(normal(1, x)), Operand::written(write, normal(2, y))];
        check(&slice(p, write), &operands(wide, narrow), std::slice::from_ref(&bound));
        check(&embed(p, write), &operands(narrow, wide), &[bound]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for (rows, channels) in [
        (1, &[1][..]),
        (3, &[1, 1]),
        (7, &[3, 8]),
        (50, &[8, 16, 24]),
        (33, &[17, 1, 15, 2, 14, 3, 13]),
        (9, &[1, 2, 3, 4, 5, 6, 7, 8]),
        (5, &[16, 9, 10, 11, 12, 13, 14, 100]),
        (0, &[2, 3]),
        (2, &[20_000, 3]),
        (6000, &[3, 5]),
        (3000, &[32, 32]),
    ] {
        check_concat(rows, channels);
    }
    for (rows, wide, begin, narrow) in [
        (1, 1, 0, 1),
        (5, 4, 1, 2),
        (40, 9, 0, 3),
        (40, 9, 6, 3),
        (17, 40, 7, 32),
        (3, 64, 64, 0),
        (0, 5, 1, 2),
        (2, 30_000, 9_999, 20_000),
        (6000, 8, 3, 5),
        (1000, 96, 32, 32),
    ] {
        check_params(ChannelsParams { rows, wide, begin, narrow });
    }
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn any_channels_equal_the_reference(
        rows in 1usize..80, channels in prop::collection::vec(1usize..40, 1..MAX_PARTS + 1), chosen in 0usize..MAX_PARTS,
    ) {
        check_concat(rows, &channels);
        let chosen = chosen % channels.len();
        let [wide, begin] = [channels.len(), chosen].map(|end| channels[..end].iter().sum());
        check_params(ChannelsParams { rows, wide, begin, narrow: channels[chosen] });
    }
}

/// `torch.cat` of [[1], [2]] and [[3, 4], [5, 6]] in dimension 1; the first one's gradient of [[1, 2, 3], [4, 5, 6]].
#[test]
fn the_reference_is_pytorch() {
    let operands = [Operand::In(vec![1.0, 2.0]), Operand::In(vec![3.0, 4.0, 5.0, 6.0]), Operand::Out(6)];
    for result in check(&concat(2, vec![1, 2]), &operands, &[Bound::relative(0.0)]) {
        assert_eq!(result[2], [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
    }
    let p = ChannelsParams { rows: 2, wide: 3, begin: 0, narrow: 1 };
    let operands = [Operand::In(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), Operand::Out(2)];
    for result in check(&slice(p, Write::Set), &operands, &[Bound::relative(0.0)]) {
        assert_eq!(result[1], [1.0, 4.0]);
    }
}
