#!/usr/bin/env python3
"""Trains a small residual network in PyTorch by cross-entropy or by negative labels alone, to see whether a plateau is Fermata's or the loss's.

    fermata manifest synth --seeds 10000..10150 --size 48 --out data/drawn-nl
    docs/results/pipeline/nl/beside_torch.py data/drawn-nl deep:ce:0.0014:6 deep:negative:0.05:12 shallow:negative:0.05:12

Each case is NETWORK:LOSS:RATE:EPOCHS. `deep` has the blocks, widths and initial values of small_resnet18_w16_s2_c1 (the last norm of each block
begins at 0); `shallow` has three blocks whose norms begin at 1. SGD with momentum 0.9, weight decay 5e-4, a cosine schedule, batches of 32, nothing
varied. Needs torch and pillow.
"""

import csv
import pathlib
import sys

import numpy
import torch
from PIL import Image
from torch import nn

BATCH = 32
CLASSES = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.conv = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.shortcut = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return torch.relu(self.norm(self.conv(self.first(x))) + self.shortcut(x))


def network(is_deep):
    torch.manual_seed(1)
    layers, channels = [nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for stage, out in enumerate([16, 32, 64, 128] if is_deep else [16, 32, 64]):
        layers.append(Block(channels, out, 1 if stage == 0 else 2))
        layers += [Block(out, out, 1)] if is_deep else []
        channels = out
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(CLASSES)))
    for part in model.modules() if is_deep else []:
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(part, Block):
            nn.init.zeros_(part.norm.weight)
    return model


def rows_of(folder, split):
    images, labels = [], []
    with open(folder / "manifest.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                image = Image.open(folder / row["image"]).convert("L").resize((48, 48))
                images.append(numpy.asarray(image, dtype=numpy.float32) / 255)
                labels.append(CLASSES.index(row["label"]))
    return (torch.tensor(numpy.stack(images))[:, None] - 0.5) / 0.25, torch.tensor(labels)


def negative(logits, labels, random):
    other = torch.randint(0, len(CLASSES) - 1, (len(labels),), generator=random)
    other += (other >= labels).long()
    share = torch.softmax(logits, 1).gather(1, other[:, None])[:, 0]
    return -torch.log1p(-share).mean()


def train(case, learnt, checked):
    name, loss, rate, epochs = case.split(":")
    model, steps = network(name == "deep"), len(learnt[0]) // BATCH
    optimizer = torch.optim.SGD(model.parameters(), float(rate), 0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(epochs) * steps)
    random = torch.Generator().manual_seed(2)
    for epoch in range(int(epochs)):
        model.train()
        order, total = torch.randperm(len(learnt[0]), generator=random), 0.0
        for rows in order[: steps * BATCH].split(BATCH):
            logits, labels = model(learnt[0][rows]), learnt[1][rows]
            value = nn.functional.cross_entropy(logits, labels) if loss == "ce" else negative(logits, labels, random)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item()
        model.eval()
        with torch.no_grad():
            accuracy = (model(checked[0]).argmax(1) == checked[1]).float().mean().item()
        print(f"{case}: epoch {epoch}, loss {total / steps:.4f}, validation accuracy {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    data = pathlib.Path(sys.argv[1])
    learnt, checked = rows_of(data, "train"), rows_of(data, "validation")
    for case in sys.argv[2:]:
        train(case, learnt, checked)
