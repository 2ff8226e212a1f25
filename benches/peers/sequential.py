#!/usr/bin/env python3
"""The loop that most people write: it reads frames, finds faces with YuNet, classifies them and writes a CSV.

The peer of `graphs/bench/fer.yaml`, with which `fer.py` compares it: OpenCV decodes and resizes, ONNX Runtime infers, and nothing runs in
parallel except what `--threads` allows inside these libraries. The work per frame is the graph's: decode, detect at full
size, cut out and scale each face, classify, smooth, write a row. Prints one line of JSON.
"""

import argparse
import csv
import json
import resource
import time

import cv2
import numpy as np
import onnxruntime as ort

STRIDES = (8, 16, 32)
MIN_SCORE, NMS_IOU, EMA = 0.7, 0.3, 0.6


class YuNet:
    """A detector that decodes YuNet's raw outputs as its authors do: one anchor for each cell of three grids."""

    def __init__(self, session):
        self.session = session
        self.names = [output.name for output in session.get_outputs()]
        self.grids = {}

    def grid(self, stride, columns, rows):
        key = (stride, columns, rows)
        if key not in self.grids:
            y, x = np.mgrid[0:rows, 0:columns]
            self.grids[key] = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
        return self.grids[key]

    def find(self, image):
        height, width = image.shape[:2]
        padded = cv2.copyMakeBorder(image, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT)
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)
        found = dict(zip(self.names, self.session.run(None, {"input": blob})))
        boxes, scores = [], []
        for stride in STRIDES:
            cells = self.grid(stride, padded.shape[1] // stride, padded.shape[0] // stride)
            confidence = np.sqrt(
                found[f"cls_{stride}"][0, :, 0].clip(0, 1) * found[f"obj_{stride}"][0, :, 0].clip(0, 1)
            )
            keep = confidence >= MIN_SCORE
            raw = found[f"bbox_{stride}"][0][keep]
            size = np.exp(raw[:, 2:]) * stride
            corner = (cells[keep] + raw[:, :2]) * stride - size / 2
            boxes.append(np.hstack([corner, size]))
            scores.append(confidence[keep])
        boxes, scores = np.vstack(boxes), np.hstack(scores)
        if len(boxes) == 0:
            return []
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), MIN_SCORE, NMS_IOU)
        return [(boxes[index], float(scores[index])) for index in np.ravel(kept)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--classifier", required=True, help="64 x 64 gray, x / 255 * 2 - 1, seven probabilities")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", required=True)
    parser.add_argument("videos", nargs="+")
    arguments = parser.parse_args()

    cv2.setNumThreads(arguments.threads)
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.log_severity_level = 3

    def session(path):
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    detector, classifier = YuNet(session(arguments.detector)), session(arguments.classifier)
    captures = {number: cv2.VideoCapture(path) for number, path in enumerate(arguments.videos)}
    smoothed, sequence, frames, faces = {}, dict.fromkeys(captures, 0), 0, 0
    with open(arguments.out, "w", newline="") as file:
        rows = csv.writer(file)
        start = time.perf_counter()
        while captures:
            for stream in list(captures):
                there, image = captures[stream].read()
                if not there:
                    del captures[stream]
                    continue
                frames += 1
                for track, ((x, y, w, h), score) in enumerate(detector.find(image)):
                    left, top = max(int(x), 0), max(int(y), 0)
                    face = image[top : int(y + h), left : int(x + w)]
                    if min(face.shape[:2]) < 8:
                        continue
                    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
                    gray = cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1
                    now = classifier.run(None, {"input": gray[np.newaxis, np.newaxis]})[0][0]
                    before = smoothed.get((stream, track), now)
                    now = smoothed[stream, track] = EMA * now + (1 - EMA) * before
                    rows.writerow([stream, sequence[stream], track, x, y, w, h, score, now.argmax(), *now])
                    faces += 1
                sequence[stream] += 1
        seconds = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"frames": frames, "faces": faces, "seconds": seconds, "peak_mib": peak_mib}))


if __name__ == "__main__":
    main()
