"""Makes the PyTorch side of the checkpoint tests: a bare state_dict as users save it, and what its network does.

usage: make_state_dict.py            (PyTorch 2.15, safetensors 0.8; writes beside itself)

The network has 2 layers, 4 channels, 3x3 kernels, residual weight 1 and GELU in every layer. Three steps in training mode on random
images make running statistics that differ from their first values.
  state_dict.safetensors   torch.nn.Module.state_dict(), nothing else
  inference.safetensors    x [2,1,8,8], whose left half is 0 and whose values are those of 8-bit pixels, and y = network(x) in
                           evaluation mode
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


class ConvLayer(nn.Module):
    def __init__(self, conv, cin, cout, act):
        super().__init__()
        self.bn = nn.BatchNorm2d(cin)
        self.conv = conv(cin, cout, 3, padding=1)
        self.act = act

    def forward(self, x):
        return self.act(self.conv(self.bn(x)))


class ResConv(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        conv, back = nn.Conv2d, nn.ConvTranspose2d
        self.encoder = nn.ModuleDict(
            {"layer_1": ConvLayer(conv, 1, channels, nn.GELU()), "layer_2": ConvLayer(conv, channels, channels, nn.GELU())})
        self.decoder = nn.ModuleDict(
            {"layer_1": ConvLayer(back, channels, channels, nn.GELU()), "layer_2": ConvLayer(back, channels, 1, nn.Sigmoid())})

    def forward(self, x):
        first = self.encoder["layer_1"](x)
        y = self.decoder["layer_1"](self.encoder["layer_2"](first))
        return self.decoder["layer_2"](y + first)


torch.manual_seed(0)
network = ResConv()
optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
for _ in range(3):
    y = torch.rand(4, 1, 8, 8)
    loss = nn.functional.l1_loss(network(y * 0.5), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
here = Path(__file__).parent
save_file(network.state_dict(), here / "state_dict.safetensors")
network.eval()
x = torch.randint(256, (2, 1, 8, 8)) / 255
x[..., :4] = 0
with torch.no_grad():
    save_file({"x": x, "y": network(x)}, here / "inference.safetensors")
