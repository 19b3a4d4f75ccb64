"""What the kit does, the most important first: is it right, does it learn the same, how fast is it, and beside PyTorch.

Checks run at the same time: they share the GPU and the cores, and measure nothing. What is timed runs alone.
"""
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import readers
from runner import Job, write_json

GPU = ["--device", "cuda"]
PRECISIONS = {"f32": [], "3xTF32": ["--precision", "tf32x3"], "TF32": ["--precision", "tf32"]}
# For a try on the driver emulator.
TINY = ["--layers=2", "--channels=4", "--size=8"]
TINY_RUN = [*TINY, "--batch=4", "--samples=40"]
NO_STOPS = ["--validate-every=0", "--checkpoint-every=0"]
# The tests of convolutions that a GPU runs; those of other operations are found by their names.
CONVOLUTION_TESTS = ["whole_numbers_are_exact_in_every_case", "real_numbers", "nan_stays", "an_empty_batch", "gpu::"]
SLOWEST = 5
SECTIONS = ["SpeedOfLight", "ComputeWorkloadAnalysis", "MemoryWorkloadAnalysis", "SchedulerStats", "WarpStateStats", "Occupancy", "LaunchStats"]


@dataclass
class Kit:
    """The unpacked kit. `smoke`: all in tiny sizes."""

    here: Path  # of the scripts
    work: Path  # of all else
    smoke: bool

    def program(self, name):
        return self.work / "bin" / name

    def resconv(self, *arguments):
        return [self.program("resconv"), *arguments]

    def train(self, run, *arguments, small=False):
        """Training on the images; `small`: on the few that tests have, for what makes a program slow."""
        data, few = self.work / "data", self.work / "data-small"
        images = ["--data", few, "--unverified-data"] if small or self.smoke else ["--data", data]
        return self.resconv("train", *images, "--force", "--out", self.work / run, *arguments)


def tf32_needs(numbers):
    return () if numbers == "f32" else ("TF32",)


def device(runner, kit):
    """What the machine has, and whether its driver takes the kernels."""
    commands = ["nvidia-smi", "nvidia-smi -q -d CLOCK,POWER", "lscpu", "free -m", "ldd --version | head -1"]
    runner.run(Job("machine", ["sh", "-c", "; ".join(commands) + "; true"], 30))
    # Without the driver's cache, so that it compiles, and the first start below does, too.
    command = [sys.executable, kit.here / "jit.py", kit.work]
    jit = runner.run(Job("jit", command, 90, readers.jit(runner.out / "jit.json"), True, environment={"CUDA_CACHE_DISABLE": "1"}))
    values = (jit or {}).get("values", {})
    capability = values.get("compute_capability_major")
    if capability and capability < 8:
        runner.absent["TF32"] = f"a GPU of compute capability {capability} has no TF32"
    # The second start finds the kernels in the cache.
    for name in ["start, cold", "start, warm"]:
        runner.run(Job(name, kit.resconv("gradcheck", *GPU, "--op", "add", "--cases", "1"), 90, readers.gradcheck, True))


def kernel_tests(kit):
    """The names of the kernels' tests that use a GPU, as filters of the test program."""
    listed = subprocess.run([kit.program("test-kernels"), "--list"], capture_output=True, text=True, errors="replace").stdout
    operations = set(re.findall(r"^(ops::\w+::tests)::", listed, re.M)) - {"ops::conv2d::tests", "ops::custom::tests"}
    return ["gpu::tests", *sorted(operations), *(f"ops::conv2d::tests::{test}" for test in CONVOLUTION_TESTS)]


def tests(kit):
    only = {"KERNELS_TEST_PATHS": "cuda"} | ({"KERNELS_TEST_LARGEST": "1030"} if kit.smoke else {})
    filters = [*kernel_tests(kit), *(["--skip", "any_"] if kit.smoke else [])]
    yield Job("test kernels", [kit.program("test-kernels"), *filters], 150, readers.rust_tests, True, environment=only)
    # They look for no emulator where there is no GPU, but fail.
    environment = {"TESTS_GOLDEN_DIR": str(kit.work / "golden"), "CUDA_EMULATOR_CHILD": "1"}
    programs = {"golden": ["cuda_"], "golden_networks": ["cuda_"], "gradients": ["cuda_"], "gpu_steps": []}
    if kit.smoke:
        # The others take a minute on the emulator, and find their files in the same way.
        programs = {"golden_networks": ["cuda_"], "gradients": ["cuda_agrees"], "gpu_steps": ["steps_of_a_gpu", "sizes_beyond"]}
    for name, filters in programs.items():
        yield Job(f"test {name}", [kit.program(f"test-{name}"), *filters], 150, readers.rust_tests, True, environment=environment)


def gradchecks(kit):
    cases = ["--cases", "1", "--op", "conv2d"] if kit.smoke else ["--cases", "16"]
    for numbers, flag in PRECISIONS.items():
        command = kit.resconv("gradcheck", *GPU, *flag, *cases)
        yield Job(f"gradcheck {numbers}", command, 150, readers.gradcheck, True, tf32_needs(numbers))


def sanitizers(kit):
    sizes = TINY_RUN if kit.smoke else ["--layers=3", "--size=12", "--batch=4", "--samples=16"]
    for tool in ["memcheck", "racecheck", "initcheck", "synccheck"]:
        for numbers, flag in PRECISIONS.items():
            run = f"{tool}-{numbers}"
            command = ["compute-sanitizer", "--tool", tool, "--print-limit", "20", "--error-exitcode", "9"]
            command += kit.train(run, *GPU, *flag, *sizes, *NO_STOPS, small=True)
            yield Job(f"{tool} {numbers}", command, 120, readers.sanitizer, True, ("compute-sanitizer", *tf32_needs(numbers)))


def quick_runs(kit):
    """The same training on the CPU and on the GPU."""
    sizes = TINY_RUN if kit.smoke else []
    for numbers, flags in [("cpu", ["--device", "cpu"]), *((numbers, [*GPU, *flag]) for numbers, flag in PRECISIONS.items())]:
        run, needs = f"quick-{numbers}", () if numbers == "cpu" else tf32_needs(numbers)
        yield Job(run, kit.train(run, "--quick", *sizes, *flags), 150, readers.summary(kit.work / run), True, needs)


def repeated_runs(kit):
    """The same training twice, and without graphs."""
    sizes = TINY_RUN if kit.smoke else ["--samples=12800"]
    for numbers, flag in PRECISIONS.items():
        for kind, more in [("first", []), ("second", []), ("no-graphs", ["--no-graphs"])]:
            run = f"{numbers}-{kind}"
            command = kit.train(run, *GPU, *flag, *more, *sizes, *NO_STOPS)
            yield Job(run, command, 120, readers.summary(kit.work / run), True, tf32_needs(numbers))


def is_it_right(runner, kit):
    """All that says whether results are right. The limits are for all of them together."""
    jobs = [*gradchecks(kit), *tests(kit), *sanitizers(kit), *repeated_runs(kit), *quick_runs(kit)]
    runner.together(jobs, 600 if kit.smoke else 150)
    for numbers in PRECISIONS:
        if numbers in runner.absent:
            continue
        first, second, no_graphs = (kit.work / f"{numbers}-{kind}" for kind in ["first", "second", "no-graphs"])
        runner.check(f"same bits twice, {numbers}", lambda: readers.same_bits(first, second))
        runner.check(f"same bits without graphs, {numbers}", lambda: readers.same_bits(first, no_graphs))
        # Rounding of sums; or of operands to 2^-11, in each of 14 layers. Later, trainings part, and learn as much.
        allowed = 14 * 2**-10 if numbers == "TF32" else 1e-5
        run, reference = kit.work / f"quick-{numbers}", kit.work / "quick-cpu"
        runner.check(f"losses beside the CPU's, {numbers}", lambda: readers.close_losses(run, reference, allowed, 0.1))


def profile(kit, batch, numbers, runs, *more):
    name = " ".join(["profile", numbers, "batch", str(batch), *(flag.strip("-") for flag in more)])
    table = kit.work / f"{name.replace(' ', '-')}.csv"
    sizes = TINY if kit.smoke else []
    flags = ["--batch", batch, "--runs", runs, "--by", "op", "--csv", table, *sizes]
    command = kit.resconv("profile", "step", *GPU, *PRECISIONS[numbers], *more, *flags)
    return Job(name, command, 40, readers.step_profile(table, batch), needs=tf32_needs(numbers))


def steps(runner, kit):
    """How long a training step takes."""
    for batch, runs in [(2, 1)] if kit.smoke else [(64, 9), (256, 5), (1024, 2)]:
        for numbers in PRECISIONS:
            runner.run(profile(kit, batch, numbers, runs))
            if batch <= 64:
                runner.run(profile(kit, batch, numbers, runs, "--no-graphs"))


def full_training(runner, kit):
    """The study's training, with its time and losses."""
    curves = {}
    for numbers, flag in PRECISIONS.items():
        run = f"full-{numbers}"
        sizes = TINY_RUN if kit.smoke else []
        command = kit.train(run, *GPU, *flag, "--preset", "original", *sizes)
        entry = runner.run(Job(f"full training {numbers}", command, 90, readers.summary(kit.work / run), needs=tf32_needs(numbers)))
        if entry and entry["status"] == "ok":
            tables = {name: readers.rows((kit.work / run / f"{name}.csv").read_text()) for name in ["metrics", "validation"]}
            curves[numbers] = tables
            shutil.copy(kit.work / run / "reconstruction.png", runner.out / "reconstruction.png")
    if curves:
        write_json(runner.out / "training.json", curves)


def pytorch(runner, kit):
    """The same training step in PyTorch, on the same card."""
    seconds = max(20.0, min(110.0, runner.left_s() - 150))
    sizes = ["--layers", 2, "--channels", 4, "--size", 8, "--batches", 2, "--device", "cpu", "--no-compile"] if kit.smoke else []
    file = runner.out / "torch.json"
    command = [runner.python, kit.here / "torch_gpu.py", file, "--seconds", seconds - 15, *sizes]
    runner.run(Job("PyTorch", command, seconds, readers.pytorch(file), needs=("torch",)))


def slowest_kernels(runner, kit):
    """Counters of the kernels that take most of a step. The first launches fill memory; some hundred are a step."""
    for numbers, flag in PRECISIONS.items():
        ncu = ["ncu", "--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none"]
        step = kit.resconv("profile", "step", *GPU, *flag, "--no-graphs", "--runs", 1, *(TINY if kit.smoke else []))
        needs = ("ncu", *tf32_needs(numbers))
        times = [*ncu, "--metrics", "gpu__time_duration.sum", "--launch-skip", 400, "--launch-count", 800, *step]
        found = runner.run(Job(f"ncu {numbers}", times, 60, readers.slowest_kernels(SLOWEST), needs=needs))
        sections = [part for section in SECTIONS for part in ["--section", section]]
        for slow in (found or {}).get("values", {}).get("slowest", []):
            # Not its first launch, whose memory no cache has seen.
            launch = ["--kernel-name", slow["kernel"], "--launch-skip", 2, "--launch-count", 1]
            runner.run(Job(f"ncu {numbers} {slow['kernel']}", [*ncu, *sections, *launch, *step], 25, readers.counters, needs=needs))


def processor(runner, kit):
    """Our step on this machine's processor, and PyTorch's, in both memory layouts."""
    cores = os.cpu_count() or 1
    network = {"layers": 15, "channels": 32, "kernel-size": 3, "size": 32, "batch": 64}
    if kit.smoke:
        network |= {"layers": 2, "channels": 4, "size": 8, "batch": 2}
    for threads in [min(2, cores)] if kit.smoke else [count for count in [16, 8, 4, 2, 1] if count <= cores]:
        flags = [part for key, value in network.items() for part in [f"--{key}", value]]
        flags += ["--threads", threads, "--steps", 3 if threads <= 2 else 10]
        runner.run(Job(f"processor, ours, {threads} threads", [kit.program("step"), *flags], 25, readers.step_times))
        for layout in [[], ["--channels-last"]]:
            name = f"processor, PyTorch{', channels last' if layout else ''}, {threads} threads"
            command = [runner.python, kit.here / "torch_resconv.py", *flags, *layout]
            threads_of = {"OMP_NUM_THREADS": str(threads)}
            runner.run(Job(name, command, 30, readers.step_times, needs=("torch",), environment=threads_of))


def run_all(runner, kit):
    for group in [device, is_it_right, steps, full_training, pytorch, slowest_kernels, processor]:
        group(runner, kit)
