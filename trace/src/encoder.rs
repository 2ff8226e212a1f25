//! Encodes records as Perfetto's messages: tracks, slices, instants and flows.

use std::collections::HashMap;
use std::sync::Arc;

use fermata_engine::InstanceName;
use fermata_engine::observer::{Fate, PacketId};
use prost::Message;

use crate::messages::{
    DebugAnnotation, EventType, InternedData, InternedName, NEEDS_STATE, ProcessDescriptor,
    STATE_CLEARED, TracePacket, TracePart, TrackDescriptor, TrackEvent,
};
use crate::records::{Chunk, Record, What};
use crate::slots::Slots;
use crate::stream_names::StreamNames;
use crate::ways::Way;

/// The track of the process, above those of the lanes.
const PROCESS: u64 = 1;
/// Sequence id of all trace packets.
const SEQUENCE: u32 = 1;

/// Names of annotations; a name's id is its position, from 1.
const ANNOTATIONS: [&str; 6] = [
    "stream", "sequence", "packets", "failed", "replica", "events",
];
/// Names of events that are not nodes; a name's id is its position, from 1. The ids of node names follow.
const EVENTS: [&str; 8] = [
    "captured",
    "wait",
    "batch",
    "failed",
    "unmatched",
    "abandoned",
    "finished",
    "lost",
];

fn annotation(name: &str) -> DebugAnnotation {
    let place = ANNOTATIONS.iter().position(|known| *known == name);
    DebugAnnotation {
        name_iid: place.map(|place| place as u64 + 1),
        ..DebugAnnotation::default()
    }
}

fn number(name: &str, value: u64) -> DebugAnnotation {
    DebugAnnotation {
        uint_value: Some(value),
        ..annotation(name)
    }
}

fn event_name(name: &str) -> Option<u64> {
    let place = EVENTS.iter().position(|known| *known == name);
    place.map(|place| place as u64 + 1)
}

/// Encodes parts of a trace.
pub(crate) struct Encoder {
    graph: String,
    ways: HashMap<String, Way>,
    /// Ids of node names, by name of the node in the graph file.
    node_names: HashMap<String, u64>,
    stream_names: Arc<StreamNames>,
    lanes: HashMap<u64, Lane>,
    out: Out,
}

/// The part being encoded.
struct Out {
    packets: Vec<TracePacket>,
    last_track: u64,
}

/// Destination of a node's events.
struct Target<'a> {
    /// Track of its lane.
    lane: u64,
    names: &'a StreamNames,
    out: &'a mut Out,
}

struct Lane {
    track: u64,
    /// Nodes, in the order of the lane's chunks.
    nodes: Vec<NodeTracks>,
}

/// Tracks of a node instance.
struct NodeTracks {
    instance: String,
    name: Option<u64>,
    way: Way,
    instants: Option<u64>,
    calls: Slots,
    waits: Slots,
    batches: Slots,
    /// Call whose packets are about to be settled.
    call: Option<Call>,
}

struct Call {
    packets: Vec<PacketId>,
    began_ns: u64,
    end_ns: u64,
    replica: usize,
    settled: usize,
    failed: u64,
}

impl Out {
    fn track(&mut self, name: &str, parent: u64) -> u64 {
        self.last_track += 1;
        self.describe(TrackDescriptor {
            uuid: Some(self.last_track),
            name: Some(name.to_owned()),
            parent_uuid: Some(parent),
            process: None,
        });
        self.last_track
    }

    fn describe(&mut self, track: TrackDescriptor) {
        self.packets.push(TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            track_descriptor: Some(track),
            ..TracePacket::default()
        });
    }

    fn event(&mut self, at_ns: u64, track: u64, of: EventType, event: TrackEvent) {
        self.packets.push(TracePacket {
            timestamp: Some(at_ns),
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(NEEDS_STATE),
            track_event: Some(TrackEvent {
                r#type: Some(of as i32),
                track_uuid: Some(track),
                ..event
            }),
            ..TracePacket::default()
        });
    }

    fn slice(&mut self, (begin_ns, end_ns): (u64, u64), track: u64, begin: TrackEvent) {
        self.event(begin_ns, track, EventType::SliceBegin, begin);
        self.event(end_ns, track, EventType::SliceEnd, TrackEvent::default());
    }

    fn take(&mut self) -> Vec<u8> {
        let part = TracePart {
            packet: std::mem::take(&mut self.packets),
        };
        part.encode_to_vec()
    }
}

impl Encoder {
    pub(crate) fn new(
        graph: &str,
        ways: HashMap<String, Way>,
        stream_names: Arc<StreamNames>,
    ) -> Self {
        let mut names: Vec<&String> = ways.keys().collect();
        names.sort();
        let numbered = (EVENTS.len() as u64 + 1..).zip(names);
        Self {
            graph: graph.to_owned(),
            node_names: numbered.map(|(iid, name)| (name.clone(), iid)).collect(),
            ways,
            stream_names,
            lanes: HashMap::new(),
            out: Out {
                packets: Vec::new(),
                last_track: PROCESS,
            },
        }
    }

    /// Returns the beginning of a trace: the names that events refer to, and the process.
    pub(crate) fn beginning(&mut self) -> Vec<u8> {
        let interned = |iid: u64, name: &str| InternedName {
            iid: Some(iid),
            name: Some(name.to_owned()),
        };
        let numbered = |names: &[&str]| -> Vec<InternedName> {
            let names = (1..).zip(names.iter());
            names.map(|(iid, name)| interned(iid, name)).collect()
        };
        let mut event_names = numbered(&EVENTS);
        let nodes = self.node_names.iter();
        event_names.extend(nodes.map(|(name, iid)| interned(*iid, name)));
        self.out.packets.push(TracePacket {
            timestamp: Some(0),
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(STATE_CLEARED | NEEDS_STATE),
            interned_data: Some(InternedData {
                event_names,
                debug_annotation_names: numbered(&ANNOTATIONS),
            }),
            ..TracePacket::default()
        });
        self.out.describe(TrackDescriptor {
            uuid: Some(PROCESS),
            process: Some(ProcessDescriptor {
                pid: i32::try_from(std::process::id()).ok(),
                process_name: Some(format!("fermata {}", self.graph)),
            }),
            ..TrackDescriptor::default()
        });
        self.out.take()
    }

    /// Encodes the next part.
    pub(crate) fn encode(&mut self, chunk: &Chunk) -> Vec<u8> {
        let out = &mut self.out;
        let lane = self.lanes.entry(chunk.lane.number);
        let lane = lane.or_insert_with(|| Lane {
            track: out.track(&format!("lane {}", chunk.lane.name), PROCESS),
            nodes: Vec::new(),
        });
        for instance in &chunk.nodes[lane.nodes.len()..] {
            let node = InstanceName::parse(instance).node;
            lane.nodes.push(NodeTracks {
                instance: instance.clone(),
                name: self.node_names.get(node).copied(),
                way: self.ways.get(node).cloned().unwrap_or_default(),
                instants: None,
                calls: Slots::default(),
                waits: Slots::default(),
                batches: Slots::default(),
                call: None,
            });
        }
        if chunk.lost_before > 0
            && let Some(first) = chunk.records.first()
        {
            let lost = TrackEvent {
                name_iid: event_name("lost"),
                debug_annotations: vec![number("events", chunk.lost_before)],
                ..TrackEvent::default()
            };
            out.event(first.at_ns, lane.track, EventType::Instant, lost);
        }
        for record in &chunk.records {
            let node = &mut lane.nodes[record.node];
            let mut to = Target {
                lane: lane.track,
                names: &self.stream_names,
                out,
            };
            node.record(record, chunk, &mut to);
        }
        if chunk.is_last
            && let Some(mut lane) = self.lanes.remove(&chunk.lane.number)
        {
            lane.end(&self.stream_names, out);
        }
        self.out.take()
    }

    /// Encodes the rest: pending calls of lanes that have not ended.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        for (_, mut lane) in std::mem::take(&mut self.lanes) {
            lane.end(&self.stream_names, &mut self.out);
        }
        self.out.take()
    }
}

impl Lane {
    fn end(&mut self, names: &StreamNames, out: &mut Out) {
        let mut to = Target {
            lane: self.track,
            names,
            out,
        };
        for node in &mut self.nodes {
            node.write_call(&mut to);
        }
    }
}

/// Returns annotations with the stream and sequence of a packet.
fn of_packet(packet: PacketId, names: &StreamNames) -> Vec<DebugAnnotation> {
    let stream = DebugAnnotation {
        string_value: Some(names.name(packet.stream)),
        ..annotation("stream")
    };
    vec![stream, number("sequence", packet.sequence)]
}

fn of_packets(packets: &[PacketId], names: &StreamNames) -> Vec<DebugAnnotation> {
    match packets {
        [packet] => of_packet(*packet, names),
        _ => vec![number("packets", packets.len() as u64)],
    }
}

impl NodeTracks {
    fn record(&mut self, record: &Record, chunk: &Chunk, to: &mut Target<'_>) {
        let at_ns = record.at_ns;
        match &record.what {
            What::Captured(packet) => {
                let event = TrackEvent {
                    name_iid: event_name("captured"),
                    debug_annotations: of_packet(*packet, to.names),
                    flow_ids: self.way.flows(*packet).collect(),
                    ..TrackEvent::default()
                };
                self.instant(at_ns, event, to);
            }
            What::Taken { packet, queued_ns } => {
                let event = TrackEvent {
                    name_iid: event_name("wait"),
                    debug_annotations: of_packet(*packet, to.names),
                    ..TrackEvent::default()
                };
                let new = || to.out.track(&format!("{} waits", self.instance), to.lane);
                let track = self.waits.track(*queued_ns, at_ns, new);
                to.out.slice((*queued_ns, at_ns), track, event);
            }
            What::Batched { packets, since_ns } => {
                let event = TrackEvent {
                    name_iid: event_name("batch"),
                    debug_annotations: vec![number("packets", packets.len() as u64)],
                    ..TrackEvent::default()
                };
                let new = || to.out.track(&format!("{} batches", self.instance), to.lane);
                let times = (*since_ns, at_ns.max(*since_ns));
                let track = self.batches.track(times.0, times.1, new);
                to.out.slice(times, track, event);
            }
            What::Called {
                packets,
                began_ns,
                replica,
            } => {
                self.write_call(to);
                let began_ns = *began_ns;
                self.call = Some(Call {
                    packets: chunk.packets[packets.clone()].to_vec(),
                    began_ns,
                    end_ns: at_ns.max(began_ns),
                    replica: *replica,
                    settled: 0,
                    failed: 0,
                });
            }
            What::Settled { packet, fate } => self.settled(at_ns, *packet, *fate, to),
        }
    }

    fn settled(&mut self, at_ns: u64, packet: PacketId, fate: Fate, to: &mut Target<'_>) {
        if let Some(call) = &mut self.call {
            call.settled += 1;
            call.failed += u64::from(fate != Fate::Processed);
            if call.settled == call.packets.len() {
                self.write_call(to);
            }
            return;
        }
        // The packet was never handled.
        let name = match fate {
            Fate::Processed => return,
            Fate::Failed => "failed",
            Fate::Unmatched => "unmatched",
            Fate::Abandoned => "abandoned",
            Fate::Finished => "finished",
        };
        let event = TrackEvent {
            name_iid: event_name(name),
            debug_annotations: of_packet(packet, to.names),
            ..TrackEvent::default()
        };
        self.instant(at_ns, event, to);
    }

    fn instant(&mut self, at_ns: u64, event: TrackEvent, to: &mut Target<'_>) {
        let track = *self
            .instants
            .get_or_insert_with(|| to.out.track(&self.instance, to.lane));
        to.out.event(at_ns, track, EventType::Instant, event);
    }

    /// Writes the call that was waiting for its packets to be settled.
    fn write_call(&mut self, to: &mut Target<'_>) {
        let Some(call) = self.call.take() else {
            return;
        };
        let packets = call.packets.iter();
        let flows: Vec<u64> = packets.flat_map(|id| self.way.flows(*id)).collect();
        let (flow_ids, terminating_flow_ids) = if self.way.is_sink {
            (Vec::new(), flows)
        } else {
            (flows, Vec::new())
        };
        let mut annotations = of_packets(&call.packets, to.names);
        if call.failed > 0 {
            annotations.push(number("failed", call.failed));
        }
        if call.replica > 0 {
            annotations.push(number("replica", call.replica as u64));
        }
        let event = TrackEvent {
            name_iid: self.name,
            debug_annotations: annotations,
            flow_ids,
            terminating_flow_ids,
            ..TrackEvent::default()
        };
        let new = || to.out.track(&format!("{} calls", self.instance), to.lane);
        let track = self.calls.track(call.began_ns, call.end_ns, new);
        to.out.slice((call.began_ns, call.end_ns), track, event);
    }
}
