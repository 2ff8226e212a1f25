//! The network between the parts of a cut graph: a simulated edge for each stream that crosses, all of them on one
//! thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use fermata_engine::{End, Settled, Ticket};
use fermata_remote::edge::arrival::Taken;
use fermata_remote::edge::sender::SenderSpec;
use fermata_remote::edge::simulated::{Dice, Faults, Parcel, SimulatedEdge, SimulatedSpec};

/// Events on a line before other lines have their turn.
const STEPS: usize = 20;
/// How long a check of a line waits, at most, for an event there.
const LOOK: Duration = Duration::from_millis(5);

/// A violation that no network may commit, to show that the laws detect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// The second packet of each line is lost and not counted.
    LosesOne,
    /// The end's `lost` flag is inverted.
    ChangesTheEnd,
}

/// The edge of a stream. Until a packet is stored, the ticket of its call is kept with it.
pub(super) type Edge = SimulatedEdge<Vec<u8>, Option<Ticket>>;

/// A stream that crosses, and the actors at its two ends.
pub(super) struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    edge: Edge,
    /// How far the stream has been settled at the sinks behind it, and at the sending node.
    behind: Option<Settled>,
    before: Option<Settled>,
    settled: u64,
    has_handed_on_end: bool,
    told_missed: u64,
    taken: usize,
}

impl State {
    /// Counts the calls; returns whether this is the second.
    fn is_second(&mut self) -> bool {
        self.taken += 1;
        self.taken == 2
    }
}

/// The simulated network; see the module's documentation.
pub(super) struct Network {
    lines: Mutex<BTreeMap<(String, String), Arc<Line>>>,
    faults: Faults,
    harm: Option<Harm>,
    harmed: AtomicUsize,
    dice: Mutex<Dice>,
    is_over: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Network {
    pub(super) fn begin(faults: Faults, seed: u64, harm: Option<Harm>) -> Arc<Self> {
        let network = Arc::new(Self {
            lines: Mutex::default(),
            faults,
            harm,
            harmed: AtomicUsize::new(0),
            dice: Mutex::new(Dice(seed)),
            is_over: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        let carrying = Arc::clone(&network);
        let thread = std::thread::spawn(move || {
            while !carrying.is_over.load(Ordering::Relaxed) {
                if !carrying.carry() {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        });
        *network.thread.lock().unwrap() = Some(thread);
        network
    }

    /// Ends the network once everything settled has been acknowledged.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap().take();
        thread.into_iter().for_each(|thread| thread.join().unwrap());
        for _ in 0..1000 {
            self.carry();
        }
    }

    /// Returns the edges and streams that crossed.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        self.lines.lock().unwrap().keys().cloned().collect()
    }

    /// Returns the number of packets that the stores still hold and that have not been settled.
    pub(super) fn left(&self) -> usize {
        let lines = self.lines.lock().unwrap();
        lines
            .values()
            .map(|line| line.lock().edge.unsettled())
            .sum()
    }

    /// Returns how many packets and ends have been harmed.
    pub(super) fn harmed(&self) -> usize {
        self.harmed.load(Ordering::Relaxed)
    }

    /// Takes the next item from a line, if one arrives soon; also returns how many packets have been missed since the
    /// last call.
    pub(super) fn take(&self, line: &Line) -> (Option<Taken<Vec<u8>>>, u64) {
        let (taken, missed) = line.take();
        let Some(harm) = self.harm else {
            return (taken, missed);
        };
        let (taken, is_harmed) = line.harmed(harm, taken);
        self.harmed
            .fetch_add(usize::from(is_harmed), Ordering::Relaxed);
        (taken, missed)
    }

    /// Returns the line of an edge's stream; the first end to ask creates it.
    pub(super) fn line(&self, edge: &str, stream: &str, sender: SenderSpec) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap();
        let line = lines.entry((edge.to_owned(), stream.to_owned()));
        let line = line.or_insert_with(|| {
            let mut dice = self.dice.lock().unwrap();
            let may_forget = sender.full != fermata_engine::graph::WhenFull::Block;
            let faults = Faults {
                store_forgets: if may_forget {
                    self.faults.store_forgets
                } else {
                    0
                },
                ..self.faults
            };
            let edge = SimulatedEdge::new(SimulatedSpec {
                sender,
                limit: sender.capacity + sender.window,
                faults,
                seed: dice.below(u64::MAX),
            });
            Arc::new(Line {
                state: Mutex::new(State {
                    edge,
                    behind: None,
                    before: None,
                    settled: 0,
                    has_handed_on_end: false,
                    told_missed: 0,
                    taken: 0,
                }),
                changed: Condvar::new(),
            })
        });
        Arc::clone(line)
    }

    /// Advances all lines. Returns false if nothing is in flight anywhere.
    fn carry(&self) -> bool {
        let lines: Vec<Arc<Line>> = self.lines.lock().unwrap().values().cloned().collect();
        // Collected first, so that every line advances whatever the first one returns.
        let carried: Vec<bool> = lines.iter().map(|line| line.carry()).collect();
        carried.contains(&true)
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Sets how far the stream has been settled at the sending node.
    pub(super) fn begins_at(&self, settled: Settled) {
        self.lock().before = Some(settled);
    }

    /// Sets how far the stream has been settled at the sinks behind the edge.
    pub(super) fn leads_to(&self, settled: Settled) {
        self.lock().behind = Some(settled);
    }

    pub(super) fn add(&self, parcel: impl FnOnce(u64) -> Parcel<Vec<u8>>, ticket: Option<Ticket>) {
        let mut state = self.lock();
        let parcel = parcel(state.edge.now_ms());
        state.edge.add(parcel, ticket);
    }

    /// Ends the stream, and waits until the other end can know it.
    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        state.edge.ended(end);
        while !state.edge.sender().is_over() {
            state = self.changed.wait_timeout(state, LOOK).unwrap().0;
        }
    }

    /// Applies the harm to what was taken; also returns whether it changed anything.
    fn harmed(&self, harm: Harm, taken: Option<Taken<Vec<u8>>>) -> (Option<Taken<Vec<u8>>>, bool) {
        let mut state = self.lock();
        match (harm, taken) {
            (Harm::ChangesTheEnd, Some(Taken::End(end))) => {
                let lost = !end.lost;
                (Some(Taken::End(End { lost, ..end })), true)
            }
            (Harm::LosesOne, Some(Taken::Packet { .. })) if state.is_second() => (None, true),
            (_, taken) => (taken, false),
        }
    }

    fn take(&self) -> (Option<Taken<Vec<u8>>>, u64) {
        let mut state = self.lock();
        if !state.edge.receiver.has_taken() {
            state = self.changed.wait_timeout(state, LOOK).unwrap().0;
        }
        let all_missed = state.edge.receiver.missed();
        let missed = all_missed - std::mem::replace(&mut state.told_missed, all_missed);
        let taken = state.edge.receiver.next_taken();
        state.has_handed_on_end |= matches!(taken, Some(Taken::End(_)));
        (taken, missed)
    }

    fn carry(&self) -> bool {
        let mut stored = Vec::new();
        let is_busy = {
            let mut state = self.lock();
            let before = state.before.as_ref().map(Settled::position);
            if let Some(position) = before.filter(|position| *position < u64::MAX) {
                state.edge.marked(position);
            }
            let behind = state.behind.as_ref().map(Settled::position);
            if let Some(position) = behind
                && (position < u64::MAX || state.has_handed_on_end)
            {
                state.settled = position;
            }
            let settled = state.settled;
            state.edge.receiver.settled(settled);
            for _ in 0..STEPS {
                stored.extend(state.edge.step());
            }
            let edge = &state.edge;
            edge.sender().has_packets() || edge.unsettled() > 0
        };
        self.changed.notify_all();
        // A ticket is settled without holding a lock, because that wakes a lane.
        for (_, ticket) in stored {
            ticket.into_iter().for_each(Ticket::done);
        }
        is_busy
    }
}
