//! The events of the run, newest last, and how streams have ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use fermata_engine::graph::redact;
use fermata_engine::{End, How, InstanceName, RunEvent};
use serde::Serialize;

use crate::lock::lock;

/// Maximum number of entries kept.
const MOST_ENTRIES: usize = 200;
/// Maximum number of ended streams kept.
const MOST_OVER: usize = 64;

/// An event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// Number of the entry, from 1.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) at_s: f64,
    /// `started`, `ended`, `restarted`, `lost`, `restored`, `draining`, `stopping`, `fault`, `missed`, `asked`.
    pub(crate) kind: &'static str,
    /// Description.
    pub(crate) text: String,
}

/// A stream that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Over {
    pub(crate) how: How,
    /// Description.
    pub(crate) reason: String,
    /// The stream that took its place.
    pub(crate) reopened_as: Option<String>,
    /// Number of the entry.
    number: u64,
}

/// The events of a run.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    number: u64,
    entries: VecDeque<Entry>,
    over: BTreeMap<String, Over>,
    /// The last problem of each instance, until it is resolved.
    wrong: BTreeMap<String, String>,
    /// The newest fault, with its place.
    last_fault: Option<String>,
    /// Streams to be reopened that have not ended yet, and those that replace them.
    reopened: BTreeMap<String, String>,
}

impl Journal {
    /// Adds an event.
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
            RunEvent::Restarting { node, reason } => {
                entries.wrong.insert(node.clone(), redact(reason));
            }
            RunEvent::Restarted { node } => {
                let reason = entries.wrong.remove(node);
                let reason = reason.map(|reason| format!(", because it failed: {reason}"));
                let text = format!("{node} was restarted{}", reason.unwrap_or_default());
                entries.add("restarted", text);
            }
            RunEvent::Lost { node, reason } => {
                let reason = redact(reason);
                entries.add("lost", format!("{node} has lost its source: {reason}"));
                entries.wrong.insert(node.clone(), reason);
            }
            RunEvent::Restored { node } => {
                entries.wrong.remove(node);
                entries.add("restored", format!("{node} has its source again"));
            }
            RunEvent::Faulted(fault) => {
                let message = redact(&fault.message);
                let place = fault.node.as_deref().map(|node| format!("{node}: "));
                let text = format!("{}{message}", place.unwrap_or_default());
                entries.last_fault = Some(text.clone());
                entries.add("fault", text);
                if let Some(node) = &fault.node {
                    entries.wrong.insert(node.clone(), message);
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

    /// Adds a request from the page.
    pub(crate) fn asked(&self, text: String) {
        self.lock().add("asked", text);
    }

    /// Adds that a stream was reopened: its end is not a loss, since it continues under another name.
    pub(crate) fn reopened(&self, stream: &str, as_stream: &str) {
        let mut entries = self.lock();
        let text = format!("the page opens stream {stream} again, as {as_stream}");
        entries.add("asked", text);
        match entries.over.get_mut(stream) {
            Some(over) => over.goes_on_as(as_stream),
            None => drop(
                entries
                    .reopened
                    .insert(stream.to_owned(), as_stream.to_owned()),
            ),
        }
    }

    /// Returns the newest fault, with its place.
    pub(crate) fn last_fault(&self) -> Option<String> {
        self.lock().last_fault.clone()
    }

    /// Returns the entries after a number.
    pub(crate) fn after(&self, number: u64) -> Vec<Entry> {
        let entries = self.lock();
        let later = entries.entries.iter().filter(|entry| entry.number > number);
        later.cloned().collect()
    }

    /// Returns the streams that have ended, with how and why.
    pub(crate) fn over(&self) -> BTreeMap<String, Over> {
        self.lock().over.clone()
    }

    /// Returns whether a stream has ended; of those that ended long ago it is no longer known.
    pub(crate) fn is_over(&self, stream: &str) -> bool {
        self.lock().over.contains_key(stream)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.0)
    }
}

impl Over {
    fn goes_on_as(&mut self, stream: &str) {
        self.reason = format!("it was opened again, as {stream}");
        self.reopened_as = Some(stream.to_owned());
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
        let words = match (end.how, end.lost) {
            (How::Complete, false) => "its source came to its end",
            (How::Complete, true) => {
                "its source came to its end; some of it was dropped or lost on the way"
            }
            (How::Drained, false) => "it was asked to end, and what had been captured went through",
            (How::Drained, true) => {
                "it was asked to end; some of what had been captured was dropped or lost on the way"
            }
            (How::Failed, _) => "it failed",
            (How::Stopped, _) => "it was stopped, and what was in flight was given up",
        };
        let mut reason = words.to_owned();
        let of_stream = |instance: &str| InstanceName::parse(instance).stream == Some(stream);
        let own = self.wrong.iter().filter(|(name, _)| of_stream(name));
        let wrong: Vec<String> = own.map(|(name, why)| format!("{name}: {why}")).collect();
        if end.how != How::Complete && !wrong.is_empty() {
            reason.push_str(&format!(" ({})", wrong.join("; ")));
        }
        if end.how == How::Failed && end.lost {
            reason.push_str("; some of it was dropped or lost on the way");
        }
        self.wrong.retain(|name, _| !of_stream(name));
        let mut over = Over {
            how: end.how,
            reason,
            reopened_as: None,
            number: self.number + 1,
        };
        if let Some(as_stream) = self.reopened.remove(stream) {
            over.goes_on_as(&as_stream);
        }
        self.add("ended", format!("stream {stream} is over: {}", over.reason));
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
            "it failed (capture@door: cannot open rtsp://***@door/); some of it was dropped or lost on the way"
        );
        let entries = journal.after(1);
        assert_eq!((entries.len(), entries[0].kind), (1, "ended"));
        journal.event(&RunEvent::StreamStarted {
            stream: "door".to_owned(),
        });
        assert!(journal.over().is_empty());
    }

    /// Returns the kinds and texts of the entries for events.
    fn told(events: &[RunEvent]) -> Vec<(&'static str, String)> {
        let journal = Journal::default();
        events.iter().for_each(|event| journal.event(event));
        let entries = journal.after(0).into_iter();
        entries.map(|entry| (entry.kind, entry.text)).collect()
    }

    #[test]
    fn what_is_lost_comes_back_or_is_built_anew_is_told_with_its_reason() {
        let node = "capture@door".to_owned();
        let lost = RunEvent::Lost {
            node: node.clone(),
            reason: "cannot open rtsp://me:pw@door/".to_owned(),
        };
        let restored = RunEvent::Restored { node: node.clone() };
        let restarting = RunEvent::Restarting {
            node: node.clone(),
            reason: "panicked: at 7".to_owned(),
        };
        let restarted = RunEvent::Restarted { node };
        let ended = RunEvent::StreamEnded {
            stream: "door".to_owned(),
            end: End {
                how: How::Drained,
                lost: true,
            },
        };
        let text = |kind, text: &str| (kind, text.to_owned());
        assert_eq!(
            told(&[lost, restored, restarting, restarted, ended]),
            [
                text(
                    "lost",
                    "capture@door has lost its source: cannot open rtsp://***@door/"
                ),
                text("restored", "capture@door has its source again"),
                text(
                    "restarted",
                    "capture@door was restarted, because it failed: panicked: at 7"
                ),
                // A resolved problem is no longer a reason.
                text(
                    "ended",
                    "stream door is over: it was asked to end; some of what had been captured was dropped or lost on the way"
                ),
            ]
        );
    }

    #[test]
    fn a_stream_that_is_opened_again_goes_on_under_another_name() {
        for ends_first in [false, true] {
            let journal = Journal::default();
            let ended = RunEvent::StreamEnded {
                stream: "door".to_owned(),
                end: End::default(),
            };
            if ends_first {
                journal.event(&ended);
            }
            journal.reopened("door", "door.2");
            if !ends_first {
                journal.event(&ended);
            }
            let over = &journal.over()["door"];
            assert_eq!(over.reopened_as.as_deref(), Some("door.2"));
            assert_eq!(over.reason, "it was opened again, as door.2");
        }
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
