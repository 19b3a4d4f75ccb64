"""ResConv in PyTorch: the peer that step.py times."""
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
    """Training steps (or forward passes in evaluation mode) on one random batch."""

    def __init__(self, layers, channels, ks, size, batch, inference, channels_last):
        torch.manual_seed(0)
        self.model, self.inference = ResConv(layers, channels, ks), inference
        self.x = torch.rand(batch, 1, size, size)
        self.y = torch.rand_like(self.x)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
        self.model.train(not inference)

    def run(self):
        if self.inference:
            with torch.no_grad():
                self.model(self.x)
            return
        loss = torch.nn.functional.l1_loss(self.model(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
