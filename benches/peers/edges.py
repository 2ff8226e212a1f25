#!/usr/bin/env python3
"""Measures what a slow reader on another machine costs: frames lost by Fermata, GStreamer's tcp elements and dora, and whether they report it.

    cargo build --release --features remote && make setup-remote && benches/peers/edges.py

A source emits N frames of 640 x 480 pixels at 50 per second; the reader needs 100 ms for each. Counted are the frames that the reader had received
2 s after the source finished, how many of the others the system itself reports as lost, how long the source took, and the peak resident memory of
the sending process. GStreamer (Debian: gstreamer1.0-tools, gstreamer1.0-plugins-base) runs with unlimited buffers, its default, and with two buffers
and the policy `latest`; dora (`pip install dora-rs dora-rs-cli`) with an input queue of two. Peers that are not installed are skipped, and
that is reported.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

RATE = 50
WORK_S = 0.1
AFTER_S = 2.0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def resident_mb(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024
    except (OSError, AttributeError):
        return 0.0


def watched(process):
    """Waits for a process; returns the seconds it took and its peak memory in MB."""
    began, most = time.monotonic(), 0.0
    while process.poll() is None:
        most = max(most, resident_mb(process.pid))
        time.sleep(0.02)
    return time.monotonic() - began, most


SITE = """\
fermata: 1
name: slow
machines: {gate: {}, server: {}}
nodes:
  camera: {use: synthetic_faces, faces: 1, fps: 50, count: FRAMES, on: gate}
  slow: {use: identity, in: camera, work: 100ms, queue: {capacity: 2, full: drop_oldest}, on: server}
run: {clock: live}
"""


def ours(arguments):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/site.yaml", "w") as file:
            file.write(SITE.replace("FRAMES", str(arguments.frames)))
        port = free_port()
        with open(f"{folder}/nats.conf", "w") as file:
            file.write(f'listen: "127.0.0.1:{port}"\nmax_payload: 8MB\njetstream {{store_dir: "{folder}/store"}}\n')
        nats = subprocess.Popen([arguments.nats_server, "--config", f"{folder}/nats.conf"], stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.02)

            def part(machine):
                command = [arguments.fermata, "run", "site.yaml", "--machine", machine, "--out", machine, "--quiet"]
                command += ["--nats", f"nats://127.0.0.1:{port}"]
                return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)

            reader = part("server")
            sender = part("gate")
            seconds, memory = watched(sender)
            assert sender.returncode == 0 and reader.wait() == 0
            command = [arguments.fermata, "report", "merge", "server", "gate", "--json"]
            book = json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)
            (book,) = book["sinks"]["camera"].values()
        finally:
            nats.terminate()
            nats.wait()
    return book["delivered"], sum(book["losses"].values()), seconds, memory


def gstreamer(arguments, buffers):
    if not shutil.which("gst-launch-1.0"):
        return None
    port = free_port()
    caps = "video/x-raw,format=BGR,width=640,height=480,framerate=50/1"
    source = f"videotestsrc is-live=true num-buffers={arguments.frames} ! {caps} ! tcpserversink host=127.0.0.1 port={port} {buffers}"
    sink = (
        f"tcpclientsrc host=127.0.0.1 port={port} ! rawvideoparse format=bgr width=640 height=480 framerate=50/1"
        f" ! identity silent=false sleep-time={int(WORK_S * 1e6)} ! fakesink sync=false"
    )
    sender = subprocess.Popen(["gst-launch-1.0", "-q", *source.split()], stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    with tempfile.TemporaryFile("w+") as said:
        reader = subprocess.Popen(["gst-launch-1.0", "-v", *sink.split()], stdout=said, stderr=subprocess.DEVNULL)
        seconds, memory = watched(sender)
        time.sleep(AFTER_S)
        if reader.poll() is None:
            reader.send_signal(signal.SIGINT)
        try:
            reader.wait(10)
        except subprocess.TimeoutExpired:
            reader.kill()
            reader.wait()
        said.seek(0)
        had = sum("chain" in line and "identity" in line for line in said)
    return had, 0, seconds, memory


DORA_SENDER = """\
import os, time
import pyarrow
from dora import Node
node, frame = Node(), pyarrow.array(bytearray(640 * 480 * 3), type=pyarrow.uint8())
begin = time.monotonic()
for number in range(int(os.environ["FRAMES"])):
    time.sleep(max(0, begin + number / 50 - time.monotonic()))
    node.send_output("frame", frame)
with open(os.environ["SENT"], "w") as file:
    file.write(str(time.monotonic() - begin))
"""

DORA_READER = """\
import os, time
from dora import Node
had = 0
for event in Node():
    if event["type"] == "INPUT":
        time.sleep(0.1)
        had += 1
        with open(os.environ["HAD"], "w") as file:
            file.write(str(had))
"""

DORA_GRAPH = """\
nodes:
  - id: sender
    path: sender.py
    outputs: [frame]
    env: {FRAMES: "%d", SENT: "%s/sent"}
  - id: reader
    path: reader.py
    inputs:
      frame: {source: sender/frame, queue_size: 2}
    env: {HAD: "%s/had"}
"""


def dora(arguments):
    command = shutil.which("dora")
    has_module = subprocess.run([sys.executable, "-c", "import dora, pyarrow"], capture_output=True).returncode == 0
    if not command or not has_module:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name, text in [("sender.py", DORA_SENDER), ("reader.py", DORA_READER)]:
            with open(f"{folder}/{name}", "w") as file:
                file.write(textwrap.dedent(text))
        with open(f"{folder}/graph.yml", "w") as file:
            file.write(DORA_GRAPH % (arguments.frames, folder, folder))
        began = time.monotonic()
        limit = arguments.frames / RATE + 60
        subprocess.run([command, "run", "graph.yml"], cwd=folder, capture_output=True, timeout=limit, check=False)
        seconds = time.monotonic() - began
        if not os.path.exists(f"{folder}/had"):
            return None
        with open(f"{folder}/had") as had, open(f"{folder}/sent") as sent:
            return int(had.read()), 0, min(seconds, float(sent.read())), 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--fermata", default=f"{here}/target/release/fermata")
    parser.add_argument("--nats-server", default=f"{here}/.native/nats-server/nats-server")
    parser.add_argument("--frames", type=int, default=500)
    arguments = parser.parse_args()
    peers = [
        ("ours, drop_oldest, capacity 2", lambda: ours(arguments)),
        ("GStreamer, default", lambda: gstreamer(arguments, "")),
        ("GStreamer, two, latest", lambda: gstreamer(arguments, "buffers-max=2 buffers-soft-max=1 recover-policy=latest")),
        ("dora, queue_size 2", lambda: dora(arguments)),
    ]
    print(f"{arguments.frames} frames at {RATE}/s, reader {WORK_S * 1e3:.0f} ms each: {arguments.frames / RATE:.0f} s")
    print(f"{'what':<32} {'read':>6} {'lost':>6} {'told':>6} {'source took':>12} {'memory':>9}")
    for name, run in peers:
        figures = run()
        if figures is None:
            print(f"{name:<32} left out: it is not installed, or does not run here")
            continue
        had, told, seconds, memory = figures
        print(f"{name:<32} {had:>6} {arguments.frames - had:>6} {told:>6} {seconds:>10.1f} s {memory:>6.0f} MB")


if __name__ == "__main__":
    main()
