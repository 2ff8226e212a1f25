//! The receiving end of an edge, one stream: which packet is taken next, what is held until its turn, discarded or
//! acknowledged. Pure: it is told what happened and when, and returns what to do; the network is elsewhere.
//!
//! The store delivers what it holds in *passes*: each begins with everything that has not been acknowledged, in the
//! order in which it was stored, and continues with what is stored meanwhile. If the count of a pass's deliveries has a
//! gap, or the connection breaks, a new pass is requested; packets that come again are known by their numbers.
//!
//! A lossless end takes only the next number, and holds later ones. It passes over a number only after it has *looked*:
//! it knew from the sending end that everything below a number had been stored, then asked the store how much it has,
//! and has seen all of that. What is still missing is not there. A dropping end takes any number that is not below the
//! next one, and drops what nobody fetches. Both look before they turn to an announced incarnation.

use std::collections::{BTreeMap, VecDeque};

use fermata_engine::End;
use fermata_engine::graph::WhenFull;

use super::arrival::{Arrival, Command, ReceiverSpec, Taken};
use super::held::{Held, Known, Look, Number, Unsettled};
use super::place::{Place, Placed};
use super::unfetched::Unfetched;
use super::wire::{ProgressMessage, SettledMessage};

/// How long an end waits for what it knows to be missing before it looks, and before it asks for a new pass.
const PATIENCE_MS: u64 = 100;
const LOST_PATIENCE_MS: u64 = 3_000;

/// The receiving end; `T` is a packet's content, `A` is what its delivery is acknowledged by.
pub struct Receiver<T, A> {
    spec: ReceiverSpec,
    /// Newest progress told by the sending end.
    told: Option<ProgressMessage>,
    incarnation: u64,
    /// Number that is taken next.
    next: u64,
    held: BTreeMap<Number, Held<T, A>>,
    /// Packets that have been taken but not settled.
    unsettled: BTreeMap<Number, Unsettled<A>>,
    taken: Unfetched<T>,
    commands: VecDeque<Command<A>>,
    /// Deliveries of this pass seen so far; none while a pass is awaited.
    position: Option<u64>,
    look: Look,
    /// When to look again, after a look of this pass that found more to come; 0 without one.
    look_again_ms: u64,
    /// Whether something was refused for want of room, which comes again with a new pass.
    has_refused: bool,
    /// Since when something has been missing, or when a new pass was last requested for it.
    missing_since_ms: Option<u64>,
    place: Place,
    has_ended: bool,
    /// Packets that have been fetched, and packets that have come or been missed; earlier receiving ends' included.
    came: u64,
    counted: u64,
    /// Sequence below which everything has been settled, and how many packets had come of that.
    settled_below: u64,
    settled_came: u64,
    missed: u64,
    discarded: u64,
}

impl<T, A> Receiver<T, A> {
    /// Creates an end to which nothing has come.
    pub fn new(spec: ReceiverSpec) -> Self {
        let settled = spec.settled;
        Self {
            spec,
            told: None,
            incarnation: settled.map_or(0, |settled| settled.incarnation),
            next: settled.map_or(0, |settled| settled.next),
            held: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            taken: Unfetched::new(spec.full, spec.capacity),
            commands: VecDeque::from([Command::Pass]),
            position: None,
            look: Look::None,
            look_again_ms: 0,
            has_refused: false,
            missing_since_ms: None,
            place: Place::behind(settled),
            has_ended: false,
            came: settled.map_or(0, |settled| settled.came),
            counted: settled.map_or(0, |settled| settled.counted),
            settled_below: settled.map_or(0, |settled| settled.behind),
            settled_came: settled.map_or(0, |settled| settled.came),
            missed: 0,
            discarded: 0,
        }
    }

    /// Records that a new pass has begun.
    pub fn pass_began(&mut self, now_ms: u64) {
        self.position = Some(0);
        self.look = Look::None;
        self.look_again_ms = 0;
        self.has_refused = false;
        self.missing_since_ms = self.missing_since_ms.map(|_| now_ms);
    }

    /// Records that the connection, or the pass, is lost.
    pub fn pass_broke(&mut self) {
        if self.position.take().is_some() {
            self.commands.push_back(Command::Pass);
        }
        self.look = Look::None;
    }

    /// Handles a delivery of this pass that was not a packet: it is acknowledged and forgotten.
    pub fn arrived_malformed(&mut self, position: u64, delivery: A) {
        if self.follows(position) {
            self.commands.push_back(Command::Acknowledge(delivery));
        }
    }

    /// Handles a delivery of this pass.
    pub fn arrived(&mut self, position: u64, arrival: Arrival<T>, delivery: A) {
        if !self.follows(position) {
            return;
        }
        let number = (arrival.incarnation, arrival.number);
        let unsettled = self.unsettled.get_mut(&number);
        let held = self.held.get_mut(&number);
        let known = unsettled.map(|known| (known.stored, &mut known.delivery));
        let known = known.or_else(|| held.map(|held| (held.arrival.stored, &mut held.delivery)));
        if let Some((stored, known)) = known {
            self.discarded += 1;
            match known {
                Some(known) if stored == arrival.stored => *known = delivery,
                // A second copy only takes up room; one that was acknowledged is acknowledged again.
                _ => self.commands.push_back(Command::Acknowledge(delivery)),
            }
            return;
        }
        if self.is_behind(number) {
            self.discarded += 1;
            self.commands.push_back(Command::Acknowledge(delivery));
            return;
        }
        let is_next = (self.incarnation, self.next) == number;
        if self.held.len() >= self.spec.capacity && !is_next {
            match self.spec.full {
                WhenFull::Block => {
                    self.has_refused = true;
                    return;
                }
                // Its number is counted as missed when it is passed over. Its delivery has been acknowledged.
                WhenFull::DropOldest => drop(self.held.pop_first()),
                WhenFull::DropNewest => {
                    self.commands.push_back(Command::Acknowledge(delivery));
                    return;
                }
            }
        }
        let delivery = Some(delivery);
        self.held.insert(number, Held { arrival, delivery });
        self.advance();
        if self.spec.full != WhenFull::Block {
            // Nothing is promised about what waits here, and the store must be free to deliver the rest.
            let waiting = self.held.get_mut(&number);
            let delivery = waiting.and_then(|held| held.delivery.take());
            self.commands.extend(delivery.map(Command::Acknowledge));
        }
    }

    /// Counts a delivery. Returns false if one before it is missing.
    fn follows(&mut self, position: u64) -> bool {
        let Some(seen) = self.position else {
            return false;
        };
        if position != seen + 1 {
            self.pass_broke();
            return false;
        }
        self.position = Some(position);
        true
    }

    fn is_behind(&self, (incarnation, number): Number) -> bool {
        (incarnation, number) < (self.incarnation, self.next)
    }

    /// Handles the progress that the sending end reports.
    pub fn progressed(&mut self, told: ProgressMessage) {
        let newer = |known: ProgressMessage| {
            let order = |told: ProgressMessage| (told.incarnation, told.sent, told.mark, told.how);
            order(told) > order(known)
        };
        if self.told.is_none_or(newer) {
            self.told = Some(told);
            self.advance();
        }
    }

    /// Handles the store's answer to a look: deliveries of this pass so far, repeated ones included, and packets that
    /// are still to come. While any are to come, the store is asked again.
    pub fn looked(&mut self, deliveries: u64, to_come: u64, now_ms: u64) {
        let Look::Asked(known) = self.look else {
            return;
        };
        if to_come > 0 {
            return self.look_failed(now_ms);
        }
        self.look = Look::Until(deliveries, known);
        self.advance();
    }

    /// Records that the store could not be asked, or has more to come: it is asked again after a pause.
    pub fn look_failed(&mut self, now_ms: u64) {
        self.look = Look::None;
        self.look_again_ms = now_ms + PATIENCE_MS;
    }

    /// Hands on what can be handed on.
    fn advance(&mut self) {
        loop {
            self.take_held();
            if !self.resolve_look() {
                break;
            }
        }
        self.hand_on_progress();
    }

    /// Takes what is next from what is held.
    fn take_held(&mut self) {
        loop {
            let first = match self.spec.full {
                WhenFull::Block => Some(self.next),
                WhenFull::DropOldest | WhenFull::DropNewest => {
                    let of_now = (self.incarnation, 0)..=(self.incarnation, u64::MAX);
                    let mut held = self.held.range(of_now);
                    held.next().map(|(&(_, number), _)| number)
                }
            };
            let held = first.and_then(|number| self.held.remove(&(self.incarnation, number)));
            let Some(held) = held else {
                return;
            };
            self.take(held);
        }
    }

    /// Hands on a packet, and counts the missing ones before it.
    fn take(&mut self, held: Held<T, A>) {
        let Held { arrival, delivery } = held;
        self.miss(arrival.number.saturating_sub(self.next));
        self.next = arrival.number + 1;
        self.missing_since_ms = None;
        let (placed, is_again) = match self.place.of(&arrival) {
            Placed::Here(placed) => (placed, false),
            Placed::Before(placed) => (placed, true),
            Placed::Nowhere => {
                self.miss(1);
                return self.commands.extend(delivery.map(Command::Acknowledge));
            }
        };
        self.counted += u64::from(!is_again);
        self.discarded += u64::from(is_again);
        let number = (arrival.incarnation, arrival.number);
        let settled = SettledMessage {
            incarnation: arrival.incarnation,
            next: arrival.number + 1,
            counted: self.counted,
            ..placed
        };
        let unsettled = Unsettled {
            settled,
            is_again,
            stored: arrival.stored,
            delivery,
        };
        self.unsettled.insert(number, unsettled);
        if is_again {
            // Everything before it may have been settled already.
            return self.settled(0);
        }
        let taken = Taken::Packet {
            sequence: settled.behind - 1,
            segment: settled.segment,
            content: arrival.content,
        };
        if let Some(dropped) = self.taken.add_packet(number, taken) {
            // It was counted when it was taken.
            self.missed += 1;
            let dropped = self.unsettled.remove(&dropped);
            let delivery = dropped.and_then(|dropped| dropped.delivery);
            self.commands.extend(delivery.map(Command::Acknowledge));
        }
    }

    fn miss(&mut self, packets: u64) {
        self.missed += packets;
        self.counted += packets;
    }

    /// Passes over what is known to be missing. Returns whether that made progress.
    fn resolve_look(&mut self) -> bool {
        let Look::Until(deliveries, known) = self.look else {
            return false;
        };
        let is_complete = self.position.is_some_and(|position| position >= deliveries);
        if !is_complete || self.has_refused {
            return false;
        }
        self.look = Look::None;
        let before = (self.incarnation, self.next);
        // Those of earlier incarnations first: nothing more of them can come.
        while let Some(entry) = self.held.first_entry() {
            if entry.key().0 >= known.incarnation {
                break;
            }
            let held = entry.remove();
            let Arrival {
                incarnation,
                number,
                goes_on,
                ..
            } = held.arrival;
            if incarnation != self.incarnation {
                self.begin(incarnation);
            }
            if goes_on && self.spec.full == WhenFull::Block && number != self.next {
                // The next life of the sending end begins at what is missing here, or before it.
                self.discarded += 1;
                let delivery = held.delivery.map(Command::Acknowledge);
                self.commands.extend(delivery);
                continue;
            }
            self.take(held);
        }
        if self.incarnation < known.incarnation {
            self.begin(known.incarnation);
        }
        if self.incarnation == known.incarnation {
            self.pass_over(known);
        }
        before != (self.incarnation, self.next)
    }

    /// Begins another life of the sending end.
    fn begin(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.next = 0;
        self.place.begin();
    }

    /// Takes what is held below the known number, and passes over what is not there.
    fn pass_over(&mut self, known: Known) {
        while let Some(entry) = self.held.first_entry()
            && *entry.key() < (known.incarnation, known.sent)
        {
            let held = entry.remove();
            self.take(held);
        }
        self.miss(known.sent.saturating_sub(self.next));
        self.next = self.next.max(known.sent);
        self.missing_since_ms = None;
    }

    /// Hands on marks and the end, once everything before them has been handed on.
    fn hand_on_progress(&mut self) {
        let Some(told) = self
            .told
            .filter(|told| self.has_all(told) && !self.has_ended)
        else {
            return;
        };
        if let Some(mark) = self.place.mark(told.mark) {
            self.taken.add(Taken::Mark(mark));
        }
        if let Some(end) = told.end() {
            self.has_ended = true;
            let lost = end.lost || self.missed > 0;
            self.taken.add(Taken::End(End { lost, ..end }));
        }
    }

    fn has_all(&self, told: &ProgressMessage) -> bool {
        self.incarnation == told.incarnation && self.next >= told.sent
    }

    /// Returns what to hand on next. Where nothing is promised, this acknowledges a packet.
    pub fn next_taken(&mut self) -> Option<Taken<T>> {
        let (number, taken) = self.taken.next()?;
        if let Some(number) = number {
            self.came += 1;
            let Some(unsettled) = self.unsettled.get_mut(&number) else {
                return Some(taken);
            };
            unsettled.settled.came = self.came;
            if self.spec.full != WhenFull::Block {
                let delivery = unsettled.delivery.take();
                self.commands.extend(delivery.map(Command::Acknowledge));
            }
        }
        Some(taken)
    }

    /// Records that everything below this sequence, as it is numbered here, has been settled.
    pub fn settled(&mut self, below: u64) {
        self.settled_below = self.settled_below.max(below);
        let mut last = None;
        let mut acknowledged = Vec::new();
        while let Some(entry) = self.unsettled.first_entry()
            && entry.get().settled.behind <= self.settled_below
        {
            let mut unsettled = entry.remove();
            if unsettled.is_again {
                unsettled.settled.came = self.settled_came
            } else {
                self.settled_came = unsettled.settled.came
            }
            last = Some(unsettled.settled);
            acknowledged.extend(unsettled.delivery.map(Command::Acknowledge));
        }
        self.commands.extend(last.map(Command::Remember));
        self.commands.extend(acknowledged);
    }

    /// Returns whether there is something to hand on.
    pub fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Returns whether there is a command to carry out.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Returns what to remember or acknowledge next, for an end that does nothing else any more.
    pub fn last_command(&mut self) -> Option<Command<A>> {
        loop {
            match self.commands.pop_front()? {
                Command::Pass | Command::Look => {}
                command => return Some(command),
            }
        }
    }

    /// Checks whether something is missing, and returns what to do next, one command at a time.
    pub fn next_command(&mut self, now_ms: u64) -> Option<Command<A>> {
        if self.commands.is_empty() {
            self.look_for_missing(now_ms);
        }
        self.commands.pop_front()
    }

    fn look_for_missing(&mut self, now_ms: u64) {
        if self.position.is_none() {
            return;
        }
        if self.has_refused && self.held.len() * 2 <= self.spec.capacity {
            self.pass_broke();
            return;
        }
        let Some(told) = self.told.filter(|told| !self.has_all(told)) else {
            self.missing_since_ms = None;
            return;
        };
        let is_unknown = self.incarnation < told.incarnation;
        let may_look = matches!(self.look, Look::None) && now_ms >= self.look_again_ms;
        let since_ms = *self.missing_since_ms.get_or_insert(now_ms);
        let waited_ms = now_ms.saturating_sub(since_ms);
        if waited_ms >= LOST_PATIENCE_MS {
            self.missing_since_ms = Some(now_ms);
            self.pass_broke();
        } else if may_look && (is_unknown || waited_ms >= PATIENCE_MS) {
            self.look = Look::Asked(Known {
                incarnation: told.incarnation,
                sent: told.sent,
            });
            self.commands.push_back(Command::Look);
        }
    }

    /// Returns when the mere passing of time makes something due.
    pub fn wake_at(&self) -> Option<u64> {
        let since_ms = self.missing_since_ms?;
        Some(match self.look {
            Look::None => self.look_again_ms.max(since_ms + PATIENCE_MS),
            Look::Asked(_) | Look::Until(..) => since_ms + LOST_PATIENCE_MS,
        })
    }

    /// Returns whether the end has been handed on and everything before it acknowledged.
    pub fn is_over(&self) -> bool {
        self.has_ended && self.unsettled.is_empty() && self.commands.is_empty()
    }

    /// Returns how many packets did not come: dropped, forgotten by the store, or never stored before a crash.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns how many deliveries were of packets that had come before.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }
}
