//! The receiving end of an edge, one stream: which packet is taken next, what is held until its turn, what is discarded,
//! and what may be acknowledged when. Pure: told what happened and when, it says what to do; the network is elsewhere.
//!
//! The store hands over what it holds in *passes*: each begins with everything that has not been acknowledged, in the
//! order in which it was stored, and goes on with what is stored meanwhile. The deliveries of a pass are counted; when
//! the count has a hole, or the connection breaks, a new pass is asked for. What that brings again is known by its number.
//!
//! A lossless end takes only the next number, and holds later ones. It passes a number over only after it has *looked*:
//! it knew from the sending end that everything below a number had been stored, asked the store afterwards how much it
//! has, and has seen all of that. What is missing then is not there. A dropping end takes whatever is not below the next
//! number, and drops what nobody fetches. Either looks before it turns to another incarnation, told of it beforehand.

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

/// The receiving end; `T` is what a packet brings, `A` what its delivery is acknowledged by.
pub struct Receiver<T, A> {
    spec: ReceiverSpec,
    /// The newest that the sending end has told.
    told: Option<ProgressMessage>,
    incarnation: u64,
    /// The number that is taken next.
    next: u64,
    held: BTreeMap<Number, Held<T, A>>,
    /// Taken, and not settled.
    unsettled: BTreeMap<Number, Unsettled<A>>,
    taken: Unfetched<T>,
    commands: VecDeque<Command<A>>,
    /// Deliveries of this pass that have been seen; none while a pass is awaited.
    position: Option<u64>,
    look: Look,
    /// When to look again, after a look of this pass that found more to come; 0 without one.
    look_again_ms: u64,
    /// Something was refused for want of room: it comes again with a new pass.
    has_refused: bool,
    /// Since when something has been missing, and when it was last asked for.
    missing_since_ms: Option<u64>,
    place: Place,
    has_ended: bool,
    /// Packets that have been fetched, and all that have come or were missed, earlier receiving ends' among them.
    came: u64,
    counted: u64,
    /// Everything below this sequence has been settled, and how many had come of that.
    settled_below: u64,
    settled_came: u64,
    missed: u64,
    discarded: u64,
}

impl<T, A> Receiver<T, A> {
    /// An end to which nothing has come.
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

    /// A new pass has begun.
    pub fn pass_began(&mut self, now_ms: u64) {
        self.position = Some(0);
        self.look = Look::None;
        self.look_again_ms = 0;
        self.has_refused = false;
        self.missing_since_ms = self.missing_since_ms.map(|_| now_ms);
    }

    /// The connection, or the pass, is gone.
    pub fn pass_broke(&mut self) {
        if self.position.take().is_some() {
            self.commands.push_back(Command::Pass);
        }
        self.look = Look::None;
    }

    /// A delivery of this pass that was no packet. It is acknowledged, and forgotten.
    pub fn arrived_malformed(&mut self, position: u64, delivery: A) {
        if self.follows(position) {
            self.commands.push_back(Command::Acknowledge(delivery));
        }
    }

    /// A delivery of this pass.
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
                // A second copy only takes the room of what is missing; one that was acknowledged is so again.
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
                // Numbers that are passed over are counted as missed. This one has been acknowledged.
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
            // Nothing is promised of what waits here, and the store must be free to hand over the rest.
            let waiting = self.held.get_mut(&number);
            let delivery = waiting.and_then(|held| held.delivery.take());
            self.commands.extend(delivery.map(Command::Acknowledge));
        }
    }

    /// Counts a delivery. False if one before it is missing.
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

    /// The sending end says how far it has come.
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

    /// The store's answer: so many deliveries this pass has had, again ones among them, and so many packets are still to
    /// come. While any are, it is asked again.
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

    /// The store could not be asked, or has more to come: it is asked again, some time later.
    pub fn look_failed(&mut self, now_ms: u64) {
        self.look = Look::None;
        self.look_again_ms = now_ms + PATIENCE_MS;
    }

    /// Hands on what can be.
    fn advance(&mut self) {
        loop {
            self.take_held();
            if !self.resolve_look() {
                break;
            }
        }
        self.hand_on_progress();
    }

    /// Takes what is next of what is held.
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

    /// Hands on a packet, and counts those before it that are missing.
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
            // Everything before it may have been settled.
            return self.settled(0);
        }
        let taken = Taken::Packet {
            sequence: settled.behind - 1,
            segment: settled.segment,
            content: arrival.content,
        };
        if let Some(dropped) = self.taken.add_packet(number, taken) {
            // It has been counted.
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

    /// Passes over what is known not to be there. True if anything was.
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
                // The next life of the sending end begins at what is missing here, or before that.
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

    /// Another life of the sending end.
    fn begin(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.next = 0;
        self.place.begin();
    }

    /// Takes what is held below a number, and passes over what is not.
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

    /// Hands on marks and the end, once everything before them has been.
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

    /// What is to be handed on next. A packet of which nothing is promised is acknowledged by this.
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

    /// Everything below this sequence, as it is here, has been settled.
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

    /// Whether something is to be handed on.
    pub fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Whether something is to be done.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// What is to be remembered or acknowledged, for an end that does nothing else any more.
    pub fn last_command(&mut self) -> Option<Command<A>> {
        loop {
            match self.commands.pop_front()? {
                Command::Pass | Command::Look => {}
                command => return Some(command),
            }
        }
    }

    /// Looks whether something is missing, and says what to do, one thing at a time.
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

    /// When something is to be done that nothing will bring about but time.
    pub fn wake_at(&self) -> Option<u64> {
        let since_ms = self.missing_since_ms?;
        Some(match self.look {
            Look::None => self.look_again_ms.max(since_ms + PATIENCE_MS),
            Look::Asked(_) | Look::Until(..) => since_ms + LOST_PATIENCE_MS,
        })
    }

    /// Whether the end has been handed on and everything before it acknowledged.
    pub fn is_over(&self) -> bool {
        self.has_ended && self.unsettled.is_empty() && self.commands.is_empty()
    }

    /// Packets that did not come: dropped, forgotten by the store, or never stored by a sending end that died.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Deliveries of packets that had come before.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }
}
