"""ResConv's training step in PyTorch on a GPU, in every way that PyTorch has to make it fast.

usage: torch_gpu.py OUT.json [--seconds 100] [--layers 15] [--batches 64 256 1024] [--device cuda] [--no-compile]

The network is that of torch_resconv.py, which benches/peers measures on the CPU. A variant that fails is recorded, and the next
one runs. OUT.json is written after every variant, so that what is there stays if the time is up. Device events measure series
of steps, without waiting between them. A step is forward, backward and AdamW, on a batch that is on the device already (ours
copies its batch there, which PyTorch need not do here).
"""
import argparse
import functools
import json
import statistics
import time
from pathlib import Path

import torch
from torch_resconv import ResConv

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("out", type=Path)
parser.add_argument("--seconds", type=float, default=100, help="no variant starts after them")
parser.add_argument("--layers", type=int, default=15)
parser.add_argument("--channels", type=int, default=32)
parser.add_argument("--size", type=int, default=32)
parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024])
parser.add_argument("--device", default="cuda", help="cuda, or cpu to try this program")
parser.add_argument("--no-compile", action="store_true")
args = parser.parse_args()
END = time.monotonic() + args.seconds
CUDA = args.device == "cuda"


class Eager:
    """A training step, operation by operation."""

    def __init__(self, batch, channels_last, tf32, bf16=False, compiled=None):
        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        self.bf16 = bf16
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = ResConv(args.layers, args.channels, 3).to(args.device).to(memory_format=layout)
        self.x = torch.rand(batch, 1, args.size, args.size, device=args.device).to(memory_format=layout)
        self.y = torch.rand_like(self.x)
        # `capturable` keeps the number of the step on the device: a graph needs that.
        options = {"fused": True, "capturable": True} if CUDA else {}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, **options)
        self.forward = self.loss if compiled is None else torch.compile(self.loss, mode=compiled)

    def loss(self, x, y):
        return torch.nn.functional.l1_loss(self.model(x), y)

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(args.device, torch.bfloat16, enabled=self.bf16):
            loss = self.forward(self.x, self.y)
        loss.backward()
        self.optimizer.step()
        return loss


class Replay:
    """A whole step as one CUDA graph."""

    def __init__(self, *arguments, **options):
        step = Eager(*arguments, **options)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):
                step.run()
        torch.cuda.current_stream().wait_stream(side)
        step.optimizer.zero_grad(set_to_none=True)
        self.step, self.graph = step, torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = step.run()

    def run(self):
        self.graph.replay()
        return self.loss


def series(step, steps):
    """Milliseconds of a step on the device, milliseconds until the host has started it, and the loss."""
    if CUDA:
        torch.cuda.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
    start = time.perf_counter()
    for _ in range(steps):
        loss = step.run()
    host_ms = device_ms = (time.perf_counter() - start) * 1e3
    if CUDA:
        end.record()
        end.synchronize()
        device_ms = begin.elapsed_time(end)
    return device_ms / steps, host_ms / steps, float(loss.detach())


def measure(make, batch):
    """Warms up, and times five series of some 250 ms each."""
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step = make()
    for _ in range(4):
        step.run()
    steps = max(2, min(60, int(250 / max(series(step, 2)[0], 0.1))))
    device_ms, host_ms, losses = zip(*(series(step, steps) for _ in range(5)))
    median = statistics.median(device_ms)
    entry = {"ms": median, "all_ms": device_ms, "host_ms": statistics.median(host_ms), "loss": losses[-1]}
    entry["images_per_second"] = batch / median * 1e3
    if CUDA:
        entry["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return entry


def variants():
    """Name, batch and maker of each; those that take tens of seconds to compile are last, the most telling of them first."""
    for batch in args.batches:
        for tf32 in [False, True]:
            for make, way in [(Eager, "eager"), (Replay, "CUDA graph")] if CUDA else [(Eager, "eager")]:
                for channels_last, layout in [(False, ""), (True, ", channels_last")]:
                    name = f"{way}{layout}, {'TF32' if tf32 else 'f32'}"
                    yield name, batch, functools.partial(make, batch, channels_last, tf32)
        make, way = (Replay, "CUDA graph") if CUDA else (Eager, "eager")
        yield f"{way}, channels_last, bf16 autocast", batch, functools.partial(make, batch, True, True, bf16=True)
    if args.no_compile:
        return
    first, last = args.batches[0], args.batches[-1]
    modes = [(first, True, "reduce-overhead"), (first, False, "reduce-overhead"), (last, True, "default"), (first, True, "max-autotune")]
    for batch, tf32, mode in modes:
        name = f"compile ({mode}), channels_last, {'TF32' if tf32 else 'f32'}"
        yield name, batch, functools.partial(Eager, batch, True, tf32, compiled=mode)


def main():
    results = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": args.device, "layers": args.layers, "variants": []}
    if CUDA and not torch.cuda.is_available():
        results["error"] = "PyTorch finds no GPU"
    elif CUDA:
        results |= {"device": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}
    for name, batch, make in [] if "error" in results else variants():
        began, entry = time.monotonic(), {"name": name, "batch": batch}
        results["variants"].append(entry)
        if began > END:
            entry["error"] = "no time left"
        else:
            try:
                entry |= measure(make, batch)
            except Exception as error:  # what PyTorch raises is its own; a variant that cannot run does not end the others
                entry["error"] = f"{type(error).__name__}: {error}"[:1000]
        entry["took_s"] = time.monotonic() - began
        shown = f"{entry['ms']:9.3f} ms" if "ms" in entry else entry["error"].split("\n")[0]
        print(f"batch {batch:5} {name:45} {shown}", flush=True)
        args.out.write_text(json.dumps(results, indent=1))
    args.out.write_text(json.dumps(results, indent=1))


main()
