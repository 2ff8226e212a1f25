#!/usr/bin/env python3
"""Reads a trace with Perfetto's own message classes, holds it to its laws, and prints what is in it as JSON.

    read_trace.py FOLDER_OF_PERFETTO TRACE

Laws: every event is on a track that has been described, names are interned before they are used, the slices of a track nest and all end,
a flow begins where a packet is captured and is never taken up before, and only calls of sinks end one.
"""

import json
import sys
from collections import Counter, defaultdict

sys.path.insert(0, sys.argv[1])
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as perfetto  # noqa: E402


def value(annotation):
    return annotation.string_value if annotation.HasField("string_value") else annotation.uint_value


trace = perfetto.Trace()
with open(sys.argv[2], "rb") as file:
    trace.ParseFromString(file.read())

names, annotation_names, tracks = {}, {}, {}
for packet in trace.packet:
    names.update((name.iid, name.name) for name in packet.interned_data.event_names)
    annotation_names.update((name.iid, name.name) for name in packet.interned_data.debug_annotation_names)
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        assert track.uuid not in tracks, "a track is described twice"
        assert not track.parent_uuid or track.parent_uuid in tracks, "a track comes before the one above it"
        tracks[track.uuid] = track
processes = [track.process.process_name for track in tracks.values() if track.HasField("process")]

on_track = defaultdict(list)
for packet in trace.packet:
    if packet.HasField("track_event"):
        on_track[packet.track_event.track_uuid].append(packet)

slices, packets, failed, instants = Counter(), Counter(), Counter(), Counter()
begun, ended, passed = defaultdict(list), defaultdict(list), defaultdict(list)
streams = set()
for uuid, events in on_track.items():
    name = tracks[uuid].name
    # Perfetto sorts by time and keeps the order of what happens at the same time.
    events.sort(key=lambda packet: packet.timestamp)
    open_since = []
    for packet in events:
        event, at = packet.track_event, packet.timestamp
        annotations = {annotation_names[a.name_iid]: value(a) for a in event.debug_annotations}
        if "stream" in annotations:
            streams.add(annotations["stream"])
        if event.type == perfetto.TrackEvent.TYPE_SLICE_END:
            assert open_since, f"{name}: a slice ends that has not begun"
            assert open_since.pop() <= at
            continue
        what = names[event.name_iid]
        if event.type == perfetto.TrackEvent.TYPE_SLICE_BEGIN:
            assert not open_since, f"{name}: slices overlap on one track"
            open_since.append(at)
            slices[name] += 1
            packets[name] += annotations.get("packets", 1)
            failed[name] += annotations.get("failed", 0)
        else:
            instants[f"{name} {what}"] += annotations.get("events", 1)
        flows = list(event.flow_ids) + list(event.terminating_flow_ids)
        for flow in flows:
            (begun if what == "captured" else passed)[flow].append(at)
        for flow in event.terminating_flow_ids:
            ended[flow].append(at)
    assert not open_since, f"{name}: a slice does not end"

for flow, times in begun.items():
    assert len(times) == 1, "a flow begins twice"
for flow, times in passed.items():
    assert flow in begun, "a flow does not begin at a capture"
    assert begun[flow][0] <= min(times), "a flow is taken up before it begins"
for flow, times in ended.items():
    assert len(times) == 1, "a flow ends twice"
    assert times[0] >= max(passed[flow]), "a flow goes on after its end"

print(json.dumps({
    "processes": processes,
    "lanes": sorted(track.name for track in tracks.values() if track.name.startswith("lane ")),
    "streams": sorted(streams),
    "slices": slices, "packets": packets, "failed": failed, "instants": instants,
    "flows": {"begun": len(begun), "ended": len(ended)},
}))
