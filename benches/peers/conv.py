#!/usr/bin/env python3
"""Our convolution passes beside PyTorch's, in turn on the same cores: milliseconds of CPU time over threads, and ratios.

usage: pip install torch; python3 benches/peers/conv.py [--rounds 5] [--record FILE]

The shapes are depthwise and with few outputs, where a general path can be slow. Every round runs our passes of a shape, then PyTorch's
in both memory layouts, so that a change of the machine's load affects all of them. Times are medians over the rounds, of which each is
one of several calls; a ratio is PyTorch's time (of its faster layout) over ours. Backward is the input and the weight gradient.
PyTorch's threads wait passively (OMP_WAIT_POLICY). Otherwise any other load would multiply its times.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--shape", nargs="+", help="N,H,W,C,K,R,S,stride,pad,groups; default: those of the table below")
parser.add_argument("--record", type=Path, help="also write the table, with machine and versions, to this file")
args = parser.parse_args()

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
import torch  # noqa: E402  (after the policy is set)
from machine import build, describe, write_record  # noqa: E402

torch.set_num_threads(args.threads)

SHAPES = [
    "64,28,28,32,32,3,3,1,1,32",
    "64,28,28,32,32,3,3,2,1,32",
    "64,28,28,32,32,5,5,1,2,32",
    "64,28,28,32,32,7,7,1,3,32",
    "64,28,28,32,32,28,28,1,0,32",
    "64,28,28,20,20,3,3,1,1,20",
    "64,32,32,3,3,3,3,1,1,3",
    "8,112,112,32,32,3,3,1,1,32",
    "8,56,56,144,144,3,3,2,1,144",
    "8,14,14,576,576,3,3,1,1,576",
    "8,56,56,96,96,7,7,1,3,96",
    "8,14,14,384,384,7,7,1,3,384",
    "64,7,7,32,32,7,7,1,0,1",
    "64,7,7,128,128,7,7,1,0,1",
    "64,4,4,64,64,3,3,1,0,1",
    "64,8,8,64,64,5,5,1,0,1",
    "64,28,28,32,32,3,3,1,1,1",
]


def ours(shape, calls):
    """Milliseconds of the forward pass, and of both gradients."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [str(ROOT / "target/release/resconv"), "profile", "conv", "--no-errors", "--clock", "cpu", "--shape", shape]
        command += ["--threads", str(args.threads), "--rounds", str(calls), "--json", str(report)]
        command += ["--algo", "direct", "--algo", "winograd2x3", "--algo", "winograd4x3", "--algo", "winograd4x4", "--algo", "winograd4x5"]
        subprocess.run(command, check=True, capture_output=True)
        rows = {row["pass"]: row["ms"] for row in json.loads(report.read_text())["rows"] if row["chosen"]}
    return rows["forward"], rows["grad_input"] + rows["grad_weight"]


class Peer:
    """A shape in PyTorch."""

    def __init__(self, shape, channels_last):
        n, h, w, c, k, r, s, stride, pad, groups = [int(number) for number in shape.split(",")]
        self.settings = {"stride": stride, "padding": pad, "groups": groups}
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.x = torch.rand(n, c, h, w).to(memory_format=layout).requires_grad_()
        self.w = torch.rand(k, c // groups, r, s).to(memory_format=layout).requires_grad_()
        self.dy = torch.rand_like(self.forward())

    def forward(self):
        return torch.nn.functional.conv2d(self.x, self.w, **self.settings)

    def measure(self, calls):
        """Milliseconds of the forward pass, and of both gradients: medians of so many calls."""
        forward, backward = [], []
        for _ in range(calls + 1):
            start = time.process_time()
            y = self.forward()
            middle = time.process_time()
            torch.autograd.grad(y, [self.x, self.w], self.dy)
            forward.append((middle - start) * 1e3 / args.threads)
            backward.append((time.process_time() - middle) * 1e3 / args.threads)
        return statistics.median(forward[1:]), statistics.median(backward[1:])


def table():
    lines = [
        "| N,H,W,C,K,R,S,stride,pad,groups | forward: ours | PyTorch | channels last | ratio | backward: ours | PyTorch | channels last | ratio |",
        "| --- |" + " ---: |" * 8,
    ]
    for shape in args.shape or SHAPES:
        peers = [Peer(shape, channels_last) for channels_last in [False, True]]
        times = [[], [], []]
        for _ in range(args.rounds):
            for measured, measure in zip(times, [lambda calls: ours(shape, calls), *(peer.measure for peer in peers)]):
                measured.append(measure(7))
        cells = []
        for part in range(2):
            mine, first, second = [statistics.median(time[part] for time in measured) for measured in times]
            cells += [f"{mine:.3f}", f"{first:.3f}", f"{second:.3f}", f"{min(first, second) / mine:.2f}"]
        lines.append(f"| {shape} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


build(ROOT)
measured = table()
heading = (
    f"{describe(ROOT)}, {args.threads} threads, torch {torch.__version__}; CPU milliseconds over threads, medians of {args.rounds} rounds."
)
print(f"{heading}\n\n{measured}")
if args.record:
    write_record(args.record, "Convolutions beside PyTorch", heading, measured)
