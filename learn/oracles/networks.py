#!/usr/bin/env python3
"""Makes tests/golden/networks.json: what timm's networks, and the small one below, answer when their weights are filled from a hash of
name and index.

    pip install torch==2.11.0 timm==1.0.31 && learn/oracles/networks.py

The Rust tests fill the same weights (src/network/tests.rs) and compare. No weights are stored: only answers.
"""

import json
import pathlib

import numpy as np
import timm
import torch
from timm.models.resnet import BasicBlock
from torch import nn

NAMES = ["resnet18", "tf_efficientnet_b3", "convnext_tiny", "mobilenetv3_large_100"]
# Width, stem stride, channels.
SMALL = [(32, 2, 1), (16, 1, 3)]
CLASSES = 7
INCREMENT = np.uint64(0x9E3779B97F4A7C15)


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def uniform(name, count):
    """Values in [-1, 1) from the name and the index, as f32."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * INCREMENT + np.uint64(fnv(name))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def filled(name, shape):
    u = uniform(name, int(np.prod(shape))).reshape(shape)
    if name.endswith("gamma"):
        return np.float32(0.5) + np.float32(0.25) * u
    if name.endswith("running_var"):
        return np.float32(1) + np.float32(0.25) * u
    if name.endswith(("running_mean", "bias")):
        return np.float32(0.125) * u
    if len(shape) == 1:
        return np.float32(1) + np.float32(0.25) * u
    fan_in = int(np.prod(shape[1:]))
    return np.float32((3 / fan_in) ** 0.5) * u


class SmallResNet18(nn.Module):
    """ResNet-18's blocks (timm's) behind a 3 x 3 stem without max-pool, as for CIFAR."""

    def __init__(self, width, stem_stride, channels):
        super().__init__()
        self.channels = channels
        self.conv1 = nn.Conv2d(channels, width, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage in range(4):
            outputs, stride = width << stage, 1 if stage == 0 else 2
            downsample = None
            if stage > 0:
                downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            blocks = [BasicBlock(inputs, outputs, stride, downsample), BasicBlock(outputs, outputs)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.fc = nn.Linear(inputs, CLASSES)

    def forward_features(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x

    def forward_head(self, x, pre_logits=False):
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


def build(name):
    if name.startswith("small"):
        width, stem_stride, channels = (int(part[1:]) for part in name.split("_")[2:])
        model = SmallResNet18(width, stem_stride, channels)
    else:
        model = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    state = model.state_dict()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            state[key] = torch.from_numpy(np.ascontiguousarray(filled(key, tuple(value.shape))))
    model.load_state_dict(state, strict=True)
    return model


def image(count, size, channels):
    return torch.from_numpy(uniform(f"input {size}", count * channels * size * size).reshape(count, channels, size, size))


def floats(tensor):
    return [float(value) for value in tensor.detach().flatten()]


def main():
    torch.manual_seed(0)
    torch.backends.mkldnn.enabled = True
    networks = {}
    names = NAMES + [f"small_resnet18_w{width}_s{stem_stride}_c{channels}" for width, stem_stride, channels in SMALL]
    for name in names:
        model = build(name)
        channels = getattr(model, "channels", 3)
        keys = sorted(f"{key} {list(value.shape)}" for key, value in model.state_dict().items())
        entry = {
            "tensors": len(keys),
            "tensors_hash": f"{fnv(chr(10).join(keys)):016x}",
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        model.eval()
        with torch.no_grad():
            for size in (224, 225):
                entry[f"logits_{size}"] = floats(model(image(2, size, channels)))
            entry["embedding_64_sum"] = float(model.forward_head(model.forward_features(image(2, 64, channels)), pre_logits=True).sum())
        model.train()
        with torch.no_grad():
            entry["training_logits_64"] = floats(model(image(4, 64, channels)))
        state = model.state_dict()
        statistics = [key for key in state if key.endswith(("running_mean", "running_var"))]
        entry["statistics"] = {key: floats(state[key][:4]) for key in statistics[:2] + statistics[-2:]}
        networks[name] = entry
    made = {"script": "learn/oracles/networks.py", "torch": torch.__version__, "timm": timm.__version__, "networks": networks}
    path = pathlib.Path(__file__).parents[1] / "tests/golden/networks.json"
    path.write_text(json.dumps(made, indent=1) + "\n")
    print(path, {name: networks[name]["logits_224"][:2] for name in names})


if __name__ == "__main__":
    main()
