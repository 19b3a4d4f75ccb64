//! What a call says of itself, and what it refuses.

use super::cpus;
use crate::ops::conv2d::{Affine, Algo, Conv2dParams, Forward, GradBias, GradInput, GradWeight, PassKind, Tile};
use crate::{Access, Backend, Call, Cpu, Region, Span, Write};
use std::panic::AssertUnwindSafe;

/// A shape that every tile of 3x3 takes, with different lengths of all operands.
fn params() -> Conv2dParams {
    Conv2dParams::new([2, 9, 8, 32], 16, [3, 3], [1, 1], [1, 1], 1).unwrap()
}

/// A span of so many elements, in a region of its own.
fn span(region: u8, len: usize) -> Span {
    Span::new(Region(region), 0, len)
}

/// A map of so many channels.
fn map(channels: usize) -> Affine {
    Affine { scale: span(6, channels), shift: span(7, channels) }
}

fn forward() -> Forward {
    let params = params();
    let [x, w, y] = [span(0, params.input_len()), span(1, params.weight_len()), span(2, params.output_len())];
    let (bias, write) = (span(3, params.k), Write::Set);
    Forward { params, x, x_map: Affine::NONE, w, bias, y, write, algo: None }
}

fn grad_input() -> GradInput {
    let Forward { params, x, w, y, .. } = forward();
    let (bias, write) = (span(3, params.c), Write::Add);
    GradInput { params, dy: y, dy_map: map(params.k), w, bias, dx: x, write, algo: None }
}

fn grad_weight() -> GradWeight {
    let Forward { params, x, w, y, .. } = forward();
    let (x_map, dy_map, write) = (map(params.c), Affine::NONE, Write::Set);
    GradWeight { params, x, x_map, dy: y, dy_map, dw: w, write, algo: None }
}

fn grad_bias() -> GradBias {
    GradBias { dy: span(0, 144 * 16), db: span(1, 16), write: Write::Add }
}

/// Asserts what a call says of itself.
fn check_call(call: impl Into<Call>, name: &str, [flops, longest_sum]: [usize; 2], operands: &[(Span, Access)]) {
    let call: Call = call.into();
    let pass = call.pass();
    assert_eq!((pass.name(), pass.flops(), pass.longest_sum()), (name, flops, longest_sum));
    assert_eq!((&call.operands()[..], call.in_place()), (operands, None), "{name}");
    assert!(pass.is_repeatable() && !pass.is_host_only(), "{name}");
    call.check(Span::EMPTY);
}

/// Plans and profiles rely on names and order.
#[test]
fn calls_say_what_they_read_and_write() {
    use Access::{Read, Set, Update};
    let (f, i, w, b) = (forward(), grad_input(), grad_weight(), grad_bias());
    let flops = 2 * 2 * 9 * 8 * 16 * 3 * 3 * 32;
    let operands = [(f.x, Read), (f.w, Read), (f.bias, Read), (f.y, Set)];
    check_call(f, "conv2d.forward", [flops, 3 * 3 * 32], &operands);
    let map = [(i.dy_map.scale, Read), (i.dy_map.shift, Read)];
    let operands = [(i.dy, Read), map[0], map[1], (i.w, Read), (i.bias, Read), (i.dx, Update)];
    check_call(i, "conv2d.grad_input", [flops, 3 * 3 * 16], &operands);
    let map = [(w.x_map.scale, Read), (w.x_map.shift, Read)];
    let operands = [(w.x, Read), map[0], map[1], (w.dy, Read), (w.dw, Set)];
    check_call(w, "conv2d.grad_weight", [flops, 144], &operands);
    check_call(b, "conv2d.grad_bias", [0, 144], &[(b.dy, Read), (b.db, Update)]);
}

/// Whether a call violates its contract.
fn is_refused(call: impl Into<Call>) -> bool {
    let call: Call = call.into();
    std::panic::catch_unwind(AssertUnwindSafe(|| call.check(Span::EMPTY))).is_err()
}

#[test]
fn wrong_operands_are_refused() {
    let (f, i, w, b) = (forward(), grad_input(), grad_weight(), grad_bias());
    let other = |of: Span| Span { len: of.len + 1, ..of };
    let half = Affine { shift: Span::EMPTY, ..map(32) };
    // Lengths.
    assert!(is_refused(Forward { x: other(f.x), ..f }));
    assert!(is_refused(Forward { w: other(f.w), ..f }));
    assert!(is_refused(Forward { bias: other(f.bias), ..f }));
    assert!(is_refused(Forward { y: other(f.y), ..f }));
    assert!(is_refused(Forward { x_map: map(16), ..f }) && is_refused(Forward { x_map: half, ..f }));
    assert!(is_refused(GradInput { dy: other(i.dy), ..i }));
    assert!(is_refused(GradInput { w: other(i.w), ..i }));
    assert!(is_refused(GradInput { bias: f.bias, ..i }));
    assert!(is_refused(GradInput { dx: other(i.dx), ..i }));
    assert!(is_refused(GradInput { dy_map: map(32), ..i }));
    assert!(is_refused(GradWeight { x: other(w.x), ..w }));
    assert!(is_refused(GradWeight { dy: other(w.dy), ..w }));
    assert!(is_refused(GradWeight { dw: other(w.dw), ..w }));
    assert!(is_refused(GradWeight { x_map: map(16), ..w }));
    assert!(is_refused(GradWeight { x_map: Affine::NONE, dy_map: map(32), ..w }));
    assert!(is_refused(GradBias { dy: other(b.dy), ..b }) && is_refused(GradBias { db: Span::EMPTY, ..b }));
    // At most one operand is mapped.
    assert!(!is_refused(GradWeight { x_map: Affine::NONE, dy_map: map(16), ..w }));
    assert!(is_refused(GradWeight { dy_map: Affine { scale: span(8, 16), shift: span(9, 16) }, ..w }));
    // Outputs are disjoint from what is read.
    assert!(is_refused(Forward { y: Span { region: f.x.region, ..f.y }, ..f }));
    // An algorithm that cannot compute the shape.
    let tile = |tile| Some(Algo::Winograd(tile));
    assert!(
        !is_refused(Forward { algo: tile(Tile::F2x3), ..f }) && is_refused(Forward { algo: tile(Tile::F4x5), ..f })
    );
    assert!(
        is_refused(GradInput { algo: tile(Tile::F4x5), ..i }) && is_refused(GradWeight { algo: tile(Tile::F4x5), ..w })
    );
}

/// The algorithm is the caller's, or that which the backend is forced to take, or the one that is fastest; and scratch
/// is as large before the call is prepared as after.
#[test]
fn a_prepared_call_keeps_its_algorithm() {
    let p = params();
    for [cpu, ..] in cpus() {
        let forced = cpu.clone().with_conv2d_algo(Algo::Im2col);
        let unfit = cpu.clone().with_conv2d_algo(Algo::Winograd(Tile::F4x5));
        for kind in PassKind::ALL {
            let fastest = Algo::choose(&p, kind, cpu.isa());
            assert_eq!(fastest, Algo::Direct, "{kind}");
            assert_eq!([cpu, &forced, &unfit].map(|cpu| cpu.conv2d_algo(&p, kind)), [fastest, Algo::Im2col, fastest]);
            let prepared = |cpu: &Cpu, algo| {
                let mut call: Call = match kind {
                    PassKind::Forward => Forward { algo, ..forward() }.into(),
                    PassKind::GradInput => GradInput { algo, ..grad_input() }.into(),
                    PassKind::GradWeight => GradWeight { algo, ..grad_weight() }.into(),
                };
                let before = call.pass().cpu_workspace_len(cpu);
                assert_eq!(cpu.prepare(&mut call), before, "{call:?}");
                match call {
                    Call::Conv2dForward(pass) => pass.algo,
                    Call::Conv2dGradInput(pass) => pass.algo,
                    Call::Conv2dGradWeight(pass) => pass.algo,
                    call => panic!("{call:?}"),
                }
            };
            assert_eq!(prepared(cpu, None), Some(fastest));
            assert_eq!(prepared(&forced, None), Some(Algo::Im2col));
            let winograd = Some(Algo::Winograd(Tile::F4x3));
            assert_eq!(prepared(&forced, winograd), winograd);
        }
    }
}

#[test]
fn names_are_parsed_and_refused() {
    let names = ["im2col", "direct", "winograd2x3", "winograd4x3", "winograd4x4", "winograd4x5"];
    assert_eq!(Algo::ALL.map(Algo::name), names);
    assert_eq!(names.map(|name| name.parse::<Algo>().unwrap()), Algo::ALL);
    let error = "winograd".parse::<Algo>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown algorithm `winograd`: expected one of im2col, direct, winograd2x3, winograd4x3, winograd4x4, winograd4x5"
    );
}
