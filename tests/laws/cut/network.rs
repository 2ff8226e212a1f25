//! The network between the parts of a cut graph: a simulated edge for each stream that crosses, all of them on a thread
//! of their own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use fermata_engine::{End, Settled, Ticket};
use fermata_remote::edge::arrival::Taken;
use fermata_remote::edge::sender::SenderSpec;
use fermata_remote::edge::simulated::{Dice, Faults, Parcel, SimulatedEdge, SimulatedSpec};

/// Things that happen on a line before others have their turn.
const STEPS: usize = 20;
/// How long a look at a line waits, at most, for something to happen there.
const LOOK: Duration = Duration::from_millis(5);

/// What a network does that none may do, to show that the laws find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// The second packet of each line comes out nowhere, and is not counted.
    LosesOne,
    /// What has been lost is no longer said at the end, and what has not is.
    ChangesTheEnd,
}

/// The edge of a stream. What is kept of a packet until it is stored is the ticket of its call.
pub(super) type Edge = SimulatedEdge<Vec<u8>, Option<Ticket>>;

/// A stream that crosses, and who is at its two ends.
pub(super) struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    edge: Edge,
    /// How far the stream has come at the sinks behind it, and at the sending node.
    behind: Option<Settled>,
    before: Option<Settled>,
    settled: u64,
    has_handed_on_end: bool,
    told_missed: u64,
    taken: usize,
}

impl State {
    /// Whether this is the second time that somebody asks.
    fn is_second(&mut self) -> bool {
        self.taken += 1;
        self.taken == 2
    }
}

/// See the file's head.
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

    /// Ends it, once what has been settled is acknowledged.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap().take();
        thread.into_iter().for_each(|thread| thread.join().unwrap());
        for _ in 0..1000 {
            self.carry();
        }
    }

    /// Edges and streams that crossed.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        self.lines.lock().unwrap().keys().cloned().collect()
    }

    /// Packets that the stores still hold, and that nobody has settled.
    pub(super) fn left(&self) -> usize {
        let lines = self.lines.lock().unwrap();
        lines
            .values()
            .map(|line| line.lock().edge.unsettled())
            .sum()
    }

    /// How many packets and ends have been harmed.
    pub(super) fn harmed(&self) -> usize {
        self.harmed.load(Ordering::Relaxed)
    }

    /// What comes out of a line next, if anything does soon; and how many packets have been missed since the last time.
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

    /// The line of an edge's stream, which whichever end comes first lays.
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

    /// Lets something happen on all lines. False if nothing is under way anywhere.
    fn carry(&self) -> bool {
        let lines: Vec<Arc<Line>> = self.lines.lock().unwrap().values().cloned().collect();
        // All of them, whatever the first says.
        let carried: Vec<bool> = lines.iter().map(|line| line.carry()).collect();
        carried.contains(&true)
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Sets what says how far the stream has come at the sending node.
    pub(super) fn begins_at(&self, settled: Settled) {
        self.lock().before = Some(settled);
    }

    /// Sets what says how far the stream has come at the sinks behind the edge.
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

    /// What the harm makes of what was taken, and whether it did anything.
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
        // A ticket is settled without a lock: that wakes a lane.
        for (_, ticket) in stored {
            ticket.into_iter().for_each(Ticket::done);
        }
        is_busy
    }
}
