//! A stream that goes into a simulated edge, and sinks behind it, in an order that a seed decides.

use std::collections::BTreeSet;

use crate::edge::arrival::Taken;
use crate::edge::sender::SenderSpec;
use crate::edge::simulated::{Dice, Faults, Parcel, SimulatedEdge, SimulatedSpec};
use fermata_engine::graph::WhenFull;
use fermata_engine::{End, How};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) full: WhenFull,
    pub(crate) packets: u64,
    pub(crate) capacity: usize,
    pub(crate) window: usize,
    /// Bytes that may wait or be on their way; each packet has one to three.
    pub(crate) bytes: Option<u64>,
    pub(crate) max_age_ms: Option<u64>,
    /// Whether the stream's sequences continue over lives of the sending end: each life begins where the one before it
    /// did, or later, but never after what was not acknowledged in the life before.
    pub(crate) goes_on: bool,
    /// One packet in so many was filtered before the edge.
    pub(crate) filtered: u64,
    pub(crate) faults: Faults,
    /// An end is killed once in so many steps on average; 0: never.
    pub(crate) sender_dies: u64,
    pub(crate) receiver_dies: u64,
    pub(crate) seed: u64,
}

pub(crate) struct World {
    case: Case,
    dice: Dice,
    pub(crate) edge: SimulatedEdge<u64, ()>,
    sequence: u64,
    in_hand: usize,
    pub(crate) added: u64,
    /// Sequences whose publication was acknowledged.
    pub(crate) acknowledged: Vec<u64>,
    /// Those of this life of the sending end, and the sequence with which it began.
    acknowledged_now: BTreeSet<u64>,
    begun_at: u64,
    pub(crate) out: Vec<u64>,
    /// One past the last sequence that was fetched from the receiving end, and how much of `out` has been settled.
    fetched: u64,
    settled: usize,
    /// What earlier lives of the receiving end had counted as missed.
    pub(crate) missed_before: u64,
    pub(crate) end: Option<End>,
    /// Whether more bytes than allowed were on their way at once.
    pub(crate) was_too_much: bool,
}

impl World {
    /// Creates an edge that has seen nothing.
    pub(crate) fn new(case: Case) -> Self {
        let edge = SimulatedEdge::new(SimulatedSpec {
            sender: SenderSpec {
                full: case.full,
                capacity: case.capacity,
                window: case.window,
                bytes: case.bytes,
                max_age_ms: case.max_age_ms,
            },
            limit: case.capacity + case.window,
            faults: case.faults,
            seed: case.seed,
        });
        Self {
            case,
            dice: Dice(!case.seed),
            edge,
            sequence: 0,
            in_hand: 0,
            added: 0,
            acknowledged: Vec::new(),
            acknowledged_now: BTreeSet::new(),
            begun_at: 0,
            out: Vec::new(),
            fetched: 0,
            settled: 0,
            missed_before: 0,
            end: None,
            was_too_much: false,
        }
    }

    fn step(&mut self) {
        if self.dice.one_in(self.case.sender_dies) {
            self.kill_sender();
        }
        if self.dice.one_in(self.case.receiver_dies) {
            self.kill_receiver();
        }
        match self.dice.below(6) {
            0 => self.feed(),
            1 => self.take(),
            _ => self.pass_time(),
        }
        let under_way = self.edge.under_way();
        let most = self.case.bytes.unwrap_or(u64::MAX);
        self.was_too_much |= under_way.packets > 1 && under_way.bytes > most;
    }

    fn kill_sender(&mut self) {
        self.edge.kill_sender();
        self.in_hand = 0;
        if self.case.goes_on {
            // Its upstream remembers how far this life was settled at some time since the life began.
            let is_open = |sequence: &u64| !self.acknowledged_now.contains(sequence);
            let open = (self.begun_at..self.sequence).find(is_open);
            let open = open.unwrap_or(self.sequence);
            self.begun_at += self.dice.below(open - self.begun_at + 1);
            self.sequence = self.begun_at;
            self.acknowledged_now.clear();
        }
    }

    fn kill_receiver(&mut self) {
        // What was not settled is lost there. What is not remembered as settled comes again, so the sinks go back to
        // that.
        self.out.truncate(self.settled);
        let settled = self.edge.remembered().unwrap_or_default();
        self.out.retain(|&sequence| sequence < settled.behind);
        self.settled = self.out.len();
        self.fetched = 0;
        self.missed_before = settled.counted - settled.came;
        self.edge.kill_receiver();
    }

    /// Feeds the stream's next packet to the edge, if there is room.
    fn feed(&mut self) {
        let blocks = self.case.full == WhenFull::Block;
        let has_room = !blocks || self.in_hand < self.case.window;
        if self.sequence < self.case.packets && has_room {
            let is_filtered = self.dice.one_in(self.case.filtered);
            if !is_filtered {
                let parcel = Parcel {
                    sequence: self.sequence,
                    segment: 0,
                    goes_on: self.case.goes_on,
                    bytes: 1 + self.sequence % 3,
                    captured_ms: self.edge.now_ms(),
                    content: self.sequence,
                };
                self.edge.add(parcel, ());
                self.added += 1;
                self.in_hand += usize::from(blocks);
            }
            self.sequence += 1;
            if is_filtered && self.in_hand == 0 {
                self.edge.marked(self.sequence);
            }
        }
        if self.sequence == self.case.packets && self.in_hand == 0 {
            self.edge.ended(End::of(How::Complete));
        }
    }

    fn pass_time(&mut self) {
        let Some((parcel, ())) = self.edge.step() else {
            return;
        };
        self.acknowledged.push(parcel.sequence);
        self.acknowledged_now.insert(parcel.sequence);
        self.in_hand = self.in_hand.saturating_sub(1);
        if self.in_hand == 0 && self.case.full == WhenFull::Block {
            self.edge.marked(self.sequence);
        }
    }

    fn take(&mut self) {
        match self.edge.receiver.next_taken() {
            Some(Taken::Packet {
                sequence, content, ..
            }) => {
                self.out.push(content);
                self.fetched = sequence + 1;
            }
            Some(Taken::Mark(_)) | None => {}
            Some(Taken::End(end)) => self.end = Some(end),
        }
        if self.dice.below(2) == 0 {
            // Everything that was handed on so far has been flushed.
            self.settled = self.out.len();
            self.edge.receiver.settled(self.fetched);
        }
    }

    /// Runs until the end has come out.
    pub(crate) fn run(mut self) -> Self {
        for _ in 0..2_000_000 {
            if self.end.is_some() {
                return self;
            }
            self.step();
        }
        panic!("no end: {:?}, out {}", self.case, self.out.len());
    }
}
