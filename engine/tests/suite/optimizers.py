#!/usr/bin/env python3
"""Prints the constants of optimizers.rs: ten steps of PyTorch's optimizers in f64, on a small network.

    python3 engine/tests/suite/optimizers.py
"""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def numbers(length, seed):
    """`numbers` in common.rs: SplitMix64, in [-1, 1)."""
    mask = 2**64 - 1
    state = (seed + 0x9E3779B97F4A7C15) & mask
    values = []
    for _ in range(length):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        values.append(((z ^ (z >> 31)) >> 11) / 2**52 - 1.0)
    return torch.tensor(values, dtype=torch.float64)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w1 = torch.nn.Parameter(numbers(12, 3).reshape(3, 4))
        self.b1 = torch.nn.Parameter(numbers(4, 4))
        self.w2 = torch.nn.Parameter(numbers(8, 5).reshape(4, 2))

    def forward(self, x):
        return torch.tanh(x @ self.w1 + self.b1) @ self.w2


def trace(name, make, clip=None, decay=None):
    network = Network()
    optimizer = make(network)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay or 0.0))
    averaged.update_parameters(network)  # the first time, it copies
    x, target = numbers(15, 1).reshape(5, 3), numbers(10, 2).reshape(5, 2)
    losses, norms = [], []
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(x), target)
        loss.backward()
        losses.append(loss.item())
        if clip is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), clip).item())
        optimizer.step()
        averaged.update_parameters(network)
    print(f"// {name}")
    print(f"losses: {losses},")
    print(f"w1: {network.w1.flatten().tolist()},")
    print(f"b1: {network.b1.tolist()},")
    print(f"w2: {network.w2.flatten().tolist()},")
    if clip is not None:
        print(f"norms: {norms},")
    if decay is not None:
        print(f"average of b1: {averaged.module.b1.tolist()},")
        print(f"average of w2: {averaged.module.w2.flatten().tolist()},")


def grouped(network):
    groups = [
        {"params": [network.w2]},
        {"params": [network.b1], "lr": 0.2 * 2.0, "weight_decay": 0.0},
        {"params": [network.w1], "lr": 0.2 * 0.5},
    ]
    return torch.optim.SGD(groups, lr=0.2, momentum=0.9, weight_decay=0.05)


def frozen(network):
    network.w1.requires_grad_(False)
    return torch.optim.AdamW([network.b1, network.w2], lr=0.05)


def sgd(**constants):
    return lambda network: torch.optim.SGD(network.parameters(), lr=0.2, **constants)


trace("plain", sgd())
trace("decay", sgd(weight_decay=0.05))
trace("momentum", sgd(momentum=0.9))
trace("nesterov", sgd(momentum=0.9, nesterov=True, weight_decay=0.05))
trace("groups", grouped)
trace("frozen", frozen)
trace("AdamW, clipped and averaged", lambda network: torch.optim.AdamW(network.parameters(), lr=0.05), clip=0.25, decay=0.9)
