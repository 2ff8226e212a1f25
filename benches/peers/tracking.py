#!/usr/bin/env python3
"""Scores tracks against the ground truth of drawn people, compared with SORT, ByteTrack and Norfair on the same detections.

    pip install numpy scipy supervision trackers norfair trackeval
    fermata run graphs/bench/tracking.yaml --param detector=yunet.onnx --out runs/tracking
    benches/peers/tracking.py runs/tracking [EVERY]

HOTA, IDF1 and id switches are TrackEval's. Boxes without a track are left out, as are the tracks that a peer has not yet confirmed.
The others run with their own defaults and the given frame rate; they also get low-confidence detections.
"""

import collections
import csv
import pathlib
import sys
from importlib.metadata import version

import norfair
import numpy as np
import supervision as sv
import trackeval
import trackers

FPS = 25


def boxes_by_frame(path, key):
    """Returns {stream: {sequence: [(key's value, x, y, w, h, score)]}}."""
    frames = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in csv.DictReader(open(path)):
        frame = frames[row["stream"]][int(row["sequence"])]
        if row["x"]:
            value = row[key] if key else ""
            frame.append((value, *(float(row[side]) for side in "xywh"), float(row.get("score") or 1)))
    return frames


def corners(boxes):
    sides = np.array([box[1:5] for box in boxes], dtype=float).reshape(-1, 4)
    return np.hstack([sides[:, :2], sides[:, :2] + sides[:, 2:]])


def roboflow(tracker, frames):
    """Runs a tracker of the package `trackers` over a stream."""
    tracked = {}
    for sequence in sorted(frames):
        boxes = frames[sequence]
        found = sv.Detections(xyxy=corners(boxes), confidence=np.array([box[5] for box in boxes]), class_id=np.zeros(len(boxes), int))
        found = tracker.update(found)
        ids = found.tracker_id if found.tracker_id is not None else []
        rows = zip(ids, found.xyxy)
        tracked[sequence] = [(str(i), x, y, right - x, bottom - y, 1) for i, (x, y, right, bottom) in rows if i >= 0]
    return tracked


def by_norfair(frames):
    tracker = norfair.Tracker(distance_function="iou", distance_threshold=0.7)
    tracked = {}
    for sequence in sorted(frames):
        boxes = [norfair.Detection(points=box.reshape(2, 2)) for box in corners(frames[sequence])]
        tracked[sequence] = []
        for seen in tracker.update(boxes):
            (x, y), (right, bottom) = seen.estimate
            if seen.last_detection in boxes:
                tracked[sequence].append((str(seen.id), x, y, right - x, bottom - y, 1))
    return tracked


def overlaps(truth, tracked):
    a, b = corners(truth)[:, None], corners(tracked)[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    both = sides.prod(-1)
    area = lambda boxes: (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return both / (area(a) + area(b) - both)


def of_stream(truth, tracked):
    """Returns TrackEval's input for the frames in which the detector ran."""
    number = lambda names: {name: index for index, name in enumerate(sorted(names))}
    frames = sorted(tracked)
    people = number({box[0] for frame in frames for box in truth[frame]})
    tracks = number({box[0] for frame in frames for box in tracked[frame]})
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(people),
        "num_tracker_ids": len(tracks),
        "num_gt_dets": sum(len(truth[frame]) for frame in frames),
        "num_tracker_dets": sum(len(tracked[frame]) for frame in frames),
        "gt_ids": [np.array([people[box[0]] for box in truth[frame]], int) for frame in frames],
        "tracker_ids": [np.array([tracks[box[0]] for box in tracked[frame]], int) for frame in frames],
        "similarity_scores": [overlaps(truth[frame], tracked[frame]) for frame in frames],
    }


def scored(name, truth, tracked):
    quiet = {"PRINT_CONFIG": False}
    metrics = {"hota": trackeval.metrics.HOTA(), "id": trackeval.metrics.Identity(quiet), "clear": trackeval.metrics.CLEAR(quiet)}
    data = {stream: of_stream(truth[stream], tracked[stream]) for stream in truth}
    results = {}
    for key, metric in metrics.items():
        each = {stream: metric.eval_sequence(one) for stream, one in data.items()}
        results[key] = metric.combine_sequences(each)
    hota, assa, deta = (results["hota"][key].mean() for key in ("HOTA", "AssA", "DetA"))
    ids = sum(one["num_tracker_ids"] for one in data.values())
    people = sum(one["num_gt_ids"] for one in data.values())
    print(f"| {name} | {hota:.3f} | {assa:.3f} | {deta:.3f} | {results['id']['IDF1']:.3f} | {results['clear']['IDSW']} | {ids} for {people} |")


def main(folder, every):
    truth = {}
    for path in sorted(folder.glob("*.truth.csv")):
        truth.update(boxes_by_frame(path, "face"))
    found = boxes_by_frame(folder / "detections.csv", None)
    own = boxes_by_frame(folder / "faces.csv", "track")
    print("| tracker | HOTA | AssA | DetA | IDF1 | switches | ids |\n| --- | --- | --- | --- | --- | --- | --- |")
    # The frames in which the detector ran; in between, boxes are predicted.
    looked = {stream: {frame for frame in frames if frame % every == 0} for stream, frames in found.items()}
    kept = {stream: {frame: [box for box in own[stream][frame] if box[0]] for frame in looked[stream]} for stream in truth}
    scored("Fermata", truth, kept)
    found = {stream: {frame: found[stream][frame] for frame in looked[stream]} for stream in truth}
    for name, make in [("ByteTrack", trackers.ByteTrackTracker), ("SORT", trackers.SORTTracker)]:
        scored(f"{name} (trackers {version('trackers')})", truth, {stream: roboflow(make(frame_rate=FPS), found[stream]) for stream in truth})
    scored(f"Norfair {version('norfair')}", truth, {stream: by_norfair(found[stream]) for stream in truth})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
