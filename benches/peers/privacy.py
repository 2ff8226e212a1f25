#!/usr/bin/env python3
"""Counts the faces that detectors still find in videos whose faces were hidden.

    fermata run graphs/bench/privacy.yaml --stream … --param detector=yunet.onnx --param looking=yunet.onnx --param blur=solid --out runs/privacy
    benches/peers/privacy.py runs/privacy

A face found in the plain video counts as found again if a box in the blurred one overlaps it with an IoU of 0.5 or more. Also counts how many
of the drawn people's true boxes are found again.
"""

import collections
import csv
import pathlib
import sys


def boxes(path):
    """Returns {(stream, sequence): [box]}."""
    frames = collections.defaultdict(list)
    for row in csv.DictReader(open(path)):
        if row["x"]:
            frames[row["stream"], int(row["sequence"])].append([float(row[side]) for side in "xywh"])
    return frames


def iou(a, b):
    sides = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    both = max(sides[0], 0) * max(sides[1], 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def count(name, plain, blurred):
    found = collections.Counter()
    again = collections.Counter()
    for (stream, sequence), faces in plain.items():
        found[stream] += len(faces)
        again[stream] += sum(any(iou(face, other) >= 0.5 for other in blurred[stream, sequence]) for face in faces)
    for stream in sorted(found):
        print(f"  {stream:<12} {again[stream]:>5} of {found[stream]}")
    all_found, all_again = sum(found.values()), sum(again.values())
    print(f"{name}: {all_again} of {all_found} found again ({100 * all_again / max(all_found, 1):.2f} %)")


def main(folder):
    blurred = boxes(folder / "blurred.csv")
    count("boxes of the plain video", boxes(folder / "plain.csv"), blurred)
    truth = collections.defaultdict(list)
    for path in folder.glob("*.truth.csv"):
        truth.update(boxes(path))
    if truth:
        count("true boxes", truth, blurred)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
