"""What PyTorch reports for some ResConv networks, written as JSON for the test beside it.

usage: make_networks.py > networks.json          (made with PyTorch 2.15)

For each configuration, in the form that the project's configuration files have: the printed tree, the number of trained parameters,
the size of the output for an image, and every tensor of the state_dict with its shape and, for the weights and biases of convolutions,
the bound of PyTorch's default initialization.
"""
import json, torch, torch.nn as nn, torch.nn.functional as F

ACTIVATIONS = {"gelu": nn.GELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU,
               "silu": nn.SiLU, "mish": nn.Mish, "prelu": nn.PReLU, "rrelu": nn.RReLU}
DEFAULT = {"layers": 15, "channels": 32, "kernel_size": 3, "stride": 1, "padding": "auto", "groups": 1, "in_channels": 1,
           "out_channels": 1, "residual_weight": 1.0, "activation": "gelu", "bottleneck_activation": "same",
           "batch_norm_encoder": "before_conv", "batch_norm_decoder": "before_conv", "batch_norm_last_layers": True}
CONFIGS = [
    ({}, (32, 32)),
    ({"layers": 3, "residual_weight": 0.1, "bottleneck_activation": "none"}, (28, 28)),
    ({"layers": 1}, (5, 4)),
    ({"layers": 4, "channels": [8, 20], "kernel_size": [3, 7], "stride": 2, "groups": 4, "in_channels": 3, "out_channels": 2,
      "activation": "silu", "bottleneck_activation": "tanh", "batch_norm_encoder": "after_conv",
      "batch_norm_decoder": "after_activation", "batch_norm_last_layers": False}, (31, 33)),
    ({"layers": 2, "channels": [12, 4], "kernel_size": 4, "padding": 0, "activation": "leaky_relu", "batch_norm_encoder": "none",
      "batch_norm_decoder": "after_conv"}, (17, 8)),
    ({"layers": 3, "channels": 6, "kernel_size": 1, "stride": 3, "padding": 2, "groups": 2, "activation": "mish",
      "bottleneck_activation": "relu", "batch_norm_encoder": "after_activation", "batch_norm_decoder": "none"}, (31, 33)),
    ({"layers": 11, "activation": "prelu", "bottleneck_activation": "none", "batch_norm_last_layers": False}, (28, 28)),
    ({"layers": 2, "channels": 3, "activation": "rrelu", "bottleneck_activation": "prelu"}, (6, 5)),
]


class ConvLayer(nn.Module):
    def __init__(self, cin, cout, ks, c, groups, position, act, transposed):
        super().__init__()
        self.position = position
        if position == "before_conv":
            self.bn = nn.BatchNorm2d(cin)
        pad = ks // 2 if c["padding"] == "auto" else c["padding"]
        self.conv = (nn.ConvTranspose2d if transposed else nn.Conv2d)(cin, cout, ks, stride=c["stride"], padding=pad, groups=groups)
        if position == "after_conv":
            self.bn = nn.BatchNorm2d(cout)
        self.act = ACTIVATIONS[act]() if act else None
        if position == "after_activation":
            self.bn = nn.BatchNorm2d(cout)

    def forward(self, x, size=None):
        x = self.conv(self.bn(x) if self.position == "before_conv" else x)
        if size is not None:
            x = F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]))
        x = self.bn(x) if self.position == "after_conv" else x
        x = self.act(x) if self.act else x
        return self.bn(x) if self.position == "after_activation" else x


class ResConv(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.residual_weight, n = c["residual_weight"], c["layers"]

        def ramp(name):
            first, last = c[name] if isinstance(c[name], list) else [c[name]] * 2
            return [first * (1 - t) + last * t for t in (i / max(n - 1, 1) for i in range(n))]

        ch = [int(x) for x in ramp("channels")]
        ks = [int(x / 2) * 2 + 1 for x in ramp("kernel_size")] if isinstance(c["kernel_size"], list) else [c["kernel_size"]] * n
        bottleneck = {"same": c["activation"], "none": None}.get(c["bottleneck_activation"], c["bottleneck_activation"])
        enc, dec = [c["in_channels"], *ch], [c["out_channels"], *ch]
        inner = range(n) if c["batch_norm_last_layers"] else range(n - 1)
        self.encoder = nn.ModuleDict({f"layer_{i + 1}": ConvLayer(
            enc[i], enc[i + 1], ks[i], c, 1 if i == 0 else c["groups"], c["batch_norm_encoder"] if i in inner else "none",
            c["activation"] if i < n - 1 else bottleneck, False) for i in range(n)})
        self.decoder = nn.ModuleDict({f"layer_{i + 1}": ConvLayer(
            dec[n - i], dec[n - i - 1], ks[n - i - 1], c, 1 if i == n - 1 else c["groups"],
            c["batch_norm_decoder"] if i in inner else "none", c["activation"] if i < n - 1 else "sigmoid", True)
            for i in range(n)})

    def forward(self, x):
        history = [x]
        for layer in self.encoder.values():
            history.append(x := layer(x))
        for i, layer in enumerate(self.decoder.values()):
            x = layer(x if i == 0 else x + self.residual_weight * history[-(i + 1)], history[-(i + 2)].shape[-2:])
        return x


def tensors(model):
    modules = dict(model.named_modules())
    for name, tensor in model.state_dict().items():
        module = modules[name.rpartition(".")[0]]
        fan_in = nn.init._calculate_fan_in_and_fan_out(module.weight)[0] if hasattr(module, "stride") else None
        yield name, {"shape": list(tensor.shape), "bound": fan_in and fan_in ** -0.5}


networks = []
for config, image in CONFIGS:
    c = DEFAULT | config
    model = ResConv(c).eval()
    tree = str(model).replace(", bias=True", "")  # new since the study's PyTorch, which did not print it
    facts = {"config": config, "parameters": sum(p.numel() for p in model.parameters()), "image": image,
             "output": list(model(torch.rand(2, c["in_channels"], *image)).shape)}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
    lines.append('  "tensors": {\n' + ",\n".join(f"    {json.dumps(name)}: {json.dumps(t)}" for name, t in tensors(model)) + "\n  }")
    lines.append('  "tree": [\n' + ",\n".join(f"    {json.dumps(line)}" for line in tree.splitlines()) + "\n  ]")
    networks.append("{\n" + ",\n".join(lines) + "\n}")
print("[" + ", ".join(networks) + "]")
