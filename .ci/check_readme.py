#!/usr/bin/env python3
"""Runs the `resconv` commands of the README, in its order: those that train with few images, those of a folder of photographs on generated ones.

usage: check_readme.py PROGRAM
"""
import random
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.argv[1]).resolve()
# What is added to a training, so that it ends soon.
SHORT = ["--samples", "64", "--batch", "16", "--layers", "2", "--validate-images", "16"]
ELSEWHERE = ["--serve"]  # .ci/check_report.py runs these


def commands(text):
    """The commands of the blocks of shell commands, without comments."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "resconv":
                yield words[1:]


def write_picture(path, seed, width=120, height=90):
    """A PNG file of rectangles in several greys."""
    draw = random.Random(seed)
    boxes = [[draw.randrange(width), draw.randrange(height), draw.randrange(256)] for _ in range(20)]
    level = lambda x, y: sum(level for left, top, level in boxes if x >= left and y >= top) % 256
    rows = b"".join(bytes([0, *(level(x, y) for x in range(width))]) for y in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


found = list(commands((ROOT / "README.md").read_text()))
if len(found) < 8:
    sys.exit(f"README.md: expected at least 8 commands of resconv, found {len(found)}")
failures = 0
with tempfile.TemporaryDirectory() as folder:
    place = Path(folder)
    (place / "trainer").symlink_to(ROOT / "trainer")
    for i in range(4):
        write_picture(place / f"PHOTOS/photo-{i}.png", i)
    for name in ["holiday.png", "more/1.png"]:
        write_picture(place / name, name)
    for words in found:
        told = shlex.join(["resconv", *words])
        if any(word in words for word in ELSEWHERE):
            continue
        words = [word.replace("holiday.jpg", "holiday.png") for word in words]
        trains = words[0] == "train" and not {"--help", "--resume"} & {*words}
        done = subprocess.run([PROGRAM, *words, *(SHORT if trains else [])], cwd=place, capture_output=True, text=True)
        print(("FAILED  " if done.returncode else "ok      ") + told)
        if done.returncode:
            failures += 1
            print(done.stderr)
sys.exit(1 if failures else 0)
