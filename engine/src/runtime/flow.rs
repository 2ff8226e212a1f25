//! One stream at one node: its edges, the matching of joins, and its progress.
//!
//! Joins match by (stream, sequence) and know from marks alone that nothing more can come. The order of a stream is a
//! property of its flow; everything else may be reordered.

use std::sync::Arc;

use crate::end::{End, How};
use crate::input::Input;
use crate::observer::{Fate, PacketId};
use crate::packet::{AnyPayload, Envelope, Packet, Stream};
use crate::runtime::books::{FlowBooks, count};
use crate::runtime::call::{discard, discard_each};
use crate::runtime::edges::{EdgeId, Edges};
use crate::runtime::queued::END;

/// The result of polling the inputs.
pub(crate) enum Found {
    /// A packet, or a join's matched packets.
    Input(Taken),
    /// A join's set that lacks a required input; there may be more.
    Unmatched(Receipt),
    /// The packets of a join's set were dropped in the meantime; there may be more.
    Dropped,
    /// There is something, but the node must not take it: an edge that it feeds has no room.
    NoRoom,
    /// Nothing to handle now.
    Nothing,
    /// The stream has ended and has been taken completely.
    Ended,
}

/// The packets taken from a flow's inputs as one input of the actor.
pub(crate) struct Taken {
    pub(crate) receipt: Receipt,
    pub(crate) input: Input,
    pub(crate) queued_ns: u64,
    /// Whether it came from a ring that holds nothing more.
    pub(crate) is_last: bool,
    /// Whether a payload panicked when asked for its size.
    pub(crate) is_broken: bool,
}

/// Data needed to settle a packet after the actor has taken its payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) slot: usize,
    pub(crate) packet: PacketId,
    /// Bit n is set if input n had a packet.
    pub(crate) present: u64,
    pub(crate) captured_ns: u64,
}

impl Receipt {
    fn of(slot: usize, envelope: &Envelope, present: u64) -> Self {
        Self {
            slot,
            packet: PacketId::of(envelope),
            present,
            captured_ns: envelope.captured_ns,
        }
    }
}

/// The parts of a [`Flow`] when its stream begins at a node.
pub(crate) struct FlowSpec {
    pub(crate) books: Arc<FlowBooks>,
    pub(crate) inputs: Vec<EdgeId>,
    pub(crate) outputs: Vec<Vec<EdgeId>>,
    /// Bit n is set if a set without a packet on input n is unmatched.
    pub(crate) required: u64,
}

pub(crate) struct Flow {
    pub(crate) stream: Arc<Stream>,
    pub(crate) books: Arc<FlowBooks>,
    pub(crate) inputs: Vec<EdgeId>,
    pub(crate) outputs: Vec<Vec<EdgeId>>,
    /// Bit n is set for each output n.
    all_outputs: u64,
    /// Output edges that may be full.
    limits: Vec<EdgeId>,
    /// See [`FlowSpec::required`].
    pub(crate) required: u64,
    /// Sequence below which everything has been taken here or has ended upstream.
    pub(crate) position: u64,
    /// Sequence below which everything has been published or marked on the outputs.
    marked: u64,
    /// Number of packets held by a batch or an open call.
    pub(crate) held: usize,
    /// Whether packets had been lost on the way here when the actor ended the stream, if it did: those that still come
    /// count as finished.
    ended_early: Option<bool>,
    /// Whether the actor has been told that no more will come.
    pub(crate) is_told_of_its_ending: bool,
    /// Number of replicas that have been sent the stream's end and have not answered yet.
    pub(crate) untold: Option<usize>,
}

impl Flow {
    pub(crate) fn new(stream: Arc<Stream>, spec: FlowSpec, edges: &Edges) -> Self {
        let FlowSpec {
            books,
            inputs,
            outputs,
            required,
        } = spec;
        let feeds = outputs.iter().flatten().copied();
        Self {
            all_outputs: (0..outputs.len()).fold(0, |bits, output| bits | 1 << output),
            limits: feeds.filter(|&id| edges.get(id).can_be_full()).collect(),
            stream,
            books,
            inputs,
            outputs,
            required,
            position: 0,
            marked: 0,
            held: 0,
            ended_early: None,
            is_told_of_its_ending: false,
            untold: None,
        }
    }

    /// Returns whether every edge that the flow feeds has room.
    #[inline]
    pub(crate) fn has_room(&self, edges: &Edges) -> bool {
        self.limits.iter().all(|&id| edges.get(id).has_room())
    }

    /// Takes the next packet or, at a join, the packets of the next sequence. Takes only one sequence, since a node
    /// that serves streams strictly in turn must choose again after each.
    #[inline]
    pub(crate) fn take(
        &mut self,
        slot: usize,
        needs_room: bool,
        edges: &mut Edges,
        now_ns: u64,
    ) -> Found {
        // If nothing has come, room does not matter; a node with many streams mostly finds this case.
        if let [input] = self.inputs[..]
            && edges.get(input).mark() <= self.position
        {
            return self.nothing();
        }
        let may_take = !needs_room || self.has_room(edges);
        match self.inputs.len() {
            1 => self.take_single(slot, may_take, edges, now_ns),
            _ => self.take_matched(slot, may_take, edges, now_ns),
        }
    }

    fn take_matched(
        &mut self,
        slot: usize,
        may_take: bool,
        edges: &mut Edges,
        now_ns: u64,
    ) -> Found {
        let Some(sequence) = self.complete_sequence(edges, now_ns) else {
            return self.nothing();
        };
        if !may_take && self.has_required(sequence, edges, now_ns) {
            return Found::NoRoom;
        }
        self.position = sequence + 1;
        self.take_set(slot, sequence, edges, now_ns)
            .unwrap_or(Found::Dropped)
    }

    fn nothing(&self) -> Found {
        match self.position {
            END => Found::Ended,
            _ => Found::Nothing,
        }
    }

    #[inline]
    fn take_single(
        &mut self,
        slot: usize,
        may_take: bool,
        edges: &mut Edges,
        now_ns: u64,
    ) -> Found {
        let edge = edges.get_mut(self.inputs[0]);
        if !may_take {
            let mark = edge.mark();
            // A packet that waits for room stays in the queue, where it can age and be replaced by a newer one.
            if edge.has_packet() {
                return Found::NoRoom;
            }
            self.position = self.position.max(mark);
            return self.nothing();
        }
        let (queued, is_last) = match edge.receive(&self.books.ports[0], now_ns) {
            Ok(received) => received,
            Err(mark) => {
                self.position = self.position.max(mark);
                return self.nothing();
            }
        };
        let receipt = Receipt::of(slot, &queued.packet.envelope, 1);
        self.position = receipt.packet.sequence + 1;
        Found::Input(Taken {
            receipt,
            input: Input::single(queued.packet),
            queued_ns: queued.queued_ns,
            is_last,
            is_broken: queued.is_broken,
        })
    }

    /// Returns the next sequence that every input either has or is known to lack; advances the position past what has
    /// ended.
    fn complete_sequence(&mut self, edges: &mut Edges, now_ns: u64) -> Option<u64> {
        let mut lowest_head = END;
        let mut lowest_mark = END;
        for (port, &id) in self.inputs.iter().enumerate() {
            let edge = edges.get_mut(id);
            let mark = edge.mark();
            match edge.head(&self.books.ports[port], now_ns) {
                Some(sequence) => lowest_head = lowest_head.min(sequence),
                None => lowest_mark = lowest_mark.min(mark),
            }
        }
        self.position = self.position.max(lowest_head.min(lowest_mark));
        (lowest_head < lowest_mark).then_some(lowest_head)
    }

    /// Polls the inputs and returns the position, below which nothing can come any more, and whether the sequence there
    /// can be taken.
    pub(crate) fn settled_position(&mut self, edges: &mut Edges, now_ns: u64) -> (u64, bool) {
        let complete = self.complete_sequence(edges, now_ns);
        (self.position, complete.is_some())
    }

    fn has_required(&self, sequence: u64, edges: &mut Edges, now_ns: u64) -> bool {
        bits_of(self.required).all(|port| {
            let edge = edges.get_mut(self.inputs[port]);
            edge.head(&self.books.ports[port], now_ns) == Some(sequence)
        })
    }

    /// Takes the packets of a sequence.
    fn take_set(
        &mut self,
        slot: usize,
        sequence: u64,
        edges: &mut Edges,
        now_ns: u64,
    ) -> Option<Found> {
        let mut envelope: Option<Envelope> = None;
        let mut queued_ns = 0;
        let mut is_broken = false;
        let mut present = 0u64;
        let mut payloads: Vec<Option<AnyPayload>> = Vec::with_capacity(self.inputs.len());
        for (port, &id) in self.inputs.iter().enumerate() {
            let edge = edges.get_mut(id);
            let books = &self.books.ports[port];
            // A packet that arrived since `complete_sequence` has a higher sequence.
            let queued = match edge.head(books, now_ns) {
                Some(head) if head == sequence => edge.take(books),
                _ => None,
            };
            payloads.push(queued.map(|queued| {
                present |= 1 << port;
                queued_ns = queued_ns.max(queued.queued_ns);
                is_broken |= queued.is_broken;
                envelope = Some(queued.packet.envelope);
                queued.packet.payload
            }));
        }
        let envelope = envelope?;
        let receipt = Receipt::of(slot, &envelope, present);
        if present & self.required != self.required {
            discard_each(payloads);
            return Some(Found::Unmatched(receipt));
        }
        Some(Found::Input(Taken {
            receipt,
            input: Input::join(envelope, payloads),
            queued_ns,
            is_last: false,
            is_broken,
        }))
    }

    /// Counts the fate of a taken input on each of its ports.
    #[inline]
    pub(crate) fn settle(&self, present: u64, fate: Fate) {
        if present == 1 {
            // Iterating over the bits is not free, and most nodes have one input.
            return self.books.ports[0].settle(fate);
        }
        for port in bits_of(present) {
            self.books.ports[port].settle(fate);
        }
    }

    /// Publishes a packet on one output.
    #[inline(always)]
    pub(crate) fn publish(
        &mut self,
        output: usize,
        packet: Packet,
        bytes: Option<u64>,
        edges: &mut Edges,
        now_ns: u64,
    ) {
        match self.outputs[output].split_last() {
            Some((&last, others)) => {
                for &id in others {
                    edges.send(id, packet.clone(), bytes, now_ns);
                }
                edges.send(last, packet, bytes, now_ns);
            }
            None => discard(packet),
        }
    }

    /// Counts a packet as filtered on each output that it was not sent on (bit n of `sent` is output n), and marks
    /// these outputs.
    #[inline]
    pub(crate) fn filter_others(&mut self, sent: u64, sequence: u64, edges: &mut Edges) {
        for output in bits_of(self.all_outputs & !sent) {
            count(&self.books.filtered[output], 1);
            self.mark_output(output, sequence + 1, edges);
        }
    }

    /// Marks all sequences below `next` as ended on one output.
    pub(crate) fn mark_output(&mut self, output: usize, next: u64, edges: &mut Edges) {
        for &id in &self.outputs[output] {
            edges.advance(id, next);
        }
    }

    /// Marks everything below the position as ended on the outputs, unless packets are still held here.
    pub(crate) fn mark_outputs(&mut self, edges: &mut Edges) {
        // The end is sent when the flow is closed.
        if self.held == 0 && self.position > self.marked && self.position != END {
            self.marked = self.position;
            self.books.settle_below(self.marked);
            for output in 0..self.outputs.len() {
                self.mark_output(output, self.marked, edges);
            }
        }
    }

    /// Records that a sequence has been settled on all outputs.
    #[inline]
    pub(crate) fn published(&mut self, sequence: u64) {
        self.marked = self.marked.max(sequence + 1);
        self.books.settle_below(self.marked);
    }

    /// Returns how the stream ended at this node: the worst end of its inputs. Whether something was lost is decided by
    /// the first required input, since losses on another input show there as unmatched.
    pub(crate) fn end(&self, edges: &Edges) -> End {
        let ends = self.inputs.iter().map(|&id| edges.get(id).end());
        let how = match self.ended_early {
            Some(_) => How::Complete,
            None => ends.fold(End::default(), End::and).how,
        };
        let came_with_losses = self.ended_early;
        let came_with_losses = came_with_losses.unwrap_or_else(|| self.came_with_losses(edges));
        End {
            how,
            lost: came_with_losses || self.books.has_lost(self.first_required()),
        }
    }

    fn first_required(&self) -> usize {
        bits_of(self.required).next().unwrap_or(0)
    }

    /// Returns whether packets have been lost on the way here, as far as is known.
    fn came_with_losses(&self, edges: &Edges) -> bool {
        let input = self.inputs.get(self.first_required());
        input.is_some_and(|&id| edges.get(id).end().lost)
    }

    /// Ends the stream here as complete, as the actor asked: packets that are still on the way are not wanted. Returns
    /// false if it had ended before.
    pub(crate) fn end_early(&mut self, edges: &Edges) -> bool {
        if self.is_finished() {
            return false;
        }
        self.ended_early = Some(self.came_with_losses(edges));
        true
    }

    /// Returns whether the actor has ended the stream itself.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.ended_early.is_some()
    }

    /// Empties the inputs when the run is stopped. Packets in rings are counted as abandoned by their edge; for each
    /// packet from a channel a receipt is returned.
    pub(crate) fn abandon(&mut self, slot: usize, edges: &mut Edges, now_ns: u64) -> Vec<Receipt> {
        let mut given_up = Vec::new();
        for (port, &id) in self.inputs.iter().enumerate() {
            let books = &self.books.ports[port];
            let edge = edges.get_mut(id);
            edge.abandon();
            while edge.head(books, now_ns).is_some() {
                let Some(queued) = edge.take(books) else {
                    break;
                };
                given_up.push(Receipt::of(slot, &queued.packet.envelope, 1 << port));
                discard(queued);
            }
        }
        given_up
    }
}

/// Returns the numbers in a bit set.
pub(crate) fn bits_of(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(lowest)
    })
}
