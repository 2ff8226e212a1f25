//! The lanes' side: fills buffers and hands them over without waiting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use fermata_engine::observer::{Event, Observer, PacketId, Recorder, Seen};

use crate::records::{Chunk, Handed, LaneId, Record, What};
use crate::stream_names::StreamNames;

/// Number of records in a buffer.
const CHUNK: usize = 1024;
/// Time after which a buffer that is not full is handed over, with the next record.
const HAND_OVER_NS: u64 = 100_000_000;
/// How long a lane that ends waits for the writer to take its last buffer.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// State shared by all recorders of a trace.
pub(crate) struct Lanes {
    writer: flume::Sender<Handed>,
    pub(crate) names: Arc<StreamNames>,
    /// Number of records that the writer had no room for.
    lost: AtomicU64,
    numbers: AtomicU64,
    open: Mutex<usize>,
    closed: Condvar,
}

impl Lanes {
    pub(crate) fn new(writer: flume::Sender<Handed>, names: Arc<StreamNames>) -> Self {
        Self {
            writer,
            names,
            lost: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            open: Mutex::new(0),
            closed: Condvar::new(),
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until every lane has handed over its last buffer, for at most `most`: a lane that hangs never does.
    pub(crate) fn wait_until_closed(&self, most: Duration) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .closed
            .wait_timeout_while(open, most, |open| *open > 0)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn count_open(&self, change: isize) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = open.saturating_add_signed(change);
        self.closed.notify_all();
    }
}

/// The observer of a run.
pub(crate) struct Observing(pub(crate) Arc<Lanes>);

impl Observer for Observing {
    fn recorder(&self, lane: &str) -> Box<dyn Recorder> {
        self.0.count_open(1);
        let lane = Arc::new(LaneId {
            number: self.0.numbers.fetch_add(1, Ordering::Relaxed),
            name: lane.to_owned(),
        });
        Box::new(LaneRecorder {
            lanes: Arc::clone(&self.0),
            lane,
            nodes: Arc::default(),
            records: Vec::with_capacity(CHUNK),
            packets: Vec::new(),
            lost_before: 0,
            last_stream: None,
        })
    }
}

struct LaneRecorder {
    lanes: Arc<Lanes>,
    lane: Arc<LaneId>,
    nodes: Arc<Vec<String>>,
    records: Vec<Record>,
    packets: Vec<PacketId>,
    lost_before: u64,
    /// Stream whose name was recorded last.
    last_stream: Option<u32>,
}

impl Recorder for LaneRecorder {
    fn record(&mut self, seen: &Seen<'_>) {
        let what = match seen.event {
            Event::Captured(packet) => What::Captured(packet),
            Event::Taken { packet, queued_ns } => What::Taken { packet, queued_ns },
            Event::Batched {
                packets, since_ns, ..
            } => What::Batched {
                packets: self.keep(packets),
                since_ns,
            },
            Event::Called {
                packets,
                began_ns,
                replica,
            } => What::Called {
                packets: self.keep(packets),
                began_ns,
                replica,
            },
            Event::Settled { packet, fate, .. } => What::Settled { packet, fate },
            Event::Sent { packet, .. } => {
                // A source records the name before any other node can take the packet.
                let stream = &packet.envelope.stream;
                if self.last_stream != Some(stream.id) {
                    self.last_stream = Some(stream.id);
                    self.lanes.names.learn(stream.id, &stream.name);
                }
                return;
            }
        };
        let node = self.node(seen.node);
        self.records.push(Record {
            node,
            at_ns: seen.at_ns,
            what,
        });
        let first_ns = self.records[0].at_ns;
        if self.records.len() >= CHUNK || seen.at_ns.saturating_sub(first_ns) >= HAND_OVER_NS {
            self.hand_over(false);
        }
    }
}

impl LaneRecorder {
    fn keep(&mut self, packets: &[PacketId]) -> std::ops::Range<usize> {
        let begin = self.packets.len();
        self.packets.extend_from_slice(packets);
        begin..self.packets.len()
    }

    fn node(&mut self, name: &str) -> usize {
        let known = self.nodes.iter().position(|node| node == name);
        known.unwrap_or_else(|| {
            Arc::make_mut(&mut self.nodes).push(name.to_owned());
            self.nodes.len() - 1
        })
    }

    fn hand_over(&mut self, is_last: bool) {
        let chunk = Chunk {
            lane: Arc::clone(&self.lane),
            nodes: Arc::clone(&self.nodes),
            records: std::mem::replace(&mut self.records, Vec::with_capacity(CHUNK)),
            packets: std::mem::take(&mut self.packets),
            lost_before: self.lost_before,
            is_last,
        };
        let records = chunk.records.len() as u64;
        let handed = Handed::Chunk(chunk);
        let taken = if is_last {
            self.lanes.writer.send_timeout(handed, LAST_WAIT).is_ok()
        } else {
            self.lanes.writer.try_send(handed).is_ok()
        };
        if taken {
            self.lost_before = 0;
        } else {
            self.lost_before += records;
            self.lanes.lost.fetch_add(records, Ordering::Relaxed);
        }
    }
}

impl Drop for LaneRecorder {
    fn drop(&mut self) {
        self.hand_over(true);
        self.lanes.count_open(-1);
    }
}
