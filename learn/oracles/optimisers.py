#!/usr/bin/env python3
"""Makes tests/golden/optimisers.json: two parameters after 20 steps of torch's optimisers, and clipped gradients.

    pip install torch==2.11.0 && learn/oracles/optimisers.py
"""

import json
import pathlib

import torch

STEPS, DECAY = 20, 0.05


def gradient(parameter, step):
    index = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
    return 0.3 * parameter.detach() + torch.sin(step + index)


def run(make):
    weight = (torch.arange(12, dtype=torch.float64).reshape(3, 4) / 10 - 0.5).requires_grad_()
    bias = (torch.arange(4, dtype=torch.float64) / 4).requires_grad_()
    optimiser = make([{"params": [weight], "weight_decay": DECAY}, {"params": [bias], "weight_decay": 0.0}])
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 0.01 * (step + 1)
        weight.grad, bias.grad = gradient(weight, step), gradient(bias, step)
        optimiser.step()
    return {"weight": weight.detach().flatten().tolist(), "bias": bias.detach().flatten().tolist()}


def main():
    results = {
        "sgd": run(lambda groups: torch.optim.SGD(groups, lr=1)),
        "sgd_momentum": run(lambda groups: torch.optim.SGD(groups, lr=1, momentum=0.9)),
        "sgd_nesterov": run(lambda groups: torch.optim.SGD(groups, lr=1, momentum=0.9, nesterov=True)),
        "adam_w": run(lambda groups: torch.optim.AdamW(groups, lr=1)),
    }
    parameter = torch.zeros(5, requires_grad=True, dtype=torch.float64)
    parameter.grad = torch.arange(5, dtype=torch.float64)
    norm = torch.nn.utils.clip_grad_norm_([parameter], 2.0)
    clipped = {"norm": norm.item(), "gradient": parameter.grad.tolist()}
    made = {"script": "learn/oracles/optimisers.py", "torch": torch.__version__, "results": results, "clipped": clipped}
    path = pathlib.Path(__file__).parents[1] / "tests/golden/optimisers.json"
    path.write_text(json.dumps(made, indent=1) + "\n")
    print(results["adam_w"]["bias"], clipped)


if __name__ == "__main__":
    main()
