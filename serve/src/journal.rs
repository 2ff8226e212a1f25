//! What has happened to the run, newest last, and how streams have ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use fermata_engine::graph::redact;
use fermata_engine::{End, How, RunEvent};
use serde::Serialize;

/// Entries that are kept.
const MOST_ENTRIES: usize = 200;
/// Streams that have ended and are still shown.
const MOST_OVER: usize = 64;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// Counts from 1.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) at_s: f64,
    /// `started`, `ended`, `restarted`, `lost`, `restored`, `draining`, `stopping`, `fault`, `missed`, `asked`.
    pub(crate) kind: &'static str,
    /// In words.
    pub(crate) text: String,
}

/// A stream that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Over {
    pub(crate) how: How,
    /// In words.
    pub(crate) reason: String,
    /// Number of the entry.
    number: u64,
}

/// What has happened.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    number: u64,
    entries: VecDeque<Entry>,
    over: BTreeMap<String, Over>,
    /// The last fault of each instance.
    faults: BTreeMap<String, String>,
}

impl Journal {
    /// Adds what an event says.
    pub(crate) fn event(&self, event: &RunEvent) {
        let mut entries = self.lock();
        match event {
            RunEvent::Started => {
                entries.add("started", "every node is there; sources begin".to_owned())
            }
            RunEvent::StreamStarted { stream } => {
                entries.over.remove(stream);
                entries.add("started", format!("stream {stream} begins"));
            }
            RunEvent::StreamEnded { stream, end } => entries.stream_ended(stream, *end),
            RunEvent::Restarted { node } => {
                entries.add("restarted", format!("{node} was built anew"))
            }
            RunEvent::Lost { node, reason } => {
                let reason = redact(reason);
                entries.add("lost", format!("{node} has lost its source: {reason}"));
                entries.faults.insert(node.clone(), reason);
            }
            RunEvent::Restored { node } => {
                entries.faults.remove(node);
                entries.add("restored", format!("{node} has its source again"));
            }
            RunEvent::Faulted(fault) => {
                let message = redact(&fault.message);
                let place = fault.node.as_deref().map(|node| format!("{node}: "));
                entries.add("fault", format!("{}{message}", place.unwrap_or_default()));
                if let Some(node) = &fault.node {
                    entries.faults.insert(node.clone(), message);
                }
            }
            RunEvent::Draining => entries.add(
                "draining",
                "the run drains: streams end, and what is in flight is finished".to_owned(),
            ),
            RunEvent::Stopping => entries.add(
                "stopping",
                "the run stops: what is in flight is given up".to_owned(),
            ),
            RunEvent::Ended => entries.add("ended", "the run is over".to_owned()),
            RunEvent::Missed(events) => {
                entries.add(
                    "missed",
                    format!("{events} events came too fast to be listed"),
                );
            }
        }
    }

    /// Adds what somebody asked for on the page.
    pub(crate) fn asked(&self, text: String) {
        self.lock().add("asked", text);
    }

    /// Entries after a number.
    pub(crate) fn after(&self, number: u64) -> Vec<Entry> {
        let entries = self.lock();
        let later = entries.entries.iter().filter(|entry| entry.number > number);
        later.cloned().collect()
    }

    /// The streams that have ended, with how and why.
    pub(crate) fn over(&self) -> BTreeMap<String, Over> {
        self.lock().over.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn add(&mut self, kind: &'static str, text: String) {
        self.number += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.entries.push_back(Entry {
            number: self.number,
            at_s: now.map_or(0.0, |now| now.as_secs_f64()),
            kind,
            text,
        });
        if self.entries.len() > MOST_ENTRIES {
            self.entries.pop_front();
        }
    }

    fn stream_ended(&mut self, stream: &str, end: End) {
        let words = match end.how {
            How::Complete => "its source came to its end",
            How::Drained => "it was asked to end, and what had been captured went through",
            How::Failed => "it failed",
            How::Stopped => "it was stopped, and what was in flight was given up",
        };
        let mut reason = words.to_owned();
        let own = self.faults.iter().filter(|(instance, _)| {
            let of = instance.split_once('@').map(|(_, of)| of);
            of == Some(stream)
        });
        let faults: Vec<String> = own
            .map(|(instance, fault)| format!("{instance}: {fault}"))
            .collect();
        if end.how != How::Complete && !faults.is_empty() {
            reason.push_str(&format!(" ({})", faults.join("; ")));
        }
        if end.lost {
            reason.push_str("; some of it was lost on the way");
        }
        self.faults.retain(|instance, _| {
            let of = instance.split_once('@').map(|(_, of)| of);
            of != Some(stream)
        });
        self.add("ended", format!("stream {stream} is over: {reason}"));
        let over = Over {
            how: end.how,
            reason,
            number: self.number,
        };
        self.over.insert(stream.to_owned(), over);
        if self.over.len() > MOST_OVER {
            let oldest = self.over.iter().min_by_key(|(_, over)| over.number);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.over.remove(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use fermata_engine::report::FaultReport;

    use super::*;

    #[test]
    fn a_stream_that_failed_says_why_and_without_credentials() {
        let journal = Journal::default();
        journal.event(&RunEvent::Faulted(FaultReport {
            node: Some("capture@door".to_owned()),
            message: "cannot open rtsp://me:pw@door/".to_owned(),
        }));
        journal.event(&RunEvent::StreamEnded {
            stream: "door".to_owned(),
            end: End {
                how: How::Failed,
                lost: true,
            },
        });
        let over = &journal.over()["door"];
        assert_eq!(over.how, How::Failed);
        assert_eq!(
            over.reason,
            "it failed (capture@door: cannot open rtsp://***@door/); some of it was lost on the way"
        );
        let entries = journal.after(1);
        assert_eq!((entries.len(), entries[0].kind), (1, "ended"));
        journal.event(&RunEvent::StreamStarted {
            stream: "door".to_owned(),
        });
        assert!(journal.over().is_empty());
    }

    #[test]
    fn neither_entries_nor_streams_grow_without_end() {
        let journal = Journal::default();
        for number in 0..1000 {
            journal.event(&RunEvent::StreamEnded {
                stream: format!("unit-{number}"),
                end: End::default(),
            });
        }
        assert_eq!(journal.after(0).len(), MOST_ENTRIES);
        assert_eq!(journal.after(999).len(), 1);
        let over = journal.over();
        assert_eq!(over.len(), MOST_OVER);
        assert!(over.contains_key("unit-999") && !over.contains_key("unit-0"));
    }
}
