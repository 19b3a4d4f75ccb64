//! Tests of copies and recordings, on a GPU or the driver emulator. The emulator runs them with a device that works at
//! once or as late as possible, and with a driver that refuses to record.

use crate::add::Scale;
use crate::testing::{Path, is_tested, normal, paths};
use crate::{Backend, Context, Cuda, CudaMemory, Region, Span, Write};

/// The GPU, if there is one.
fn cuda() -> Option<Cuda> {
    paths().find_map(|path| match path {
        Path::Cuda(cuda) => Some(cuda.clone()),
        Path::Cpu(_) => None,
    })
}

/// `y (+)= weight x`
fn scale(cuda: &Cuda, memory: &mut CudaMemory, weight: f64, [x, y]: [Span; 2], write: Write) {
    cuda.run(memory, &Scale { weight, x, y, write }.into(), Context::NONE);
}

const fn all(region: u8, len: usize) -> Span {
    Span::new(Region(region), 0, len)
}

/// More copies than there are slots of pinned memory; some are longer than a slot. The host overwrites the source of
/// each copy as soon as the call returns, and a pass after each copy reads what it wrote.
#[test]
fn copies_arrive_in_turn_with_the_passes() {
    let Some(cuda) = cuda() else { return };
    let cases = [(1, 40), (1000, 40), ((1 << 18) + 1, 5), ((1 << 20) + 3, 3)];
    for (len, copies) in cases.into_iter().filter(|(len, _)| is_tested(*len)) {
        let mut memory = cuda.allocate(&[len, len, len]).unwrap();
        let [x, sum] = [0, 1].map(|region| all(region, len));
        let mut values = vec![0.0f32; len];
        let mut want = vec![0.0f32; len];
        for copy in 0..copies {
            values.iter_mut().enumerate().for_each(|(i, value)| *value = ((i * 7 + copy * 13) % 101) as f32);
            want.iter_mut().zip(&values).for_each(|(want, value)| *want += (copy + 1) as f32 * value);
            cuda.write(&mut memory, x, &values);
            values.fill(f32::NAN);
            scale(&cuda, &mut memory, (copy + 1) as f64, [x, sum], Write::Add);
        }
        let mut got = vec![0.0f32; len];
        cuda.read(&memory, sum, &mut got);
        assert!(got == want, "{copies} copies of {len} elements");
    }
}

/// On an emulator that has memory for nothing but a region and some slots.
#[test]
fn copies_need_no_memory_of_their_own() {
    let Some(cuda) = cuda() else { return };
    let Some(bytes) = std::env::var_os("CUDA_EMULATOR_MEMORY_BYTES") else { return };
    let all_bytes: usize = bytes.to_str().unwrap().parse().unwrap();
    for slots in [0, 1, 3] {
        // A slot has room for the region, or for a mebibyte of it.
        let len = (all_bytes / size_of::<f32>() - 100) / (slots + 1);
        let mut memory = cuda.allocate(&[len]).unwrap();
        for copy in 0..5 {
            let values: Vec<f32> = (0..len).map(|i| ((i + copy) % 101) as f32).collect();
            cuda.write(&mut memory, all(0, len), &values);
            let mut got = vec![0.0f32; len];
            cuda.read(&memory, all(0, len), &mut got);
            assert!(got == values, "copy {copy} with room for {slots} slots");
        }
    }
}

/// The span is inside a region, at an offset that is not aligned to a vector. The rest of the region must stay as it
/// is.
#[test]
fn a_copy_writes_its_span_and_no_more() {
    let Some(cuda) = cuda() else { return };
    let mut memory = cuda.allocate(&[9]).unwrap();
    cuda.write(&mut memory, Span::new(Region(0), 3, 2), &[1.0, 2.0]);
    cuda.write(&mut memory, Span::EMPTY, &[]);
    let mut got = [f32::NAN; 9];
    cuda.read(&memory, all(0, 9), &mut got);
    assert_eq!(got, [0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
}

/// Replays the passes of two numbers in turn, with copies between them. A recording reads what memory holds when it is
/// launched, not what it held when it was made.
#[test]
fn recorded_passes_do_what_they_did() {
    let Some(cuda) = cuda() else { return };
    let len = 1000;
    let [x, a, b] = [0, 1, 2].map(|region| all(region, len));
    let run = |cuda: &Cuda, expected_calls: usize| {
        let mut memory = cuda.allocate(&[len; 3]).unwrap();
        let mut calls = [0; 2];
        for round in 0..5 {
            cuda.write(&mut memory, x, &normal(round, len));
            for (number, y) in [a, b].into_iter().enumerate() {
                cuda.replay(&mut memory, number, &mut |memory| {
                    calls[number] += 1;
                    scale(cuda, memory, 0.1, [x, y], Write::Add);
                    scale(cuda, memory, 3.0 + number as f64, [y, y], Write::Set);
                });
            }
        }
        assert_eq!(calls, [expected_calls; 2]);
        [a, b].map(|y| {
            let mut got = vec![0.0f32; len];
            cuda.read(&memory, y, &mut got);
            got.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        })
    };
    // They run the first time, and are recorded the second time.
    let recorded = run(&cuda, if makes_graphs() { 2 } else { 5 });
    let plain = run(&cuda.clone().without_graphs(), 5);
    assert!(recorded == plain, "other bits than without graphs");
    assert!(recorded[0] != recorded[1], "the two numbers' passes differ");
    let says = "no CUDA graphs, as the NVIDIA driver failed in cuStreamBeginCapture: CUDA_ERROR_NOT_SUPPORTED;";
    match cuda.remark() {
        None => assert!(makes_graphs()),
        Some(remark) => assert!(!makes_graphs() && remark.starts_with(says), "{remark}"),
    }
}

/// The first mark is waited for, too, if the second one is.
#[test]
fn marks_have_the_passes_between_them() {
    let Some(cuda) = cuda() else { return };
    let [x, y] = [0, 1].map(|region| all(region, 1000));
    let mut memory = cuda.allocate(&[1000; 2]).unwrap();
    cuda.fill(&mut memory, x, 1.0);
    let marks = [0, 1, 2].map(|_| {
        scale(&cuda, &mut memory, 1.0, [x, y], Write::Add);
        cuda.mark()
    });
    let [first, second, both] = [(0, 1), (1, 2), (0, 2)].map(|(from, to)| marks[to].seconds_since(&marks[from]));
    assert!(first >= 0.0 && second >= 0.0 && both < 60.0, "{first} {second} {both}");
    // Numbers of milliseconds in f32, from clocks that count half microseconds.
    assert!((first + second - both).abs() <= 1e-6 * both + 2e-6, "{first} + {second} is not {both}");
}

/// While one thread records, another one computes on the same device, in memory of its own.
#[test]
fn a_recording_has_nothing_of_other_threads() {
    let Some(cuda) = cuda() else { return };
    let len = 100;
    let [x, y] = [0, 1].map(|region| all(region, len));
    let [mut memory, mut others] = [(); 2].map(|()| cuda.allocate(&[len; 2]).unwrap());
    cuda.fill(&mut memory, x, 1.0);
    cuda.fill(&mut others, x, 1.0);
    let read = |memory: &_| {
        let mut got = vec![0.0f32; len];
        cuda.read(memory, y, &mut got);
        got
    };
    let most = if makes_graphs() { 2 } else { 4 };
    for round in 1..=4 {
        cuda.replay(&mut memory, 0, &mut |memory| {
            scale(&cuda, memory, 1.0, [x, y], Write::Add);
            let other = std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    scale(&cuda, &mut others, 1.0, [x, y], Write::Add);
                    read(&others)
                });
                other.join().unwrap()
            });
            assert!(round <= most && other == vec![round as f32; len], "in round {round}");
        });
        assert!(read(&memory) == vec![round as f32; len], "after round {round}");
    }
}

/// Whether the driver records passes: the emulator may be told not to.
fn makes_graphs() -> bool {
    std::env::var_os("CUDA_EMULATOR_CAPTURE").is_none_or(|value| value != "refuse")
}
