//! Forms batches: a `batch:` node holds packets until there are enough or they have waited long enough, for all streams
//! together or for each stream separately.

use crate::clock::nanoseconds;
use crate::graph::BatchSpec;
use crate::runtime::flow::Taken;

/// The reason why a batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushReason {
    Full = 0,
    Time = 1,
    End = 2,
}

/// The batches that a node is forming.
pub(crate) struct Batches {
    max: usize,
    /// `None`: batches close by count and at the end only.
    wait_ns: Option<u64>,
    each_stream: bool,
    /// One batch for each stream slot if streams have their own, else a single one.
    forming: Vec<Batch>,
}

/// Held packets, in the order in which they were taken.
#[derive(Default)]
struct Batch {
    held: Vec<Held>,
    weight: usize,
    oldest_ns: u64,
}

struct Held {
    taken: Taken,
    weight: usize,
}

impl Batches {
    /// Creates the batches of a node. Under `asap` they close by count and at the end only, so that they do not depend
    /// on timing.
    pub(crate) fn new(spec: &BatchSpec, asap: bool) -> Self {
        Self {
            max: spec.max,
            wait_ns: (!asap).then(|| nanoseconds(spec.wait)),
            each_stream: spec.each_stream,
            forming: Vec::new(),
        }
    }

    fn of(&mut self, slot: usize) -> &mut Batch {
        let index = if self.each_stream { slot } else { 0 };
        if index >= self.forming.len() {
            self.forming.resize_with(index + 1, Batch::default);
        }
        &mut self.forming[index]
    }

    pub(crate) fn are_empty(&self) -> bool {
        self.forming.iter().all(|batch| batch.held.is_empty())
    }

    /// Returns whether packets of a slot are held.
    pub(crate) fn holds(&self, slot: usize) -> bool {
        let mut held = self.forming.iter().flat_map(|batch| &batch.held);
        held.any(|held| held.taken.receipt.slot == slot)
    }

    /// Returns whether a packet of this weight would make its batch too large, so that the batch must be flushed first.
    pub(crate) fn must_flush_before(&mut self, slot: usize, weight: usize) -> bool {
        let max = self.max;
        let batch = self.of(slot);
        !batch.held.is_empty() && batch.weight.saturating_add(weight) > max
    }

    /// Holds a packet.
    pub(crate) fn hold(&mut self, taken: Taken, weight: usize, now_ns: u64) {
        let batch = self.of(taken.receipt.slot);
        if batch.held.is_empty() {
            batch.oldest_ns = now_ns;
        }
        batch.held.push(Held { taken, weight });
        batch.weight = batch.weight.saturating_add(weight);
    }

    /// Returns whether the batch of a slot is full, by weight or by number of packets.
    pub(crate) fn is_full(&mut self, slot: usize) -> bool {
        let max = self.max;
        self.of(slot).is_full(max)
    }

    /// Returns a slot of a batch that is to be flushed now, and why. `has_ended` returns whether a slot, or all slots
    /// for `None`, can receive nothing more.
    pub(crate) fn due(
        &self,
        now_ns: u64,
        has_ended: impl Fn(Option<usize>) -> bool,
    ) -> Option<(usize, FlushReason)> {
        let held = self.forming.iter().enumerate();
        let mut held = held.filter(|(_, batch)| !batch.held.is_empty());
        held.find_map(|(index, batch)| {
            let slot = self.each_stream.then_some(index);
            let reason = if batch.is_full(self.max) {
                FlushReason::Full
            } else if has_ended(slot) {
                FlushReason::End
            } else if self.due_ns(batch).is_some_and(|due_ns| due_ns <= now_ns) {
                FlushReason::Time
            } else {
                return None;
            };
            Some((index, reason))
        })
    }

    fn due_ns(&self, batch: &Batch) -> Option<u64> {
        let wait_ns = self.wait_ns?;
        Some(batch.oldest_ns.saturating_add(wait_ns))
    }

    /// Returns when the first batch will have waited long enough.
    pub(crate) fn first_due_ns(&self) -> Option<u64> {
        let held = self.forming.iter().filter(|batch| !batch.held.is_empty());
        held.filter_map(|batch| self.due_ns(batch)).min()
    }

    /// Removes the batch of a slot; returns its packets, its weight, and when its first packet was taken.
    pub(crate) fn flush(&mut self, slot: usize) -> (Vec<Taken>, usize, u64) {
        let batch = std::mem::take(self.of(slot));
        let (weight, oldest_ns) = (batch.weight, batch.oldest_ns);
        (batch.into_taken().collect(), weight, oldest_ns)
    }

    /// Removes the held packets of a slot.
    pub(crate) fn give_up_slot(&mut self, slot: usize) -> Vec<Taken> {
        let batch = self.of(slot);
        let held = batch
            .held
            .extract_if(.., |held| held.taken.receipt.slot == slot);
        let held: Vec<Held> = held.collect();
        batch.weight -= held.iter().map(|held| held.weight).sum::<usize>();
        held.into_iter().map(|held| held.taken).collect()
    }

    /// Removes all held packets.
    pub(crate) fn give_up(&mut self) -> Vec<Taken> {
        let forming = self.forming.iter_mut();
        forming
            .flat_map(|batch| std::mem::take(batch).into_taken())
            .collect()
    }
}

impl Batch {
    fn into_taken(self) -> impl Iterator<Item = Taken> {
        self.held.into_iter().map(|held| held.taken)
    }

    fn is_full(&self, max: usize) -> bool {
        self.weight >= max || self.held.len() >= max
    }
}
