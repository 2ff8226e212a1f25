#!/usr/bin/env python3
"""Compares an export of softlabels with a Python DataLoader loop and with the same models fed from memory, in turns on one machine.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 onnxruntime==1.31.1 pillow==13.0.0 numpy safetensors    # in a virtual environment
    cargo build --release && python benches/peers/softlabels.py

Two cases: `models` (64-pixel PNG, networks of a usual size: computing is the limit) and `loading` (224-pixel JPEG, tiny networks: decoding is).
Both run with libtorch against torch and with ONNX Runtime on both sides, f32. A rate is computed from the difference of a long and a short run, so that
start-up does not count. For each side the best of its settings counts: threads of a model (--threads), readers or DataLoader workers (0 to 2), and for
torch the memory layout. Fed from memory means `fermata infer` for all teachers at once, with inputs prepared in advance.

Prints rows per second, medians over the rounds, and the ratios of each round: above 1 Fermata is faster.
"""

import argparse
import itertools
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import peer_data

FERMATA = pathlib.Path("target/release/fermata")
BATCH = 64
SHORT = 4  # A short run has the rows divided by this.


class Case:
    def __init__(self, name, kind, side, size, networks, views):
        self.name, self.kind, self.side, self.size, self.networks, self.views = name, kind, side, size, networks, views


CASES = [
    Case("models", "png", 64, 64, ["mobilenetv3_large_100", "resnet18"], 2),
    Case("loading", "jpg", 224, 48, ["small_resnet18_w8_s2_c1", "small_resnet18_w12_s2_c1"], 1),
]


def run(*command):
    began = time.perf_counter()
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return time.perf_counter() - began


def make_models(case, folder):
    """Writes folders of the case's networks with random weights, for both backends."""
    import hashlib

    from safetensors.torch import save_file

    for name in case.networks:
        model = folder / "torch" / name
        model.mkdir(parents=True)
        weights = model / "model.safetensors"
        save_file(peer_data.network(name).state_dict(), weights)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        (model / "card.yaml").write_text(peer_data.card(name, case.size, digest))
        (folder / "card.yaml").write_text(peer_data.card(name, case.size, weights=False))
        run(FERMATA, "export", "--arch", name, "--weights", weights, "--card", folder / "card.yaml", "--output", folder / "onnxruntime" / name)


def make_inputs(case, folder, rows):
    """Writes arrays of prepared inputs, one for each number of rows; all teachers of a case take the same."""
    import numpy as np

    channels = peer_data.channels_of(case.networks[0])
    for count in (rows, rows // SHORT):
        shape = (count * case.views, channels, case.size, case.size)
        np.save(folder / f"inputs-{count}.npy", np.random.default_rng(0).normal(size=shape).astype(np.float32))


def fermata(case, folder, backend, rows, setting):
    threads, readers = setting
    out = pathlib.Path(tempfile.mkdtemp(dir=folder))
    teachers = [part for name in case.networks for part in ("--teacher", f"{name}={folder / backend / name}")]
    manifest = folder / "pictures" / f"rows-{rows}.csv"
    return run(FERMATA, "softlabels", "--manifest", manifest, *teachers, "--views", case.views, "--threads", threads, "--readers", readers,
               "--batch", BATCH, "--quiet", "--out", out / "softlabels")


def memory(case, folder, backend, rows, setting):
    (threads,) = setting
    began = time.perf_counter()
    started = [
        subprocess.Popen([FERMATA, "infer", "--model", folder / backend / name, "--input", folder / f"inputs-{rows}.npy", "--batch", str(BATCH),
                          "--threads", str(threads), "--output", folder / f"logits-{name}.npy"], stdout=subprocess.DEVNULL)
        for name in case.networks
    ]
    if any(process.wait() for process in started):
        sys.exit("fermata infer failed")
    return time.perf_counter() - began


def python(case, folder, backend, rows, setting):
    return run(sys.executable, __file__, "--one", case.name, folder, backend, rows, *setting)


def peer(case, folder, backend, rows, threads, workers, layout):
    """Runs the loop as usually written in Python: decodes each picture once, runs all teachers in turn, keeps and writes the logits."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    if backend == "torch":
        models = [peer_data.network(name).eval().to(memory_format=layout) for name in case.networks]
        ask = [lambda images, model=model: model(images.contiguous(memory_format=layout)).numpy() for model in models]
    else:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        paths = [folder / "onnxruntime" / name / "model.onnx" for name in case.networks]
        sessions = [onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"]) for path in paths]
        ask = [lambda images, session=session: session.run(None, {"input": images.numpy()})[0] for session in sessions]
    data = peer_data.dataset(peer_data.rows_of(folder / "pictures" / f"rows-{rows}.csv"), case.networks[0], case.size, case.views)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH // case.views, num_workers=workers)
    said = []
    with torch.inference_mode():
        for images, _ in loader:
            flat = images.flatten(0, 1)
            logits = np.stack([teacher(flat) for teacher in ask], 1)
            said.append(logits.reshape(len(images), case.views, len(ask), peer_data.CLASSES))
    said = np.concatenate(said)
    np.savez(folder / "peer.npz", logits=said.mean(2), teacher_logits=said)


def rate(measure, case, folder, backend, rows, setting):
    few = rows // SHORT
    long, short = (measure(case, folder, backend, count, setting) for count in (rows, few))
    return (rows - few) / max(long - short, 1e-9)


def best(measure, case, folder, backend, rows, settings):
    found = {setting: rate(measure, case, folder, backend, rows, setting) for setting in settings}
    return max(found.items(), key=lambda item: item[1])


def measure_case(case, folder, backends, arguments):
    rows = arguments.rows if case.name == "models" else 4 * arguments.rows
    manifest = peer_data.pictures(folder / "pictures", rows, case.side, case.kind)
    lines = manifest.read_text().splitlines(keepends=True)
    for count in (rows, rows // SHORT):
        manifest.with_name(f"rows-{count}.csv").write_text("".join(lines[: 1 + count]))
    make_models(case, folder)
    make_inputs(case, folder, rows)
    threads = arguments.threads
    for backend in backends:
        layouts = ("nchw", "nhwc") if backend == "torch" else ("nchw",)
        sides = {
            "fermata": (fermata, list(itertools.product(threads, (1, 2)))),
            "Python": (python, list(itertools.product(threads, (0, 1, 2), layouts))),
            "memory": (memory, [(count,) for count in threads]),
        }
        # The best settings of each side are found once; then the sides take turns.
        chosen = {side: best(measure, case, folder, backend, rows, settings)[0] for side, (measure, settings) in sides.items()}
        rounds = [{side: rate(sides[side][0], case, folder, backend, rows, chosen[side]) for side in sides} for _ in range(arguments.rounds)]
        middle = {side: statistics.median(found[side] for found in rounds) for side in sides}
        ratios = {other: sorted(found["fermata"] / found[other] for found in rounds) for other in ("Python", "memory")}
        said = {other: f"{statistics.median(values):.2f} ({values[0]:.2f}..{values[-1]:.2f})" for other, values in ratios.items()}
        print(f"{case.name:9}{backend:12}" + "".join(f"{middle[side]:9.1f} {'/'.join(map(str, chosen[side])):10}" for side in sides)
              + f"{said['Python']:>20}{said['memory']:>20}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048, help="of the case `models`; `loading` has four times as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--backends", nargs="+", default=["torch", "onnxruntime"])
    parser.add_argument("--only", help="one case: models or loading")
    parser.add_argument("--one", nargs=7, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, folder, backend, rows, threads, workers, layout = arguments.one
        case = next(case for case in CASES if case.name == name)
        return peer(case, pathlib.Path(folder), backend, int(rows), int(threads), int(workers), layout)
    if not FERMATA.exists():
        sys.exit(f"{FERMATA} is not there: cargo build --release")
    print(f"{'case':9}{'backend':12}{'fermata':>9} {'thr/read':10}{'Python':>9} {'thr/work':10}{'memory':>9} {'thr':10}{'over Python':>20}{'over memory':>20}")
    for case in CASES:
        if arguments.only in (None, case.name):
            with tempfile.TemporaryDirectory() as folder:
                measure_case(case, pathlib.Path(folder), arguments.backends, arguments)


if __name__ == "__main__":
    main()
