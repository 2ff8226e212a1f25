#!/usr/bin/env python3
"""Makes tests/golden/kpi.json: a drawn run (faces.csv, truth.csv, report.json) and its KPIs by pandas and NumPy.

    pip install numpy pandas && tests/oracles/kpi.py

It is written from the definitions in docs/kpi.md alone: every number is computed in the plainest way, frame by frame.
"""

import io
import itertools
import json
import pathlib
from importlib.metadata import version

import numpy as np
import pandas as pd

LABELS = ["angry", "happy", "neutral", "sad"]
rng = np.random.default_rng(20251224)


def chain(length, stay):
    """Returns a sequence of labels that persist for a while."""
    labels = [rng.integers(len(LABELS))]
    for _ in range(length - 1):
        labels.append(labels[-1] if rng.random() < stay else rng.integers(len(LABELS)))
    return [LABELS[i] for i in labels]


def draw():
    """Draws two streams: one of 750 frames with two faces, one of 120 frames with one; drops, misses, identity swaps, gaps."""
    rows, truths = [], []
    for stream, frames, people, step in [("door", 750, 2, 40.0), ("hall", 120, 1, 33.367)]:
        true = [chain(frames, 0.97) for _ in range(people)]
        shown = {p: LABELS[0] for p in range(people)}
        track_of = {p: p + 1 for p in range(people)}
        for sequence in range(frames):
            pts = round(sequence * step + (rng.integers(-3, 4) if sequence else 0), 3)
            places = [(40.0 + 300 * p + 20 * np.sin(sequence / 30 + p), 60.0, 100.0, 120.0) for p in range(people)]
            for p, place in enumerate(places):
                truths.append([stream, sequence, f"{pts:.3f}", p, *(f"{side:.2f}" for side in place), true[p][sequence]])
            if rng.random() < 0.15:
                continue  # dropped
            if sequence % 200 == 199 and people == 2:
                track_of = {0: track_of[1], 1: track_of[0]}  # the tracker swaps them
            if sequence % 300 == 299:
                track_of[0] = max(track_of.values()) + 1  # and loses one
            latency = f"{20 + rng.gamma(2, 30):.3f}"
            segment = sequence // 500
            seen = 0
            for p, (x, y, w, h) in enumerate(places):
                if rng.random() < 0.08:
                    continue  # not found
                seen += 1
                raw = true[p][sequence] if rng.random() < 0.95 else LABELS[rng.integers(len(LABELS))]
                if rng.random() < 0.2:
                    shown[p] = raw
                labelled = rng.random() > 0.03
                shift = rng.choice([0, 15, 45])  # IoU of 0.74 and 0.38
                rows.append([stream, segment, sequence, f"{pts:.3f}", track_of[p], f"{x + shift:.2f}", f"{y:.2f}", f"{w:.2f}", f"{h:.2f}",
                             raw if labelled else "", shown[p] if labelled else "", latency])
            if not seen:
                rows.append([stream, segment, sequence, f"{pts:.3f}", *[""] * 7, latency])
    faces = pd.DataFrame(rows, columns="stream segment sequence pts_ms track x y w h raw_label label latency_ms".split())
    truth = pd.DataFrame(truths, columns="stream sequence pts_ms face x y w h label".split())
    lost = {stream: frames - faces[faces.stream == stream].sequence.nunique() for stream, frames in [("door", 750), ("hall", 120)]}
    at_detect = {stream: {"drop_oldest at detect": count} for stream, count in lost.items()}
    report = {"wall_s": 31.25, "clock": "replay 2", "files": [{"node": "log", "path": "runs/drawn/faces.csv"}], "streams": {
        "door": {"captured": 750, "missed": 3, "sinks": {"log": {"losses": at_detect["door"]}, "video": {"losses": {**at_detect["door"], "drop_oldest at draw": 7}}}},
        "hall": {"captured": 120, "missed": 0, "sinks": {"log": {"losses": at_detect["hall"]}}}}}
    return faces.to_csv(index=False), truth.to_csv(index=False), report


def runs(values):
    """Yields (value, first index, last index) of each run of equal neighbours."""
    place = 0
    for value, group in itertools.groupby(values):
        length = len(list(group))
        yield value, place, place + length - 1
        place += length


def flips(track, column):
    labelled = track.dropna(subset=[column])
    changes = int((labelled[column] != labelled[column].shift()).iloc[1:].sum())
    return changes, len(labelled) - 1, (labelled.pts_ms.iloc[-1] - labelled.pts_ms.iloc[0] if len(labelled) else 0.0)


def lag(track):
    labelled = track.dropna(subset=["raw_label"]).reset_index(drop=True)
    standing, changes = None, []
    for label, first, last in runs(labelled.raw_label):
        end = labelled.pts_ms[last + 1] if last + 1 < len(labelled) else labelled.pts_ms[last]
        if end - labelled.pts_ms[first] < 500 - 1e-9:
            continue
        if standing is not None and standing != label:
            changes.append((labelled.pts_ms[first], label))
        standing = label
    lags, lost = [], 0
    for (start, label), until in zip(changes, [time for time, _ in changes[1:]] + [np.inf]):
        there = track[(track.pts_ms >= start) & (track.pts_ms < until) & (track.label == label)]
        if len(there):
            lags.append(there.pts_ms.iloc[0] - start)
        else:
            lost += 1
    return lags, lost


def match(faces, truth):
    """Returns the face of each row, matched greedily in descending order of IoU."""
    found = pd.Series(np.nan, index=faces.index)
    by_frame = dict(list(truth.groupby(["stream", "sequence"])))
    for key, group in faces.dropna(subset=["x"]).groupby(["stream", "sequence"]):
        pairs = []
        for i, a in group.iterrows():
            for _, b in by_frame[key].iterrows():
                w = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
                h = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
                both = max(w, 0) * max(h, 0)
                pairs.append((both / (a.w * a.h + b.w * b.h - both), i, b.face))
        taken = set()
        for iou, i, face in sorted(pairs, key=lambda pair: -pair[0]):
            if iou >= 0.5 and np.isnan(found[i]) and face not in taken:
                found[i] = face
                taken.add(face)
    return found


def excess(track, truth):
    """Returns the flips, the true changes, and the true changes that the labels did not follow."""
    known = track.dropna(subset=["face"])
    labelled = track.dropna(subset=["label"])
    if not len(known) or not len(labelled):
        return 0, 0, 0
    demanded = []
    for sequence in range(labelled.sequence.iloc[0], labelled.sequence.iloc[-1] + 1):
        before = known[known.sequence <= sequence]
        face = before.face.iloc[-1] if len(before) else known.face.iloc[0]
        demanded.append((sequence, truth[(face, sequence)]))
    steps = [(demanded[first][0], label) for label, first, _ in runs([label for _, label in demanded])]
    lost = 0
    for index, (start, label) in enumerate(steps[1:], 1):
        until = steps[index + 1][0] if index + 1 < len(steps) else np.inf
        lost += not len(labelled[(labelled.sequence >= start) & (labelled.sequence < until) & (labelled.label == label)])
    return flips(track, "label")[0], len(steps) - 1, lost


def measure(faces, truth, report, streams):
    faces, truth = faces[faces.stream.isin(streams)], truth[truth.stream.isin(streams)]
    frames = faces.groupby(["stream", "segment", "sequence"], as_index=False).agg(
        pts_ms=("pts_ms", "first"), latency=("latency_ms", "first"), seen=("x", "count"), labelled=("label", "count"))
    tracks = [track for _, track in faces.dropna(subset=["track"]).groupby(["stream", "segment", "track"])]
    out = {"frames": len(frames), "tracks": len(tracks), "detection_rate": (frames.seen > 0).mean()}
    latencies = np.sort(frames.latency)
    out["latency_ms"] = {"count": len(latencies), "max": latencies[-1]}
    for name, share, least in [("p50", 0.5, 11), ("p90", 0.9, 64), ("p99", 0.99, 662), ("p999", 0.999, 6636)]:
        value = np.quantile(latencies, share, method="inverted_cdf")
        out["latency_ms"][name] = value if len(latencies) >= least else None
    for column, suffix in [("raw_label", "_raw"), ("label", "")]:
        counted = [flips(track, column) for track in tracks]
        counted = [one for one in counted if one[1] > 0]
        out["flip_rate" + suffix] = np.mean([changes / pairs for changes, pairs, _ in counted])
        out["flips" + suffix] = sum(changes for changes, *_ in counted)
        out["flips_per_minute" + suffix] = out["flips" + suffix] / sum(time for *_, time in counted) * 60_000
    lags = [lag(track) for track in tracks]
    every = [one for found, _ in lags for one in found]
    out["lag_ms"] = np.median(every) if every else None
    out["lasting_changes_followed"] = sum(len(found) for found, _ in lags)
    out["lasting_changes_not_followed"] = sum(lost for _, lost in lags)
    labels = {(row.face, row.stream, row.sequence): row.label for row in truth.itertuples()}
    beyond = []
    for track in tracks:
        stream = track.stream.iloc[0]
        beyond.append(excess(track, {(f, s): label for (f, name, s), label in labels.items() if name == stream}))
    out["true_changes"] = sum(changes for _, changes, _ in beyond)
    out["true_changes_not_followed"] = sum(lost for *_, lost in beyond)
    out["excess_flips"] = sum(changes for changes, *_ in beyond) - out["true_changes"]
    judged = faces.dropna(subset=["face", "label"]).copy()
    judged["true"] = [labels[(row.face, row.stream, row.sequence)] for row in judged.itertuples()]
    judged["right"] = judged.label == judged.true
    out["accuracy"] = judged.right.mean()
    out["accuracy_raw"] = (judged.raw_label == judged.true).mean()
    around = []
    for _, face in judged.groupby(["stream", "face"]):
        for time in face.pts_ms:
            around.append(face[(face.pts_ms - time).abs() <= 500 + 1e-9].right.all())
    out["accuracy_pm_500ms"] = np.mean(around)
    speed = float(report["clock"].split()[1])
    judged["emitted"] = judged.pts_ms + judged.latency_ms * speed
    streamed = []
    for row in truth.itertuples():
        there = judged[(judged.stream == row.stream) & (judged.face == row.face) & (judged.emitted <= row.pts_ms + 1e-9)]
        streamed.append(len(there) > 0 and there.loc[there.pts_ms.idxmax()].label == row.label)
    out["streaming_accuracy"] = np.mean(streamed)
    firsts = []
    for _, stream in frames.groupby("stream"):
        firsts.append(stream[stream.labelled > 0].pts_ms.iloc[0] - stream.pts_ms.iloc[0])
    out["time_to_first_label_ms"] = np.mean(firsts)
    books = [report["streams"][name] for name in streams]
    out["fps_captured"] = sum(book["captured"] for book in books) / report["wall_s"]
    out["fps_processed"] = len(frames) / report["wall_s"]
    drops, elsewhere = {}, {}
    for book in books:
        at_table = book["sinks"]["log"]["losses"]
        for cause, n in [*at_table.items(), ("missed at the source", book["missed"])]:
            if n:
                drops[cause] = drops.get(cause, 0) + n
        for cause, n in book["sinks"].get("video", {"losses": {}})["losses"].items():
            if n > at_table.get(cause, 0):
                elsewhere[cause] = elsewhere.get(cause, 0) + n - at_table.get(cause, 0)
    out["drops"], out["drops_elsewhere"] = drops, elsewhere
    offered = sum(book["captured"] + book["missed"] for book in books)
    out["drop_rate"] = (offered - len(frames)) / offered
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in out.items()}


def main():
    faces_csv, truth_csv, report = draw()
    faces, truth = pd.read_csv(io.StringIO(faces_csv)), pd.read_csv(io.StringIO(truth_csv))
    faces["face"] = match(faces, truth)
    expected = {"all": measure(faces, truth, report, ["door", "hall"])}
    for name in ["door", "hall"]:
        expected[name] = measure(faces, truth, report, [name])
    out = {
        "script": "tests/oracles/kpi.py",
        "versions": {name: version(name) for name in ["numpy", "pandas"]},
        "faces": faces_csv,
        "truth": truth_csv,
        "report": report,
        "expected": expected,
    }
    path = pathlib.Path(__file__).parent.parent / "golden" / "kpi.json"
    path.write_text(json.dumps(out, default=float) + "\n")


main()
