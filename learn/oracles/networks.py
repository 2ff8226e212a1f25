#!/usr/bin/env python3
"""Makes tests/golden/networks.json: what timm's networks answer when their weights are filled from a hash of name and index.

    pip install torch==2.11.0 timm==1.0.31 && learn/oracles/networks.py

The Rust tests fill the same weights (src/network/tests.rs) and compare. No weights are stored: only answers.
"""

import json
import pathlib

import numpy as np
import timm
import torch

NAMES = ["resnet18", "tf_efficientnet_b3", "convnext_tiny", "mobilenetv3_large_100"]
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


def build(name):
    model = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    state = model.state_dict()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            state[key] = torch.from_numpy(np.ascontiguousarray(filled(key, tuple(value.shape))))
    model.load_state_dict(state, strict=True)
    return model


def image(count, size):
    return torch.from_numpy(uniform(f"input {size}", count * 3 * size * size).reshape(count, 3, size, size))


def floats(tensor):
    return [float(value) for value in tensor.detach().flatten()]


def main():
    torch.manual_seed(0)
    torch.backends.mkldnn.enabled = True
    networks = {}
    for name in NAMES:
        model = build(name)
        keys = sorted(f"{key} {list(value.shape)}" for key, value in model.state_dict().items())
        entry = {
            "tensors": len(keys),
            "tensors_hash": f"{fnv(chr(10).join(keys)):016x}",
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        model.eval()
        with torch.no_grad():
            for size in (224, 225):
                entry[f"logits_{size}"] = floats(model(image(2, size)))
            entry["embedding_64_sum"] = float(model.forward_head(model.forward_features(image(2, 64)), pre_logits=True).sum())
        model.train()
        with torch.no_grad():
            entry["training_logits_64"] = floats(model(image(4, 64)))
        state = model.state_dict()
        statistics = [key for key in state if key.endswith(("running_mean", "running_var"))]
        entry["statistics"] = {key: floats(state[key][:4]) for key in statistics[:2] + statistics[-2:]}
        networks[name] = entry
    made = {"script": "learn/oracles/networks.py", "torch": torch.__version__, "timm": timm.__version__, "networks": networks}
    path = pathlib.Path(__file__).parents[1] / "tests/golden/networks.json"
    path.write_text(json.dumps(made, indent=1) + "\n")
    print(path, {name: networks[name]["logits_224"][:2] for name in NAMES})


if __name__ == "__main__":
    main()
