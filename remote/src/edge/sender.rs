//! The sending end of an edge, one stream: which packet is published when, what is retried, what is given up, and what
//! the other end is told of it. Pure: it is told what happened and when, and returns what to do; the network is
//! elsewhere.
//!
//! Every packet has a number of the edge's own, from 0 in each incarnation. What was not acknowledged is published
//! again under its number, so the store may hold it twice and out of order; the other end sorts that out. If a full
//! store refuses, the lowest number is retried alone, at growing intervals, until there is room.

use std::collections::BTreeMap;

use fermata_engine::End;
use fermata_engine::graph::WhenFull;

use super::wire::ProgressMessage;

/// Time after which the other end is told how far this one has come, if only that has changed.
const TELL_AFTER_MS: u64 = 500;
/// Pauses before a refused packet, or progress that the other end could not be told, is retried.
const FIRST_PAUSE_MS: u64 = 2;
const LONGEST_PAUSE_MS: u64 = 64;

/// Configuration of a sending end.
#[derive(Clone, Copy, Debug)]
pub struct SenderSpec {
    /// Whether packets wait for room or are dropped.
    pub full: WhenFull,
    /// Packets that may wait to be published, where they may be dropped. Otherwise the caller limits them.
    pub capacity: usize,
    /// Packets that may be on their way to the store at once.
    pub window: usize,
    /// Bytes that may wait here or be on their way; a larger packet is let through alone.
    pub bytes: Option<u64>,
    /// Age above which packets are dropped before they are published, where they may be dropped.
    pub max_age_ms: Option<u64>,
}

/// A publication to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The packet's number.
    pub number: u64,
    /// How often it has been tried, this time included.
    pub tries: u32,
}

/// What became of packets that were not stored for certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Dropped because too much was waiting, or because the store was full.
    pub dropped: u64,
    /// Dropped because they were too old.
    pub aged: u64,
    /// Published without an acknowledgement: they may have arrived.
    pub unconfirmed: u64,
}

#[derive(Debug)]
struct Outgoing<T> {
    content: T,
    bytes: u64,
    captured_ms: u64,
    tries: u32,
    is_on_its_way: bool,
}

/// Progress that may be told once all numbers below `needs` are out of the way.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    needs: u64,
    mark: u64,
    end: Option<End>,
}

/// The sending end; `T` is what is published.
#[derive(Debug)]
pub struct Sender<T> {
    spec: SenderSpec,
    incarnation: Option<u64>,
    is_connected: bool,
    next: u64,
    packets: BTreeMap<u64, Outgoing<T>>,
    /// Publications that may be on their way at once: the window, or fewer after some were refused or failed.
    allowed: usize,
    pause_ms: u64,
    paused_until_ms: u64,
    /// One past the last packet's sequence.
    position: u64,
    mark: u64,
    end: Option<End>,
    snapshot: Option<Snapshot>,
    /// What the other end has been told.
    told: ProgressMessage,
    told_at_ms: u64,
    telling: Option<ProgressMessage>,
    must_tell: bool,
    /// Pause before progress that could not be told is told again.
    tell_pause_ms: u64,
    told_again_from_ms: u64,
    given: Given,
}

impl<T> Sender<T> {
    /// Creates an end that has not been opened yet: packets wait.
    pub fn new(spec: SenderSpec) -> Self {
        Self {
            spec,
            incarnation: None,
            is_connected: false,
            next: 0,
            packets: BTreeMap::new(),
            allowed: spec.window.max(1),
            pause_ms: 0,
            paused_until_ms: 0,
            position: 0,
            mark: 0,
            end: None,
            snapshot: None,
            told: ProgressMessage::default(),
            told_at_ms: 0,
            telling: None,
            must_tell: false,
            tell_pause_ms: 0,
            told_again_from_ms: 0,
            given: Given::default(),
        }
    }

    fn loses(&self) -> bool {
        self.spec.full != WhenFull::Block
    }

    /// Opens the end: the server knows this incarnation now, and has been told that it begins.
    pub fn opened(&mut self, incarnation: u64, now_ms: u64) {
        self.incarnation = Some(incarnation);
        self.is_connected = true;
        self.told = ProgressMessage {
            incarnation,
            ..ProgressMessage::default()
        };
        self.told_at_ms = now_ms;
    }

    /// Returns the incarnation of the sending end, once it is known.
    pub fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    /// Records that the connection is lost: the fate of what was on its way is unknown.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
        self.telling = None;
        self.must_tell = true;
        if self.loses() {
            let before = self.packets.len();
            self.packets.retain(|_, packet| !packet.is_on_its_way);
            self.given.unconfirmed += (before - self.packets.len()) as u64;
        }
        for packet in self.packets.values_mut() {
            packet.is_on_its_way = false;
        }
    }

    /// Records that the connection is back.
    pub fn reconnected(&mut self) {
        self.is_connected = self.incarnation.is_some();
        self.must_tell = true;
        self.paused_until_ms = 0;
        self.told_again_from_ms = 0;
    }

    /// Adds a packet, and returns its number. Where packets may be dropped, this may drop one.
    pub fn add(&mut self, content: T, sequence: u64, bytes: u64, captured_ms: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        self.position = sequence + 1;
        let packet = Outgoing {
            content,
            bytes,
            captured_ms,
            tries: 0,
            is_on_its_way: false,
        };
        self.packets.insert(number, packet);
        if self.loses() {
            self.make_room();
        }
        number
    }

    /// Drops waiting packets beyond the limits.
    fn make_room(&mut self) {
        loop {
            let waiting = || self.packets.iter().filter(|(_, p)| !p.is_on_its_way);
            let (packets, bytes) = waiting().fold((0, 0), |(packets, bytes), (_, packet)| {
                (packets + 1, bytes + packet.bytes)
            });
            let fits = packets <= self.spec.capacity.max(1)
                && self.spec.bytes.is_none_or(|most| bytes <= most);
            if fits || packets <= 1 {
                return;
            }
            let dropped = match self.spec.full {
                WhenFull::DropNewest => waiting().next_back(),
                _ => waiting().next(),
            };
            let Some(number) = dropped.map(|(&number, _)| number) else {
                return;
            };
            self.packets.remove(&number);
            self.given.dropped += 1;
        }
    }

    /// Returns what to publish now, if anything, which then counts as on its way.
    pub fn next_publication(&mut self, now_ms: u64) -> Option<(Attempt, &T)> {
        if !self.is_connected || now_ms < self.paused_until_ms {
            return None;
        }
        self.paused_until_ms = 0;
        self.drop_aged(now_ms);
        let (mut on_their_way, mut bytes) = (0, 0);
        for packet in self.packets.values().filter(|packet| packet.is_on_its_way) {
            on_their_way += 1;
            bytes += packet.bytes;
        }
        if on_their_way >= self.allowed {
            return None;
        }
        // More packets behind a refused one would fill the store with what the other end cannot take before it.
        let reach = if self.loses() {
            u64::MAX
        } else {
            self.floor() + self.spec.window.max(1) as u64
        };
        let within = self.packets.range_mut(..reach);
        let mut waiting = within.filter(|(_, packet)| !packet.is_on_its_way);
        let (&number, packet) = waiting.next()?;
        let fits = self
            .spec
            .bytes
            .is_none_or(|most| bytes + packet.bytes <= most);
        if !fits && on_their_way > 0 {
            return None;
        }
        packet.is_on_its_way = true;
        packet.tries += 1;
        let attempt = Attempt {
            number,
            tries: packet.tries,
        };
        Some((attempt, &packet.content))
    }

    fn drop_aged(&mut self, now_ms: u64) {
        let Some(most) = self.spec.max_age_ms.filter(|_| self.loses()) else {
            return;
        };
        let before = self.packets.len();
        self.packets.retain(|_, packet| {
            packet.is_on_its_way || now_ms.saturating_sub(packet.captured_ms) <= most
        });
        self.given.aged += (before - self.packets.len()) as u64;
    }

    /// Records that the store has the packet. Returns it, unless it was acknowledged or given up before.
    pub fn acknowledged(&mut self, attempt: Attempt) -> Option<T> {
        let packet = self.packets.remove(&attempt.number)?;
        self.allowed = (self.allowed * 2).min(self.spec.window.max(1));
        self.pause_ms = 0;
        self.paused_until_ms = 0;
        Some(packet.content)
    }

    /// Records that the store is full: the packet waits, and nothing else is tried before it; or it is dropped.
    pub fn refused(&mut self, attempt: Attempt, now_ms: u64) {
        if !self.is_current(attempt) {
            return;
        }
        if self.loses() {
            self.packets.remove(&attempt.number);
            self.given.dropped += 1;
            return;
        }
        self.put_back(attempt.number);
        self.allowed = 1;
        self.pause_ms = longer(self.pause_ms);
        self.paused_until_ms = now_ms + self.pause_ms;
    }

    /// Records that it is unknown whether the store has the packet: it is published again, or given up.
    pub fn failed(&mut self, attempt: Attempt, now_ms: u64) {
        if !self.is_current(attempt) {
            return;
        }
        if self.loses() {
            self.packets.remove(&attempt.number);
            self.given.unconfirmed += 1;
            return;
        }
        self.put_back(attempt.number);
        self.allowed = 1;
        self.paused_until_ms = now_ms + LONGEST_PAUSE_MS;
    }

    /// Gives up a packet that can never be stored, and returns it.
    pub fn give_up(&mut self, attempt: Attempt) -> Option<T> {
        let packet = self.packets.remove(&attempt.number)?;
        self.given.dropped += 1;
        Some(packet.content)
    }

    fn is_current(&self, attempt: Attempt) -> bool {
        let packet = self.packets.get(&attempt.number);
        packet.is_some_and(|packet| packet.is_on_its_way && packet.tries == attempt.tries)
    }

    fn put_back(&mut self, number: u64) {
        if let Some(packet) = self.packets.get_mut(&number) {
            packet.is_on_its_way = false;
        }
    }

    /// Records that no packet with a sequence below this will be added any more.
    pub fn marked(&mut self, mark: u64) {
        self.mark = self.mark.max(mark);
    }

    /// Records that nothing will be added any more, and how the stream ended.
    pub fn ended(&mut self, end: End) {
        self.end = Some(end);
    }

    /// Returns the lowest number that is not out of the way.
    fn floor(&self) -> u64 {
        self.packets.keys().next().copied().unwrap_or(self.next)
    }

    /// Returns what to tell the other end now, if anything; one message at a time.
    pub fn next_progress(&mut self, now_ms: u64) -> Option<ProgressMessage> {
        let incarnation = self.incarnation.filter(|_| self.is_connected)?;
        if self.telling.is_some() || now_ms < self.told_again_from_ms {
            return None;
        }
        let is_news = (self.mark > self.told.mark && self.mark > self.position)
            || (self.end.is_some() && self.told.end().is_none());
        if self.snapshot.is_none() && is_news {
            self.snapshot = Some(Snapshot {
                needs: self.next,
                mark: self.mark,
                end: self.end,
            });
        }
        let floor = self.floor();
        let due = self.snapshot.take_if(|snapshot| snapshot.needs <= floor);
        let (mark, end) = match due {
            Some(snapshot) => (snapshot.mark, snapshot.end),
            None => {
                let is_due = floor > self.told.sent && now_ms >= self.told_at_ms + TELL_AFTER_MS;
                if !is_due && !self.must_tell {
                    return None;
                }
                // If no packet is pending, what has been marked holds.
                let mark = if floor == self.next { self.mark } else { 0 };
                (mark, self.told.end())
            }
        };
        let progress = ProgressMessage {
            incarnation,
            sent: floor,
            mark: mark.max(self.told.mark),
            ..ProgressMessage::default()
        };
        let progress = progress.with_end(end);
        self.telling = Some(progress);
        self.must_tell = false;
        Some(progress)
    }

    /// Records that the server has stored what the other end is to be told.
    pub fn told(&mut self, progress: ProgressMessage, now_ms: u64) {
        if self.telling == Some(progress) {
            self.telling = None;
            self.told = progress;
            self.told_at_ms = now_ms;
            (self.tell_pause_ms, self.told_again_from_ms) = (0, 0);
        }
    }

    /// Records that it is unknown whether the server has it: it is told again, at growing intervals.
    pub fn not_told(&mut self, progress: ProgressMessage, now_ms: u64) {
        if self.telling == Some(progress) {
            self.telling = None;
            self.must_tell = true;
            self.tell_pause_ms = longer(self.tell_pause_ms);
            self.told_again_from_ms = now_ms + self.tell_pause_ms;
        }
    }

    /// Returns whether packets wait, or are on their way.
    pub fn has_packets(&self) -> bool {
        !self.packets.is_empty()
    }

    /// Returns whether everything has gone, and the other end can know it.
    pub fn is_over(&self) -> bool {
        self.packets.is_empty() && self.told.end().is_some() && self.told.sent == self.next
    }

    /// Returns when the mere passing of time makes something due.
    pub fn wake_at(&self) -> Option<u64> {
        if !self.is_connected {
            return None;
        }
        let retry =
            (self.paused_until_ms > 0 && !self.packets.is_empty()).then_some(self.paused_until_ms);
        let tell = if self.telling.is_some() {
            None
        } else if self.must_tell {
            Some(self.told_again_from_ms)
        } else {
            let is_news = self.floor() > self.told.sent;
            is_news.then_some(self.told_at_ms + TELL_AFTER_MS)
        };
        retry.into_iter().chain(tell).min()
    }

    /// Returns what became of packets that were not stored for certain.
    pub fn given(&self) -> Given {
        self.given
    }
}

/// Returns the pause after another failed attempt.
fn longer(pause_ms: u64) -> u64 {
    (pause_ms * 2).clamp(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
}
