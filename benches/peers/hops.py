#!/usr/bin/env python3
"""Measures what a packet costs from hop to hop: Fermata, GStreamer with the same queues, and threads chained by raw flume channels, in
turns on one machine.

    cargo build --release --no-default-features --features live
    cargo bench --no-default-features --features live --bench hops --no-run && benches/peers/hops.py

Each pair of runs takes N and 4N packets, so that start-up cancels out: cost = (t(4N) - t(N)) / 3N. Prints medians over the pairs,
wall time and processor time, and Fermata's ratios to the others. Needs gst-launch-1.0 (Debian: gstreamer1.0-tools, gstreamer1.0-plugins-base).
"""

import argparse
import glob
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time

SOURCE = "fakesrc num-buffers={n} sizetype=fixed sizemax=921600 filltype=nothing"
QUEUE = "queue max-size-buffers=10 max-size-bytes=0 max-size-time=0"
IDENTITY = "identity silent=true"
SINK = "fakesink sync=false"

PEERS = {
    "hop1": " ! ".join([SOURCE, QUEUE, IDENTITY, SINK]),
    "hop5": " ! ".join([SOURCE] + [QUEUE, IDENTITY] * 5 + [SINK]),
    "lane5": " ! ".join([SOURCE] + [IDENTITY] * 5 + [SINK]),
}
# Flume channels between threads; nodes of one lane have none.
CHANNELS = {"hop1": 1, "hop5": 5}


def timed(command):
    """Runs a command that must succeed; returns its wall seconds and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def marginal(make, n):
    """Returns the microseconds of wall and processor time per packet."""
    small, large = timed(make(n)), timed(make(4 * n))
    return [(large[i] - small[i]) / (3 * n) * 1e6 for i in (0, 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fermata", default="target/release/fermata")
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    bench = max(executables("target/release/deps/hops-*"), key=os.path.getmtime)
    print(f"{os.cpu_count()} cores, {arguments.pairs} rounds, N = {arguments.packets}; microseconds per packet")
    print("graph  what       fermata  gstreamer  ratio (min..max)        flume  ratio (min..max)")
    with tempfile.TemporaryDirectory() as out:
        for graph, pipeline in PEERS.items():
            def ours(n):
                return [arguments.fermata, "run", f"graphs/bench/{graph}.yaml", "--quiet", "--param", f"count={n}", "--out", out]

            def gstreamer(n):
                return ["gst-launch-1.0", "-q", *pipeline.format(n=n).split()]

            def flume(n):
                return [bench, "flume", str(CHANNELS[graph]), str(n)]

            sides = [ours, gstreamer] + [flume] * (graph in CHANNELS)
            rounds = [[marginal(side, arguments.packets) for side in sides] for _ in range(arguments.pairs)]
            with open(os.path.join(out, "report.json")) as file:
                assert json.load(file)["balanced"], "the books of the last run do not balance"
            for index, what in enumerate(["wall", "processor"]):
                mine, *peers = [[run[index] for run in runs] for runs in zip(*rounds)]
                line = f"{graph:6} {what:9} {statistics.median(mine):8.3f}"
                for peer in peers:
                    ratios = sorted(a / b for a, b in zip(mine, peer))
                    shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
                    line += f"  {statistics.median(peer):9.3f}  {shown:18}"
                print(line.rstrip())


def executables(pattern):
    found = [path for path in glob.glob(pattern) if os.access(path, os.X_OK)]
    if not found:
        raise SystemExit(f"{pattern}: not built; see --help")
    return found


if __name__ == "__main__":
    main()
