"""ROOFLINE.md: what a training step costs on paper, from shapes, registers and machine code. Used by build.py."""

# The network of the study: layers, channels, 3x3 kernels, 32x32 images, a batch of 64.
LAYERS, CHANNELS, TAPS, SIDE, BATCH = 15, 32, 9, 32, 64
PIXELS = BATCH * SIDE * SIDE

# name, architecture, multiprocessors, FP32 TFLOP/s, GB/s, then limits of a multiprocessor: threads, blocks, bytes of shared memory
GPUS = [
    ("RTX 3060", "sm_86", 28, 12.7, 360, 1536, 16, 100 * 1024),
    ("A100", "sm_80", 108, 19.5, 1555, 2048, 32, 164 * 1024),
    ("H100 SXM", "sm_90", 132, 66.9, 3350, 2048, 32, 228 * 1024),
]
# TFLOP/s of the tensor cores in TF32 without sparsity, and GHz. NVIDIA's data sheets of the A100 and the H100 (which give 989 with
# sparsity); the GA102 white paper, where TF32 is as fast as FP32 on the RTX 3090, whose multiprocessors are the RTX 3060's.
TENSOR_CORES = {"RTX 3060": (12.7, 1.78), "A100": (156, 1.41), "H100 SXM": (495, 1.83)}
REGISTERS = 65536
RESERVED_SHARED = 1024  # bytes of a block's shared memory that the system takes, since sm_80

SCHEDULERS = 4  # of a multiprocessor: each issues an instruction of a warp a clock

# What is assumed, not measured: the fraction of a bound that such kernels reach, and the time from one launch to the next.
FRACTION, LAUNCH_US = 0.75, 3.0

IMAGE = 4 * PIXELS * CHANNELS  # bytes of a layer's activations
PLANE = 4 * PIXELS  # and of an image of one channel
WEIGHTS = 4 * TAPS * CHANNELS * CHANNELS
TILES = PIXELS // 128  # of the kernels with a halo
SPLITS = 256  # of a weight gradient's sum


def kernels():
    """(kernel, what, launches a step, threads a block, blocks, FLOPs, bytes, turns) of each large kernel; small ones count as launches.

    Turns are those of a thread's longest loop, whose body has several of what it loops over if it is unrolled. If it has a loop
    inside that counts, they are two: its own, and those of the inner loop in each of them.
    """
    wide, thin = 2 * (LAYERS - 1), 2 * PIXELS * TAPS * CHANNELS
    square = thin * CHANNELS
    parts = SPLITS * WEIGHTS
    chunks = PIXELS // 128
    one_steps = PIXELS // 256 // 16
    return [
        ("conv2d_forward_halo", "convolutions, and input gradients of transposed ones", wide, 128, TILES, square, 2 * IMAGE + WEIGHTS, (1, TAPS)),
        ("conv2d_adjoint_halo", "transposed convolutions, and input gradients", wide, 128, TILES, square, 2 * IMAGE + WEIGHTS, (1, TAPS)),
        ("conv2d_weight_halo", "weight gradients", wide, 128, SPLITS, square, 2 * IMAGE + parts, (TILES // SPLITS, 8)),
        ("conv2d_sum_splits", "their sums", wide, 256, WEIGHTS // 128, 0, parts + WEIGHTS, SPLITS / 32),
        ("conv2d_forward_from_one", "first layer, and input gradient of the last", 2, 256, PIXELS // 4 * 8 // 256, thin, PLANE + IMAGE, TAPS),
        ("conv2d_adjoint_to_one", "last layer, and input gradient of the first", 2, 256, PIXELS // 128, thin, PLANE + IMAGE, TAPS),
        ("conv2d_weight_1x4x32", "weight gradients of both", 2, 128, 256, thin, PLANE + IMAGE, one_steps),
        ("epilogue_forward_gelu", "activation, skip, moments", wide + 1, 256, chunks, 0, 2.5 * IMAGE, 4),
        ("epilogue_backward_gelu", "their gradients, and those of bias and normalization", wide + 1, 256, chunks, 0, 4.5 * IMAGE, 4),
        ("batch_norm_backward_sums", "gradients of scale and offset", wide + 1, 256, PIXELS // 256, 0, 2 * IMAGE, 4),
    ]


# Numbers of TF32 that a value is multiplied as, of each precision on tensor cores, and products that a pair of values takes.
PRECISIONS = {"tf32x3": (2, 3), "tf32": (1, 1)}


def tensor_core_kernels(precision):
    """{kernel: (that on tensor cores, its threads a block, turns, products, 128-byte accesses to shared memory of all its blocks)}, of
    those above that have one.

    A block writes the halo of a tile, 180 pixels, and the weights of all taps, in all their parts, or 128 pixels of dy. It reads the
    fragments: a lane has 2 x 4 values of weights and 4 x 2 of pixels, or as many of x and dy, for 8 depths.
    """
    parts, products = PRECISIONS[precision]
    row = 4 * CHANNELS // 128
    gather = TILES * ((180 + parts * TAPS * CHANNELS) * row + TAPS * CHANNELS // 8 * 4 * (parts * 2 * 4 + 4 * 2))
    reduce = TILES * ((180 + 128) * row + 128 // 8 * TAPS * (2 * 4 + 4 * 2))
    taps, pixels = (1, 4) if parts == 1 else ((1, TAPS), 16)
    return {
        "conv2d_forward_halo": (f"conv2d_{precision}_forward_halo", 128, taps, products, gather),
        "conv2d_adjoint_halo": (f"conv2d_{precision}_adjoint_halo", 128, taps, products, gather),
        "conv2d_weight_halo": (f"conv2d_{precision}_weight_halo", 32 * TAPS, (TILES // SPLITS, pixels), products, reduce),
    }


def names():
    """Names of all large kernels."""
    on_tensor_cores = [name for precision in PRECISIONS for name, *_ in tensor_core_kernels(precision).values()]
    return [name for name, *_ in kernels()] + on_tensor_cores


# Launches of a layer that take hardly longer than to be launched: fold, moments, gradients, bias.
SMALL_LAUNCHES = 2 * LAYERS * 4 + 4


def blocks_at_once(gpu, registers, shared, threads):
    """Blocks of a kernel that fit on a multiprocessor. Registers are given to warps in units of 256."""
    _, _, _, _, _, max_threads, max_blocks, max_shared = gpu
    of_warp = -(-registers * 32 // 256) * 256
    by_registers = REGISTERS // of_warp // (threads // 32)
    return min(max_threads // threads, max_blocks, by_registers, max_shared // (shared + RESERVED_SHARED))


def estimate(gpu, resources, codes, kernel, products=1, shared_accesses=0):
    """(occupancy, KiB under way on a multiprocessor, {bound: its microseconds}, microseconds) of a launch; on tensor cores if its
    accesses to shared memory are given, with so many products of a pair of values."""
    gpu_name, arch, multiprocessors, tflops, bandwidth, max_threads, _, _ = gpu
    name, _, _, threads, blocks, flops, moved, turns = kernel
    tensor_tflops, ghz = TENSOR_CORES[gpu_name]
    if shared_accesses:
        tflops = tensor_tflops
    registers, shared = resources[name][arch]
    at_once = blocks_at_once(gpu, registers, shared, threads)
    waves = blocks / (multiprocessors * at_once)
    # a part of a wave takes as long as a whole one once its multiprocessors are busy
    quantization = max(1.0, -(-blocks // multiprocessors) * multiprocessors / blocks) if waves < 1 else 1.0
    code = codes[name, arch]
    outer, inner = turns if isinstance(turns, tuple) else (turns, 1)
    of_thread = code.whole + (outer - 1) * code.loop + (outer * inner - outer) * code.inner
    instructions = blocks * threads / 32 * of_thread
    bounds = {
        "math": products * flops / tflops * 1e-6 * quantization,
        "memory": moved / bandwidth * 1e-3,
        "issue": instructions / (multiprocessors * SCHEDULERS * ghz) * 1e-3 * quantization,
    }
    if shared_accesses:
        bounds["shared"] = shared_accesses / (multiprocessors * ghz) * 1e-3 * quantization
    # Multiplies are among the instructions that are issued: there is nothing that keeps them from their peak but the others.
    us = max(bound if name == "math" else bound / FRACTION for name, bound in bounds.items())
    threads_at_once = min(at_once, -(-blocks // multiprocessors)) * threads
    return at_once * threads / max_threads, threads_at_once * code.in_flight / 1024, bounds, max(us, LAUNCH_US)


def row(gpu, resources, codes, kernel, *on_tensor_cores):
    """(ms a step, line of the table) of a kernel."""
    kernel_name, what, launches, _, _, flops, moved, _ = kernel
    occupancy, in_flight, bounds, us = estimate(gpu, resources, codes, kernel, *on_tensor_cores)
    step, largest = launches * us / 1e3, max(bounds, key=bounds.get)
    cells = [f"`{kernel_name}`", what, launches, f"{flops / 1e9:.2f}", f"{moved / 1e6:.1f}", f"{occupancy:.0%}", f"{in_flight:.0f}"]
    for name in ["math", "memory", "issue", "shared"]:
        cell = f"{bounds[name]:.1f}" if name in bounds else ""
        cells.append(f"**{cell}**" if name == largest else cell)
    return step, f"| {' | '.join(map(str, cells))} | {us:.0f} | {step:.2f} |"


def card(gpu, resources, codes):
    """({precision: ms of a step}, lines of the report) of a card."""
    name, _, multiprocessors, tflops, bandwidth, *_ = gpu
    header = [
        "| kernel | what | launches | GFLOP | MB | occupancy | KiB in flight | math | memory | issue | shared | us a launch | ms a step |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    ridge = tflops * 1e3 / bandwidth
    title = f"## {name}: {multiprocessors} multiprocessors, {tflops} TFLOP/s, {bandwidth} GB/s, ridge at {ridge:.0f} FLOPs a byte"
    small = SMALL_LAUNCHES * LAUNCH_US / 1e3
    rows = {kernel[0]: row(gpu, resources, codes, kernel) for kernel in kernels()}
    lines = [title, "", *header, *(line for _, line in rows.values())]
    lines += [f"| others | small | {SMALL_LAUNCHES} | | | | | | | | | {LAUNCH_US:.0f} | {small:.2f} |", ""]
    steps = {"f32": small + sum(ms for ms, _ in rows.values())}
    for precision in PRECISIONS:
        faster, on_tensor_cores = tensor_core_kernels(precision), {}
        for kernel_name, what, launches, _, *rest, _ in kernels():
            if kernel_name in faster:
                faster_name, threads, turns, *more = faster[kernel_name]
                kernel = (faster_name, what, launches, threads, *rest, turns)
                on_tensor_cores[kernel_name] = row(gpu, resources, codes, kernel, *more)
        lines += [f"With `--precision {precision}`, {TENSOR_CORES[name][0]} TFLOP/s on tensor cores, the first three are", "", *header]
        lines += [*(line for _, line in on_tensor_cores.values()), ""]
        steps[precision] = small + sum(ms for ms, _ in (rows | on_tensor_cores).values())
    return steps, lines


def report(resources, codes):
    """ROOFLINE.md"""
    cards = {gpu[0]: card(gpu, resources, codes) for gpu in GPUS}
    lines = [
        "# A training step on paper",
        "",
        f"Written by `build.py`. **Nothing here was measured: no GPU has run the kernels.** The network has {LAYERS} layers of {CHANNELS}",
        f"channels, 3x3, {SIDE}x{SIDE}, batch {BATCH}. Milliseconds of a step, and images a second:",
        "",
        f"| `--precision` | {' | '.join(cards)} |",
        f"| --- |{' ---: |' * len(cards)}",
    ]
    for precision in ["f32", *PRECISIONS]:
        cells = [f"{steps[precision]:.2f} ({BATCH / steps[precision] * 1e3:,.0f})" for steps, _ in cards.values()]
        lines.append(f"| `{precision}` | {' | '.join(cells)} |")
    lines += [
        "",
        "An RTX 3060's tensor cores multiply TF32 no faster than its other units f32, so that `tf32x3` is slower there. PyTorch was not",
        "measured either; from its some 450 launches and the bytes that they move, its step on an H100 should take 6 to 8 ms if launched one",
        "by one, 6 to 7 as a CUDA graph in f32, 3.5 to 4 as one in TF32, channels last, and 2.5 to 3 compiled.",
        "",
        "A launch takes at least, in microseconds,",
        "",
        "- math: its multiplications and additions at the FP32 peak, or that of the tensor cores without sparsity; `tf32x3` multiplies three",
        "  times as much;",
        "- memory: every operand moved once, at the bandwidth of the card's memory;",
        f"- issue: the instructions of all warps, one a clock for each of the {SCHEDULERS} schedulers of a multiprocessor, as nvdisasm shows them.",
        "  Of branches that exclude each other, the longer counts, so that it is a little less in truth;",
        "- shared (on tensor cores): accesses to shared memory, at 128 bytes a clock.",
        "",
        f"The time is the longest of these, if math reaches its peak and the others {FRACTION:.0%} of theirs, and at least the {LAUNCH_US:.0f} us from launch",
        "to launch. Where blocks do not fill a card once, all but memory is for the multiprocessors that have most of them. Occupancy",
        "follows from registers and shared memory (RESOURCES.md). In flight are the bytes that a multiprocessor's threads load before an",
        "instruction needs one of them: at a latency of 600 ns, an RTX 3060 needs 8 KiB, an A100 8 and an H100 15 to use its bandwidth.",
        "`resconv profile step --device cuda` measures a step on a card.",
        "",
    ]
    for _, of_card in cards.values():
        lines += of_card
    return "\n".join(lines).rstrip() + "\n"
