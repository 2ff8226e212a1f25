//! One stream inside one node: what comes in on each input, what is matched, and what waits to go out.
//!
//! Owns the matching of joins by (stream, sequence) and the order of everything that a node publishes for a stream.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::actor::Input;
use crate::packet::{AnyPayload, Envelope, Packet, Stream};
use crate::runtime::books::{FlowBooks, count, uncount};
use crate::runtime::intake::Intake;
use crate::runtime::link::{END, HANDED_OVER, Link, LinkBooks, Queued};

/// Where an output's packets go.
#[derive(Clone)]
pub(crate) enum Outlet {
    Link(Arc<Link>),
    Lane {
        node: usize,
        port: usize,
        books: Arc<LinkBooks>,
    },
}

/// Something handed from node to node inside a lane.
pub(crate) struct HandOver {
    pub(crate) node: usize,
    pub(crate) port: usize,
    pub(crate) slot: usize,
    pub(crate) item: HandedOver,
}

pub(crate) enum HandedOver {
    Packet(Queued),
    Mark(u64),
}

/// What could not be published yet, in order.
enum Pending {
    Packet(Arc<Link>, Packet),
    Mark(Arc<Link>, u64),
}

impl Pending {
    fn link(&self) -> &Arc<Link> {
        match self {
            Self::Packet(link, _) | Self::Mark(link, _) => link,
        }
    }
}

/// What a look at the inputs found.
pub(crate) enum Found {
    /// A packet, or a join's matched packets.
    Input(Taken),
    /// A join's set that lacked a required input has been settled; there may be more.
    Unmatched,
    /// Nothing to handle now.
    Nothing,
    /// The stream has ended and everything of it has been taken.
    Ended,
}

/// Packets taken from a flow's inputs as one input of the actor.
pub(crate) struct Taken {
    pub(crate) slot: usize,
    pub(crate) input: Input,
    /// Bit n is set if input n has a packet.
    pub(crate) present: u64,
    pub(crate) queued_ns: u64,
}

impl Taken {
    /// The packet of a node with one input.
    fn alone(slot: usize, queued: Queued) -> Self {
        let Packet { envelope, payload } = queued.packet;
        Self {
            slot,
            input: Input {
                envelope,
                first: Some(payload),
                rest: Vec::new(),
            },
            present: 1,
            queued_ns: queued.queued_ns,
        }
    }
}

pub(crate) struct Flow {
    pub(crate) stream: Arc<Stream>,
    pub(crate) books: Arc<FlowBooks>,
    pub(crate) intakes: Vec<Intake>,
    pub(crate) outlets: Vec<Vec<Outlet>>,
    /// Bit n is set if a set without a packet on input n is unmatched.
    pub(crate) required: u64,
    /// All sequences below have been taken here or have ended upstream.
    pub(crate) position: u64,
    /// All sequences below have been published or have been marked on the outputs.
    marked: u64,
    /// Packets that a batch or a replica holds.
    pub(crate) held: usize,
    pending: VecDeque<Pending>,
}

impl Flow {
    pub(crate) fn new(
        stream: Arc<Stream>,
        books: Arc<FlowBooks>,
        intakes: Vec<Intake>,
        outlets: Vec<Vec<Outlet>>,
        required: u64,
    ) -> Self {
        Self {
            stream,
            books,
            intakes,
            outlets,
            required,
            position: 0,
            marked: 0,
            held: 0,
            pending: VecDeque::new(),
        }
    }

    /// True if something waits for room in a queue; the flow takes nothing until it is gone.
    pub(crate) fn is_suspended(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes the next packet, or at a join what there is of the next sequence: one sequence and no more, since a node that
    /// serves streams strictly in turn must choose again after each.
    pub(crate) fn take(&mut self, slot: usize, now_ns: u64) -> Found {
        if self.intakes.len() == 1 {
            return self.take_single(slot, now_ns);
        }
        let Some(sequence) = self.complete_sequence(now_ns) else {
            return if self.position == END {
                Found::Ended
            } else {
                Found::Nothing
            };
        };
        self.position = sequence + 1;
        match self.take_set(slot, sequence) {
            Some(taken) => Found::Input(taken),
            None => Found::Unmatched,
        }
    }

    /// The sequence of the packet at the head of an input, if there is one. A packet becomes the flow's, in its books too,
    /// when it gets to the head of a queue or is handed over.
    fn head(&mut self, port: usize, now_ns: u64) -> Option<u64> {
        let head = match &mut self.intakes[port] {
            Intake::Link { link, head, seen } => {
                let mark = link.next();
                if head.is_none() && mark > *seen {
                    *head = link.receive(now_ns);
                    *seen = mark;
                    if let Some(queued) = head {
                        *seen = queued.packet.envelope.sequence + 1;
                        self.books.ports[port].receive();
                    }
                }
                head.as_ref()
            }
            Intake::Lane { queue, .. } => queue.front(),
        };
        head.map(|queued| queued.packet.envelope.sequence)
    }

    fn take_single(&mut self, slot: usize, now_ns: u64) -> Found {
        let mark = self.intakes[0].mark();
        if self.head(0, now_ns).is_none() {
            self.position = self.position.max(mark);
            return if mark == END {
                Found::Ended
            } else {
                Found::Nothing
            };
        }
        let Some(queued) = self.intakes[0].take() else {
            return Found::Nothing;
        };
        self.position = queued.packet.envelope.sequence + 1;
        Found::Input(Taken::alone(slot, queued))
    }

    /// The next sequence of which it is known on every input whether it comes; moves the position over what has ended.
    fn complete_sequence(&mut self, now_ns: u64) -> Option<u64> {
        let mut lowest_head = END;
        let mut lowest_mark = END;
        for port in 0..self.intakes.len() {
            let mark = self.intakes[port].mark();
            match self.head(port, now_ns) {
                Some(sequence) => lowest_head = lowest_head.min(sequence),
                None => lowest_mark = lowest_mark.min(mark),
            }
        }
        self.position = self.position.max(lowest_head.min(lowest_mark));
        (lowest_head < lowest_mark).then_some(lowest_head)
    }

    /// The position after a look at the inputs: nothing below it can come any more.
    pub(crate) fn settled_position(&mut self, now_ns: u64) -> u64 {
        self.complete_sequence(now_ns);
        self.position
    }

    /// Takes the packets of a sequence, or counts them as unmatched if a required one is missing.
    fn take_set(&mut self, slot: usize, sequence: u64) -> Option<Taken> {
        let mut envelope: Option<Envelope> = None;
        let mut queued_ns = 0;
        let mut present = 0u64;
        let mut payloads: Vec<Option<AnyPayload>> = Vec::with_capacity(self.intakes.len());
        for (port, intake) in self.intakes.iter_mut().enumerate() {
            // Heads were filled by `complete_sequence`; a later arrival would have a higher sequence.
            let here = match intake {
                Intake::Link { head, .. } => head.as_ref(),
                Intake::Lane { queue, .. } => queue.front(),
            }
            .is_some_and(|queued| queued.packet.envelope.sequence == sequence);
            let queued = if here { intake.take() } else { None };
            payloads.push(queued.map(|queued| {
                present |= 1 << port;
                queued_ns = queued_ns.max(queued.queued_ns);
                envelope = Some(queued.packet.envelope);
                queued.packet.payload
            }));
        }
        let envelope = envelope?;
        if present & self.required != self.required {
            self.account(present, Fate::Unmatched);
            return None;
        }
        let rest = payloads.split_off(1);
        Some(Taken {
            slot,
            input: Input {
                envelope,
                first: payloads.pop().flatten(),
                rest,
            },
            present,
            queued_ns,
        })
    }

    /// Takes a hand-over from the same lane at once if nothing has to come before it; otherwise it is accepted, and waits.
    pub(crate) fn pass(&mut self, slot: usize, port: usize, item: HandedOver) -> Option<Taken> {
        if self.intakes.len() > 1 || !matches!(item, HandedOver::Packet(_)) {
            self.accept(port, item);
            return None;
        }
        let Intake::Lane { queue, next, books } = &mut self.intakes[port] else {
            return None;
        };
        let HandedOver::Packet(queued) = item else {
            return None;
        };
        count(&books.consumer.received, 1);
        uncount(&books.producer.suspended);
        self.books.ports[port].receive();
        self.position = queued.packet.envelope.sequence + 1;
        *next = (*next).max(self.position);
        debug_assert!(queue.is_empty(), "it is worked off after each hand-over");
        Some(Taken::alone(slot, queued))
    }

    /// Accepts a hand-over from the same lane.
    pub(crate) fn accept(&mut self, port: usize, item: HandedOver) {
        if let Intake::Lane { queue, next, books } = &mut self.intakes[port] {
            match item {
                HandedOver::Packet(queued) => {
                    count(&books.consumer.received, 1);
                    uncount(&books.producer.suspended);
                    self.books.ports[port].receive();
                    *next = (*next).max(queued.packet.envelope.sequence + 1);
                    queue.push_back(queued);
                }
                HandedOver::Mark(mark) => *next = (*next).max(mark),
            }
        }
    }

    /// Whether packets that were handed over inside the lane could be taken, but it is not the stream's turn.
    pub(crate) fn awaits_its_turn(&mut self, now_ns: u64) -> bool {
        let mut intakes = self.intakes.iter();
        let handed_over =
            intakes.any(|intake| matches!(intake, Intake::Lane { queue, .. } if !queue.is_empty()));
        handed_over && self.complete_sequence(now_ns).is_some()
    }

    /// Counts the fate of a taken input on each of its ports.
    pub(crate) fn account(&self, present: u64, fate: Fate) {
        for port in ports(present) {
            let books = &self.books.ports[port];
            let counter = match fate {
                Fate::Processed => &books.processed,
                Fate::Failed => &books.failed,
                Fate::Unmatched => &books.unmatched,
                Fate::Abandoned => &books.abandoned,
            };
            count(counter, 1);
            uncount(&books.in_hand);
        }
    }

    /// Publishes a packet on one output.
    pub(crate) fn publish(
        &mut self,
        slot: usize,
        output: usize,
        packet: Packet,
        now_ns: u64,
        work: &mut VecDeque<HandOver>,
    ) {
        let (outlets, pending) = (&self.outlets[output], &mut self.pending);
        let Some((last, others)) = outlets.split_last() else {
            return;
        };
        for outlet in others {
            send(outlet, packet.clone(), slot, now_ns, work, pending);
        }
        send(last, packet, slot, now_ns, work, pending);
    }

    /// Marks all sequences below `next` as ended on one output.
    pub(crate) fn mark_output(
        &mut self,
        slot: usize,
        output: usize,
        next: u64,
        work: &mut VecDeque<HandOver>,
    ) {
        for outlet in &self.outlets[output] {
            match outlet {
                Outlet::Link(link) if waits_for(&self.pending, link) => {
                    self.pending
                        .push_back(Pending::Mark(Arc::clone(link), next));
                }
                Outlet::Link(link) => link.advance(next),
                Outlet::Lane { node, port, .. } => work.push_back(HandOver {
                    node: *node,
                    port: *port,
                    slot,
                    item: HandedOver::Mark(next),
                }),
            }
        }
    }

    /// Tells the outputs that everything below the position has ended, unless a part of it is still held here.
    pub(crate) fn mark_outputs(&mut self, slot: usize, next: u64, work: &mut VecDeque<HandOver>) {
        if self.held == 0 && next > self.marked {
            self.marked = next;
            for output in 0..self.outlets.len() {
                self.mark_output(slot, output, next, work);
            }
        }
    }

    /// Remembers that a sequence has been settled on all outputs by publishing.
    pub(crate) fn published(&mut self, sequence: u64) {
        self.marked = self.marked.max(sequence + 1);
    }

    /// Tries again what waited for room, each link by itself. True if nothing waits any more.
    pub(crate) fn flush(&mut self, now_ns: u64) -> bool {
        let mut full: Vec<Arc<Link>> = Vec::new();
        for _ in 0..self.pending.len() {
            let Some(pending) = self.pending.pop_front() else {
                break;
            };
            let link = pending.link();
            let is_known = full.iter().any(|full| Arc::ptr_eq(full, link));
            if is_known || link.is_still_full() {
                // Looked at once: the queue may drain meanwhile, and what comes later must not overtake this.
                if !is_known {
                    full.push(Arc::clone(link));
                }
                self.pending.push_back(pending);
                continue;
            }
            match pending {
                Pending::Mark(link, next) => link.advance(next),
                Pending::Packet(link, packet) => {
                    let retried = link.send(packet, now_ns).or_else(|packet| {
                        link.suspend();
                        link.send(packet, now_ns)
                    });
                    match retried {
                        Ok(()) => {
                            uncount(&link.books.producer.suspended);
                        }
                        Err(packet) => {
                            full.push(Arc::clone(&link));
                            self.pending.push_back(Pending::Packet(link, packet));
                        }
                    }
                }
            }
        }
        self.pending.is_empty()
    }

    /// Gives up everything that the flow holds, counting it; the run is being stopped.
    pub(crate) fn abandon(&mut self, now_ns: u64) {
        self.pending.clear();
        for port in 0..self.intakes.len() {
            while self.head(port, now_ns).is_some() && self.intakes[port].take().is_some() {
                self.account(1 << port, Fate::Abandoned);
            }
        }
    }
}

/// What became of a taken input.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Processed,
    Failed,
    /// A join's required partner never came.
    Unmatched,
    Abandoned,
}

/// The port numbers in a bit set.
pub(crate) fn ports(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(lowest)
    })
}

/// Whether something for this link waits already, so that what follows must queue up behind it.
fn waits_for(pending: &VecDeque<Pending>, link: &Arc<Link>) -> bool {
    pending
        .iter()
        .any(|pending| Arc::ptr_eq(pending.link(), link))
}

fn send(
    outlet: &Outlet,
    packet: Packet,
    slot: usize,
    now_ns: u64,
    work: &mut VecDeque<HandOver>,
    pending: &mut VecDeque<Pending>,
) {
    match outlet {
        Outlet::Lane { node, port, books } => {
            count(&books.producer.sent, 1);
            count(&books.producer.suspended, 1);
            work.push_back(HandOver {
                node: *node,
                port: *port,
                slot,
                item: HandedOver::Packet(Queued {
                    packet,
                    queued_ns: HANDED_OVER,
                }),
            });
        }
        Outlet::Link(link) => {
            let refused = if waits_for(pending, link) {
                Some(packet)
            } else {
                link.send(packet, now_ns).err()
            };
            if let Some(packet) = refused {
                count(&link.books.producer.suspended, 1);
                pending.push_back(Pending::Packet(Arc::clone(link), packet));
            }
        }
    }
}
