#!/usr/bin/env python3
"""Restored photographs beside the peers': denoising, super-resolution and inpainting; PSNR, SSIM, time, and pictures to look at.

usage: pip install "scikit-image>=0.26" bm3d opencv-python-headless; python3 trainer/experiments/photographs.py photographs
       cargo build --release; python3 benches/peers/restoration.py [TASK ...] [--network TASK=RUN ...] [--record FILE]

A TASK is denoise-SIGMA (of 255, known to all), superres-FACTOR (2, 3 or 4) or inpaint; RUN is what `resconv restore` takes: a run's folder,
a checkpoint, or the name of a network. Without networks the peers run alone.

All get the very same input: it is written as a PNG file of 16 bits, so it is cut off at black and white and rounded to 1/65535. The peers
get the pixels of that file, too. (Noise that is not cut off is easier: `--unclipped` gives it to the peers, who run alone then.) Noise and
rectangles are drawn by NumPy's PCG64, seeded with the picture's name. So that all end in some minutes, pictures are cut to the 512x512
pixels of their middle, for inpainting to 256x256.

PSNR and SSIM are scikit-image's, data_range=1, SSIM in its default windows of 7x7, over the whole picture with its borders and all
channels, after results were cut off at 0 and 1, not rounded; means are those of the pictures' numbers. Times are wall times, with as many
threads as each takes by itself; ours has the start of the program and reading and writing files in it.
"""
import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from machine import describe, write_record
from restorers import channel_axis, random_of, task_of

ROOT = Path(__file__).resolve().parents[2]
SHOWN = ["scikit-image-astronaut", "scikit-learn-china", "palapeli-data-european-honey-bee"]  # in the strips
SIDE, ENLARGED, MARGIN = 128, 2, 4  # of the pieces of pictures in a strip

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("tasks", nargs="*", default=["denoise-25", "superres-2", "inpaint"], metavar="TASK")
parser.add_argument("--pictures", type=Path, default=ROOT / "photographs/validation", help="a folder of photographs of 8 bits a channel")
parser.add_argument("--network", action="append", default=[], metavar="TASK=RUN", help="a network of ours; may be given several times")
parser.add_argument("--resconv", type=Path, default=ROOT / "target/release/resconv", help="our program")
parser.add_argument("--grey", action="store_true", help="grey pictures in all tasks; without it, in denoising alone")
parser.add_argument("--only", default="", help="only pictures whose name contains this")
parser.add_argument("--unclipped", action="store_true", help="damage that a PNG file cannot hold; without networks of ours")
parser.add_argument("--without-peers", action="store_true", help="measure networks of ours alone; BM3D takes minutes")
parser.add_argument("--self-test", action="store_true", help="checks that pictures get to our program and back unchanged, and ends")
parser.add_argument("--record", type=Path, help="also write the tables, with machine and versions, to this file, and strips beside it")
args = parser.parse_args()


def load(path, task):
    """The middle of a picture."""
    with Image.open(path) as file:
        if file.mode not in ["L", "RGB"]:
            sys.exit(f"{path}: expected a picture of 8 bits a channel, grey or RGB, got mode {file.mode}")
        pixels = np.asarray(file.convert("L" if task.is_grey else "RGB")) / 255
    start = [max(0, side - task.crop) // 2 for side in pixels.shape[:2]]
    pixels = pixels[start[0] : start[0] + task.crop, start[1] : start[1] + task.crop]
    return pixels[: pixels.shape[0] // 12 * 12, : pixels.shape[1] // 12 * 12]  # as 2, 3 and 4 divide


def as_file(damaged):
    """Leaves of the pixels what a PNG file of 16 bits holds."""
    as_levels = lambda pixels: np.rint(np.clip(pixels, 0, 1) * 65535) / 65535
    damaged.pixels = as_levels(damaged.pixels)
    if damaged.small is not None:
        damaged.small = as_levels(damaged.small)
    return damaged


def write_png(path, pixels):
    levels = np.rint(pixels * 65535).astype(np.uint16)
    cv2.imwrite(str(path), levels if levels.ndim == 2 else levels[:, :, ::-1])


def read_png(path, shape):
    levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if levels is None:
        sys.exit(f"{path}: not a picture, or not there")
    if levels.shape != shape:
        sys.exit(f"{path}: expected a picture of shape {shape}, got {levels.shape}")
    return (levels if levels.ndim == 2 else levels[:, :, ::-1]) / np.iinfo(levels.dtype).max


def ours(run, program, what="restored"):
    """A function of Damaged, as the peers are; or what the network gets, if that is the `input`."""

    def restore(damaged):
        with tempfile.TemporaryDirectory() as folder:
            write_png(Path(folder) / "damaged.png", damaged.pixels if damaged.small is None else damaged.small)  # we enlarge it
            command = [str(program), "restore", run, f"{folder}/damaged.png", "--out", f"{folder}/out"]
            if what == "input":
                command += ["--with-input"]
            if damaged.missing is not None:
                cv2.imwrite(f"{folder}/mask.png", damaged.missing.astype(np.uint8) * 255)  # white: missing
                command += ["--mask", f"{folder}/mask.png"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{' '.join(command)}: {done.stderr}")
            return read_png(f"{folder}/out/damaged-{what}.png", damaged.pixels.shape)

    return restore


def measures(restored, truth, damaged):
    """PSNR, SSIM, and PSNR of the missing pixels, if some are missing."""
    psnr = peak_signal_noise_ratio(truth, restored, data_range=1)
    ssim = structural_similarity(truth, restored, data_range=1, channel_axis=channel_axis(truth))
    if damaged.missing is None:
        return [psnr, ssim]
    return [psnr, ssim, peak_signal_noise_ratio(truth[damaged.missing], restored[damaged.missing], data_range=1)]


def measure(name, task, paths):
    """By method and picture: measures and seconds; and the pictures of a strip, by picture and method."""
    runs = [network.split("=", 1)[1] for network in args.network if network.split("=", 1)[0] == name]
    methods = {task.damaged: lambda damaged: damaged.pixels, **({} if args.without_peers else task.peers)}
    if name == "inpaint":
        methods |= {f"what {Path(run).stem} gets": ours(run, args.resconv, "input") for run in runs}
    methods |= {f"ours, {Path(run).stem}": ours(run, args.resconv) for run in runs}
    results, shown, megapixels = {method: {} for method in methods}, {}, 0
    for path in paths:
        truth = load(path, task)
        damaged = task.damage(truth, random_of(path.stem))
        if not args.unclipped:
            as_file(damaged)
        megapixels += truth.shape[0] * truth.shape[1] / 1e6
        pieces = {"true": (truth, None)}
        for method, restore in methods.items():
            start = time.perf_counter()
            restored = np.clip(restore(damaged), 0, 1)
            seconds = time.perf_counter() - start
            results[method][path.stem] = [*measures(restored, truth, damaged), seconds]
            pieces[method] = (restored, results[method][path.stem][0])
            print(f"{name}, {path.stem}, {method}: {pieces[method][1]:.2f} dB, {seconds:.1f} s", file=sys.stderr)
        if path.stem in SHOWN or len(paths) <= len(SHOWN):
            shown[path.stem] = pieces
    return results, shown, megapixels


def means_table(results, megapixels):
    damaged, of_damaged = next(iter(results.items()))
    columns = ["PSNR, dB", "SSIM", "PSNR of what was missing, dB"]
    number = len(next(iter(of_damaged.values()))) - 1
    lines = [f"| | {' | '.join(columns[:number])} | seconds a megapixel |", "| --- |" + " ---: |" * (number + 1)]
    for method, of in results.items():
        *means, _ = np.mean(list(of.values()), axis=0)
        cells = [f"{mean:.{4 if column == 'SSIM' else 2}f}" for column, mean in zip(columns, means)]
        speed = sum(result[-1] for result in of.values()) / megapixels
        lines.append(f"| {method} | {' | '.join(cells)} | {f'{speed:.{0 if speed >= 10 else 2}f}' if method != damaged else ''} |")
    return "\n".join(lines)


def pictures_table(results):
    lines = [f"| PSNR, dB / SSIM | {' | '.join(results)} |", "| --- |" + " ---: |" * len(results)]
    for picture in next(iter(results.values())):
        cells = [f"{of[picture][0]:.2f} / {of[picture][1]:.3f}" for of in results.values()]
        lines.append(f"| {picture} | {' | '.join(cells)} |")
    return "\n".join(lines)


def strip(shown):
    """One row a picture, one column a method: the middle of each, enlarged, with the PSNR of all of it."""
    font, line, width = ImageFont.load_default(14), 20, SIDE * ENLARGED + MARGIN
    columns = list(next(iter(shown.values())))
    sheet = Image.new("RGB", (width * len(columns) - MARGIN, (line + width) * len(shown) + line), "white")
    draw = ImageDraw.Draw(sheet)
    for i, method in enumerate(columns):
        draw.text((i * width, 2), method, "black", font)
        for j, pieces in enumerate(shown.values()):
            pixels, psnr = pieces[method]
            top, left = [(side - SIDE) // 2 for side in pixels.shape[:2]]
            piece = np.rint(pixels[top : top + SIDE, left : left + SIDE] * 255).astype(np.uint8)
            piece = np.atleast_3d(piece).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
            y = line + j * (line + width)
            sheet.paste(Image.fromarray(np.broadcast_to(piece, (*piece.shape[:2], 3))), (i * width, y))
            draw.text((i * width, y + SIDE * ENLARGED + 1), f"{psnr:.2f} dB" if psnr else list(shown)[j], "black", font)
    is_grey = all(pixels.ndim == 2 for pieces in shown.values() for pixels, _ in pieces.values())
    return sheet.convert("L") if is_grey else sheet


def section(name, task, paths):
    """The tables of a task, and, if there is a record, its strip."""
    results, shown, megapixels = measure(name, task, paths)
    parts = [
        f"## {name}: {task.about}",
        f"{len(paths)} pictures, {megapixels:.2f} megapixels.",
        means_table(results, megapixels),
        pictures_table(results),
    ]
    if args.record:
        file = args.record.with_name(f"{args.record.stem}-{name}.png")
        strip(shown).save(file, optimize=True)
        parts.append(f"![Pieces of pictures: true, damaged, restored]({file.name})")
    return "\n\n".join(parts)


def self_test():
    """With a program that copies its input, `ours` must return the damaged pixels, and the mask must say where they are missing."""
    with tempfile.TemporaryDirectory() as folder:
        program, kept = Path(folder) / "resconv", Path(folder) / "mask.png"
        program.write_text(f'#!/bin/sh\nmkdir "$5" && cp "$3" "$5/damaged-restored.png"\n[ -z "$7" ] || cp "$7" {kept}\n')
        program.chmod(0o755)
        for name in ["denoise-25", "superres-2", "inpaint"]:
            for is_grey in [False, True]:
                task = task_of(name, is_grey)
                truth = np.rint(random_of("truth").random((60, 48) if task.is_grey else (60, 48, 3)) * 255) / 255
                damaged, again = task.damage(truth, random_of("a")), task.damage(truth, random_of("a"))
                as_file(damaged)
                assert np.array_equal(ours("run", program)(damaged), damaged.pixels), name
                assert np.array_equal(as_file(again).pixels, damaged.pixels), f"{name} is not repeatable"
                if damaged.missing is not None:
                    assert np.array_equal(cv2.imread(str(kept), cv2.IMREAD_UNCHANGED) == 255, damaged.missing)
                    assert np.array_equal(damaged.pixels[~damaged.missing], truth[~damaged.missing])
    print("self-test: passed")


def main():
    if args.self_test:
        return self_test()
    tasks = {name: task_of(name, args.grey) for name in args.tasks}
    for name, task in tasks.items():
        if task is None:
            parser.error(f"expected denoise-SIGMA, superres-2, -3 or -4, or inpaint, got {name}")
    for network in args.network:
        if network.split("=")[0] not in tasks or "=" not in network:
            parser.error(f"--network: expected TASK=RUN with one of the tasks {', '.join(tasks)}, got {network}")
    if args.network and args.unclipped:
        parser.error("--unclipped: our program reads PNG files, which cannot hold that")
    if args.network and not args.resconv.is_file():
        parser.error(f"--resconv: {args.resconv} is not there; cargo build --release makes it")
    paths = sorted(path for path in args.pictures.glob("*.png") if args.only in path.stem)
    if not paths:
        sys.exit(f"no pictures in {args.pictures}; python3 trainer/experiments/photographs.py photographs gathers some")
    measured = "\n\n".join(section(name, task, paths) for name, task in tasks.items())
    packages = ["scikit-image", "bm3d", "opencv-python-headless", "numpy", "pillow"]
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    heading = f"{describe(ROOT)}, {os.cpu_count()} cores; {', '.join(versions)}."
    print(f"{heading}\n\n{measured}")
    if args.record:
        write_record(args.record, "Restored photographs beside the peers'", heading, measured)


main()
