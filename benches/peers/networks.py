#!/usr/bin/env python3
"""Compares networks in Fermata with the same ones in Python's torch, one thread each, in turns on one machine, and with ONNX Runtime's forward pass.

    pip install torch==2.11.0 timm==1.0.31 onnxruntime==1.31.1 numpy        # in a virtual environment
    cargo bench -p fermata-learn --bench networks --no-run && python benches/peers/networks.py

Prints medians over the pairs, the ratio (torch's time over Fermata's: above 1 Fermata is faster) and each process's peak memory. ONNX Runtime
runs the output of `fermata export` if target/release/fermata exists (`cargo build --release`).
"""

import argparse
import glob
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

CLASSES = 7
CASES = [(name, size, batch, what) for name in ("mobilenetv3_large_100", "resnet18") for size in (64, 224) for batch in (32,) for what in ("forward", "training")]
CARD = """\
input: {name: input, size: %d, layout: nchw, colour: rgb}
interpolation: area
scaling: [{divide: 255}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: none
source: networks.py
sha256: '0000000000000000000000000000000000000000000000000000000000000000'
"""


def median_of(step, seconds):
    for _ in range(2):
        step()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 3:
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def peer(name, size, batch, what, seconds):
    import timm
    import torch

    torch.set_num_threads(1)
    model = timm.create_model(name, num_classes=CLASSES)
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch) % CLASSES
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05)

    def forward():
        with torch.no_grad():
            model(images)

    def training():
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    model.train(what == "training")
    return median_of(forward if what == "forward" else training, seconds)


def onnx_runtime(name, size, batch, _, seconds):
    import numpy as np
    import onnxruntime
    import timm
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save_file(timm.create_model(name, num_classes=CLASSES).state_dict(), folder / "w.safetensors")
        (folder / "card.yaml").write_text(CARD % size)
        command = ["target/release/fermata", "export", "--arch", name, "--weights", folder / "w.safetensors", "--card", folder / "card.yaml", "--output", folder / "model"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "model/model.onnx", options, ["CPUExecutionProvider"])
        images = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
        return median_of(lambda: session.run(None, {"input": images}), seconds)


def in_process(which, case, seconds):
    """Runs a case in a process of its own; returns milliseconds and peak MiB."""
    command = [sys.executable, __file__, "--one", which, *map(str, case), "--seconds", str(seconds)]
    ms, mib = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(ms), float(mib)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", metavar="CASE", help='one case, such as "resnet18 64 32 forward"')
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        which, name, size, batch, what = arguments.one
        run = {"torch": peer, "onnxruntime": onnx_runtime}[which]
        ms = run(name, int(size), int(batch), what, arguments.seconds)
        print(ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    benches = [path for path in glob.glob("target/release/deps/networks-*") if os.access(path, os.X_OK)]
    bench = max(benches, key=os.path.getmtime)
    print(f"{'case':40}{'fermata ms':>11}{'torch ms':>10}{'ratio (min..max)':>20}{'fermata MiB':>12}{'torch MiB':>10}{'ONNX Runtime ms':>17}")
    for case in CASES:
        if arguments.only not in (None, " ".join(map(str, case))):
            continue
        ours, theirs = [], []
        for _ in range(arguments.pairs):
            line = subprocess.run([bench, *map(str, case), str(arguments.seconds)], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            ours.append((float(line[4]), float(line[5])))
            theirs.append(in_process("torch", case, arguments.seconds))
        ratios = sorted(b[0] / a[0] for a, b in zip(ours, theirs))
        beside = ""
        if case[3] == "forward" and os.path.exists("target/release/fermata-learn"):
            beside = f"{in_process('onnxruntime', case, arguments.seconds)[0]:.1f}"
        middle = lambda rows, index: statistics.median(row[index] for row in rows)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
        print(f"{' '.join(map(str, case)):40}{middle(ours, 0):11.1f}{middle(theirs, 0):10.1f}{ratio:>20}{middle(ours, 1):12.0f}{middle(theirs, 1):10.0f}{beside:>17}", flush=True)


if __name__ == "__main__":
    main()
