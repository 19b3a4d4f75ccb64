#!/usr/bin/env python3
"""Compares ResConv's training step and forward pass with PyTorch, candle and burn: builds all, runs them in turn, prints a table.

usage: pip install torch; python3 benches/peers/compare.py [--layers 1 3 15] [--rounds 3] [--record FILE] ...

In every round the peers run one after another on the same cores, each in its own process, so that a change of the machine's load
affects all of them. The first step of a process does not count. Times are medians over all steps, ratios are to ours, and memory is
the peak resident memory, with PyTorch's libraries (about 700 MiB). "bf16" is PyTorch under autocast, channels last: it is fast on CPUs that
multiply in bf16 (AVX-512 BF16, AMX), and slow on others. It stops if the networks differ in their number of parameters.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from machine import build, describe, write_record

PEERS = Path(__file__).resolve().parent
ROOT = PEERS.parents[1]

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--layers", type=int, nargs="+", default=[1, 3, 15])
parser.add_argument("--channels", type=int, default=32)
parser.add_argument("--kernel-size", type=int, default=3)
parser.add_argument("--size", type=int, default=32)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--steps", type=int, default=3, help="timed steps of each peer in a round")
parser.add_argument("--without", nargs="+", default=[], choices=["torch", "candle", "burn"], help="peers to leave out")
parser.add_argument("--record", type=Path, help="also write the table, with machine and versions, to this file")
args = parser.parse_args()

# PyTorch's threads wait passively. Otherwise any other load would multiply its times.
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "RAYON_NUM_THREADS": str(args.threads)}


def commands():
    """The command of each peer; ours is the first."""
    build(ROOT, "-p", "benches")
    threads = ["--threads", str(args.threads)]
    found = {"ours": [str(ROOT / "target/release/step"), *threads]}
    if "torch" not in args.without:
        torch = [sys.executable, str(PEERS / "torch_resconv.py"), *threads]
        found["PyTorch"] = torch
        found["PyTorch, channels last"] = [*torch, "--channels-last"]
        found["PyTorch, bf16"] = [*torch, "--channels-last", "--bf16"]
    for peer in ["burn", "candle"]:
        if peer not in args.without:
            build(PEERS / peer)
            found[peer] = [str(PEERS / peer / "target/release" / f"peer-{peer}")]
    return found


def run(command, layers, inference):
    numbers = {"layers": layers, "steps": args.steps}
    numbers |= {name: getattr(args, name) for name in ["channels", "kernel_size", "size", "batch"]}
    for name, value in numbers.items():
        command = [*command, "--" + name.replace("_", "-"), str(value)]
    command += ["--inference"] if inference else []
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout)


def measure(peers, layers, inference):
    """Medians of wall and CPU milliseconds, and peak MiB, of every peer."""
    reports = {name: [] for name in peers}
    for i in range(args.rounds):
        for name, command in peers.items():
            reports[name].append(run(command, layers, inference))
            print(f"{layers} layers, {'forward' if inference else 'training'}, round {i + 1}: {name}", file=sys.stderr)
    parameters = {name: of[0]["parameters"] for name, of in reports.items()}
    if len(set(parameters.values())) != 1:
        sys.exit(f"the networks are not the same: {parameters}")
    for name, of in reports.items():
        versions[name] = of[0]["backend"]

    def median(of, key):
        return statistics.median(ms for report in of for ms in report[key])

    def result(of):
        return median(of, "wall_ms"), median(of, "cpu_ms"), max(report["peak_rss_mib"] for report in of)

    return {name: result(of) for name, of in reports.items()}, parameters["ours"]


def table(peers):
    lines = [
        "| layers | | training step, wall ms | | CPU ms | | peak MiB | | forward only, wall ms | | CPU ms | | peak MiB | |",
        "| ---: | --- |" + " ---: |" * 12,
    ]
    for layers in args.layers:
        (training, _), (forward, _) = measure(peers, layers, False), measure(peers, layers, True)
        for name in peers:
            cells = []
            for value, ours in zip(training[name] + forward[name], training["ours"] + forward["ours"]):
                ratio = value / ours
                cells += [f"{value:.{1 if value < 100 else 0}f}", f"{ratio:.1f}x" if name != "ours" else ""]
            lines.append(f"| {layers} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


versions = {}
peers = commands()
measured = table(peers)
heading = (
    f"{describe(ROOT)}, {args.threads} threads; "
    f"{args.channels} channels, {args.kernel_size}x{args.kernel_size}, {args.size}x{args.size}, batch {args.batch}; "
    f"medians of {args.rounds * args.steps} steps.\n" + "; ".join(f"{name}: {version}" for name, version in versions.items()) + "."
)
print(f"{heading}\n\n{measured}")
if args.record:
    write_record(args.record, "ResConv beside its peers", heading, measured)
