"""ResConv in PyTorch: the peer that step.py times. As a program it takes the arguments of our `step`, and prints the same report."""
import argparse
import contextlib
import json
import resource
import time

import torch
import torch.nn as nn


class ConvLayer(nn.Module):
    def __init__(self, cin, cout, ks, act, transposed):
        super().__init__()
        self.bn = nn.BatchNorm2d(cin)
        self.conv = (nn.ConvTranspose2d if transposed else nn.Conv2d)(cin, cout, ks, padding=ks // 2)
        self.act = act

    def forward(self, x):
        return self.act(self.conv(self.bn(x)))


class ResConv(nn.Module):
    def __init__(self, layers, channels, ks):
        super().__init__()
        widths = [1] + [channels] * layers
        self.encoder = nn.ModuleDict(
            {f"layer_{i+1}": ConvLayer(widths[i], widths[i + 1], ks, nn.GELU(), False) for i in range(layers)}
        )
        widths.reverse()
        last = layers - 1
        self.decoder = nn.ModuleDict(
            {
                f"layer_{i+1}": ConvLayer(widths[i], widths[i + 1], ks, nn.Sigmoid() if i == last else nn.GELU(), True)
                for i in range(layers)
            }
        )

    def forward(self, x):
        outputs = []
        for layer in self.encoder.values():
            x = layer(x)
            outputs.append(x)
        for i, layer in enumerate(self.decoder.values()):
            if i > 0:
                x = x + outputs[-(i + 1)]
            x = layer(x)
        return x


class Steps:
    """Training steps (or forward passes in evaluation mode) on one random batch; with `bf16`, forward pass and loss are under autocast."""

    def __init__(self, layers, channels, ks, size, batch, inference, channels_last, bf16=False, compiled=False):
        torch.manual_seed(0)
        self.model, self.inference, self.bf16 = ResConv(layers, channels, ks), inference, bf16
        self.x = torch.rand(batch, 1, size, size)
        self.y = torch.rand_like(self.x)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
        self.model.train(not inference)
        if compiled:
            self.model = torch.compile(self.model)

    def autocast(self):
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def run(self):
        if self.inference:
            with torch.no_grad(), self.autocast():
                self.model(self.x)
            return None
        with self.autocast():
            loss = torch.nn.functional.l1_loss(self.model(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def main():
    parser = argparse.ArgumentParser()
    for name in ["layers", "channels", "kernel-size", "size", "batch", "steps", "threads"]:
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    steps = Steps(a.layers, a.channels, a.kernel_size, a.size, a.batch, a.inference, a.channels_last, a.bf16)
    wall, cpu, losses = [], [], []
    for i in range(a.steps + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        losses.append(steps.run())
        if i > 0:
            wall.append((time.perf_counter() - start) * 1e3)
            cpu.append((time.process_time() - cpu_start) * 1e3)
    report = {
        "backend": "torch " + torch.__version__,
        "parameters": sum(p.numel() for p in steps.model.parameters()),
        "wall_ms": wall,
        "cpu_ms": cpu,
        "losses": [loss for loss in losses if loss is not None],
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
