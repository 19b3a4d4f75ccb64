#!/usr/bin/env python3
"""Training steps of LeNet, ResNet-20 and a U-Net, and single operations, beside PyTorch's, in turn on the same cores: CPU time, ratios.

usage: pip install torch; python3 benches/peers/networks.py [--rounds 5] [--record FILE]

The networks are those of trainer/examples. Every round runs our steps, then PyTorch's in both memory layouts, in f32 and under bf16
autocast, so that a change of the machine's load affects all of them. Times are medians over all steps, CPU time of all threads; a
ratio is PyTorch's time (of its faster layout) over ours. Operations are in f32; their ratio is that of forward and backward pass
together, with gradients that are contiguous in memory, as those who read them need them.
PyTorch's threads wait passively (OMP_WAIT_POLICY). Otherwise any other load would multiply its times.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--steps", type=int, default=8, help="timed steps of a network, or calls of an operation, in a round")
parser.add_argument("--only", default="", help="only networks and operations whose name contains this")
parser.add_argument("--record", type=Path, help="also write the tables, with machine and versions, to this file")
args = parser.parse_args()

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
import torch  # noqa: E402  (after the policy is set)
from machine import build, describe, write_record  # noqa: E402
from torch_networks import NETWORKS, OPERATIONS, Operation, Steps  # noqa: E402

torch.set_num_threads(args.threads)


def ours(program, *arguments):
    command = [str(ROOT / "target/release" / program), *arguments, "--threads", str(args.threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def networks():
    lines = [
        f"| training step, batch {args.batch} | ours | PyTorch | channels last | ratio | bf16 | bf16, channels last | ratio |",
        "| --- |" + " ---: |" * 7,
    ]
    for name in NETWORKS:
        if args.only not in name:
            continue
        peers = [Steps(name, args.batch, last, bf16) for bf16 in [False, True] for last in [False, True]]
        times = [[] for _ in range(5)]
        for _ in range(args.rounds):
            times[0] += ours("network", name, "--batch", str(args.batch), "--steps", str(args.steps))["cpu_ms"]
            for measured, peer in zip(times[1:], peers):
                measured += peer.measure(args.steps)
        mine, *theirs = [statistics.median(measured) for measured in times]
        cells = [f"{mine:.2f}"]
        for pair in [theirs[:2], theirs[2:]]:
            cells += [f"{time:.2f}" for time in pair] + [f"**{min(pair) / mine:.2f}**"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def operations():
    lines = [
        "| operation, batch 64 | forward: ours | PyTorch | channels last | backward: ours | PyTorch | channels last | ratio |",
        "| --- |" + " ---: |" * 7,
    ]
    for name in OPERATIONS:
        if args.only not in name:
            continue
        peers = [Operation(name, last) for last in [False, True]]
        times = [[], [], []]
        for _ in range(args.rounds):
            mine = ours("operation", name, "--calls", str(args.steps))[name]
            times[0].append([statistics.median(measured) for measured in mine])
            for measured, peer in zip(times[1:], peers):
                measured.append(peer.measure(args.steps))
        medians = [[statistics.median(part) for part in zip(*measured)] for measured in times]
        cells = [f"{medians[who][part]:.3f}" for part in range(2) for who in range(3)]
        totals = [sum(parts) for parts in medians]
        lines.append(f"| {name} | {' | '.join(cells)} | **{min(totals[1:]) / totals[0]:.2f}** |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


build(ROOT, "-p", "benches")
measured = f"{networks()}\n\n{operations()}"
heading = f"{describe(ROOT)}, {args.threads} threads, torch {torch.__version__}; CPU milliseconds, medians of {args.rounds} rounds of {args.steps}."
print(f"{heading}\n\n{measured}")
if args.record:
    write_record(args.record, "Networks and operations beside PyTorch", heading, measured)
