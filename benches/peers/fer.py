#!/usr/bin/env python3
"""Compares the frames per second of `graphs/bench/fer.yaml` with the loop that most people write (`sequential.py`), in turns.

    cargo build --release --no-default-features --features live
    python3 -m venv .native/peers && .native/peers/bin/pip install numpy opencv-python-headless onnxruntime==1.31.1
    benches/peers/fer.py --detector YUNET.onnx --model FOLDER CLIP.mp4 CLIP.mkv ...

Prints for each setting the medians over the pairs, the ratio, peak memory, and the share of the cores' time that the process
used from its first capture to its last delivery (including what it used before and after): where that is 1, only less work is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile


def measured(command):
    """Runs a command that must succeed; returns its output, its peak memory in MiB, and its processor seconds."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return output, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def ours(arguments, every, out):
    command = [arguments.fermata, "run", "graphs/bench/fer.yaml", "--quiet", "--out", out]
    command += ["--param", f"detector={arguments.detector}", "--param", f"model={arguments.model}", "--param", f"every={every}"]
    for param in arguments.param:
        command += ["--param", param]
    for number, video in enumerate(arguments.videos):
        command += ["--stream", f"s{number}={video}"]
    _, peak, processor = measured(command)
    with open(os.path.join(out, "report.json")) as file:
        report = json.load(file)
    assert report["balanced"]
    frames = sum(stream["delivered"] for stream in report["streams"].values())
    return frames / report["wall_s"], peak, processor / (os.cpu_count() * report["wall_s"]), frames


def theirs(arguments, out):
    command = [arguments.python, "benches/peers/sequential.py", "--detector", arguments.detector]
    command += ["--classifier", os.path.join(arguments.model, "model.onnx"), "--threads", "1"]
    command += ["--out", os.path.join(out, "peer.csv"), *arguments.videos]
    output, _, _ = measured(command)
    said = json.loads(output)
    return said["frames"] / said["seconds"], said["peak_mib"], said["frames"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fermata", default="target/release/fermata")
    parser.add_argument("--python", default=".native/peers/bin/python")
    parser.add_argument("--detector", required=True)
    parser.add_argument("--model", required=True, help="folder with model.onnx and card.yaml")
    parser.add_argument("--param", action="append", default=[], help="of the graph, such as device=openvino, precision=bf16")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("videos", nargs="+")
    arguments = parser.parse_args()
    rows = {1: [], 3: []}
    peer = []
    with tempfile.TemporaryDirectory() as out:
        for _ in range(arguments.pairs):
            peer.append(theirs(arguments, out))
            for every, runs in rows.items():
                runs.append(ours(arguments, every, out))
                assert runs[-1][3] == peer[-1][2], "the two did not see the same frames"
    print(f"{os.cpu_count()} cores, {arguments.pairs} pairs, {peer[0][2]} frames, {len(arguments.videos)} streams")
    print("setting     frames/s  ratio to peer (min..max)  cores used  peak MiB")
    print(f"sequential  {statistics.median(run[0] for run in peer):8.1f}  {'':24}  {'':10}  {statistics.median(run[1] for run in peer):8.0f}")
    for every, runs in rows.items():
        ratios = sorted(mine[0] / other[0] for mine, other in zip(runs, peer))
        print(
            f"every: {every}    {statistics.median(run[0] for run in runs):8.1f}  "
            f"{statistics.median(ratios):5.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})       "
            f"{statistics.median(run[2] for run in runs):10.2f}  {statistics.median(run[1] for run in runs):8.0f}"
        )


if __name__ == "__main__":
    main()
