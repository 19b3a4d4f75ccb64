#!/usr/bin/env python3
"""Our training step against PyTorch's, in turn on the same cores: wall time, CPU time, ratio.

usage: pip install torch; cargo build --release -p benches; python3 benches/peers/step.py [--layers 3 15] [--rounds 5] ...

Every round runs a few of our steps, then a few of PyTorch's in both memory layouts, so that a change of the machine's load meets
all of them. A figure is the median over all steps; a ratio is the median PyTorch step (of its faster layout) over our median step.
PyTorch's threads wait passively (OMP_WAIT_POLICY), or any neighbour would multiply its times.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
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
parser.add_argument("--steps", type=int, default=3, help="timed steps of each in a round")
parser.add_argument("--inference", action="store_true", help="forward passes with running statistics")
args = parser.parse_args()

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
sys.path.insert(0, str(Path(__file__).parent))
import torch  # noqa: E402  (after the policy is set)
from torch_resconv import Steps  # noqa: E402

torch.set_num_threads(args.threads)


def ours(layers):
    command = [str(ROOT / "target/release/step"), "--layers", str(layers), "--steps", str(args.steps)]
    for name in ["channels", "kernel_size", "size", "batch", "threads"]:
        command += ["--" + name.replace("_", "-"), str(getattr(args, name))]
    if args.inference:
        command.append("--inference")
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


for layers in args.layers:
    shape = [args.channels, args.kernel_size, args.size, args.batch, args.inference]
    peers = {
        "PyTorch": Steps(layers, *shape, channels_last=False),
        "PyTorch, channels last": Steps(layers, *shape, channels_last=True),
    }
    times = {name: ([], []) for name in ["ours", *peers]}
    for _ in range(args.rounds):
        wall, cpu, report = ours(layers)
        times["ours"][0].extend(wall)
        times["ours"][1].extend(cpu)
        for name, peer in peers.items():
            wall, cpu = theirs(peer)
            times[name][0].extend(wall)
            times[name][1].extend(cpu)
    medians = {name: [statistics.median(t) for t in pair] for name, pair in times.items()}
    what = "forward pass" if args.inference else "training step"
    print(
        f"{what}: {layers} layers, {args.channels} channels, {args.kernel_size}x{args.kernel_size}, {args.size}x{args.size}, "
        f"batch {args.batch}, {args.threads} threads, {report['backend']}, torch {torch.__version__}"
    )
    for name, (wall, cpu) in medians.items():
        print(f"  {name:24} wall {wall:9.1f} ms   CPU {cpu:9.1f} ms")
    best = [min(medians[name][i] for name in peers) for i in range(2)]
    print(f"  ratio (faster layout)    wall {best[0] / medians['ours'][0]:9.2f}      CPU {best[1] / medians['ours'][1]:9.2f}")
    print(f"  our peak resident memory {report['peak_rss_mib']:.0f} MiB", flush=True)
