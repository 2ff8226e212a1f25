#!/usr/bin/env python3
"""Writes detections.json: what a plain reading of the face detectors finds in a few video frames.

Independent of Fermata's code: numpy, ONNX Runtime's Python package and cv2.resize. The tests compare detect_faces with it.

    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install onnxruntime==1.31.1 numpy 'opencv-python-headless<5'
    /tmp/oracle/bin/python detections.py DATA_FOLDER > detections.json
"""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

FRAMES = {
    "intel_asl_again.mkv": [0, 40],
    "intel_face-demographics-walking-and-pause.mp4": [0, 20],
    "intel_head-pose-face-detection-female-and-male.mp4": [10, 50],
    "intel_classroom.mp4": [0],
    "pyfeat_WolfgangLanger_Pexels.mp4": [0, 100],
    "pyfeat_single_face.mp4": [0],
    "pyfeat_no_face.mp4": [0],
}
MIN_SCORE = {"yunet": 0.6, "ultraface": 0.7}
NMS_IOU = 0.3


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def frame(path, index):
    size = run("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", path)
    width, height = map(int, size.decode().strip().split(",")[:2])
    raw = run("ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "bgr24", "-fps_mode", "passthrough",
              "-frames:v", str(index + 1), "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)[index]


def iou(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    return overlap / (a[2] * a[3] + b[2] * b[3] - overlap)


def suppress(faces):
    kept = []
    for face in sorted(faces, key=lambda face: -face["score"]):
        if all(iou(face["rect"], other["rect"]) <= NMS_IOU for other in kept):
            kept.append(face)
    return kept


def yunet(session, picture):
    height, width = picture.shape[:2]
    padded = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.float32)
    padded[:height, :width] = picture
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, {"input": padded.transpose(2, 0, 1)[None]})
    outputs = {name: value[0].astype(np.float64) for name, value in zip(names, values)}
    faces = []
    for stride in (8, 16, 32):
        score = np.sqrt(np.clip(outputs[f"cls_{stride}"], 0, 1) * np.clip(outputs[f"obj_{stride}"], 0, 1))[:, 0]
        columns = padded.shape[1] // stride
        for cell in np.flatnonzero(score >= MIN_SCORE["yunet"]):
            grid = np.array([cell % columns, cell // columns])
            box = outputs[f"bbox_{stride}"][cell]
            size = np.exp(box[2:]) * stride
            corner = (grid + box[:2]) * stride - size / 2
            points = (grid + outputs[f"kps_{stride}"][cell].reshape(5, 2)) * stride
            faces.append({"score": score[cell], "rect": [*corner, *size], "landmarks": points.tolist()})
    return suppress(faces)


def ultraface(session, picture):
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (320, 240), interpolation=cv2.INTER_LINEAR)[:, :, ::-1].astype(np.float32)
    scores, boxes = session.run(["scores", "boxes"], {"input": ((small - 127) / 128).transpose(2, 0, 1)[None]})
    faces = []
    for score, (left, top, right, bottom) in zip(scores[0, :, 1], boxes[0].astype(np.float64)):
        if score >= MIN_SCORE["ultraface"]:
            rect = [left * width, top * height, (right - left) * width, (bottom - top) * height]
            faces.append({"score": float(score), "rect": rect})
    return suppress(faces)


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return round(float(value), 4)


def main():
    data = Path(sys.argv[1])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    detectors = {
        "yunet": (yunet, "detect/yunet_n_dynamic.onnx"),
        "ultraface": (ultraface, "detect/ultraface_version-RFB-320.onnx"),
    }
    results = []
    for name, (detect, model) in detectors.items():
        session = onnxruntime.InferenceSession(data / model, options, providers=["CPUExecutionProvider"])
        for video, indices in FRAMES.items():
            for index in indices:
                faces = rounded(detect(session, frame(data / "videos" / video, index)))
                results.append({"detector": name, "model": model, "video": video, "frame": index, "faces": faces})
    ffmpeg = run("ffmpeg", "-version").decode().split()[2]
    versions = {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, "opencv": cv2.__version__, "ffmpeg": ffmpeg}
    head = {"written_by": "actors/oracles/detections.py", "versions": versions, "min_score": MIN_SCORE, "nms_iou": NMS_IOU}
    lines = ",\n".join("    " + json.dumps(result) for result in results)
    print(json.dumps(head, indent=2)[:-2] + ',\n  "results": [\n' + lines + "\n  ]\n}")


main()
