//! Events of a run as a whole, for subscribers such as a page, a log or a controlling program.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::end::End;
use crate::lock::lock;
use crate::report::FaultReport;

/// Maximum number of events waiting for a subscriber; those that do not fit are counted as [`RunEvent::Missed`].
const MOST_WAITING: usize = 1024;

/// Something that happened to a run.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// Every node of the graph has been created, and its sources begin.
    Started,
    /// A stream that was added begins.
    StreamStarted {
        /// Its name.
        stream: String,
    },
    /// A stream has ended everywhere: every node's `stream_ended` has returned.
    StreamEnded {
        /// Its name.
        stream: String,
        /// How it ended, over all nodes.
        end: End,
    },
    /// A node has failed and will be rebuilt.
    Restarting {
        /// The node instance.
        node: String,
        /// Why.
        reason: String,
    },
    /// A node has been rebuilt.
    Restarted {
        /// The node instance.
        node: String,
    },
    /// A source has lost what it captures from.
    Lost {
        /// The node instance.
        node: String,
        /// Why.
        reason: String,
    },
    /// A source has its device again.
    Restored {
        /// The node instance.
        node: String,
    },
    /// All streams end now, and what is in flight is finished: a drain was requested, or something that all streams
    /// need has failed.
    Draining,
    /// The run ends at once, and what is in flight is abandoned.
    Stopping,
    /// Something went wrong.
    Faulted(FaultReport),
    /// The run is over.
    Ended,
    /// The subscriber was too slow and missed this many events.
    Missed(u64),
}

struct Subscriber {
    sender: flume::Sender<RunEvent>,
    missed: u64,
}

/// The subscribers of a run.
#[derive(Default)]
pub(crate) struct Events {
    subscribers: Mutex<Vec<Subscriber>>,
    /// Subscribers that must not miss the end of a stream.
    of_ends: Mutex<Vec<flume::Sender<(String, End)>>>,
    is_over: AtomicBool,
}

impl Events {
    /// Subscribes to events from now on. The receiver is disconnected once the run is over.
    pub(crate) fn subscribe(&self) -> flume::Receiver<RunEvent> {
        let (sender, receiver) = flume::bounded(MOST_WAITING);
        // Checked under the lock: `close` sets the flag before it takes the lock.
        let mut subscribers = lock(&self.subscribers);
        if !self.is_over.load(Ordering::Acquire) {
            subscribers.push(Subscriber { sender, missed: 0 });
        }
        drop(subscribers);
        receiver
    }

    /// Subscribes to the ends of streams from now on, none of which is missed, for callers that limit the number of
    /// open streams. The receiver is disconnected once the run is over.
    pub(crate) fn subscribe_to_ends(&self) -> flume::Receiver<(String, End)> {
        let (sender, receiver) = flume::unbounded();
        let mut of_ends = lock(&self.of_ends);
        if !self.is_over.load(Ordering::Acquire) {
            of_ends.push(sender);
        }
        drop(of_ends);
        receiver
    }

    /// Sends an event to all subscribers without waiting for any.
    pub(crate) fn publish(&self, event: &RunEvent) {
        if let RunEvent::StreamEnded { stream, end } = event {
            // A subscriber that is gone is removed.
            lock(&self.of_ends).retain(|sender| sender.send((stream.clone(), *end)).is_ok());
        }
        lock(&self.subscribers).retain_mut(|subscriber| subscriber.tell(event));
    }

    /// Publishes the end of the run and disconnects all subscribers.
    pub(crate) fn close(&self) {
        self.publish(&RunEvent::Ended);
        self.is_over.store(true, Ordering::Release);
        lock(&self.subscribers).clear();
        lock(&self.of_ends).clear();
    }
}

impl Subscriber {
    /// Sends an event; returns false if the subscriber is gone.
    fn tell(&mut self, event: &RunEvent) -> bool {
        if self.missed > 0 {
            match self.sender.try_send(RunEvent::Missed(self.missed)) {
                Ok(()) => self.missed = 0,
                Err(flume::TrySendError::Disconnected(_)) => return false,
                Err(flume::TrySendError::Full(_)) => {}
            }
        }
        if self.missed > 0 {
            self.missed += 1;
            return true;
        }
        match self.sender.try_send(event.clone()) {
            Ok(()) => true,
            Err(flume::TrySendError::Full(_)) => {
                self.missed = 1;
                true
            }
            Err(flume::TrySendError::Disconnected(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_subscriber_is_told_how_many_events_it_missed() {
        let events = Events::default();
        let slow = events.subscribe();
        for _ in 0..MOST_WAITING + 5 {
            events.publish(&RunEvent::Started);
        }
        assert_eq!(slow.drain().count(), MOST_WAITING);
        events.publish(&RunEvent::Started);
        assert!(matches!(slow.recv(), Ok(RunEvent::Missed(5))));
        assert!(matches!(slow.recv(), Ok(RunEvent::Started)));
        events.close();
        assert!(matches!(slow.recv(), Ok(RunEvent::Ended)));
        assert!(slow.recv().is_err(), "the run is over");
        assert!(events.subscribe().recv().is_err());
    }
}
