//! Seeded bugs: kernels with one bug each, which the emulator must find. The same kernels without the bug must pass in
//! every mode and thread order.
//!
//! Each test runs itself again under the emulator. Its body is the program that launches the kernel and compares the
//! results.

mod gpu;

use std::{path::Path, process::Output};

use cuda_emulator::{Emulator, Mode, Order, is_child, required, sources_in};

use cudarc::driver::PushKernelArg;
use gpu::{Gpu, ramp};

const THREADS: usize = 64;

/// What finds the bug.
enum Finder {
    /// Wrong results, in exactly these of [`Order::ALL`].
    Orders(&'static [Order]),
    /// The emulator itself, in every order, with this message.
    Message(&'static str),
    /// AddressSanitizer, with this message.
    Address(&'static str),
    /// ThreadSanitizer, although the results are right in every order.
    Race,
}

fn emulator(bug: bool, mode: Mode) -> Option<Emulator> {
    let sources = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap();
    let defines: &[&str] = if bug { &["BUG"] } else { &[] };
    required(Emulator::build(&sources, defines, mode, Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

/// `test` is the name of the calling test. `body` panics on wrong results.
fn seeded(test: &str, finders: &[Finder], body: impl Fn(&Gpu)) {
    if is_child() {
        return body(&Gpu::new().unwrap());
    }
    let modes = [Mode::Plain, Mode::AddressSanitizer, Mode::ThreadSanitizer];
    for (mode, order) in modes.iter().flat_map(|&mode| orders(mode).iter().map(move |&order| (mode, order))) {
        let Some(right) = emulator(false, mode) else { return };
        let output = right.rerun(test, order).unwrap();
        assert!(output.status.success(), "without the bug, {mode:?}, {order}:\n{}", text(&output));
    }
    for finder in finders {
        let mode = match finder {
            Finder::Orders(_) | Finder::Message(_) => Mode::Plain,
            Finder::Address(_) => Mode::AddressSanitizer,
            Finder::Race => Mode::ThreadSanitizer,
        };
        let Some(wrong) = emulator(true, mode) else { return };
        for &order in orders(mode) {
            let output = wrong.rerun(test, order).unwrap();
            let text = text(&output);
            let expected = match finder {
                Finder::Orders(orders) => orders.contains(&order).then_some("wrong results"),
                Finder::Message(message) | Finder::Address(message) => Some(*message),
                Finder::Race => Some("ThreadSanitizer: data race"),
            };
            match expected {
                Some(message) => {
                    assert!(!output.status.success(), "{order}: the bug was not found:\n{text}");
                    assert!(text.contains(message), "{order}: expected `{message}`:\n{text}");
                }
                None => assert!(output.status.success(), "{order}: expected right results by luck:\n{text}"),
            }
        }
    }
}

/// A sanitizer finds the same in every order.
fn orders(mode: Mode) -> &'static [Order] {
    if mode == Mode::Plain { &Order::ALL } else { &[Order::Forward] }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const ANY_ORDER: Finder = Finder::Orders(&Order::ALL);
const RANDOM: [Order; 2] = [Order::Random(1), Order::Random(2)];

/// Launches `kernel(x, y)` in `blocks` blocks and compares `y`.
fn check_map(gpu: &Gpu, kernel: &str, blocks: u32, x: &[f32], expected: &[f32]) {
    let (x, mut y) = (gpu.upload(x), gpu.uninitialized(expected.len()));
    let function = gpu.function(kernel, "u64 u64");
    gpu.launch(&function, blocks, THREADS as u32, |arguments| _ = arguments.arg(&x).arg(&mut y)).unwrap();
    gpu.compare(&y, expected);
}

fn mirrored(x: &[f32]) -> Vec<f32> {
    x.iter().rev().copied().collect()
}

#[test]
fn missing_barrier_after_loading() {
    seeded("missing_barrier_after_loading", &[ANY_ORDER, Finder::Race], |gpu| {
        check_map(gpu, "mirror", 1, &ramp(THREADS), &mirrored(&ramp(THREADS)));
    });
}

#[test]
fn missing_barrier_that_forward_order_hides() {
    const FOUND: &[Order] = &[Order::Reverse, RANDOM[0], RANDOM[1]];
    seeded("missing_barrier_that_forward_order_hides", &[Finder::Orders(FOUND), Finder::Race], |gpu| {
        let x = ramp(THREADS);
        let expected: Vec<f32> = (0..THREADS).map(|i| if i == 0 { 0.0 } else { x[i - 1] }).collect();
        check_map(gpu, "shift_up", 1, &x, &expected);
    });
}

#[test]
fn missing_barrier_that_reverse_order_hides() {
    const FOUND: &[Order] = &[Order::Forward, RANDOM[0], RANDOM[1]];
    seeded("missing_barrier_that_reverse_order_hides", &[Finder::Orders(FOUND), Finder::Race], |gpu| {
        let x = ramp(THREADS);
        let expected: Vec<f32> = (0..THREADS).map(|i| if i == THREADS - 1 { 0.0 } else { x[i + 1] }).collect();
        check_map(gpu, "shift_down", 1, &x, &expected);
    });
}

/// Checks a kernel that adds five mirrored tiles.
fn check_tiles(gpu: &Gpu, kernel: &str) {
    let tiles = 5;
    let x = ramp(tiles * THREADS);
    let expected: Vec<f32> = (0..THREADS).map(|t| x.chunks(THREADS).map(|tile| tile[THREADS - 1 - t]).sum()).collect();
    let (x, mut y, tiles) = (gpu.upload(&x), gpu.uninitialized(THREADS), tiles as i32);
    let function = gpu.function(kernel, "u64 u64 u32");
    gpu.launch(&function, 1, THREADS as u32, |arguments| _ = arguments.arg(&x).arg(&mut y).arg(&tiles)).unwrap();
    gpu.compare(&y, &expected);
}

#[test]
fn missing_barrier_before_the_next_tile() {
    seeded("missing_barrier_before_the_next_tile", &[ANY_ORDER, Finder::Race], |gpu| {
        check_tiles(gpu, "sum_of_mirrored_tiles");
    });
}

#[test]
fn one_buffer_where_two_are_needed() {
    seeded("one_buffer_where_two_are_needed", &[ANY_ORDER, Finder::Race], |gpu| check_tiles(gpu, "double_buffer"));
}

#[test]
fn missing_barrier_between_levels_of_a_tree() {
    const FOUND: &[Order] = &[Order::Forward, RANDOM[0], RANDOM[1]];
    seeded("missing_barrier_between_levels_of_a_tree", &[Finder::Orders(FOUND), Finder::Race], |gpu| {
        check_map(gpu, "tree_sum", 1, &ramp(THREADS), &[ramp(THREADS).iter().sum()]);
    });
}

#[test]
fn missing_warp_barrier() {
    seeded("missing_warp_barrier", &[ANY_ORDER, Finder::Race], |gpu| {
        let x = ramp(THREADS);
        let expected: Vec<f32> = (0..THREADS).map(|t| x[t ^ 1]).collect();
        check_map(gpu, "swap_lanes", 1, &x, &expected);
    });
}

#[test]
fn missing_barrier_between_two_reductions() {
    // The next sum overwrites a partial sum only after its warp has shuffled, which is seldom too early.
    seeded("missing_barrier_between_two_reductions", &[Finder::Race], |gpu| {
        let x = ramp(2 * THREADS);
        let expected: Vec<f32> = x.chunks(THREADS).flat_map(|part| vec![part.iter().sum(); THREADS]).collect();
        check_map(gpu, "two_sums", 1, &x, &expected);
    });
}

#[test]
fn global_write_past_the_end() {
    seeded("global_write_past_the_end", &[Finder::Address("heap-buffer-overflow")], |gpu| {
        let n = 100;
        let (x, mut y) = (gpu.upload(&ramp(n)), gpu.uninitialized(n));
        let count = n as i32;
        let function = gpu.function("twice", "u64 u64 u32");
        gpu.launch(&function, 2, THREADS as u32, |arguments| _ = arguments.arg(&x).arg(&mut y).arg(&count)).unwrap();
        gpu.compare(&y, &ramp(n).iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    });
}

#[test]
fn global_read_past_the_end() {
    seeded("global_read_past_the_end", &[Finder::Address("heap-buffer-overflow")], |gpu| {
        check_some(gpu, "smaller_neighbour", THREADS as u32, 50, &ramp(50));
    });
}

fn sums_of_three(x: &[f32]) -> Vec<f32> {
    let at = |i: usize| if i == 0 || i > x.len() { 0.0 } else { x[i - 1] };
    (0..x.len()).map(|i| at(i) + at(i + 1) + at(i + 2)).collect()
}

#[test]
fn shared_access_past_the_end() {
    seeded("shared_access_past_the_end", &[Finder::Address("heap-buffer-overflow")], |gpu| {
        check_map(gpu, "smooth", 1, &ramp(THREADS), &sums_of_three(&ramp(THREADS)));
    });
}

#[test]
fn shared_access_past_the_end_in_a_template() {
    seeded("shared_access_past_the_end_in_a_template", &[Finder::Address("heap-buffer-overflow")], |gpu| {
        check_map(gpu, "mirror_in_template", 1, &ramp(THREADS), &mirrored(&ramp(THREADS)));
    });
}

#[test]
fn misaligned_vector_access() {
    seeded("misaligned_vector_access", &[Finder::Address("misaligned address")], |gpu| {
        let (rows, columns, stride) = (5, 7, 8);
        let x = ramp(rows * stride);
        let expected: Vec<f32> = x.chunks(stride).flat_map(|row| &row[..columns]).copied().collect();
        let (x, mut y) = (gpu.upload(&x), gpu.uninitialized(rows * columns));
        let (columns, stride) = (columns as i32, stride as i32);
        let function = gpu.function("copy_rows", "u64 u64 u32 u32");
        gpu.launch(&function, 1, 5, |a| _ = a.arg(&x).arg(&mut y).arg(&columns).arg(&stride)).unwrap();
        gpu.compare(&y, &expected);
    });
}

#[test]
fn race_of_blocks_on_one_number() {
    seeded("race_of_blocks_on_one_number", &[Finder::Orders(&[]), Finder::Race], |gpu| {
        let x = ramp(3 * THREADS);
        let (device, mut y) = (gpu.upload(&x), gpu.upload(&[0.0]));
        let function = gpu.function("total", "u64 u64");
        gpu.launch(&function, 3, THREADS as u32, |arguments| _ = arguments.arg(&device).arg(&mut y)).unwrap();
        gpu.compare(&y, &[x.iter().sum()]);
    });
}

#[test]
fn race_of_blocks_in_place() {
    const FOUND: &[Order] = &[Order::Reverse, RANDOM[0], RANDOM[1]];
    seeded("race_of_blocks_in_place", &[Finder::Orders(FOUND), Finder::Race], |gpu| {
        let n = 3 * THREADS - 5;
        let x = ramp(n);
        let expected: Vec<f32> = (0..n).map(|i| if i + 1 < n { x[i + 1] } else { 0.0 }).collect();
        let (from, mut to, mut in_place) = (gpu.upload(&x), gpu.uninitialized(n), gpu.upload(&x));
        let count = n as i32;
        let function = gpu.function("shift_left", "u64 u64 u64 u32");
        gpu.launch(&function, 3, THREADS as u32, |a| _ = a.arg(&from).arg(&mut to).arg(&mut in_place).arg(&count))
            .unwrap();
        let done = gpu.download(&to);
        gpu.compare(if done[0].is_nan() { &in_place } else { &to }, &expected);
    });
}

#[test]
fn missing_barrier_in_several_blocks() {
    seeded("missing_barrier_in_several_blocks", &[ANY_ORDER, Finder::Race], |gpu| {
        let x = ramp(3 * THREADS);
        let expected: Vec<f32> = x.chunks(THREADS).flat_map(mirrored).collect();
        check_map(gpu, "mirror_blocks", 3, &x, &expected);
    });
}

#[test]
fn uninitialized_shared_memory() {
    seeded("uninitialized_shared_memory", &[ANY_ORDER], |gpu| {
        check_map(gpu, "sum_of_three", 1, &ramp(THREADS), &sums_of_three(&ramp(THREADS)));
    });
}

#[test]
fn uninitialized_global_memory() {
    seeded("uninitialized_global_memory", &[ANY_ORDER], |gpu| {
        let n = 50;
        let (x, mut y) = (gpu.upload(&ramp(n)), gpu.uninitialized(n));
        let count = n as i32;
        let function = gpu.function("set_or_add", "u64 u64 u32");
        gpu.launch(&function, 1, THREADS as u32, |arguments| _ = arguments.arg(&x).arg(&mut y).arg(&count)).unwrap();
        gpu.compare(&y, &ramp(n));
    });
}

#[test]
fn barrier_in_a_branch() {
    seeded("barrier_in_a_branch", &[Finder::Message("wait at different barriers")], |gpu| {
        let x: Vec<f32> = ramp(THREADS).iter().map(|x| x - 20.0).collect();
        let expected: Vec<f32> = (0..THREADS).map(|t| x[t].max(0.0) + x[THREADS - 1 - t].max(0.0)).collect();
        check_map(gpu, "clamp_sum", 1, &x, &expected);
    });
}

/// Launches `kernel(x, y, n)` for `n` numbers in `threads` threads and compares `y`.
fn check_some(gpu: &Gpu, kernel: &str, threads: u32, n: usize, expected: &[f32]) {
    let (x, mut y) = (gpu.upload(&ramp(n)), gpu.uninitialized(expected.len()));
    let count = n as i32;
    let function = gpu.function(kernel, "u64 u64 u32");
    gpu.launch(&function, 1, threads, |arguments| _ = arguments.arg(&x).arg(&mut y).arg(&count)).unwrap();
    gpu.compare(&y, expected);
}

#[test]
fn return_before_a_barrier() {
    seeded("return_before_a_barrier", &[Finder::Message("barrier divergence")], |gpu| {
        check_some(gpu, "mirror_some", 64, 50, &mirrored(&ramp(50)));
    });
}

#[test]
fn return_before_a_shuffle() {
    seeded("return_before_a_shuffle", &[Finder::Message("which has returned")], |gpu| {
        check_some(gpu, "sum_some", 32, 20, &[ramp(20).iter().sum()]);
    });
}

#[test]
fn shuffle_in_a_branch() {
    seeded("shuffle_in_a_branch", &[Finder::Message("for lanes that wait elsewhere")], |gpu| {
        let (x, mut y) = (gpu.upload(&ramp(32)), gpu.uninitialized(32));
        let function = gpu.function("broadcast", "u64 u64");
        gpu.launch(&function, 1, 32, |arguments| _ = arguments.arg(&x).arg(&mut y)).unwrap();
        gpu.compare(&y, &[ramp(32)[3]; 32]);
    });
}

/// Multiplies a 16x8 and an 8x8 matrix of whole numbers, the second of which has a column of zeros; `more` is added to
/// the elements of the first.
fn check_product(gpu: &Gpu, kernel: &str, more: f32) {
    let a = ramp(16 * 8);
    let b: Vec<f32> = (0..8 * 8).map(|i| if i % 8 == 3 { 0.0 } else { (i * i % 67) as f32 }).collect();
    let element = |i: usize| (0..8).map(|k| a[i / 8 * 8 + k] * b[8 * k + i % 8]).sum();
    let expected: Vec<f32> = (0..16 * 8).map(element).collect();
    let a: Vec<f32> = a.iter().map(|a| a + more).collect();
    let (a, b, mut d) = (gpu.upload(&a), gpu.upload(&b), gpu.uninitialized(expected.len()));
    let function = gpu.function(kernel, "u64 u64 u64");
    gpu.launch(&function, 1, 32, |arguments| _ = arguments.arg(&a).arg(&b).arg(&mut d)).unwrap();
    gpu.compare(&d, &expected);
}

#[test]
fn fragment_in_the_wrong_registers() {
    seeded("fragment_in_the_wrong_registers", &[ANY_ORDER], |gpu| check_product(gpu, "matrix_product", 0.0));
}

#[test]
fn matrix_product_without_a_lane() {
    seeded("matrix_product_without_a_lane", &[Finder::Message("which has returned")], |gpu| {
        check_product(gpu, "matrix_product_of_some", 0.0);
    });
}

#[test]
fn matrix_product_in_a_branch() {
    seeded("matrix_product_in_a_branch", &[Finder::Message("for lanes that wait elsewhere")], |gpu| {
        check_product(gpu, "matrix_product_of_rows", 0.0);
    });
}

#[test]
fn matrix_product_of_unrounded_operands() {
    seeded("matrix_product_of_unrounded_operands", &[Finder::Message("which is no TF32 number")], |gpu| {
        check_product(gpu, "product_of_rounded", 2f32.powi(-12));
    });
}
