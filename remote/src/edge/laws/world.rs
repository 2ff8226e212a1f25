//! A store, a network and two ends of an edge, on one thread, in an order that a seed decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::edge::arrival::{Arrival, Command, ReceiverSpec, Taken, most_unacknowledged};
use crate::edge::receiver::Receiver;
use crate::edge::sender::{Attempt, Sender, SenderSpec};
use crate::edge::wire::{ProgressMessage, SettledMessage};
use fermata_engine::graph::WhenFull;
use fermata_engine::{End, How};

/// Small numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most
    }

    fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }
}

/// What goes wrong, once in so many steps each; 0: never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) sender_breaks: u64,
    pub(crate) receiver_breaks: u64,
    pub(crate) delivery_lost: u64,
    pub(crate) delivery_again: u64,
    pub(crate) sender_dies: u64,
    pub(crate) receiver_dies: u64,
    /// The store forgets everything; only one that promises nothing does.
    pub(crate) store_forgets: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) full: WhenFull,
    pub(crate) packets: u64,
    pub(crate) capacity: usize,
    pub(crate) window: usize,
    /// The stream's sequences go on over lives of the sending end: each begins where one before it did, or behind, and never behind what had
    /// not been acknowledged in the life before.
    pub(crate) goes_on: bool,
    /// One packet in so many has been filtered before the edge.
    pub(crate) filtered: u64,
    pub(crate) faults: Faults,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    incarnation: u64,
    number: u64,
    sequence: u64,
}

/// A work queue with one consumer, and the last progress.
#[derive(Default)]
struct Store {
    limit: usize,
    drops: bool,
    stored: BTreeMap<u64, Sent>,
    next: u64,
    /// The pass: what was delivered last, how many deliveries there were.
    delivered_to: u64,
    deliveries: u64,
    pass: u64,
    /// Deliveries of this pass that were not acknowledged, whether the store still holds them or not; no more than so many.
    unacknowledged: BTreeSet<u64>,
    most_unacknowledged: usize,
    progress: Option<ProgressMessage>,
    settled: Option<SettledMessage>,
}

impl Store {
    fn publish(&mut self, sent: Sent) -> bool {
        if self.stored.len() >= self.limit {
            if !self.drops {
                return false;
            }
            self.stored.pop_first();
        }
        self.next += 1;
        self.stored.insert(self.next, sent);
        true
    }

    fn pass(&mut self) {
        self.pass += 1;
        (self.delivered_to, self.deliveries) = (0, 0);
        self.unacknowledged.clear();
    }
}

enum ToStore {
    Publish(u64, Attempt, Sent),
    Tell(u64, ProgressMessage),
}

enum ToSender {
    Stored(Attempt),
    Refused(Attempt),
    Told(ProgressMessage),
}

enum ToReceiver {
    Delivery(u64, u64, u64, Sent),
    Looked(u64, u64, u64),
    Told(ProgressMessage),
}

type Ends = (Sender<u64>, Receiver<u64, (u64, u64)>);

pub(crate) struct World {
    case: Case,
    dice: Dice,
    now_ms: u64,
    store: Store,
    sender: Sender<u64>,
    pub(crate) receiver: Receiver<u64, (u64, u64)>,
    /// Changes when the sender's connection breaks: what was on its way may be lost, or still arrive.
    link: u64,
    to_store: VecDeque<ToStore>,
    to_sender: VecDeque<ToSender>,
    to_receiver: VecDeque<ToReceiver>,
    incarnation: u64,
    sequence: u64,
    in_hand: usize,
    pub(crate) added: u64,
    /// Sequences whose publication was acknowledged.
    pub(crate) acknowledged: Vec<u64>,
    /// Those of this life of the sending end, and the sequence that it began with.
    acknowledged_now: BTreeSet<u64>,
    begun_at: u64,
    pub(crate) out: Vec<u64>,
    /// Behind the last sequence that was fetched from the receiving end, and how much of `out` has been settled.
    fetched: u64,
    settled: usize,
    /// What earlier lives of the receiving end had counted as missed.
    pub(crate) missed_before: u64,
    pub(crate) end: Option<End>,
}

impl World {
    /// A store that has seen nothing.
    pub(crate) fn new(case: Case) -> Self {
        let (sender, receiver) = Self::ends(case, None);
        let mut world = Self {
            case,
            dice: Dice(case.seed),
            now_ms: 0,
            store: Store {
                limit: case.capacity + case.window,
                drops: case.full == WhenFull::DropOldest,
                most_unacknowledged: most_unacknowledged(case.full, case.capacity + case.window),
                ..Store::default()
            },
            sender,
            receiver,
            link: 0,
            to_store: VecDeque::new(),
            to_sender: VecDeque::new(),
            to_receiver: VecDeque::new(),
            incarnation: 0,
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
        };
        world.open();
        world
    }

    fn ends(case: Case, settled: Option<SettledMessage>) -> Ends {
        let sender = Sender::new(SenderSpec {
            full: case.full,
            capacity: case.capacity,
            window: case.window,
            bytes: None,
            max_age_ms: None,
        });
        let receiver = Receiver::new(ReceiverSpec {
            full: case.full,
            capacity: case.capacity + case.window,
            settled,
        });
        (sender, receiver)
    }

    /// A new life of the sending end, which tells the store so before anything else.
    fn open(&mut self) {
        self.incarnation += 1;
        let progress = ProgressMessage {
            incarnation: self.incarnation,
            ..ProgressMessage::default()
        };
        self.store.progress = Some(progress);
        self.to_receiver.push_back(ToReceiver::Told(progress));
        self.sender.opened(self.incarnation, self.now_ms);
    }

    fn step(&mut self) {
        self.now_ms += self.dice.below(20);
        let faults = self.case.faults;
        if self.dice.one_in(faults.sender_breaks) {
            self.break_sender();
        }
        if self.dice.one_in(faults.receiver_breaks) {
            self.to_receiver.clear();
            self.receiver.pass_broke();
        }
        if self.dice.one_in(faults.sender_dies) {
            self.break_sender();
            self.sender = Self::ends(self.case, None).0;
            self.in_hand = 0;
            if self.case.goes_on {
                // What it comes from remembers how far this life was settled, or how far it had been when the life began.
                let is_open = |sequence: &u64| !self.acknowledged_now.contains(sequence);
                let open = (self.begun_at..self.sequence).find(is_open);
                let open = open.unwrap_or(self.sequence);
                self.begun_at += self.dice.below(open - self.begun_at + 1);
                self.sequence = self.begun_at;
                self.acknowledged_now.clear();
            }
            self.open();
        }
        if self.dice.one_in(faults.receiver_dies) {
            // What was not settled is lost there; what is not remembered as settled comes again, and the sinks go back to it.
            self.out.truncate(self.settled);
            let behind = self.store.settled.map_or(0, |settled| settled.behind);
            self.out.retain(|&sequence| sequence < behind);
            self.settled = self.out.len();
            self.to_receiver.clear();
            self.fetched = 0;
            let settled = self.store.settled.unwrap_or_default();
            self.missed_before = settled.counted - settled.came;
            self.receiver = Self::ends(self.case, self.store.settled).1;
        }
        if self.dice.one_in(faults.store_forgets) {
            self.store.stored.clear();
            self.store.progress = None;
            self.to_receiver.clear();
            self.receiver.pass_broke();
            self.break_sender();
        }
        match self.dice.below(5) {
            0 => self.feed(),
            1 => self.send(),
            2 => self.arrive_at_store(),
            3 => self.arrive_at_sender(),
            _ => self.receive(),
        }
    }

    /// What was on its way to the store may still arrive, but nobody hears of it.
    fn break_sender(&mut self) {
        self.link += 1;
        self.to_sender.clear();
        while self.to_store.len() > self.dice.below(3) as usize {
            self.to_store.pop_back();
        }
        self.sender.disconnected();
        self.sender.reconnected();
    }

    /// The stream's next packet reaches the edge, while there is room.
    fn feed(&mut self) {
        let has_room = self.case.full != WhenFull::Block || self.in_hand < self.case.window;
        if self.sequence < self.case.packets && has_room {
            let is_filtered = self.dice.one_in(self.case.filtered);
            if !is_filtered {
                self.sender
                    .add(self.sequence, self.sequence, 1, self.now_ms);
                self.added += 1;
                self.in_hand += usize::from(self.case.full == WhenFull::Block);
            }
            self.sequence += 1;
            if is_filtered && self.in_hand == 0 {
                self.sender.marked(self.sequence);
            }
        }
        if self.sequence == self.case.packets && self.in_hand == 0 {
            self.sender.ended(End::of(How::Complete));
        }
    }

    fn send(&mut self) {
        let incarnation = self.incarnation;
        if let Some((attempt, &sequence)) = self.sender.next_publication(self.now_ms) {
            let sent = Sent {
                incarnation,
                number: attempt.number,
                sequence,
            };
            self.to_store
                .push_back(ToStore::Publish(self.link, attempt, sent));
        }
        if let Some(progress) = self.sender.next_progress(self.now_ms) {
            self.to_store.push_back(ToStore::Tell(self.link, progress));
        }
    }

    fn arrive_at_store(&mut self) {
        match self.to_store.pop_front() {
            Some(ToStore::Publish(link, attempt, sent)) => {
                let answer = match self.store.publish(sent) {
                    true => ToSender::Stored(attempt),
                    false => ToSender::Refused(attempt),
                };
                if link == self.link {
                    self.to_sender.push_back(answer);
                }
            }
            // A late one of an earlier life overwrites nothing.
            Some(ToStore::Tell(link, progress)) if link == self.link => {
                self.store.progress = Some(progress);
                self.to_receiver.push_back(ToReceiver::Told(progress));
                self.to_sender.push_back(ToSender::Told(progress));
            }
            Some(ToStore::Tell(..)) | None => {}
        }
    }

    fn arrive_at_sender(&mut self) {
        match self.to_sender.pop_front() {
            Some(ToSender::Stored(attempt)) => {
                if let Some(sequence) = self.sender.acknowledged(attempt) {
                    self.acknowledged.push(sequence);
                    self.acknowledged_now.insert(sequence);
                    self.in_hand = self.in_hand.saturating_sub(1);
                    if self.in_hand == 0 && self.case.full == WhenFull::Block {
                        self.sender.marked(self.sequence);
                    }
                }
            }
            Some(ToSender::Refused(attempt)) => self.sender.refused(attempt, self.now_ms),
            Some(ToSender::Told(progress)) => self.sender.told(progress, self.now_ms),
            None => {}
        }
    }

    fn receive(&mut self) {
        while let Some(command) = self.receiver.next_command(self.now_ms) {
            match command {
                Command::Pass => {
                    self.store.pass();
                    self.to_receiver.clear();
                    self.receiver.pass_began(self.now_ms);
                    if let Some(progress) = self.store.progress {
                        self.receiver.progressed(progress);
                    }
                }
                Command::Look => {
                    let after = self.store.delivered_to + 1..;
                    let pending = self.store.stored.range(after).count() as u64;
                    let deliveries = self.store.deliveries;
                    let looked = ToReceiver::Looked(self.store.pass, deliveries, pending);
                    self.to_receiver.push_back(looked);
                }
                Command::Remember(settled) => self.store.settled = Some(settled),
                Command::Acknowledge((pass, stored)) => {
                    // One that is lost with its pass changes nothing.
                    if pass == self.store.pass {
                        self.store.stored.remove(&stored);
                        self.store.unacknowledged.remove(&stored);
                    }
                }
            }
        }
        self.deliver();
        self.arrive_at_receiver();
        if self.dice.below(2) == 0 {
            match self.receiver.next_taken() {
                Some(Taken::Packet {
                    sequence, content, ..
                }) => {
                    self.out.push(content);
                    self.fetched = sequence + 1;
                }
                Some(Taken::Mark(_)) | None => {}
                Some(Taken::End(end)) => self.end = Some(end),
            }
        }
        if self.dice.below(3) == 0 {
            // Everything that was handed on so far has been flushed.
            self.settled = self.out.len();
            self.receiver.settled(self.fetched);
        }
    }

    fn deliver(&mut self) {
        if self.store.unacknowledged.len() >= self.store.most_unacknowledged {
            return;
        }
        let after = self.store.delivered_to + 1..;
        let next = self.store.stored.range(after).next();
        let Some((&stored, &sent)) = next else {
            return;
        };
        self.store.delivered_to = stored;
        self.store.deliveries += 1;
        self.store.unacknowledged.insert(stored);
        let delivery = |position| ToReceiver::Delivery(self.store.pass, position, stored, sent);
        if !self.dice.one_in(self.case.faults.delivery_lost) {
            self.to_receiver.push_back(delivery(self.store.deliveries));
        }
        if self.dice.one_in(self.case.faults.delivery_again) {
            self.store.deliveries += 1;
            let again = ToReceiver::Delivery(self.store.pass, self.store.deliveries, stored, sent);
            self.to_receiver.push_back(again);
        }
    }

    fn arrive_at_receiver(&mut self) {
        match self.to_receiver.pop_front() {
            Some(ToReceiver::Delivery(pass, position, stored, sent)) if pass == self.store.pass => {
                let arrival = Arrival {
                    incarnation: sent.incarnation,
                    number: sent.number,
                    sequence: sent.sequence,
                    segment: 0,
                    goes_on: self.case.goes_on,
                    stored,
                    content: sent.sequence,
                };
                self.receiver.arrived(position, arrival, (pass, stored));
            }
            Some(ToReceiver::Looked(pass, deliveries, to_come)) if pass == self.store.pass => {
                self.receiver.looked(deliveries, to_come, self.now_ms);
            }
            Some(ToReceiver::Told(progress)) => self.receiver.progressed(progress),
            Some(_) | None => {}
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
