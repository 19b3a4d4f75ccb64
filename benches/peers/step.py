#!/usr/bin/env python3
"""Our training step against PyTorch's, in turn on the same cores: wall time, CPU time, ratios.

usage: pip install torch; python3 benches/peers/step.py [--layers 3 15] [--rounds 5] ...
       ... step.py --all    every row of the table of targets, as Markdown

Every round runs a few of our steps, which compute in f32, then a few of PyTorch's in both memory layouts, in f32 and under bf16 autocast
(with --compile also compiled, channels last), so that a change of the machine's load affects all of them. Times are medians over all
steps; a ratio is the median PyTorch step (of the fastest of its ways) over our median step. PyTorch's threads wait passively
(OMP_WAIT_POLICY). Otherwise any other load would multiply its times.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--layers", type=int, nargs="+", default=[15])
parser.add_argument("--channels", type=int, default=32)
parser.add_argument("--kernel-size", type=int, default=3)
parser.add_argument("--size", type=int, default=32)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--steps", type=int, default=3, help="timed steps of each layout in a round")
parser.add_argument("--all", action="store_true", help="the whole table; ignores the other arguments except --rounds and --steps")
parser.add_argument("--compile", action="store_true", help="PyTorch compiled, too: needs a C++ compiler and minutes a row")
parser.add_argument("--inference", action="store_true", help="forward passes with running statistics")
args = parser.parse_args()

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
sys.path.insert(0, str(Path(__file__).parent))
import torch  # noqa: E402  (after the policy is set)
from machine import build  # noqa: E402
from torch_resconv import Steps  # noqa: E402


@dataclass(frozen=True)
class Row:
    """A network, a batch and what is done with it."""

    name: str
    bars: tuple = (0.0, 0.0)  # the ratios to reach, to f32 and to bf16 autocast; 0 is none
    layers: int = 15
    channels: int = 32
    kernel_size: int = 3
    size: int = 32
    batch: int = 64
    threads: int = os.cpu_count()
    inference: bool = False
    memory_limit: int | None = None  # MiB of our session


ROWS = [
    Row("15 layers, 32x32", (3.75, 2.15)),
    Row("15 layers, 32x32, in 390 MiB", (3.75, 2.15), memory_limit=390),
    Row("15 layers, 28x28", (3.3, 2.0), size=28),
    Row("15 layers, 64x64", (5.8, 0.0), size=64),
    Row("3 layers, 32x32", (3.4, 2.0), layers=3),
    Row("1 layer, 32x32", (4.0, 2.5), layers=1),
    Row("11 layers, 28x28, kernel 5", (4.2, 0.0), layers=11, kernel_size=5, size=28),
    Row("11 layers, 28x28, kernel 7", (2.8, 0.0), layers=11, kernel_size=7, size=28),
    Row("11 layers, 28x28, kernel 9", (4.2, 0.0), layers=11, kernel_size=9, size=28),
    Row("11 layers, 28x28, 64 channels", (3.5, 0.0), layers=11, channels=64, size=28),
    Row("11 layers, 28x28, 128 channels", (3.7, 0.0), layers=11, channels=128, size=28),
    Row("15 layers, batch 1", (5.5, 0.0), batch=1),
    Row("15 layers, batch 8", (3.7, 0.0), batch=8),
    Row("15 layers, one thread", threads=1),
    Row("inference, 15 layers, batch 64", (3.5, 2.0), inference=True),
    Row("inference, 15 layers, batch 1", (4.5, 2.5), batch=1, inference=True),
]
# Of PyTorch: the arguments of Steps that differ. What is compiled is channels last.
WAYS = {
    f"{'bf16' if bf16 else 'f32'}{layout}": dict(bf16=bf16, channels_last=bool(layout), compiled="compiled" in layout)
    for bf16 in [False, True]
    for layout in ["", ", channels last"] + [", channels last, compiled"] * args.compile
}


def ours(row):
    command = [str(ROOT / "target/release/step"), "--steps", str(args.steps)]
    for name in ["layers", "channels", "kernel_size", "size", "batch", "threads"]:
        command += ["--" + name.replace("_", "-"), str(getattr(row, name))]
    if row.inference:
        command.append("--inference")
    if row.memory_limit:
        command += ["--memory-limit", str(row.memory_limit)]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report["wall_ms"], report["cpu_ms"], report


def theirs(peer):
    wall, cpu = [], []
    for i in range(args.steps + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        peer.run()
        if i > 0:
            wall.append((time.perf_counter() - start) * 1e3)
            cpu.append((time.process_time() - cpu_start) * 1e3)
    return wall, cpu


def measure(row):
    """Median wall and CPU milliseconds of ours and every peer, ratios to ours of the fastest f32 and bf16 one, and our last report."""
    torch.set_num_threads(row.threads)
    shape = [row.channels, row.kernel_size, row.size, row.batch, row.inference]
    peers = {name: Steps(row.layers, *shape, **way) for name, way in WAYS.items()}
    times = {name: ([], []) for name in ["ours", *peers]}
    for _ in range(args.rounds):
        wall, cpu, report = ours(row)
        times["ours"][0].extend(wall)
        times["ours"][1].extend(cpu)
        for name, peer in peers.items():
            wall, cpu = theirs(peer)
            times[name][0].extend(wall)
            times[name][1].extend(cpu)
    medians = {name: [statistics.median(t) for t in pair] for name, pair in times.items()}
    ratios = {}
    for kind in ["f32", "bf16"]:
        fastest = [min(medians[name][i] for name in peers if kind in name) for i in range(2)]
        ratios[kind] = [fastest[i] / medians["ours"][i] for i in range(2)]
    return medians, ratios, report


def table():
    print(
        f"| training step, unless stated otherwise | ours, CPU ms | {' | '.join(WAYS)} | ratio to f32: CPU, wall | bar "
        "| ratio to bf16: CPU, wall | bar | our peak MiB |"
    )
    print("| --- |" + " --- |" * (len(WAYS) + 6))
    for row in ROWS:
        medians, ratios, report = measure(row)
        cells = [f"{cpu:.1f}" for _, cpu in medians.values()]
        for (wall, cpu), bar in zip(ratios.values(), row.bars):
            cells += [f"{cpu:.2f}, {wall:.2f}", str(bar or "")]
        print(f"| {row.name} | {' | '.join(cells)} | {report['peak_rss_mib']:.0f} |", flush=True)


build(ROOT, "-p", "benches")
if args.all:
    table()
    sys.exit()
for layers in args.layers:
    kind = "forward pass" if args.inference else "training step"
    row = Row(kind, (0.0, 0.0), layers, args.channels, args.kernel_size, args.size, args.batch, args.threads, args.inference)
    medians, ratios, report = measure(row)
    print(
        f"{kind}: {layers} layers, {row.channels} channels, {row.kernel_size}x{row.kernel_size}, {row.size}x{row.size}, "
        f"batch {row.batch}, {row.threads} threads, {report['backend']}, torch {torch.__version__}"
    )
    for name, (wall, cpu) in medians.items():
        print(f"  {'PyTorch, ' * (name in WAYS) + name:42} wall {wall:9.1f} ms   CPU {cpu:9.1f} ms")
    for kind, (wall, cpu) in ratios.items():
        print(f"  {'ratio to the fastest ' + kind:42} wall {wall:9.2f}      CPU {cpu:9.2f}")
    print(f"  our peak resident memory {report['peak_rss_mib']:.0f} MiB", flush=True)
