#!/usr/bin/env python3
"""Why is the loss with running statistics so much larger than with batch statistics? Asks PyTorch, with the weights of a run.

usage: pip install torch safetensors; python3 trainer/results/running_statistics.py trainer/results/original-64-l7 [--batches 40]

Prints, over 1,024 test images, the loss with the running statistics of the run, with those of each batch, and with the mean of the statistics
of some training batches ("precise" batch normalization: Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021); and for each normalization how
far its running statistics are from that mean. The weights are of a run with `--preset original` on Fashion-MNIST (Debian's package).
"""
import argparse
import gzip
import tomllib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("run", type=Path)
parser.add_argument("--batches", type=int, default=40)
parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
args = parser.parse_args()
settings = tomllib.loads((args.run / "settings.toml").read_text())
layers, size = settings["network"]["layers"], settings["training"]["size"]
BATCH = 64


class Layer(nn.Module):
    def __init__(self, inputs, outputs, activation, conv):
        super().__init__()
        self.bn, self.conv, self.activation = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, padding=1), activation

    def forward(self, x):
        return self.activation(self.conv(self.bn(x)))


class ResConv(nn.Module):
    def __init__(self):
        super().__init__()
        widths, last = [1] + [32] * layers, layers - 1
        ends = [nn.Identity(), nn.Sigmoid()]
        sides = [(widths, nn.Conv2d), (widths[::-1], nn.ConvTranspose2d)]
        self.encoder, self.decoder = [
            nn.ModuleDict({f"layer_{i + 1}": Layer(w[i], w[i + 1], end if i == last else nn.GELU(), conv) for i in range(layers)})
            for (w, conv), end in zip(sides, ends)
        ]

    def forward(self, x):
        skips = []
        for layer in self.encoder.values():
            x = layer(x)
            skips.append(x)
        for i, layer in enumerate(self.decoder.values()):
            x = layer(x + settings["network"]["residual_weight"] * skips[-(i + 1)] if i else x)
        return x


def images(name, count):
    with gzip.open(args.data / f"{name}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + count * 784)[16:], np.uint8).reshape(count, 1, 28, 28).copy()
    whole = nn.functional.interpolate(torch.from_numpy(pixels) / 255, size=(size, size), mode="bilinear", align_corners=False)
    damaged, half = whole.clone(), size // 2
    areas = [np.s_[:, :half], np.s_[:, half:], np.s_[:, :, :half], np.s_[:, :, half:]]
    for image, area in zip(damaged, torch.randint(4, (count,), generator=torch.Generator().manual_seed(0))):
        image[areas[area]] = 0
    return damaged.split(BATCH), whole.split(BATCH)


@torch.no_grad()
def loss(training):
    net.train(training)
    return np.mean([(net(x) - y).abs().mean().item() for x, y in zip(*test)])


net = ResConv()
net.load_state_dict(load_file(args.run / "model.safetensors"))
norms = {name: module for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
test = images("t10k", 1024)
print(f"running statistics of the run: {loss(False):.4f}")
running = {name: (norm.running_mean.clone(), norm.running_var.clone()) for name, norm in norms.items()}
for norm in norms.values():
    norm.momentum = 0
print(f"statistics of each batch: {loss(True):.4f}")
for norm in norms.values():
    norm.reset_running_stats()
    norm.momentum = None  # the mean over all batches
net.train()
with torch.no_grad():
    for x in images("train", args.batches * BATCH)[0]:
        net(x)
print(f"mean of {args.batches} batches' statistics: {loss(False):.4f}")
for name, norm in norms.items():
    mean, var = running[name]
    off = ((mean - norm.running_mean) / (norm.running_var + norm.eps).sqrt()).abs().max()
    ratio = var / norm.running_var
    print(f"{name}: running mean off by {off:.2f} standard deviations at most, running variance {ratio.min():.2f} to {ratio.max():.2f} times the mean")
