//! What a receiving end lets the server remember before it acknowledges. Acknowledged packets are gone from the server,
//! so a restarted end would wait for those that were not recorded as settled.
//!
//! One message is under way at a time, with a pause between two: each costs a sync of the server's disk, which packets
//! need too. What is settled meanwhile goes with the next one. This module decides what waits for what; messages are
//! sent elsewhere.

use async_nats::Subject;

use crate::claim::Claim;
use crate::edge::wire::SettledMessage;

/// Least time between the starts of two messages. What a dead end had settled since its last message comes again.
const PAUSE_MS: u64 = 50;

/// See the module documentation.
pub(crate) struct Memory {
    claim: Claim,
    /// Time from which the next message may be sent.
    due_ms: u64,
    under_way: Option<Batch>,
    next: Batch,
}

/// Progress to remember, and the deliveries that may be acknowledged once it is.
#[derive(Default)]
struct Batch {
    settled: Option<SettledMessage>,
    deliveries: Vec<Subject>,
}

impl Memory {
    pub(crate) fn new(claim: Claim) -> Self {
        Self {
            claim,
            due_ms: 0,
            under_way: None,
            next: Batch::default(),
        }
    }

    pub(crate) fn claim(&self) -> Claim {
        self.claim
    }

    /// Schedules progress to be remembered. Each such message includes all earlier ones.
    pub(crate) fn remember(&mut self, settled: SettledMessage) {
        self.next.settled = Some(settled);
    }

    /// Schedules a delivery to be acknowledged once the progress scheduled before it is remembered. Returns the
    /// delivery if that is already so.
    pub(crate) fn acknowledge(&mut self, delivery: Subject) -> Option<Subject> {
        match (&self.next.settled, &mut self.under_way) {
            (Some(_), _) => self.next.deliveries.push(delivery),
            (None, Some(under_way)) => under_way.deliveries.push(delivery),
            (None, None) => return Some(delivery),
        }
        None
    }

    /// Returns when there will be something to send; none if there is nothing, or something is under way.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let is_next = self.under_way.is_none() && self.next.settled.is_some();
        is_next.then_some(self.due_ms)
    }

    /// Returns what to send now, if anything, which is then under way.
    pub(crate) fn begin(&mut self, now_ms: u64) -> Option<SettledMessage> {
        if self.under_way.is_some() || now_ms < self.due_ms {
            return None;
        }
        let settled = self.next.settled?;
        self.due_ms = now_ms.saturating_add(PAUSE_MS);
        self.under_way = Some(std::mem::take(&mut self.next));
        Some(settled)
    }

    /// Records that what was under way is remembered. Returns the deliveries that may be acknowledged now.
    pub(crate) fn remembered(&mut self, claim: Claim) -> Vec<Subject> {
        self.claim = claim;
        self.under_way.take().unwrap_or_default().deliveries
    }

    /// Schedules what was under way again, to go with the next message, since its fate is unknown.
    pub(crate) fn failed(&mut self) {
        if let Some(Batch {
            settled,
            mut deliveries,
        }) = self.under_way.take()
        {
            self.next.settled = self.next.settled.or(settled);
            deliveries.append(&mut self.next.deliveries);
            self.next.deliveries = deliveries;
        }
    }

    /// Handles a server without room to remember what was under way, which gets none before something is acknowledged:
    /// returns the oldest delivery, to be acknowledged ahead of that. Its packet is settled here; only an end that
    /// replaces this one before the next message is remembered would take it, and others acknowledged early since the
    /// last message, for missing.
    pub(crate) fn has_no_room(&mut self) -> Option<Subject> {
        let under_way = self.under_way.as_mut()?;
        let ahead = (!under_way.deliveries.is_empty()).then(|| under_way.deliveries.remove(0));
        if ahead.is_some() {
            // The next message should go before anybody else takes the room that this frees.
            self.due_ms = 0;
        }
        self.failed();
        ahead
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.next.settled.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(next: u64) -> SettledMessage {
        SettledMessage {
            next,
            ..SettledMessage::default()
        }
    }

    fn names(deliveries: Vec<Subject>) -> Vec<String> {
        let deliveries = deliveries.into_iter();
        deliveries.map(|delivery| delivery.to_string()).collect()
    }

    #[test]
    fn what_is_acknowledged_has_been_remembered() {
        let mut memory = Memory::new(Claim::default());
        assert_eq!(memory.acknowledge("again".into()), Some("again".into()));
        memory.remember(below(1));
        assert_eq!(memory.acknowledge("a".into()), None);
        assert_eq!(memory.begin(0), Some(below(1)));
        memory.remember(below(2));
        memory.remember(below(3));
        assert_eq!(memory.acknowledge("b".into()), None);
        assert_eq!((memory.begin(99), memory.wake_at()), (None, None));
        assert_eq!(names(memory.remembered(Claim::default())), ["a"]);
        assert!(!memory.is_idle());
        assert_eq!(memory.begin(99), Some(below(3)));
        // Its fate is unknown: it is sent again, and both deliveries wait for that.
        memory.failed();
        memory.remember(below(4));
        assert_eq!(memory.acknowledge("c".into()), None);
        assert_eq!(memory.begin(999), Some(below(4)));
        assert_eq!(names(memory.remembered(Claim::default())), ["b", "c"]);
        assert!(memory.is_idle());
    }

    #[test]
    fn where_there_is_no_room_to_remember_the_oldest_makes_some() {
        let mut memory = Memory::new(Claim::default());
        assert_eq!(memory.has_no_room(), None);
        memory.remember(below(2));
        memory.acknowledge("a".into());
        memory.acknowledge("b".into());
        memory.begin(0);
        memory.remember(below(3));
        memory.acknowledge("c".into());
        assert_eq!(memory.has_no_room(), Some("a".into()));
        assert_eq!(memory.begin(1), Some(below(3)));
        assert_eq!(memory.has_no_room(), Some("b".into()));
        assert_eq!(memory.begin(1), Some(below(3)));
        assert_eq!(names(memory.remembered(Claim::default())), ["c"]);
    }

    #[test]
    fn a_newer_one_is_not_replaced_by_one_that_failed() {
        let mut memory = Memory::new(Claim::default());
        memory.remember(below(1));
        memory.begin(0);
        memory.remember(below(2));
        memory.failed();
        assert_eq!(memory.begin(99), Some(below(2)));
    }

    #[test]
    fn what_is_settled_within_a_pause_goes_together() {
        let mut memory = Memory::new(Claim::default());
        memory.remember(below(1));
        assert_eq!(memory.begin(7), Some(below(1)));
        memory.remembered(Claim::default());
        assert_eq!(memory.wake_at(), None);
        for next in [2, 3] {
            memory.remember(below(next));
            assert_eq!(memory.acknowledge("a".into()), None);
            assert_eq!(memory.begin(6 + next), None);
        }
        let due_ms = memory.wake_at().expect("something waits");
        assert_eq!(memory.begin(due_ms), Some(below(3)));
        assert_eq!(names(memory.remembered(Claim::default())), ["a", "a"]);
    }
}
