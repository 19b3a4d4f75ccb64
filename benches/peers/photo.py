#!/usr/bin/env python3
"""A large photograph restored by `resconv restore`, and by PyTorch with the same network, tile by tile: time, memory, and whether they agree.

usage: pip install torch safetensors numpy pillow; python3 trainer/experiments/photographs.py photographs
       cargo build --release; python3 benches/peers/photo.py [NETWORK] [--record FILE]

NETWORK is the folder of a run, or a file of weights, of a network for grey pictures, without batch normalization. The photograph is a PNG file
(decoders of JPEG differ by some levels), of 24 megapixels if nothing else is said, made of those in `photographs`. Both read it, restore its
three colours one by one, and write a PNG file; PyTorch in tiles with the same halo, of several sizes and in both memory layouts. All run in
turn, in a process each, so that its time has the start of the program in it, and its memory is its own.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NETWORK = ROOT / "trainer/results/denoise-25"


def mosaic(folder, size):
    """A picture of `size` (width, height), filled with photographs of 512x512 pixels."""
    from PIL import Image, ImageOps

    whole, side = Image.new("RGB", size), 512
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    places = [(x, y) for y in range(0, size[1], side) for x in range(0, size[0], side)]
    for i, place in enumerate(places):
        with Image.open(files[i % len(files)]) as file:
            whole.paste(ImageOps.fit(file.convert("RGB"), (side, side)), place)
    return whole


class Network:
    """The network of a file of weights."""

    def __init__(self, path, channels_last):
        import torch
        from safetensors import safe_open

        path = path / "model.safetensors" if path.is_dir() else path
        with safe_open(path, "pt") as file:
            self.config = json.loads(file.metadata()["resconv.settings"])["network"]
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}
        config = self.config
        expected = {"stride": 1, "padding": "auto", "groups": 1, "in_channels": 1, "out_channels": 1, "activation": "gelu"}
        expected |= {"predict": "residual", "bottleneck_activation": "same", "batch_norm_encoder": "none", "batch_norm_decoder": "none"}
        other = {key: config[key] for key in expected if config[key] != expected[key]}
        if other or not isinstance(config["kernel_size"], int):
            sys.exit(f"{path}: expected a network with {expected} and one size of kernels, got {other}")
        if channels_last:
            four = [name for name, tensor in self.tensors.items() if tensor.dim() == 4]
            self.tensors |= {name: self.tensors[name].to(memory_format=torch.channels_last) for name in four}
        self.halo = config["layers"] * (config["kernel_size"] - 1)

    def __call__(self, x):
        from torch.nn.functional import conv2d, conv_transpose2d, gelu

        layers, padding = self.config["layers"], self.config["kernel_size"] // 2
        part = lambda name: [self.tensors[f"{name}.conv.{tensor}"] for tensor in ["weight", "bias"]]
        inputs, y = [], x
        for i in range(layers):
            inputs.append(y)
            y = gelu(conv2d(y, *part(f"encoder.layer_{i + 1}"), padding=padding))
        for i in range(layers):
            mirrored = inputs.pop()
            y = conv_transpose2d(y, *part(f"decoder.layer_{i + 1}"), padding=padding)
            if i + 1 < layers:
                y = gelu(y) + self.config["residual_weight"] * mirrored
        return x - y


def torch_restore(args):
    import numpy as np
    import torch
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    torch.set_num_threads(args.threads)
    network = Network(args.network, args.channels_last)
    halo, core = network.halo, args.tile - 2 * network.halo
    with Image.open(args.torch) as file:
        levels = np.asarray(file.convert("RGB"))
    height, width, _ = levels.shape
    restored = np.empty_like(levels)
    with torch.inference_mode():
        for top in range(0, height, core):
            for left in range(0, width, core):
                y, x = max(0, top - halo), max(0, left - halo)
                tile = torch.from_numpy(levels[y : top + core + halo, x : left + core + halo].copy())
                tile = tile.permute(2, 0, 1).unsqueeze(1).float() / 255
                if args.channels_last:
                    tile = tile.to(memory_format=torch.channels_last)
                output = (network(tile).clamp(0, 1) * 255).round().byte()[:, 0].permute(1, 2, 0).numpy()
                kept = output[top - y : top - y + core, left - x : left - x + core]
                restored[top : top + kept.shape[0], left : left + kept.shape[1]] = kept
    Image.fromarray(restored).save(args.out, compress_level=1)
    print(json.dumps({"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def timed(command):
    """Seconds of wall time and CPU time, peak MiB, and standard output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if status:
            errors.seek(0)
            sys.exit(f"{' '.join(map(str, command))}: {errors.read()}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(args):
    import numpy as np
    from PIL import Image

    from machine import describe, write_record

    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        mosaic(args.photographs, tuple(args.size)).save(photo, compress_level=1)
        ours = [args.resconv, "restore", args.network, photo, "--out", folder, "--force", "--threads", args.threads]
        methods = {"ours": (list(map(str, ours)), Path(folder) / "photo-restored.png")}
        for tile in args.tiles:
            for layout in [[], ["--channels-last"]] if args.layouts == "both" else [["--channels-last"]]:
                out = Path(folder) / f"torch-{tile}-{len(layout)}.png"
                command = [sys.executable, __file__, args.network, "--torch", photo, "--tile", tile, "--out", out, "--threads", args.threads]
                name = f"PyTorch{', channels last' if layout else ''}, tiles of {tile}"
                methods[name] = ([*map(str, command), *layout], out)
        times = {name: [] for name in methods}
        for round in range(args.rounds):
            for name, (command, _) in methods.items():
                times[name].append(timed(command))
                print(f"round {round + 1}, {name}: {times[name][-1][0]:.1f} s", file=sys.stderr)
        pictures = {name: np.asarray(Image.open(out).convert("RGB")).astype(int) for name, (_, out) in methods.items()}
    lines = ["| | wall s | | CPU s | | peak MiB | largest difference to ours, levels |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    of_ours = [statistics.median(column) for column in zip(*times["ours"])]
    for name, runs in times.items():
        wall, cpu, mib = [statistics.median(column) for column in zip(*runs)]
        ratios = ["", ""] if name == "ours" else [f"{wall / of_ours[0]:.2f}x", f"{cpu / of_ours[1]:.2f}x"]
        difference = "" if name == "ours" else abs(pictures[name] - pictures["ours"]).max()
        lines.append(f"| {name} | {wall:.1f} | {ratios[0]} | {cpu:.1f} | {ratios[1]} | {mib:.0f} | {difference} |")
    table = "\n".join(lines)
    import torch

    heading = f"{describe(ROOT)}, {args.threads} threads, torch {torch.__version__}; medians of {args.rounds} rounds."
    print(table)
    if args.record:
        write_record(args.record, f"A photograph of {args.size[0]} x {args.size[1]} pixels restored, beside PyTorch", heading, table)


parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("network", nargs="?", type=Path, default=NETWORK)
parser.add_argument("--photographs", type=Path, default=ROOT / "photographs/validation")
parser.add_argument("--resconv", type=Path, default=ROOT / "target/release/resconv")
parser.add_argument("--size", type=int, nargs=2, default=[6000, 4000], metavar=("WIDTH", "HEIGHT"), help="of the photograph, in pixels")
parser.add_argument("--tiles", type=int, nargs="+", default=[256, 512, 1024])
parser.add_argument("--layouts", choices=["both", "channels-last"], default="both", help="PyTorch's memory layouts; channels-last is the faster one")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--record", type=Path)
parser.add_argument("--torch", type=Path, help=argparse.SUPPRESS)
parser.add_argument("--tile", type=int, help=argparse.SUPPRESS)
parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
parser.add_argument("--channels-last", action="store_true", help=argparse.SUPPRESS)
args = parser.parse_args()
torch_restore(args) if args.torch else compare(args)
