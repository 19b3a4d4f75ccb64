"""Golden training traces of LeNet, ResNet-20 and a U-Net from PyTorch in float64, written as safetensors.

usage: make_networks.py FOLDER

Each network is small, and trained for 10 steps on one batch:
  lenet     2 convolutions with max pooling, 3 linear layers, cross-entropy; SGD, lr 0.05
  resnet20  batch normalization, identity and projection shortcuts, average pooling, cross-entropy with label smoothing 0.1; SGD,
            lr 0.05, Nesterov momentum 0.9, weight decay 5e-4 for weights of 2 and more dimensions
  unet      max pooling, bilinear upsampling, concatenation, the residual is predicted, mean squared error; AdamW, lr 1e-3, weight
            decay 0.01, gradients clipped to a norm of CLIP, exponential moving average of the weights with decay 0.9

Tensors (PyTorch layouts: activations NCHW, conv weights OIHW, linear weights [out, in]):
  init.<state_dict key>    weights and BatchNorm buffers before the first step
  input, target            [batch, channels, side, side], and classes [batch] or images
  out0, losses             output of the first step; the loss before each step
  grad0.<parameter>        gradients of the first step, before clipping
  norms                    norm of all gradients in each step, before clipping (unet)
  final.<state_dict key>   weights and buffers after the last step
  average.<parameter>      averages of the weights after the last step (unet)
  eval_out                 output of the final network in evaluation mode
All are computed in float64. Inputs and initial weights are float32 numbers; all else is stored as float64.

ReLU and max pooling are not smooth: a rounding error may send a gradient another way. Seeds are tried until no value is closer than
DISTANCE to such a place in any step, so that float32 takes the same way.
"""
import itertools
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

STEPS, DISTANCE, CLIP, DECAY = 10, 1e-5, 0.33, 0.9

distances = []


def relu(x):
    distances.append(x.detach().abs().min().item())
    return F.relu(x)


def max_pool(x):
    n, c, h, w = x.shape
    windows = x.detach().reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    best = windows.topk(2, dim=-1).values
    gaps = best[..., 0] - best[..., 1]
    distances.append(gaps[gaps > 0].min().item())  # zeros of a ReLU before it are equal, and have no gradient
    return F.max_pool2d(x, 2)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5, padding=2)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 4 * 4, 24), nn.Linear(24, 16), nn.Linear(16, 10)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = max_pool(relu(conv(x)))
        x = x.flatten(1)
        return self.fc3(relu(self.fc2(relu(self.fc1(x)))))


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs, size, stride):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.bn(self.conv(x))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first, self.second = ConvNorm(inputs, outputs, 3, stride), ConvNorm(outputs, outputs, 3, 1)
        self.shortcut = None if inputs == outputs else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.second(relu(self.first(x)))
        return relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet20(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.stem, inputs = ConvNorm(1, width, 3, 1), width
        self.stages = nn.ModuleList()
        for outputs in (width, 2 * width, 4 * width):
            blocks = nn.ModuleList()
            for _ in range(3):
                blocks.append(Block(inputs, outputs, 1 if inputs == outputs else 2))
                inputs = outputs
            self.stages.append(blocks)
        self.fc = nn.Linear(inputs, 10)

    def forward(self, x):
        x = relu(self.stem(x))
        for block in itertools.chain(*self.stages):
            x = block(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class DoubleConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x):
        return relu(self.second(relu(self.first(x))))


class UNet(nn.Module):
    def __init__(self, a=4, b=6, c=8):
        super().__init__()
        self.down1, self.down2, self.bottom = DoubleConv(1, a), DoubleConv(a, b), DoubleConv(b, c)
        self.up2, self.up1, self.head = DoubleConv(b + c, b), DoubleConv(a + b, a), nn.Conv2d(a, 1, 3, padding=1)

    def forward(self, x):
        def up(x):
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

        fine = self.down1(x)
        middle = self.down2(max_pool(fine))
        coarse = self.bottom(max_pool(middle))
        y = self.up2(torch.cat([up(coarse), middle], 1))
        return x - self.head(self.up1(torch.cat([up(y), fine], 1)))


NETWORKS = {
    "lenet": (LeNet, 16, lambda m: torch.optim.SGD(m.parameters(), lr=0.05), F.cross_entropy),
    "resnet20": (
        ResNet20,
        8,
        lambda m: torch.optim.SGD(
            [
                {"params": [p for p in m.parameters() if p.dim() > 1], "weight_decay": 5e-4},
                {"params": [p for p in m.parameters() if p.dim() == 1], "weight_decay": 0.0},
            ],
            lr=0.05,
            momentum=0.9,
            nesterov=True,
        ),
        lambda out, target: F.cross_entropy(out, target, label_smoothing=0.1),
    ),
    "unet": (UNet, 8, lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=0.01), F.mse_loss),
}


def trace(name, seed):
    """The tensors of a network's trace, or None if a value came too close to a kink."""
    torch.manual_seed(seed)
    make, side, optimizer, loss_of = NETWORKS[name]
    model, batch = make(), 4
    for module in model.modules():  # so that every gradient path is exercised
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        if name == "unet" and isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    x = torch.rand(batch, 1, side, side)
    target = torch.rand(batch, 1, side, side) if name == "unet" else torch.randint(10, (batch,))
    floats = {k: v.clone() for k, v in model.state_dict().items() if v.dtype.is_floating_point}
    out = {f"init.{k}": v for k, v in floats.items()} | {"input": x.clone(), "target": target.float()}
    model, x = model.double(), x.double()
    target = target.double() if name == "unet" else target
    step, losses, norms = optimizer(model), [], []
    averages = {k: p.detach().clone() for k, p in model.named_parameters()}
    model.train()
    distances.clear()
    for i in range(STEPS):
        y = model(x)
        loss = loss_of(y, target)
        step.zero_grad()
        loss.backward()
        if i == 0:
            out["out0"] = y.detach()
            out |= {f"grad0.{k}": p.grad.clone() for k, p in model.named_parameters()}
        if name == "unet":
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        losses.append(loss.item())
        step.step()
        for k, p in model.named_parameters():
            averages[k].mul_(DECAY).add_(p.detach(), alpha=1 - DECAY)
    model.eval()
    with torch.no_grad():
        out["eval_out"] = model(x)
    if min(distances) < DISTANCE:
        return None
    out["losses"] = torch.tensor(losses, dtype=torch.float64)
    out |= {f"final.{k}": v for k, v in model.state_dict().items() if v.dtype.is_floating_point}
    if name == "unet":
        out["norms"] = torch.tensor(norms, dtype=torch.float64)
        out |= {f"average.{k}": v for k, v in averages.items()}
    return {k: v.contiguous() for k, v in out.items()}, losses, norms


folder = Path(sys.argv[1])
for name in NETWORKS:
    for seed in itertools.count():
        if made := trace(name, seed):
            tensors, losses, norms = made
            metadata = {"seed": str(seed), "distance": str(min(distances)), "steps": str(STEPS)}
            save_file(tensors, folder / f"{name}.safetensors", metadata=metadata)
            print(name, "seed", seed, "distance", min(distances), "losses", losses[0], losses[-1], "norms", norms[:1], norms[-1:])
            break
