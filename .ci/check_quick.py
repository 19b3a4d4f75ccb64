#!/usr/bin/env python3
"""Checks what `resconv train --quick --out DIR` wrote: the loss fell as it should, and every file is there.

usage: check_quick.py DIR
"""
import csv
import json
import struct
import sys
from pathlib import Path

# Some 15 percent above what the run gives.
QUICK_LOSS = 0.10

run = Path(sys.argv[1])
failures = []


def check(holds, message):
    print(("ok      " if holds else "FAILED  ") + message)
    if not holds:
        failures.append(message)


losses = [float(row["loss"]) for row in csv.DictReader((run / "metrics.csv").open())]
summary = json.loads((run / "summary.json").read_text())
first, last = sum(losses[:5]) / 5, sum(losses[-20:]) / 20
check(len(losses) == summary["steps"], f"metrics.csv has a row for each of the {summary['steps']} steps")
check(last < 0.5 * first, f"the training loss fell from {first:.4f} to {last:.4f}, below half of the first")
for statistics in ["running", "batch"]:
    loss = summary["validation"][statistics]
    check(loss["all"] < QUICK_LOSS, f"validation loss with {statistics} statistics {loss['all']:.4f}, below {QUICK_LOSS}")
    halves = [loss[half] for half in ["left", "right", "top", "bottom"]]
    check(max(halves) < 1.5 * min(halves), f"no half is left out: {min(halves):.4f} to {max(halves):.4f}")
for name in ["reconstruction.png", "loss.png"]:
    data = (run / name).read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    check(data[:8] == b"\x89PNG\r\n\x1a\n" and min(width, height) > 200, f"{name} is a picture of {width} x {height}")
for name in ["settings.toml", "validation.csv", "checkpoint.safetensors", "model.safetensors", "loss.svg"]:
    check((run / name).stat().st_size > 0, f"{name} is there")
sys.exit(1 if failures else 0)
