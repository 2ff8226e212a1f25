//! A simulated server, workers and a coordinator, in steps that a seed decides.

use std::collections::{BTreeMap, BTreeSet};

use crate::work::attempt::{Ask, Attempt, Ended, Told};
use crate::work::decision::{Decision, Heard, Seen, decide};
use crate::work::records::{Outcome, ResultRecord, Tries};

/// Workers that may be lost over a unit.
pub(super) const TRIES: u32 = 3;
/// Length of a lease, in steps.
const LEASE: u64 = 60;
/// Step after which nothing breaks any more.
const CALM: u64 = 3000;
const MOST_STEPS: u64 = 200_000;

/// How often faults happen, in 10,000 steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) answer_lost: u64,
    pub(super) done_later: u64,
    pub(super) lease_forgotten: u64,
    pub(super) message_forgotten: u64,
    pub(super) worker_dies: u64,
    pub(super) worker_stops: u64,
    /// In 10,000 results.
    pub(super) rejected: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) units: u64,
    pub(super) workers: usize,
    /// The first units, up to this number, kill whoever works on them.
    pub(super) poisonous: u64,
    pub(super) faults: Faults,
    pub(super) seed: u64,
}

#[derive(Debug)]
struct Running {
    unit: u64,
    attempt: Attempt,
    number: Option<u32>,
    renewed: u64,
}

#[derive(Debug)]
struct SimWorker {
    name: String,
    stopped_until: u64,
    /// Whether it no longer takes part, so that another one comes.
    is_unfit: bool,
    running: Vec<Running>,
}

/// What may be done long after it was asked for.
#[derive(Debug)]
enum Late {
    Create(u64, ResultRecord),
    Write(u64, Tries, Option<u64>),
}

#[derive(Debug)]
pub(super) struct World {
    case: Case,
    random: u64,
    now: u64,
    /// Units in the queue, and until when they are leased.
    queue: BTreeMap<u64, u64>,
    outcomes: BTreeMap<u64, Outcome>,
    tries: BTreeMap<u64, (Tries, u64)>,
    revision: u64,
    late_operations: Vec<(u64, Late)>,
    workers: Vec<SimWorker>,
    born: usize,
    heard: Heard,
    pub(super) objects: BTreeMap<(u64, u32), String>,
    pub(super) accepted: BTreeSet<u64>,
    pub(super) given_up: BTreeMap<u64, String>,
    /// Workers that a unit has killed.
    pub(super) killed: BTreeMap<u64, u32>,
    /// Workers that died, or stopped for at least half a lease, with the unit begun.
    pub(super) lost_over: BTreeMap<u64, u32>,
    rejected: BTreeSet<(u64, u32)>,
    /// Results of workers that died before they could report whose result counts.
    pub(super) dead_stored: BTreeSet<(u64, u32)>,
}

fn sha256(unit: u64) -> String {
    format!("{unit:064x}")
}

impl World {
    pub(super) fn new(case: Case) -> Self {
        Self {
            case,
            random: case.seed,
            now: 0,
            queue: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            tries: BTreeMap::new(),
            revision: 0,
            late_operations: Vec::new(),
            workers: Vec::new(),
            born: 0,
            heard: Heard::default(),
            objects: BTreeMap::new(),
            accepted: BTreeSet::new(),
            given_up: BTreeMap::new(),
            killed: BTreeMap::new(),
            lost_over: BTreeMap::new(),
            rejected: BTreeSet::new(),
            dead_stored: BTreeSet::new(),
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most.max(1)
    }

    fn happens(&mut self, often: u64) -> bool {
        self.now < CALM && self.below(10_000) < often
    }

    pub(super) fn outcome_attempt(&self, unit: u64) -> Option<u32> {
        match self.outcomes.get(&unit)? {
            Outcome::Result(result) => Some(result.attempt),
            Outcome::GivenUp { .. } => None,
        }
    }

    /// Runs until every unit has been decided and every worker is idle.
    pub(super) fn run(mut self) -> Self {
        while self.now < MOST_STEPS {
            self.step();
            let decided = self.accepted.len() + self.given_up.len();
            let idle = self.workers.iter().all(|worker| worker.running.is_empty());
            let settled = self.late_operations.is_empty() && self.now > CALM;
            if decided as u64 == self.case.units && idle && settled {
                return self;
            }
        }
        panic!("it does not end: {self:?}");
    }

    fn step(&mut self) {
        self.now += 1;
        self.do_late_operations();
        self.break_something();
        self.workers
            .retain(|worker| !worker.is_unfit || !worker.running.is_empty());
        while self.workers.len() < self.case.workers {
            self.born += 1;
            self.workers.push(SimWorker {
                name: format!("w{}", self.born),
                stopped_until: 0,
                is_unfit: false,
                running: Vec::new(),
            });
        }
        for worker in self.workers.iter_mut() {
            if worker.stopped_until <= self.now {
                self.heard.heard(&worker.name, self.now);
                for running in &mut worker.running {
                    if self.now - running.renewed >= LEASE / 3 {
                        running.renewed = self.now;
                        if let Some(leased) = self.queue.get_mut(&running.unit) {
                            *leased = self.now + LEASE;
                        }
                    }
                }
            }
        }
        let worker = self.below(self.workers.len() as u64) as usize;
        if self.workers[worker].stopped_until <= self.now {
            match self.below(3) {
                0 => self.take(worker),
                _ => self.work(worker),
            }
        }
        // A silent worker counts as silent, remembered or not.
        self.heard.forget(self.now.saturating_sub(LEASE));
        let unit = self.below(self.case.units);
        self.look(unit);
    }

    fn do_late_operations(&mut self) {
        let now = self.now;
        let due = |(at, _): &mut (u64, Late)| *at <= now;
        let due: Vec<_> = self.late_operations.extract_if(.., due).collect();
        for (_, late) in due {
            match late {
                Late::Create(unit, result) => {
                    self.create(unit, Outcome::Result(result));
                }
                Late::Write(unit, tries, revision) => {
                    self.write(unit, tries, revision);
                }
            }
        }
    }

    fn break_something(&mut self) {
        let faults = self.case.faults;
        let unit = self.below(self.case.units);
        if self.happens(faults.lease_forgotten)
            && let Some(leased) = self.queue.get_mut(&unit)
        {
            *leased = 0;
        }
        if self.happens(faults.message_forgotten) {
            self.queue.remove(&unit);
        }
        let worker = self.below(self.workers.len() as u64) as usize;
        if self.workers.is_empty() {
            return;
        }
        if self.happens(faults.worker_dies) {
            self.die(worker);
        } else if self.happens(faults.worker_stops) {
            let long = self.below(5 * LEASE);
            self.workers[worker].stopped_until = self.now + long;
            if long >= LEASE / 2 {
                self.lose(worker);
            }
        }
    }

    fn lose(&mut self, worker: usize) {
        for running in &self.workers[worker].running {
            *self.lost_over.entry(running.unit).or_default() += 1;
        }
    }

    fn die(&mut self, worker: usize) {
        self.lose(worker);
        let dead = self.workers.remove(worker);
        for running in dead.running {
            if let Some(number) = running.number {
                self.dead_stored.insert((running.unit, number));
            }
        }
    }

    fn take(&mut self, worker: usize) {
        let now = self.now;
        if self.workers[worker].is_unfit {
            return;
        }
        let free = self.queue.iter_mut().find(|(_, leased)| **leased <= now);
        let Some((&unit, leased)) = free else {
            return;
        };
        *leased = now + LEASE;
        let mut known = self.workers[worker].running.iter();
        // If this worker works on it still, it has its lease again.
        if known.any(|running| running.unit == unit) {
            return;
        }
        let name = self.workers[worker].name.clone();
        // Units that are computed beside one that kills would be lost with it.
        let most = if self.case.poisonous > 0 { 1 } else { 2 };
        if self.workers[worker].running.len() < most {
            self.workers[worker].running.push(Running {
                unit,
                attempt: Attempt::new(&name, TRIES),
                number: None,
                renewed: now,
            });
        }
    }

    fn work(&mut self, worker: usize) {
        let count = self.workers[worker].running.len() as u64;
        if count == 0 {
            return;
        }
        let index = self.below(count) as usize;
        let running = &self.workers[worker].running[index];
        let (unit, ask) = (running.unit, running.attempt.next());
        let name = self.workers[worker].name.clone();
        let told = match ask {
            Ask::Nothing(ended) => {
                let worker = &mut self.workers[worker];
                worker.running.remove(index);
                worker.is_unfit |= ended == Ended::Unfit;
                return;
            }
            Ask::Work { .. } if unit < self.case.poisonous => {
                *self.killed.entry(unit).or_default() += 1;
                self.die(worker);
                return;
            }
            Ask::Work { .. } => match self.below(30) {
                0 => Told::Computed {
                    sha256: sha256(unit),
                },
                1 if self.below(10) == 0 => Told::GivenBack,
                _ => return,
            },
            ask => self.ask(unit, &name, ask),
        };
        let running = &mut self.workers[worker].running[index];
        running.attempt.told(told);
        match running.attempt.next() {
            Ask::Work { attempt } => running.number = Some(attempt),
            Ask::Nothing(Ended::Returned) => running.number = None,
            _ => {}
        }
    }

    /// Does what a worker asks for; the answer may be lost, and what is asked for may be done later, or never.
    fn ask(&mut self, unit: u64, worker: &str, ask: Ask) -> Told {
        let result = |attempt| ResultRecord {
            attempt,
            sha256: sha256(unit),
            size: 1,
            worker: worker.to_owned(),
        };
        if self.happens(self.case.faults.done_later) {
            let at = self.now + self.below(3 * LEASE);
            let late = match &ask {
                Ask::Commit { attempt } => Some(Late::Create(unit, result(*attempt))),
                Ask::WriteTries { tries, revision } => {
                    Some(Late::Write(unit, tries.clone(), *revision))
                }
                _ => None,
            };
            self.late_operations.extend(late.map(|late| (at, late)));
            return Told::Unknown;
        }
        let told = |is_done| if is_done { Told::Done } else { Told::Refused };
        let told = match ask {
            Ask::ReadOutcome => Told::Outcome(self.outcomes.get(&unit).cloned()),
            Ask::ReadTries => Told::Tries(self.tries.get(&unit).cloned()),
            Ask::WriteTries { tries, revision } => told(self.write(unit, tries, revision)),
            Ask::Store { attempt } => {
                self.objects.insert((unit, attempt), sha256(unit));
                Told::Done
            }
            Ask::Commit { attempt } => told(self.create(unit, Outcome::Result(result(attempt)))),
            Ask::Drop { attempt } => {
                self.objects.remove(&(unit, attempt));
                Told::Done
            }
            Ask::Acknowledge => {
                self.queue.remove(&unit);
                Told::Done
            }
            Ask::Return { later } => {
                let until = self.now + if later { LEASE } else { 0 };
                if let Some(leased) = self.queue.get_mut(&unit) {
                    *leased = until;
                }
                Told::Done
            }
            Ask::Work { .. } | Ask::Nothing(_) => unreachable!("nothing for the server"),
        };
        if self.happens(self.case.faults.answer_lost) {
            Told::Unknown
        } else {
            told
        }
    }

    fn create(&mut self, unit: u64, outcome: Outcome) -> bool {
        let is_new = !self.outcomes.contains_key(&unit);
        if is_new {
            self.outcomes.insert(unit, outcome);
        }
        is_new
    }

    fn write(&mut self, unit: u64, tries: Tries, revision: Option<u64>) -> bool {
        let is_last = self.tries.get(&unit).map(|(_, revision)| *revision) == revision;
        if is_last {
            self.revision += 1;
            self.tries.insert(unit, (tries, self.revision));
        }
        is_last
    }

    /// Lets the coordinator look at a unit.
    fn look(&mut self, unit: u64) {
        if self.accepted.contains(&unit) || self.given_up.contains_key(&unit) {
            return;
        }
        let seen = Seen {
            outcome: self.outcomes.get(&unit).cloned(),
            is_queued: self.queue.contains_key(&unit),
            tries: self
                .tries
                .get(&unit)
                .map(|(tries, _)| tries.clone())
                .unwrap_or_default(),
        };
        let (heard, now) = (&self.heard, self.now);
        let decision = decide(&seen, TRIES, |worker| heard.is_silent(worker, now, LEASE));
        match decision {
            Decision::Wait => {}
            Decision::Publish => {
                self.queue.entry(unit).or_insert(0);
            }
            Decision::Fetch(result) => {
                let key = (unit, result.attempt);
                let is_right = self.objects.get(&key) == Some(&sha256(unit));
                let was_rejected = self.rejected.contains(&key);
                assert!(is_right || was_rejected, "the result is there");
                if is_right && !self.happens(self.case.faults.rejected) {
                    self.accepted.insert(unit);
                    return;
                }
                if self.rejected.insert(key) {
                    *self.lost_over.entry(unit).or_default() += 1;
                }
                if let Some((tries, revision)) = self.tries.get(&unit).cloned() {
                    let mut failed = tries;
                    failed.fail(result.attempt, "rejected");
                    self.write(unit, failed, Some(revision));
                }
                self.outcomes.remove(&unit);
                self.objects.remove(&key);
            }
            Decision::GiveUp { reason } => {
                if self.create(unit, Outcome::GivenUp { reason }) {
                    self.queue.remove(&unit);
                }
            }
            Decision::Failed { reason } => {
                self.given_up.insert(unit, reason);
            }
        }
    }
}
