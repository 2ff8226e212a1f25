//! The newest frame of each stream, handed from the actor that draws to a page that shows it.
//!
//! A hub holds one frame per stream and never waits: a newer frame replaces the last. A viewer asks for the next frame
//! of a stream ([`FrameHub::ask`]); only then is a thread woken, so that a frame without viewers costs no more than
//! exchanging a pointer.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::face::{Expression, Probabilities, Rect};
use crate::frame::Frame;
use crate::lock::lock;

/// A frame as drawn, with what is known about its faces.
#[derive(Clone, Debug)]
pub struct ShownFrame {
    /// The picture.
    pub frame: Frame,
    /// Its faces.
    pub faces: Vec<ShownFace>,
    /// Sequence number in the stream.
    pub sequence: u64,
    /// Presentation time stamp, in nanoseconds.
    pub pts_ns: i64,
}

/// What a page shows about a face.
#[derive(Clone, Debug)]
pub struct ShownFace {
    /// Its track, if it is tracked.
    pub track: Option<u64>,
    /// Its position, in pixels of the frame.
    pub rect: Rect,
    /// Its expression, smoothed if there is smoothing.
    pub label: Option<Expression>,
    /// Probabilities behind the label.
    pub probabilities: Option<Probabilities>,
}

/// The newest frame of each stream.
pub struct FrameHub {
    node: String,
    streams: Mutex<Streams>,
    asked: Condvar,
}

#[derive(Default)]
struct Streams {
    slots: BTreeMap<String, Slot>,
    /// The stream that was served last; others are served before it again.
    last: String,
}

#[derive(Default)]
struct Slot {
    newest: Option<ShownFrame>,
    /// Number of frames published so far.
    number: u64,
    /// Number of the frame that was taken last.
    taken: u64,
    is_asked_for: bool,
}

impl Slot {
    fn is_due(&self) -> bool {
        self.is_asked_for && self.number > self.taken && self.newest.is_some()
    }
}

impl FrameHub {
    /// Creates a hub for the frames that one node of the graph draws.
    pub fn of_node(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            streams: Mutex::default(),
            asked: Condvar::new(),
        }
    }

    /// Returns whether a node instance (`draw`, `draw@lobby`) is the one whose frames are shown.
    pub fn is_of(&self, instance: &str) -> bool {
        instance.split('@').next() == Some(&*self.node)
    }

    /// Replaces the stream's frame by a newer one. Never waits for viewers.
    pub fn publish(&self, stream: &str, shown: ShownFrame) {
        let mut streams = self.lock();
        let slot = streams.slots.entry(stream.to_owned()).or_default();
        slot.number += 1;
        let last = slot.newest.replace(shown);
        let is_due = slot.is_due();
        drop(streams);
        if is_due {
            self.asked.notify_all();
        }
        // The pixels of the replaced frame return to their pool outside the lock.
        drop(last);
    }

    /// Removes the frame of a stream that has ended.
    pub fn end(&self, stream: &str) {
        let ended = self.lock().slots.remove(stream);
        drop(ended);
    }

    /// Requests the next frame of a stream: the newest if it has not been taken yet, otherwise the next one published.
    /// Does nothing before the first frame of the stream; a request ends with its stream, so viewers must ask again.
    pub fn ask(&self, stream: &str) {
        let mut streams = self.lock();
        let Some(slot) = streams.slots.get_mut(stream) else {
            return;
        };
        slot.is_asked_for = true;
        let is_due = slot.is_due();
        drop(streams);
        if is_due {
            self.asked.notify_all();
        }
    }

    /// Returns the number of the stream's newest frame; 0 before the first.
    pub fn number(&self, stream: &str) -> u64 {
        self.lock().slots.get(stream).map_or(0, |slot| slot.number)
    }

    /// Waits for a requested frame and takes it: the stream, the frame's number, the frame. Streams take turns. Returns
    /// `None` if there is none within `most`.
    pub fn next_asked(&self, most: Duration) -> Option<(String, u64, ShownFrame)> {
        let is_idle = |streams: &mut Streams| !streams.slots.values().any(Slot::is_due);
        let waited = self.asked.wait_timeout_while(self.lock(), most, is_idle);
        let mut streams = waited.unwrap_or_else(PoisonError::into_inner).0;
        let after_last = (Bound::Excluded(&streams.last), Bound::Unbounded);
        let behind = streams.slots.range::<String, _>(after_last);
        let mut in_turn = behind.chain(streams.slots.iter());
        let stream = in_turn.find(|(_, slot)| slot.is_due())?.0.clone();
        streams.last.clone_from(&stream);
        let slot = streams.slots.get_mut(&stream)?;
        slot.is_asked_for = false;
        slot.taken = slot.number;
        let frame = slot.newest.clone()?;
        Some((stream, slot.number, frame))
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sequence: u64) -> ShownFrame {
        ShownFrame {
            frame: Frame::from_bgr(1, 1, vec![0; 3]),
            faces: Vec::new(),
            sequence,
            pts_ns: 0,
        }
    }

    fn taken(hub: &FrameHub) -> Option<(String, u64)> {
        let (stream, _, shown) = hub.next_asked(Duration::ZERO)?;
        Some((stream, shown.sequence))
    }

    #[test]
    fn only_the_newest_frame_is_given_and_only_to_who_asks() {
        let hub = FrameHub::of_node("draw");
        hub.publish("door", shown(0));
        hub.publish("door", shown(1));
        assert_eq!(taken(&hub), None);
        hub.ask("door");
        assert_eq!(taken(&hub), Some(("door".to_owned(), 1)));
        hub.ask("door");
        assert_eq!(taken(&hub), None, "it has been taken");
        hub.publish("door", shown(2));
        assert_eq!(taken(&hub), Some(("door".to_owned(), 2)));
        hub.publish("door", shown(3));
        assert_eq!(taken(&hub), None, "nobody has asked again");
        assert_eq!(hub.number("door"), 4);
    }

    #[test]
    fn streams_take_turns() {
        let hub = FrameHub::of_node("draw");
        let mut order = Vec::new();
        for sequence in 0..3 {
            for stream in ["a", "b", "c"] {
                hub.publish(stream, shown(sequence));
                hub.ask(stream);
            }
            order.extend(taken(&hub).map(|(stream, _)| stream));
        }
        assert_eq!(order, ["a", "b", "c"]);
    }

    #[test]
    fn a_stream_that_has_ended_is_shown_no_longer() {
        let hub = FrameHub::of_node("draw");
        hub.publish("door", shown(0));
        hub.ask("door");
        hub.end("door");
        hub.ask("door");
        assert_eq!(taken(&hub), None);
        assert_eq!(hub.number("door"), 0);
        assert!(hub.lock().slots.is_empty());
    }

    #[test]
    fn who_waits_is_woken_by_the_frame_that_comes() {
        let hub = FrameHub::of_node("draw");
        hub.publish("door", shown(6));
        hub.ask("door");
        assert_eq!(taken(&hub), Some(("door".to_owned(), 6)));
        hub.ask("door");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| hub.next_asked(Duration::from_secs(60)));
            hub.publish("door", shown(7));
            let (stream, number, frame) = waiting.join().unwrap().unwrap();
            assert_eq!((&*stream, number, frame.sequence), ("door", 2, 7));
        });
    }

    #[test]
    fn the_instances_of_a_node_are_known_by_its_name() {
        let hub = FrameHub::of_node("draw");
        assert!(hub.is_of("draw") && hub.is_of("draw@lobby"));
        assert!(!hub.is_of("draw2@lobby") && !hub.is_of("blur"));
    }
}
