"""The networks of trainer/examples in PyTorch, and single operations: the peers that networks.py times."""
import contextlib
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


class LeNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip


def conv_norm(inputs, outputs, size, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first, self.second = conv_norm(inputs, outputs, 3, stride), conv_norm(outputs, outputs, 3, 1)
        self.shortcut = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet20(nn.Sequential):
    def __init__(self):
        layers, inputs = [conv_norm(1, 16, 3, 1), nn.ReLU()], 16
        for outputs in (16, 32, 64):
            for _ in range(3):
                layers.append(Block(inputs, outputs, 1 if inputs == outputs else 2))
                inputs = outputs
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def double_conv(inputs, outputs):
    convs = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)]
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU())


class UNet(nn.Module):
    def __init__(self, a=16, b=32, c=64):
        super().__init__()
        self.down1, self.down2, self.bottom = double_conv(1, a), double_conv(a, b), double_conv(b, c)
        self.up2, self.up1, self.head = double_conv(b + c, b), double_conv(a + b, a), nn.Conv2d(a, 1, 3, padding=1)

    def forward(self, x):
        def up(x):
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

        fine = self.down1(x)
        middle = self.down2(F.max_pool2d(fine, 2))
        y = self.up2(torch.cat([up(self.bottom(F.max_pool2d(middle, 2))), middle], 1))
        return x - self.head(self.up1(torch.cat([up(y), fine], 1)))


def sgd(model):
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": weights, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)


NETWORKS = {
    "lenet": (LeNet, adamw, F.cross_entropy),
    "resnet20": (ResNet20, sgd, F.cross_entropy),
    "unet": (UNet, adamw, F.mse_loss),
}


class Steps:
    """Training steps of a network on one batch; with `bf16`, forward pass and loss are under autocast."""

    def __init__(self, name, batch, channels_last, bf16):
        torch.manual_seed(0)
        make, optimizer, self.loss = NETWORKS[name]
        self.model, self.bf16 = make(), bf16
        self.x = torch.rand(batch, 1, 28, 28)
        self.y = torch.rand_like(self.x) if name == "unet" else torch.arange(batch) % 10
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.optimizer = optimizer(self.model)
        self.model.train()

    def run(self):
        with torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext():
            loss = self.loss(self.model(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def measure(self, steps):
        """CPU milliseconds of so many steps, after one that is not timed."""
        times = []
        for _ in range(steps + 1):
            start = time.process_time()
            self.run()
            times.append((time.process_time() - start) * 1e3)
        return times[1:]


def pool(function, shape):
    return lambda: ([torch.rand(shape)], function)


def cross_entropy(rows, classes):
    target = torch.arange(rows) * 7 % classes
    return lambda: ([torch.rand(rows, classes)], lambda x: F.cross_entropy(x, target))


def concat(side, *channels):
    return lambda: ([torch.rand(64, c, side, side) for c in channels], lambda *parts: torch.cat(parts, 1))


def upsample(**settings):
    return pool(lambda x: F.interpolate(x, scale_factor=2, **settings), (64, 32, 14, 14))


def group_norm():
    weights = [torch.ones(32), torch.zeros(32)]
    return [torch.rand(64, 32, 28, 28), *weights], lambda x, w, b: F.group_norm(x, 8, w, b)


IMAGE = (64, 32, 28, 28)
OPERATIONS = {
    "max pool 2x2": pool(lambda x: F.max_pool2d(x, 2), IMAGE),
    "max pool 3x3, stride 2": pool(lambda x: F.max_pool2d(x, 3, 2, 1), IMAGE),
    "average pool 2x2": pool(lambda x: F.avg_pool2d(x, 2), IMAGE),
    "average pool 7x7": pool(lambda x: F.adaptive_avg_pool2d(x, 1), (64, 64, 7, 7)),
    "cross-entropy, 64 of 10": cross_entropy(64, 10),
    "cross-entropy, 50176 of 10": cross_entropy(50_176, 10),
    "cross-entropy, 64 of 1000": cross_entropy(64, 1000),
    "concat 14x14, 64 + 32": concat(14, 64, 32),
    "concat 28x28, 32 + 16": concat(28, 32, 16),
    "upsample bilinear, 14x14": upsample(mode="bilinear", align_corners=False),
    "upsample nearest, 14x14": upsample(mode="nearest"),
    "group norm, 8 groups": group_norm,
}


class Operation:
    """An operation on f32 tensors, and its gradients for all of them."""

    def __init__(self, name, channels_last):
        inputs, self.function = OPERATIONS[name]()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        place = lambda x: x.to(memory_format=self.layout) if x.dim() == 4 else x  # noqa: E731
        self.inputs = [place(x).requires_grad_() for x in inputs]
        self.dy = torch.ones_like(self.function(*self.inputs))

    def measure(self, calls):
        """CPU milliseconds of the forward and of the backward pass: medians of so many calls, after one that is not timed."""
        forward, backward = [], []
        for _ in range(calls + 1):
            start = time.process_time()
            y = self.function(*self.inputs)
            middle = time.process_time()
            for dx in torch.autograd.grad(y, self.inputs, self.dy):
                if dx.dim() == 4:
                    dx.contiguous(memory_format=self.layout)  # that of a concatenation is a view
            forward.append((middle - start) * 1e3)
            backward.append((time.process_time() - middle) * 1e3)
        return [statistics.median(times[1:]) for times in (forward, backward)]
