//! The packets on an edge, one line each, while somebody is watching.
//!
//! With an observer, lanes report each packet to their recorders anyway; without a tap this costs the check of one
//! flag.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use fermata_engine::observer::{Event, Observer, Recorder, Seen};
use fermata_engine::{InstanceName, Packet, Payload};
use serde::Serialize;

use crate::lock::lock;

/// Maximum number of packets kept per output.
const MOST_KEPT: usize = 20;

/// Describes a packet's payload in one line, without pixels.
pub type Describe = fn(&dyn Payload) -> Option<String>;

/// A node's output: the node's name in the file, and the output's index.
type Tapped = (String, usize);

/// The outputs being watched.
pub struct Tap {
    is_wanted: AtomicBool,
    outputs: Mutex<BTreeMap<Tapped, Output>>,
    /// Number of packets seen.
    seen: AtomicU64,
    describe: Describe,
}

#[derive(Default)]
struct Output {
    watchers: usize,
    last: VecDeque<Line>,
}

/// A packet in one line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Number among the packets seen on all edges.
    pub(crate) number: u64,
    pub(crate) stream: String,
    pub(crate) sequence: u64,
    /// Presentation time stamp, seconds.
    pub(crate) at_s: f64,
    /// Time since capture, milliseconds.
    pub(crate) age_ms: f64,
    /// Description of its payload.
    pub(crate) carries: String,
}

impl Tap {
    /// Creates a tap that describes payloads with a function of the program.
    pub fn new(describe: Describe) -> Self {
        Self {
            is_wanted: AtomicBool::new(false),
            outputs: Mutex::default(),
            seen: AtomicU64::new(0),
            describe,
        }
    }

    /// Watches an output until the returned value is dropped.
    pub(crate) fn open(self: &Arc<Self>, node: &str, output: usize) -> Opened {
        let key = (node.to_owned(), output);
        let mut outputs = self.lock();
        outputs.entry(key.clone()).or_default().watchers += 1;
        self.is_wanted.store(true, Ordering::Relaxed);
        drop(outputs);
        Opened {
            tap: Arc::clone(self),
            key,
            shown: 0,
        }
    }

    fn sent(&self, seen: &Seen<'_>, output: usize, packet: &Packet) {
        let node = InstanceName::parse(seen.node).node;
        let mut outputs = self.lock();
        let Some(output) = outputs.get_mut(&(node.to_owned(), output)) else {
            return;
        };
        let envelope = &packet.envelope;
        let payload = &*packet.payload;
        let described = (self.describe)(payload);
        let described = described.unwrap_or_else(|| format!("weight {}", payload.weight()));
        output.last.push_back(Line {
            number: self.seen.fetch_add(1, Ordering::Relaxed) + 1,
            stream: envelope.stream.name.clone(),
            sequence: envelope.sequence,
            at_s: envelope.pts_ns as f64 / 1e9,
            age_ms: seen.at_ns.saturating_sub(envelope.captured_ns) as f64 / 1e6,
            carries: described,
        });
        if output.last.len() > MOST_KEPT {
            output.last.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Tapped, Output>> {
        lock(&self.outputs)
    }
}

/// An output being watched.
pub(crate) struct Opened {
    tap: Arc<Tap>,
    key: Tapped,
    shown: u64,
}

impl Opened {
    /// Returns the new packets since the last call, at most as many as are kept.
    pub(crate) fn news(&mut self) -> Vec<Line> {
        let outputs = self.tap.lock();
        let last = outputs.get(&self.key).map(|output| &output.last);
        let news: Vec<Line> = last
            .into_iter()
            .flatten()
            .filter(|line| line.number > self.shown)
            .cloned()
            .collect();
        self.shown = news.last().map_or(self.shown, |line| line.number);
        news
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut outputs = self.tap.lock();
        if let Some(output) = outputs.get_mut(&self.key) {
            output.watchers -= 1;
            if output.watchers == 0 {
                outputs.remove(&self.key);
            }
        }
        let is_wanted = !outputs.is_empty();
        self.tap.is_wanted.store(is_wanted, Ordering::Relaxed);
    }
}

/// The observer that passes packets to a tap.
pub struct TapObserver(pub Arc<Tap>);

impl Observer for TapObserver {
    fn recorder(&self, _: &str) -> Box<dyn Recorder> {
        Box::new(TapRecorder(Arc::clone(&self.0)))
    }
}

struct TapRecorder(Arc<Tap>);

impl Recorder for TapRecorder {
    fn record(&mut self, seen: &Seen<'_>) {
        if let Event::Sent { output, packet } = seen.event
            && self.0.is_wanted.load(Ordering::Relaxed)
        {
            self.0.sent(seen, output, packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use fermata_engine::{Graph, LoadOptions, Registry, RunOptions, RunningGraph};

    use super::*;

    #[test]
    fn the_last_packets_of_an_output_are_seen_while_somebody_looks() {
        let tap = Arc::new(Tap::new(|_| Some("a packet".to_owned())));
        let mut opened = tap.open("source", 0);
        let text = "\
fermata: 1
streams: {door: x}
nodes:
  source: {use: test_source, each: stream, count: 50}
  end:    {use: discard, in: source}
";
        let registry = Registry::builtin();
        let graph = Graph::parse("t.yaml", text, &registry, &LoadOptions::new("/out")).unwrap();
        let options = RunOptions {
            observer: Some(Arc::new(TapObserver(Arc::clone(&tap)))),
            ..RunOptions::default()
        };
        RunningGraph::start(graph, Arc::new(registry), options)
            .unwrap()
            .wait();
        let news = opened.news();
        assert_eq!(news.len(), MOST_KEPT);
        let last = news.last().unwrap();
        assert_eq!((&*last.stream, last.sequence), ("door", 49));
        assert_eq!(last.carries, "a packet");
        assert!(opened.news().is_empty(), "they have been shown");
        drop(opened);
        assert!(tap.lock().is_empty() && !tap.is_wanted.load(Ordering::Relaxed));
    }
}
