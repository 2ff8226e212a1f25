//! The two ends of an edge, and between them a simulated store and network that delay, repeat, reorder, refuse, forget
//! and break: on one thread, in an order that a seed decides. For tests of the protocol and of graphs that are cut.
//!
//! Simulates what a JetStream stream with one consumer does to an edge. The test decides what is sent, and what becomes
//! of what comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fermata_engine::graph::WhenFull;

use super::arrival::{Arrival, Command, ReceiverSpec, most_unacknowledged};
use super::receiver::Receiver;
use super::sender::{Attempt, Sender, SenderSpec};
use super::wire::{ProgressMessage, SettledMessage};

/// A generator of small pseudorandom numbers.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// Returns a number below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most
    }

    /// Returns true once in so many times on average; never for 0.
    pub fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }
}

/// Faults, each with its rate: once in so many steps on average; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The sending end's connection breaks: what is on its way may arrive, but its fate stays unknown.
    pub sender_breaks: u64,
    /// The receiving end's connection breaks.
    pub receiver_breaks: u64,
    /// A delivery is lost.
    pub delivery_lost: u64,
    /// A delivery is repeated.
    pub delivery_again: u64,
    /// A publication, or a delivery, overtakes the one before it.
    pub overtaken: u64,
    /// The store forgets everything; only the store of an edge that may drop does.
    pub store_forgets: u64,
}

/// Configuration of a simulated edge.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedSpec {
    /// Configuration of the sending end.
    pub sender: SenderSpec,
    /// Most packets that the store holds.
    pub limit: usize,
    /// Rates of faults.
    pub faults: Faults,
    /// Seed that decides when they happen.
    pub seed: u64,
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub struct Parcel<C> {
    /// See [`Arrival`].
    pub sequence: u64,
    /// See [`Arrival`].
    pub segment: u32,
    /// See [`Arrival`].
    pub goes_on: bool,
    /// Its size.
    pub bytes: u64,
    /// When it was captured, by the edge's clock.
    pub captured_ms: u64,
    /// The rest.
    pub content: C,
}

/// How much is on its way to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Publications.
    pub packets: usize,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Clone)]
struct Sent<C> {
    incarnation: u64,
    number: u64,
    parcel: Parcel<C>,
}

/// A work queue with one consumer, and the last message of each end.
struct Store<C> {
    limit: usize,
    drops: bool,
    stored: BTreeMap<u64, Sent<C>>,
    next: u64,
    /// State of the pass: what was delivered last, and how many deliveries there were.
    delivered_to: u64,
    deliveries: u64,
    pass: u64,
    /// Deliveries of this pass that were not acknowledged, whether the store still holds them or not; and how many
    /// there may be.
    unacknowledged: BTreeSet<u64>,
    most_unacknowledged: usize,
    progress: Option<ProgressMessage>,
    settled: Option<SettledMessage>,
}

impl<C> Store<C> {
    fn publish(&mut self, sent: Sent<C>) -> bool {
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

enum ToStore<C> {
    Publish(u64, Attempt, Sent<C>),
    Tell(u64, ProgressMessage),
}

enum ToSender {
    Stored(Attempt, u64),
    Refused(Attempt, u64),
    Told(ProgressMessage),
}

enum ToReceiver<C> {
    Delivery(u64, u64, u64, Sent<C>),
    Looked(u64, u64, u64),
    Told(ProgressMessage),
}

/// What a delivery is acknowledged by: its pass, and its place in the store.
pub type Delivery = (u64, u64);

/// A simulated edge; `C` is a packet's content, `K` what the sending side keeps of it until it is stored.
pub struct SimulatedEdge<C, K> {
    spec: SimulatedSpec,
    dice: Dice,
    now_ms: u64,
    store: Store<C>,
    sender: Sender<(Parcel<C>, K)>,
    /// The receiving end.
    pub receiver: Receiver<C, Delivery>,
    /// Changes when the sender's connection breaks: what was on its way may be lost, or still arrive.
    link: u64,
    to_store: VecDeque<ToStore<C>>,
    to_sender: VecDeque<ToSender>,
    to_receiver: VecDeque<ToReceiver<C>>,
    incarnation: u64,
    oldest_ms: u64,
}

impl<C: Clone, K> SimulatedEdge<C, K> {
    /// Creates an empty store, and the first lives of both ends.
    pub fn new(spec: SimulatedSpec) -> Self {
        let full = spec.sender.full;
        let mut edge = Self {
            spec,
            dice: Dice(spec.seed),
            now_ms: 0,
            store: Store {
                limit: spec.limit,
                drops: full == WhenFull::DropOldest,
                stored: BTreeMap::new(),
                next: 0,
                delivered_to: 0,
                deliveries: 0,
                pass: 0,
                unacknowledged: BTreeSet::new(),
                most_unacknowledged: most_unacknowledged(full, spec.limit),
                progress: None,
                settled: None,
            },
            sender: Sender::new(spec.sender),
            receiver: receiver(spec, None),
            link: 0,
            to_store: VecDeque::new(),
            to_sender: VecDeque::new(),
            to_receiver: VecDeque::new(),
            incarnation: 0,
            oldest_ms: 0,
        };
        edge.open();
        edge
    }

    /// Returns milliseconds by the clock of both ends.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Returns the sending end.
    pub fn sender(&self) -> &Sender<(Parcel<C>, K)> {
        &self.sender
    }

    /// Gives a packet to the sending end.
    pub fn add(&mut self, parcel: Parcel<C>, kept: K) {
        let (sequence, bytes, captured_ms) = (parcel.sequence, parcel.bytes, parcel.captured_ms);
        self.sender
            .add((parcel, kept), sequence, bytes, captured_ms);
    }

    /// See [`Sender::marked`].
    pub fn marked(&mut self, mark: u64) {
        self.sender.marked(mark);
    }

    /// See [`Sender::ended`].
    pub fn ended(&mut self, end: fermata_engine::End) {
        self.sender.ended(end);
    }

    /// Returns what the receiving end has let the store remember.
    pub fn remembered(&self) -> Option<SettledMessage> {
        self.store.settled
    }

    /// Returns how many packets the store holds, without copies of those that it remembers as settled.
    pub fn unsettled(&self) -> usize {
        let settled = self.store.settled.unwrap_or_default();
        let behind = (settled.incarnation, settled.next);
        let stored = self.store.stored.values();
        stored
            .filter(|sent| (sent.incarnation, sent.number) >= behind)
            .count()
    }

    /// Returns how much is on its way to the store, as far as the sending end can know.
    pub fn under_way(&self) -> UnderWay {
        let to_store = self.to_store.iter().filter_map(|message| match message {
            ToStore::Publish(link, _, sent) if *link == self.link => Some(sent.parcel.bytes),
            _ => None,
        });
        let answered = self.to_sender.iter().filter_map(|message| match message {
            ToSender::Stored(_, bytes) | ToSender::Refused(_, bytes) => Some(*bytes),
            ToSender::Told(_) => None,
        });
        to_store
            .chain(answered)
            .fold(UnderWay::default(), |all, bytes| UnderWay {
                packets: all.packets + 1,
                bytes: all.bytes + bytes,
            })
    }

    /// Returns the greatest age that a packet had when it was published.
    pub fn oldest_ms(&self) -> u64 {
        self.oldest_ms
    }

    /// Kills the sending end and starts it again.
    pub fn kill_sender(&mut self) {
        self.break_sender();
        self.sender = Sender::new(self.spec.sender);
        self.open();
    }

    /// Kills the receiving end and starts it again.
    pub fn kill_receiver(&mut self) {
        self.to_receiver.clear();
        self.receiver = receiver(self.spec, self.store.settled);
    }

    /// Begins a new life of the sending end, which is announced to the store before anything else.
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

    /// Lets one thing happen. Returns a packet that is stored now, as far as the sending end knows, with what was kept
    /// of it.
    pub fn step(&mut self) -> Option<(Parcel<C>, K)> {
        self.now_ms += self.dice.below(20);
        let faults = self.spec.faults;
        if self.dice.one_in(faults.sender_breaks) {
            self.break_sender();
        }
        if self.dice.one_in(faults.receiver_breaks) {
            self.to_receiver.clear();
            self.receiver.pass_broke();
        }
        if self.dice.one_in(faults.store_forgets) {
            self.store.stored.clear();
            self.store.progress = None;
            self.to_receiver.clear();
            self.receiver.pass_broke();
            self.break_sender();
        }
        match self.dice.below(4) {
            0 => self.send(),
            1 => self.arrive_at_store(),
            2 => return self.arrive_at_sender(),
            _ => self.receive(),
        }
        None
    }

    /// Breaks the sender's connection: what was on its way to the store may still arrive, but its answers do not.
    fn break_sender(&mut self) {
        self.link += 1;
        self.to_sender.clear();
        while self.to_store.len() > self.dice.below(3) as usize {
            self.to_store.pop_back();
        }
        self.sender.disconnected();
        self.sender.reconnected();
    }

    fn send(&mut self) {
        let (incarnation, now_ms) = (self.incarnation, self.now_ms);
        if let Some((attempt, (parcel, _))) = self.sender.next_publication(now_ms) {
            let age_ms = now_ms.saturating_sub(parcel.captured_ms);
            self.oldest_ms = self.oldest_ms.max(age_ms);
            let sent = Sent {
                incarnation,
                number: attempt.number,
                parcel: parcel.clone(),
            };
            let publication = ToStore::Publish(self.link, attempt, sent);
            self.to_store.push_back(publication);
            self.overtake_at_store();
        }
        if let Some(progress) = self.sender.next_progress(now_ms) {
            self.to_store.push_back(ToStore::Tell(self.link, progress));
        }
    }

    /// Lets a publication overtake the one before it, at times. Progress stays behind the publications before it.
    fn overtake_at_store(&mut self) {
        let last = self.to_store.len() - 1;
        let is_behind_one = last > 0
            && matches!(self.to_store[last - 1], ToStore::Publish(link, ..) if link == self.link);
        if is_behind_one && self.dice.one_in(self.spec.faults.overtaken) {
            self.to_store.swap(last - 1, last);
        }
    }

    fn arrive_at_store(&mut self) {
        match self.to_store.pop_front() {
            Some(ToStore::Publish(link, attempt, sent)) => {
                let bytes = sent.parcel.bytes;
                let answer = if self.store.publish(sent) {
                    ToSender::Stored(attempt, bytes)
                } else {
                    ToSender::Refused(attempt, bytes)
                };
                if link == self.link {
                    self.to_sender.push_back(answer);
                }
            }
            // A late message from before the connection broke overwrites nothing.
            Some(ToStore::Tell(link, progress)) if link == self.link => {
                self.store.progress = Some(progress);
                self.to_receiver.push_back(ToReceiver::Told(progress));
                self.to_sender.push_back(ToSender::Told(progress));
            }
            Some(ToStore::Tell(..)) | None => {}
        }
    }

    fn arrive_at_sender(&mut self) -> Option<(Parcel<C>, K)> {
        match self.to_sender.pop_front()? {
            ToSender::Stored(attempt, _) => return self.sender.acknowledged(attempt),
            ToSender::Refused(attempt, _) => self.sender.refused(attempt, self.now_ms),
            ToSender::Told(progress) => self.sender.told(progress, self.now_ms),
        }
        None
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
                    // An acknowledgement of an earlier pass changes nothing.
                    if pass == self.store.pass {
                        self.store.stored.remove(&stored);
                        self.store.unacknowledged.remove(&stored);
                    }
                }
            }
        }
        self.deliver();
        self.arrive_at_receiver();
    }

    fn deliver(&mut self) {
        if self.store.unacknowledged.len() >= self.store.most_unacknowledged {
            return;
        }
        let after = self.store.delivered_to + 1..;
        let next = self.store.stored.range(after).next();
        let Some((&stored, sent)) = next else {
            return;
        };
        let (sent, pass) = (sent.clone(), self.store.pass);
        self.store.delivered_to = stored;
        self.store.deliveries += 1;
        self.store.unacknowledged.insert(stored);
        let position = self.store.deliveries;
        let faults = self.spec.faults;
        if !self.dice.one_in(faults.delivery_lost) {
            let delivery = ToReceiver::Delivery(pass, position, stored, sent.clone());
            self.to_receiver.push_back(delivery);
        }
        if self.dice.one_in(faults.delivery_again) {
            self.store.deliveries += 1;
            let again = ToReceiver::Delivery(pass, position + 1, stored, sent);
            self.to_receiver.push_back(again);
        }
        let last = self.to_receiver.len().saturating_sub(1);
        if last > 0 && self.dice.one_in(faults.overtaken) {
            self.to_receiver.swap(last - 1, last);
        }
    }

    fn arrive_at_receiver(&mut self) {
        match self.to_receiver.pop_front() {
            Some(ToReceiver::Delivery(pass, position, stored, sent)) if pass == self.store.pass => {
                let arrival = Arrival {
                    incarnation: sent.incarnation,
                    number: sent.number,
                    sequence: sent.parcel.sequence,
                    segment: sent.parcel.segment,
                    goes_on: sent.parcel.goes_on,
                    stored,
                    content: sent.parcel.content,
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
}

fn receiver<C>(spec: SimulatedSpec, settled: Option<SettledMessage>) -> Receiver<C, Delivery> {
    Receiver::new(ReceiverSpec {
        full: spec.sender.full,
        capacity: spec.limit,
        settled,
    })
}
