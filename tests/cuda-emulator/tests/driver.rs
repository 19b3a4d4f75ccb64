//! The driver itself: the language that kernels are written in, what the interface refuses, streams, events and graphs.

mod gpu;

use std::{path::Path, process::Output};

use cuda_emulator::{Emulator, Mode, Order, is_child, required, sources_in};
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg, sys};
use gpu::{Gpu, ramp};

const AFFINE: &str = "b8x16 u64 u64 f32 u32";

/// The same struct as in `interface.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Affine {
    scale: f32,
    offset: i32,
    n: i64,
}

// SAFETY: plain numbers, without padding, as the kernel declares it.
unsafe impl cudarc::driver::DeviceRepr for Affine {}

fn emulator(mode: Mode) -> Option<Emulator> {
    let sources = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap();
    required(Emulator::build(&sources, &[], mode, Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

/// Runs `body` in a process under the emulator, with these environment variables. A panic in it fails the test.
fn emulated(test: &str, environment: &[(&str, &str)], body: impl Fn(&Gpu)) {
    if is_child() {
        return body(&Gpu::new().unwrap());
    }
    let Some(emulator) = emulator(Mode::Plain) else { return };
    let output = emulator.rerun_with(test, Order::Forward, environment).unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_shim_speaks_the_language() {
    emulated("the_shim_speaks_the_language", &[], |gpu| {
        let threads = 70;
        let mut y = gpu.uninitialized::<i32>(16 * threads);
        let function = gpu.function("language", "u64");
        let config = LaunchConfig {
            grid_dim: (2, 1, 1),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: 4 * threads as u32,
        };
        // SAFETY: 16 numbers a thread of one block are what the kernel writes; both blocks write the same.
        unsafe { gpu.stream.launch_builder(&function).arg(&mut y).launch(config) }.unwrap();
        let y = gpu.stream.clone_dtoh(&y).unwrap();
        let any = -1; // For a lane that isn't there, and so has no value.
        for t in 0..threads as i32 {
            let (lane, warp) = (t % 32, t / 32);
            let lanes = if warp == 2 { 6 } else { 32 };
            let down = if lane % 8 < 6 { lane + 2 } else { lane };
            let xor = if lane ^ 5 < lanes { lane ^ 5 } else { any };
            let next = if lane ^ 1 < lanes { lane ^ 1 } else { any };
            let expected = [
                if lanes > 7 { 7 } else { any },
                if lane < 2 { lane } else { lane - 2 },
                if down < lanes { down } else { any },
                xor,
                0b1111,
                i32::from(lanes == 32),
                24,
                1,
                threads as i32 - 1 - t,
                4,
                t + 3 + 31,
                t.min(3) + t.max(60),
                2 * t + 1 + 2 + 1,
                1 + 2,
                3,
                next,
            ];
            let found = &y[16 * t as usize..][..16];
            for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
                // The conversion of NaN to an integer may give anything.
                assert!(
                    found == expected || (i == 15 && expected == any),
                    "thread {t}, value {i}: {found}, expected {expected}"
                );
            }
        }
    });
}

/// The 10 registers of each lane are laid out as the PTX ISA says in "Matrix Fragments for mma.m16n8k8" (element `i` of
/// lane `4 g + t`). All elements of the three matrices are different whole numbers, so that no register can be taken
/// for another. The product is exact.
#[test]
fn matrices_are_multiplied_as_their_fragments_lie() {
    emulated("matrices_are_multiplied_as_their_fragments_lie", &[], |gpu| {
        let a = |row: usize, k: usize| 1 + 8 * row + k;
        let b = |k: usize, column: usize| (1 + 8 * k + column).pow(3) % 2039;
        let c = |row: usize, column: usize| 1_000_000 + 1000 * row + column;
        let product = |row, column| c(row, column) + (0..8).map(|k| a(row, k) * b(k, column)).sum::<usize>();
        let lanes = || (0..32).map(|lane| (lane / 4, lane % 4));
        let of_a = lanes().flat_map(|(g, t)| [a(g, t), a(g + 8, t), a(g, t + 4), a(g + 8, t + 4)]);
        let of_b = lanes().flat_map(|(g, t)| [b(t, g), b(t + 4, g)]);
        let rows_and_columns =
            || lanes().flat_map(|(g, t)| [(g, 2 * t), (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1)]);
        let of_c = rows_and_columns().map(|(row, column)| c(row, column));
        let x: Vec<f32> = of_a.chain(of_b).chain(of_c).map(|x| x as f32).collect();
        let expected: Vec<f32> = rows_and_columns().map(|(row, column)| product(row, column) as f32).collect();
        let (x, mut y) = (gpu.upload(&x), gpu.uninitialized(128));
        let function = gpu.function("multiply_fragments", "u64 u64");
        gpu.launch(&function, 1, 32, |arguments| _ = arguments.arg(&x).arg(&mut y)).unwrap();
        gpu.compare(&y, &expected);

        let error = gpu.launch(&function, 1, 20, |arguments| _ = arguments.arg(&x).arg(&mut y)).unwrap_err();
        assert!(error.to_string().contains("mma.sync in a warp of 20 lanes"), "{error}");
    });
}

/// As those of an A100 do: 4 products at a time, each cut off to one bit more than the largest has.
#[test]
fn tensor_cores_cut_off_their_sums() {
    emulated("tensor_cores_cut_off_their_sums", &[], |gpu| {
        let unit = 2f32.powi(-24);
        // c; products, each with its index; their sum
        let sums = [
            (1.0, vec![(0, 1.5 * unit)], 1.0),
            (-1.0, vec![(0, -1.5 * unit)], -1.0),
            (1.0, vec![(0, unit), (3, unit)], 1.0 + 2.0 * unit),
            (1.0, vec![(0, unit), (4, unit)], 1.0),
            (1.0, vec![(0, 0.5 * unit), (1, 0.5 * unit), (2, 0.5 * unit), (3, 0.5 * unit)], 1.0),
            (0.5 * unit, vec![(7, 1.0), (6, -1.0)], 0.0),
            (f32::MAX, vec![(0, 2f32.powi(127))], f32::INFINITY),
            (0.0, vec![(0, f32::NEG_INFINITY)], f32::NEG_INFINITY),
        ];
        let function = gpu.function("multiply_fragments", "u64 u64");
        for (c, products, expected) in sums {
            // The first row of a, whose lanes 0 to 3 have it in registers 0 and 2, times ones.
            let mut x = [[0.0; 128].as_slice(), &[1.0; 64], &[c; 128]].concat();
            for &(k, product) in &products {
                x[4 * (k % 4) + k / 4 * 2] = product;
            }
            let (x, mut y) = (gpu.upload(&x), gpu.uninitialized(128));
            gpu.launch(&function, 1, 32, |arguments| _ = arguments.arg(&x).arg(&mut y)).unwrap();
            let found = gpu.download(&y)[0];
            assert_eq!(found, expected, "{c} and {products:?}");
        }
    });
}

#[test]
fn tf32_is_the_nearest_and_of_two_the_larger() {
    emulated("tf32_is_the_nearest_and_of_two_the_larger", &[], |gpu| {
        let ulp = 2f32.powi(-10);
        let least = f32::from_bits(1 << 13);
        let rounded = [
            (1.0, 1.0),
            (1.0 + 0.499 * ulp, 1.0),
            (1.0 + 0.5 * ulp, 1.0 + ulp),
            (-1.0 - 0.5 * ulp, -1.0 - ulp),
            (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp),
            (2047.0, 2047.0),
            (2049.0, 2050.0),
            (4095.0, 4096.0),
            (0.0, 0.0),
            (-0.0, -0.0),
            (f32::from_bits(1 << 12), least),
            (f32::from_bits((1 << 12) - 1), 0.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (f32::NAN, f32::from_bits(0x7fff_ffff)),
        ];
        let (x, mut y) = (gpu.upload(&rounded.map(|(x, _)| x)), gpu.uninitialized(rounded.len()));
        let function = gpu.function("round_to_tf32", "u64 u64");
        gpu.launch(&function, 1, rounded.len() as u32, |arguments| _ = arguments.arg(&x).arg(&mut y)).unwrap();
        for ((x, expected), found) in rounded.into_iter().zip(gpu.download(&y)) {
            assert_eq!(found.to_bits(), expected.to_bits(), "{x} became {found}, expected {expected}");
        }
    });
}

/// `y = relu(2 x[i + 1] + 0.5)`
fn affine(gpu: &Gpu) {
    let n = 100;
    let x: Vec<f32> = ramp(n).iter().map(|x| x - 50.0).collect();
    let expected: Vec<f32> = (0..n).map(|i| (2.0 * x[(i + 1) % n] + 0.5).max(0.0)).collect();
    let (x, mut y) = (gpu.upload(&x), gpu.uninitialized(n));
    let (p, bias, relu) = (Affine { scale: 2.0, offset: 1, n: n as i64 }, 0.5f32, 1i32);
    let function = gpu.function("affine", AFFINE);
    gpu.launch(&function, 2, 64, |a| _ = a.arg(&p).arg(&x).arg(&mut y).arg(&bias).arg(&relu)).unwrap();
    gpu.compare(&y, &expected);
}

#[test]
fn arguments_arrive() {
    emulated("arguments_arrive", &[], affine);
}

/// What the driver says to `kernel` with PTX parameters of these types.
fn refusal(gpu: &Gpu, kernel: &str, parameters: &str) -> String {
    gpu.load(kernel, parameters, "").err().map_or("accepted".to_string(), |error| error.to_string())
}

#[test]
fn stale_ptx_is_refused() {
    emulated("stale_ptx_is_refused", &[], |gpu| {
        for (kernel, parameters, message) in [
            ("affine", AFFINE, "accepted"),
            ("removed", "u64", "`removed` is in the PTX but not in the sources"),
            ("affine", "b8x16 u64 u64 f32", "4 parameters in the PTX, 5 in the source"),
            (
                "affine",
                "b8x24 u64 u64 f32 u32",
                "parameter 0: struct of 24 bytes in the PTX, struct of 16 bytes in the source",
            ),
            (
                "affine",
                "b8x16 u64 u64 u32 f32",
                "parameter 3: integer or pointer of 4 bytes in the PTX, floating point of 4 bytes",
            ),
            (
                "affine",
                "b8x16 u64 u32 f32 u32",
                "parameter 2: integer or pointer of 4 bytes in the PTX, integer or pointer of 8",
            ),
        ] {
            let refusal = refusal(gpu, kernel, parameters);
            assert!(refusal.contains(message), "{parameters}: {refusal}");
        }
        let error =
            gpu.load_ptx("renamed", ".version 7.0\n.target sm_70\n.visible .entry affine()\n{ ret; }").unwrap_err();
        assert!(error.to_string().contains("the PTX has no kernel `renamed`"), "{error}");
    });
}

#[test]
fn ptx_that_a_real_driver_refuses_is_refused() {
    emulated("ptx_that_a_real_driver_refuses_is_refused", &[], |gpu| {
        for (ptx, name) in [
            ("\x7fELF", "CUDA_ERROR_INVALID_IMAGE"),
            (".version 9.5\n.target sm_70\n", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
            (".version 8.0\n.target sm_90\n", "CUDA_ERROR_NO_BINARY_FOR_GPU"),
        ] {
            let error = gpu.load_ptx("affine", ptx).unwrap_err();
            assert_eq!(error.error_name().unwrap().to_str().unwrap(), name);
        }
    });
}

#[test]
fn swapped_arguments_are_found() {
    emulated("swapped_arguments_are_found", &[], |gpu| {
        let (x, mut y) = (gpu.upload(&ramp(8)), gpu.uninitialized::<f32>(8));
        let (p, bias, relu) = (Affine { scale: 2.0, offset: 1, n: 8 }, 0.5f32, 1i64);
        let function = gpu.function("affine", AFFINE);
        // A number where the pointer belongs.
        let error =
            gpu.launch(&function, 1, 8, |a| _ = a.arg(&p).arg(&x).arg(&relu).arg(&bias).arg(&mut y)).unwrap_err();
        assert!(error.to_string().contains("argument 2 is a pointer, but 0x1 is not in device memory"), "{error}");
    });
}

#[test]
fn a_pointer_to_the_host_is_found() {
    emulated("a_pointer_to_the_host_is_found", &[], |gpu| {
        let (values, mut y) = ([1.0f32; 8], gpu.uninitialized::<f32>(8));
        let address = values.as_ptr() as u64;
        let count = 8;
        let function = gpu.function("twice", "u64 u64 u32");
        let error = gpu.launch(&function, 1, 8, |a| _ = a.arg(&address).arg(&mut y).arg(&count)).unwrap_err();
        assert!(error.to_string().contains("argument 0 is a pointer, but"), "{error}");
        // The context has failed, as a real one would have, so the message is another one.
        assert!(gpu.stream.clone_htod(&values).unwrap_err().to_string().contains("an earlier failure"));
    });
}

#[test]
fn freed_memory_is_found() {
    emulated("freed_memory_is_found", &[], |gpu| {
        let (x, mut y, count) = (gpu.upload(&ramp(8)), gpu.uninitialized::<f32>(8), 8);
        let address = {
            use cudarc::driver::DevicePtr;
            x.device_ptr(&gpu.stream).0
        };
        drop(x);
        let function = gpu.function("twice", "u64 u64 u32");
        let error = gpu.launch(&function, 1, 8, |a| _ = a.arg(&address).arg(&mut y).arg(&count)).unwrap_err();
        assert!(error.to_string().contains("argument 0 is a pointer, but"), "{error}");
    });
}

#[test]
fn launches_beyond_the_limits_are_refused() {
    emulated("launches_beyond_the_limits_are_refused", &[], |gpu| {
        let function = gpu.load("mirror", "u64 u64", ".maxntid 64, 1, 1").unwrap();
        let (x, mut y) = (gpu.upload(&ramp(64)), gpu.uninitialized::<f32>(64));
        for (blocks, threads, message) in [
            (0, 64, "a grid of 0 x 1 x 1 blocks"),
            (1, 0, "a block of 0 x 1 x 1 threads"),
            (1, 1056, "a block of 1056 x 1 x 1 threads"),
            (1, 96, "a block of 96 threads, its __launch_bounds__ allow 64"),
        ] {
            let error = gpu.launch(&function, blocks, threads, |a| _ = a.arg(&x).arg(&mut y)).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
        gpu.launch(&function, 1, 64, |a| _ = a.arg(&x).arg(&mut y)).unwrap();
    });
}

#[test]
fn memory_runs_out() {
    emulated("memory_runs_out", &[("CUDA_EMULATOR_MEMORY_BYTES", "4096")], |gpu| {
        let first: CudaSlice<f32> = gpu.uninitialized(1000);
        assert_eq!(gpu.context.mem_get_info().unwrap(), (96, 4096));
        // SAFETY: never read.
        let error = unsafe { gpu.stream.alloc::<f32>(25) }.unwrap_err();
        assert!(error.to_string().contains("100 bytes asked for, 96 of 4096 are free"), "{error}");
        drop(first);
        let again: CudaSlice<f32> = gpu.uninitialized(1024);
        assert!(gpu.download(&again).iter().all(|value| value.is_nan()));
    });
}

#[test]
fn copies_outside_of_an_allocation_are_refused() {
    emulated("copies_outside_of_an_allocation_are_refused", &[], |gpu| {
        let y: CudaSlice<f32> = gpu.uninitialized(10);
        let address = {
            use cudarc::driver::DevicePtr;
            y.device_ptr(&gpu.stream).0
        };
        // SAFETY: the driver refuses it; that is the test.
        let result = unsafe { sys::cuMemsetD8Async(address + 8, 0, 36, gpu.stream.cu_stream()) };
        assert_eq!(result, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
    });
}

/// A context of the driver is current on one thread.
#[test]
fn the_context_belongs_to_a_thread() {
    emulated("the_context_belongs_to_a_thread", &[], |_| {
        let free = || {
            let (mut free, mut total) = (0, 0);
            // SAFETY: two places for two results.
            unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) }
        };
        assert_eq!(free(), sys::CUresult::CUDA_SUCCESS);
        let elsewhere = std::thread::spawn(free).join().unwrap();
        assert_eq!(elsewhere, sys::CUresult::CUDA_ERROR_INVALID_CONTEXT);
    });
}

/// Captures a kernel that doubles, and launches the graph with two inputs in the same place.
fn graph(gpu: &Gpu) {
    let n = 32;
    // SAFETY: one stream does all the work.
    unsafe { gpu.context.disable_event_tracking() };
    let (mut x, mut y) = (gpu.upload(&ramp(n)), gpu.uninitialized(n));
    let function = gpu.function("twice", "u64 u64 u32");
    let count = n as i32;
    gpu.stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: both arrays have `count` numbers, and live longer than the graph.
    unsafe { gpu.stream.launch_builder(&function).arg(&x).arg(&mut y).arg(&count).launch(config) }.unwrap();
    let error = gpu.stream.synchronize().unwrap_err();
    assert!(error.to_string().contains("being captured"), "{error}");
    let graph = gpu.stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
    assert!(gpu.download(&y).iter().all(|value| value.is_nan()), "capturing has run the kernel");
    for factor in [1.0, 3.0] {
        let input: Vec<f32> = ramp(n).iter().map(|x| factor * x).collect();
        gpu.stream.memcpy_htod(&input, &mut x).unwrap();
        graph.launch().unwrap();
        gpu.compare(&y, &input.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    }
}

#[test]
fn graphs_run_what_was_captured() {
    emulated("graphs_run_what_was_captured", &[], graph);
}

#[test]
fn graphs_run_late() {
    emulated("graphs_run_late", &[("CUDA_EMULATOR_STREAMS", "late")], graph);
}

/// Allocating may wait for the device. The mode says which threads must not.
#[test]
fn a_capture_forbids_what_its_mode_says() {
    use sys::CUstreamCaptureMode::{
        CU_STREAM_CAPTURE_MODE_GLOBAL as GLOBAL, CU_STREAM_CAPTURE_MODE_RELAXED as RELAXED,
        CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as THREAD_LOCAL,
    };
    emulated("a_capture_forbids_what_its_mode_says", &[], |gpu| {
        for (mode, here, elsewhere) in [(GLOBAL, false, false), (THREAD_LOCAL, false, true), (RELAXED, true, true)] {
            let allocate = || {
                gpu.context.bind_to_thread().unwrap();
                // SAFETY: nothing reads the memory, which is freed at once.
                unsafe {
                    cudarc::driver::result::malloc_sync(4)
                        .and_then(|address| cudarc::driver::result::free_sync(address))
                }
            };
            gpu.stream.begin_capture(mode).unwrap();
            assert_eq!(allocate().is_ok(), here, "{mode:?}");
            let other = std::thread::scope(|scope| scope.spawn(|| allocate().is_ok()).join().unwrap());
            assert_eq!(other, elsewhere, "{mode:?}");
            gpu.stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap();
        }
    });
}

#[test]
fn a_driver_can_be_one_that_captures_nothing() {
    for (value, message) in [("refuse", "this driver captures no streams"), ("never", "expected allow or refuse")] {
        emulated("a_driver_can_be_one_that_captures_nothing", &[("CUDA_EMULATOR_CAPTURE", value)], |gpu| {
            let is_this_one = std::env::var("CUDA_EMULATOR_CAPTURE").is_ok_and(|given| given == value);
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
            let error = gpu.stream.begin_capture(mode).unwrap_err().to_string();
            assert!(!is_this_one || error.contains(message), "{error}");
            affine(gpu);
        });
    }
}

#[test]
fn calls_are_listed() {
    let list = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("calls-{}", std::process::id()));
    emulated("calls_are_listed", &[("CUDA_EMULATOR_CALLS", list.to_str().unwrap())], affine);
    if !is_child() && emulator(Mode::Plain).is_some() {
        let calls = std::fs::read_to_string(&list).unwrap();
        std::fs::remove_file(&list).unwrap();
        assert_eq!(calls.lines().filter(|call| *call == "cuLaunchKernel").count(), 1, "{calls}");
    }
}

/// Pinned memory is read when the copy runs, not when it is requested. Late streams show if it is changed too early.
#[test]
fn late_streams_find_a_missing_wait() {
    emulated("late_streams_find_a_missing_wait", &[("CUDA_EMULATOR_STREAMS", "late")], |gpu| {
        // SAFETY: written before it is read.
        let mut pinned = unsafe { gpu.context.alloc_pinned::<f32>(4) }.unwrap();
        let mut y: CudaSlice<f32> = gpu.uninitialized(4);
        for wait in [true, false] {
            pinned.as_mut_slice().unwrap().copy_from_slice(&[1.0; 4]);
            let from = pinned.as_ptr().unwrap();
            let to = {
                use cudarc::driver::DevicePtrMut;
                y.device_ptr_mut(&gpu.stream).0
            };
            // SAFETY: four numbers on both sides, which live until the stream is done.
            unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.cast(), 16, gpu.stream.cu_stream()) }.result().unwrap();
            if wait {
                gpu.stream.synchronize().unwrap();
            }
            // SAFETY: as above; a race with the copy on purpose, which the emulator has not begun.
            unsafe { from.cast_mut().write(2.0) };
            assert_eq!(gpu.download(&y)[0], if wait { 1.0 } else { 2.0 });
        }
    });
}

#[test]
fn streams_wait_for_events() {
    emulated("streams_wait_for_events", &[("CUDA_EMULATOR_STREAMS", "late")], |gpu| {
        let other = gpu.context.new_stream().unwrap();
        let n = 16;
        let (x, mut y, count) = (gpu.upload(&ramp(n)), gpu.uninitialized(n), n as i32);
        let function = gpu.function("twice", "u64 u64 u32");
        let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: both arrays have `count` numbers.
        unsafe { gpu.stream.launch_builder(&function).arg(&x).arg(&mut y).arg(&count).launch(config) }.unwrap();
        let event = gpu.stream.record_event(None).unwrap();
        assert!(!event.is_complete());
        other.wait(&event).unwrap();
        let doubled: Vec<f32> = other.clone_dtoh(&y).unwrap();
        assert!(event.is_complete());
        assert_eq!(doubled, ramp(n).iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    });
}

#[test]
fn sources_that_cannot_be_built_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let build = |text: &str| {
        let path = folder.path().join("broken.cu");
        std::fs::write(&path, text).unwrap();
        Emulator::build(&[path], &[], Mode::Plain, folder.path())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    if emulator(Mode::Plain).is_none() {
        return;
    }
    for (text, message) in [
        ("extern \"C\" __global__ void k(float* y) { y[0] = missing; }", "broken.cu"),
        ("__device__ int f() { return 1; }", "no `__global__` function"),
        ("#include <stdio.h>\nextern \"C\" __global__ void k() {}", "stdio.h"),
        ("extern \"C\" __global__ void k() { __shared__ float a, b; }", "expected one array or variable"),
    ] {
        let error = build(text);
        assert!(error.contains("broken.cu") && error.contains(message), "{text}: {error}");
    }
}
