#!/usr/bin/env python3
"""Compares a training as a graph with the bare trainer fed from memory and with Python's torch, in turns on one machine.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 pillow==13.0.0 numpy safetensors PyYAML    # in a virtual environment
    cargo build --release && cargo bench -p fermata-learn --bench trainer --no-run && python benches/peers/trainings.py

The same network, batch, objective, rule, clipping and moving average on all sides, f32, with as many threads (--threads). The graph (`fermata train`)
reads, augments and prepares each picture; its rate is that of the epochs after the first, from its training.log. Python is measured fed from memory,
like the trainer, and with a DataLoader (0 to 2 workers); for each, the better of the two memory layouts counts.

Prints rows per second, medians over the rounds, and the ratios of each round: above 1 the graph is faster.
"""

import argparse
import glob
import itertools
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import peer_data

FERMATA = pathlib.Path("target/release/fermata")
# Network, side of its input, rows per step.
CASES = [("small_resnet18_w32_s2_c1", 48, 128), ("mobilenetv3_large_100", 64, 128), ("resnet18", 64, 128)]
SETTINGS = """\
architecture: {name}
epochs: {epochs}
batch: {batch}
objective: {{label_smoothing: 0.1}}
rule: {{sgd: {{momentum: 0.9, nesterov: true}}}}
weight_decay: 5e-4
learning_rate: {{base: 0.01}}
clip_norm: 5
average_decay: 0.998
threads: {threads}
"""
LAYOUTS = ("nchw", "nhwc")


def output_of(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def peer(case, threads, layout, workers, manifest, seconds):
    """Runs a training loop as usually written in Python; prints rows per second. Without a manifest it is fed from memory."""
    import torch

    name, size, batch = case
    torch.set_num_threads(threads)
    layout = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    model = peer_data.network(name).train().to(memory_format=layout)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
    decayed = [value for value in model.parameters() if value.dim() > 1]
    rest = [value for value in model.parameters() if value.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": rest, "weight_decay": 0}]
    optimiser = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(images, labels):
        optimiser.zero_grad()
        loss = loss_of(model(images.contiguous(memory_format=layout)), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimiser.step()
        average.update_parameters(model)
        return loss.item()

    if manifest is None:
        images, labels = torch.randn(batch, peer_data.channels_of(name), size, size), torch.arange(batch) % peer_data.CLASSES
        for _ in range(3):
            step(images, labels)
        times, start = [], time.perf_counter()
        while time.perf_counter() - start < seconds or len(times) < 3:
            began = time.perf_counter()
            step(images, labels)
            times.append(time.perf_counter() - began)
        print(batch / statistics.median(times))
        return
    data = peer_data.dataset(peer_data.rows_of(manifest, "train"), name, size, varied_first=True)
    loader = torch.utils.data.DataLoader(data, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    rates, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(rates) < 2:
        began = time.perf_counter()
        for images, labels in loader:
            step(images.flatten(0, 1), labels)
        rates.append(len(data) / (time.perf_counter() - began))
    # The first epoch is left out: it starts the workers.
    print(statistics.median(rates[1:]))


def python(case, threads, layout, workers="-", manifest="-", seconds=5.0):
    return float(output_of(sys.executable, __file__, "--one", *case, threads, layout, workers, manifest, seconds))


def graph(case, threads, folder, manifest, rows, epochs):
    name, size, batch = case
    out = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "run"
    (folder / "card.yaml").write_text(peer_data.card(name, size, weights=False))
    (folder / "training.yaml").write_text(SETTINGS.format(name=name, batch=batch, threads=threads, epochs=epochs))
    output_of(FERMATA, "train", "--config", folder / "training.yaml", "--manifest", manifest, "--card", folder / "card.yaml", "--quiet", "--out", out)
    trained = [float(found) for found in re.findall(r"trained in ([\d.]+) s", (out / "training.log").read_text())]
    return rows / statistics.median(trained[1:])


def trainer(case, threads, folder, seconds):
    name, size, batch = case
    benches = [path for path in glob.glob("target/release/deps/trainer-*") if os.access(path, os.X_OK)]
    if not benches:
        sys.exit("there is no bench: cargo bench -p fermata-learn --bench trainer --no-run")
    (folder / "bare.yaml").write_text(SETTINGS.format(name=name, batch=batch, threads=threads, epochs=1000))
    return float(output_of(max(benches, key=os.path.getmtime), folder / "bare.yaml", size, seconds).split()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4096, help="training rows of an epoch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of each side but the graph")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", help="one network")
    parser.add_argument("--one", nargs=8, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, size, batch, threads, layout, workers, manifest, seconds = arguments.one
        of_memory = manifest == "-"
        case = (name, int(size), int(batch))
        return peer(case, int(threads), layout, 0 if of_memory else int(workers), None if of_memory else manifest, float(seconds))
    if arguments.epochs < 2:
        parser.error("the first epoch does not count: at least 2")
    if not FERMATA.exists():
        sys.exit(f"{FERMATA} is not there: cargo build --release")
    print(f"{'network':27}{'threads':8}{'graph':>8}{'bare':>8}{'memory':>8}{'loader':>8}  {'layout':7}{'workers':8}{'over bare':>18}{'over memory':>18}{'over loader':>18}")
    for case, threads in itertools.product(CASES, arguments.threads):
        if arguments.only not in (None, case[0]):
            continue
        with tempfile.TemporaryDirectory() as name:
            folder, seconds = pathlib.Path(name), arguments.seconds
            manifest = peer_data.pictures(folder / "pictures", arguments.rows, case[1], "png", validation=case[2])
            layout = max(LAYOUTS, key=lambda layout: python(case, threads, layout, seconds=seconds))
            workers = max(range(3), key=lambda workers: python(case, threads, layout, workers, manifest, seconds))
            sides = {
                "graph": lambda: graph(case, threads, folder, manifest, arguments.rows, arguments.epochs),
                "bare": lambda: trainer(case, threads, folder, seconds),
                "memory": lambda: python(case, threads, layout, seconds=seconds),
                "loader": lambda: python(case, threads, layout, workers, manifest, seconds),
            }
            rounds = [{side: measure() for side, measure in sides.items()} for _ in range(arguments.rounds)]
            middle = "".join(f"{statistics.median(found[side] for found in rounds):8.1f}" for side in sides)
            ratios = ""
            for other in ("bare", "memory", "loader"):
                values = sorted(found["graph"] / found[other] for found in rounds)
                ratios += f"{f'{statistics.median(values):.2f} ({values[0]:.2f}..{values[-1]:.2f})':>18}"
            print(f"{case[0]:27}{threads:<8}{middle}  {layout:7}{workers:<8}{ratios}", flush=True)


if __name__ == "__main__":
    main()
