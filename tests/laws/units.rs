//! The law of jobs: whatever fails, and whenever it is told to end, a job that is resumed until nothing is left to do
//! has done each unit once. Checked on random jobs on threads; runs in between may be drained or stopped after any
//! number of rows.
//!
//! In each run, also: the provider is told the end of every unit that it provided, once, after the sinks, and with the
//! same outcome; no more units are open at once than allowed; the books balance, and the report states the units' ends
//! as the provider was told them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fermata_engine::graph::StreamSpec;
use fermata_engine::{
    Actor, ActorError, Captured, End, Graph, How, Input, Next, Outputs, Payload, Ports,
    ProviderSetup, Registry, Report, RunOptions, RunningGraph, Services, Setup, Source, Stream,
    StreamProvider,
};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;

use super::random::{cases, keep_of};
use crate::support::{PATIENCE, options, wait_until_or};

/// What goes wrong with a unit; it is paired with the number of tries in which it does.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The source cannot read this row.
    Unreadable(u64),
    /// The source panics at this row and is rebuilt: the unit is read from its start, in another segment.
    Panics(u64),
    /// The actor in the middle refuses this row.
    Refused(u64),
    /// The actor in the middle panics on this row.
    Kills(u64),
    /// The source cannot be built: the run drains.
    Unbuilt,
}

#[derive(Clone, Debug)]
struct Unit {
    rows: u64,
    trouble: Option<(Trouble, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Drain,
    Stop,
}

#[derive(Clone, Debug)]
struct Job {
    units: Vec<Unit>,
    open: usize,
    replicas: usize,
    batch: usize,
    capacity: usize,
    /// Each run but the last is told to end after this many rows at the sinks.
    endings: Vec<(Ending, usize)>,
}

fn job() -> impl Strategy<Value = Job> {
    let kind = (0u64..12).prop_flat_map(|row| {
        prop_oneof![
            // An actor that panics waits a while before it is rebuilt, so panics are drawn rarely.
            6 => Just(Trouble::Unreadable(row)),
            1 => Just(Trouble::Panics(row)),
            6 => Just(Trouble::Refused(row)),
            1 => Just(Trouble::Kills(row)),
            2 => Just(Trouble::Unbuilt),
        ]
    });
    let trouble = (kind, 1usize..3);
    let unit = (0u64..12, prop::option::weighted(0.3, trouble))
        .prop_map(|(rows, trouble)| Unit { rows, trouble });
    let ending = (
        prop_oneof![Just(Ending::Drain), Just(Ending::Stop)],
        0usize..60,
    );
    (
        prop::collection::vec(unit, 0..24),
        1usize..6,
        1usize..4,
        1usize..6,
        1usize..5,
        prop::collection::vec(ending, 0..3),
    )
        .prop_map(|(units, open, replicas, batch, capacity, endings)| Job {
            units,
            open,
            replicas,
            batch,
            capacity,
            endings,
        })
}

/// The state that outlives a run: what is done, and how often each unit was tried.
struct Ledger {
    units: Vec<Unit>,
    tries: Vec<AtomicUsize>,
    committed: Mutex<Vec<(usize, u64)>>,
}

/// The notes of a run's provider and sinks.
struct Round {
    ledger: Arc<Ledger>,
    to_do: Mutex<Vec<usize>>,
    given: Mutex<BTreeSet<String>>,
    ends: Mutex<BTreeMap<String, End>>,
    sinks: Mutex<BTreeMap<String, End>>,
    most_open: AtomicUsize,
    rows: AtomicUsize,
    broken: Mutex<Vec<String>>,
}

impl Round {
    fn breaks(&self, law: String) {
        self.broken.lock().unwrap().push(law);
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

struct LawUnits(Arc<Round>);

impl StreamProvider for LawUnits {
    const NAME: &'static str = "law_units";
    type Settings = Nothing;

    fn create(_: Nothing, setup: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self(setup.service().ok_or("no round")?))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let Some(unit) = self.0.to_do.lock().unwrap().pop() else {
            return Ok(None);
        };
        self.0.ledger.tries[unit].fetch_add(1, Ordering::Relaxed);
        let name = format!("u{unit}");
        let mut given = self.0.given.lock().unwrap();
        given.insert(name.clone());
        let open = given.len() - self.0.ends.lock().unwrap().len();
        self.0.most_open.fetch_max(open, Ordering::Relaxed);
        let uri = unit.to_string();
        Ok(Some(StreamSpec { name, uri }))
    }

    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError> {
        match self.0.sinks.lock().unwrap().get(stream) {
            Some(seen) if *seen != end => {
                let law = format!("{stream}: its sink was told {seen:?}, the provider {end:?}");
                self.0.breaks(law);
            }
            None if end.is_complete() => self.0.breaks(format!("{stream}: before its sink")),
            Some(_) | None => {}
        }
        if self
            .0
            .ends
            .lock()
            .unwrap()
            .insert(stream.to_owned(), end)
            .is_some()
        {
            self.0.breaks(format!("{stream}: told twice"));
        }
        Ok(())
    }
}

struct Row {
    unit: usize,
    number: u64,
}

impl Payload for Row {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfUnit {
    unit: String,
}

struct LawRows {
    unit: usize,
    round: Arc<Round>,
    next: u64,
}

impl Round {
    /// Returns what goes wrong with a unit in this try.
    fn trouble(&self, unit: usize) -> Option<Trouble> {
        let (trouble, tries) = self.ledger.units[unit].trouble?;
        let is_now = self.ledger.tries[unit].load(Ordering::Relaxed) <= tries;
        is_now.then_some(trouble)
    }
}

impl Source for LawRows {
    const NAME: &'static str = "law_rows";
    type Settings = OfUnit;

    fn ports(_: &OfUnit) -> Ports {
        Ports::new().output::<Row>("out").needs::<Round>()
    }

    fn create(settings: OfUnit, setup: &Setup) -> Result<Self, ActorError> {
        let round: Arc<Round> = setup.service().ok_or("no round")?;
        let unit = settings.unit.parse().map_err(|_| "not a unit")?;
        if let Some(Trouble::Unbuilt) = round.trouble(unit) {
            return Err("a source that cannot be built on purpose".into());
        }
        Ok(Self {
            unit,
            round,
            next: 0,
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        if self.next == self.round.ledger.units[self.unit].rows {
            return Ok(Next::End);
        }
        let number = self.next;
        match self.round.trouble(self.unit) {
            Some(Trouble::Unreadable(row)) if row == number => {
                return Err("a row that cannot be read on purpose".into());
            }
            Some(Trouble::Panics(row)) if row == number => {
                panic!("a source that panics on purpose")
            }
            _ => {}
        }
        self.next += 1;
        let row = Row {
            unit: self.unit,
            number,
        };
        Ok(Next::Packet(Captured::new(Arc::new(row), 0)))
    }
}

struct LawWork(Arc<Round>);

impl Actor for LawWork {
    const NAME: &'static str = "law_work";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        let ports = Ports::new().input::<Row>("in").output::<Row>("out");
        ports.stateless().needs::<Round>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self(setup.service().ok_or("no round")?))
    }

    fn process(&mut self, mut input: Input, outputs: &mut Outputs) -> Result<(), ActorError> {
        let row = input.take::<Row>();
        match self.0.trouble(row.unit) {
            Some(Trouble::Refused(number)) if number == row.number => {
                return Err("a row that is refused on purpose".into());
            }
            Some(Trouble::Kills(number)) if number == row.number => {
                panic!("an actor that panics on purpose")
            }
            _ => {}
        }
        outputs.emit::<Row>(input.envelope, row);
        Ok(())
    }
}

/// Commits a unit that arrived whole, with the sum of its rows.
struct LawCommit {
    round: Arc<Round>,
    sums: HashMap<u32, u64>,
}

impl Actor for LawCommit {
    const NAME: &'static str = "law_commit";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        let ports = Ports::new().input::<Row>("in");
        ports.keeps_streams_apart().needs::<Round>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            round: setup.service().ok_or("no round")?,
            sums: HashMap::new(),
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let row = input.take::<Row>();
        *self.sums.entry(input.envelope.stream.id).or_default() += row.number + 1;
        self.round.rows.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        let sum = self.sums.remove(&stream.id).unwrap_or(0);
        self.round
            .sinks
            .lock()
            .unwrap()
            .insert(stream.name.clone(), end);
        if end.is_complete() {
            let unit = stream.uri.parse().map_err(|_| "not a unit")?;
            self.round
                .ledger
                .committed
                .lock()
                .unwrap()
                .push((unit, sum));
        }
        Ok(())
    }
}

fn yaml(job: &Job) -> String {
    format!(
        "fermata: 1\n\
         streams: {{use: law_units, open: {}}}\n\
         nodes:\n  \
           rows:   {{use: law_rows, each: stream, unit: \"${{stream.uri}}\"}}\n  \
           work:   {{use: law_work, in: rows, replicas: {}, batch: {{max: {}, each: stream}}, queue: {{capacity: {}}}}}\n  \
           commit: {{use: law_commit, in: work, queue: {{capacity: {}}}}}\n\
         run: {{clock: asap}}\n",
        job.open, job.replicas, job.batch, job.capacity, job.capacity
    )
}

/// Runs what is left of a job. Returns the broken laws.
fn run(job: &Job, ledger: &Arc<Ledger>, ending: Option<(Ending, usize)>) -> Vec<String> {
    let committed = ledger.committed.lock().unwrap().clone();
    let is_left = |unit: &usize| committed.iter().all(|(done, _)| done != unit);
    let round = Arc::new(Round {
        ledger: Arc::clone(ledger),
        to_do: Mutex::new((0..job.units.len()).rev().filter(is_left).collect()),
        given: Mutex::default(),
        ends: Mutex::default(),
        sinks: Mutex::default(),
        most_open: AtomicUsize::new(0),
        rows: AtomicUsize::new(0),
        broken: Mutex::default(),
    });
    let mut registry = Registry::builtin();
    registry.register_provider::<LawUnits>();
    registry.register_source::<LawRows>();
    registry.register::<LawWork>();
    registry.register::<LawCommit>();
    let graph = Graph::parse("units.yaml", &yaml(job), &registry, &options());
    let options = RunOptions {
        services: Services::new().with(Arc::clone(&round)),
        ..RunOptions::default()
    };
    let graph = graph.expect("a correct graph");
    let running = RunningGraph::start(graph, Arc::new(registry), options).expect("a start");
    if let Some((ending, rows)) = ending {
        let handle = running.handle();
        let events = handle.subscribe();
        // Disconnected once the run is over.
        let what = || {
            let (given, ends) = (round.given.lock().unwrap(), round.ends.lock().unwrap());
            let report = handle.report();
            format!("{rows} rows, or the end: given {given:?}, told {ends:?}, {report:?}")
        };
        wait_until_or(what, || {
            events.drain();
            round.rows.load(Ordering::Relaxed) >= rows || events.is_disconnected()
        });
        match ending {
            Ending::Drain => handle.drain(),
            Ending::Stop => handle.stop(),
        }
    }
    let Ok(report) = running.wait_for(PATIENCE) else {
        return vec!["the run does not end".to_owned()];
    };
    broken_laws(job, &round, &report, ending.is_some())
}

fn broken_laws(job: &Job, round: &Round, report: &Report, was_ended: bool) -> Vec<String> {
    let mut broken = std::mem::take(&mut *round.broken.lock().unwrap());
    let (given, ends) = (round.given.lock().unwrap(), round.ends.lock().unwrap());
    let told: BTreeSet<String> = ends.keys().cloned().collect();
    if told != *given {
        broken.push(format!("given {given:?}, told of {told:?}"));
    }
    let most_open = round.most_open.load(Ordering::Relaxed);
    if most_open > job.open {
        broken.push(format!("{most_open} units open, {} may be", job.open));
    }
    let mut faults = report.faults.iter();
    let has_failed = faults.any(|fault| fault.message.starts_with("the provider of streams"));
    let is_unbuilt = |name: &String| {
        let unit: usize = name[1..].parse().expect("a unit's number");
        matches!(job.units[unit].trouble, Some((Trouble::Unbuilt, _)))
    };
    if has_failed && !given.iter().any(is_unbuilt) {
        broken.push(format!("{:?}", report.faults));
    }
    if !was_ended && !has_failed && !round.to_do.lock().unwrap().is_empty() {
        broken.push("units were left that nobody asked for".to_owned());
    }
    if !report.balanced {
        broken.push(format!("books: {:?}", report.imbalances));
    }
    let units = report.units.clone().unwrap_or_default();
    let complete = ends.values().filter(|end| end.is_complete()).count() as u64;
    if units.complete != complete {
        broken.push(format!(
            "{} complete in the report, {complete} told",
            units.complete
        ));
    }
    // Failed or stopped units are named; drained ones are not.
    let is_failed = |end: &End| end.lost || matches!(end.how, How::Failed | How::Stopped);
    // A unit that could not be built was never a unit of the run.
    let failed = ends
        .iter()
        .filter(|(name, end)| is_failed(end) && !(is_unbuilt(name) && end.how == How::Failed));
    let failed: BTreeSet<&String> = failed.map(|(name, _)| name).collect();
    let named: BTreeSet<&String> = units.failed.iter().collect();
    if failed != named {
        broken.push(format!(
            "failed {failed:?}, the report names {named:?}; told {ends:?}"
        ));
    }
    broken
}

/// Resumes a job until nothing is left to do; returns the broken laws.
fn broken_by(job: &Job) -> Vec<String> {
    let ledger = Arc::new(Ledger {
        units: job.units.clone(),
        tries: job.units.iter().map(|_| AtomicUsize::new(0)).collect(),
        committed: Mutex::default(),
    });
    let mut broken = Vec::new();
    for ending in job.endings.iter().copied().map(Some) {
        broken.extend(run(job, &ledger, ending));
    }
    // No unit fails more than twice; one that cannot be built ends its run.
    let mut left = 3 + 2 * job.units.len();
    while left > 0 && ledger.committed.lock().unwrap().len() < job.units.len() {
        left -= 1;
        broken.extend(run(job, &ledger, None));
    }
    let mut committed = ledger.committed.lock().unwrap().clone();
    committed.sort_unstable();
    let sum = |unit: &Unit| unit.rows * (unit.rows + 1) / 2;
    let expected: Vec<(usize, u64)> = job.units.iter().map(sum).enumerate().collect();
    if committed != expected {
        broken.push(format!("committed {committed:?}, there were {expected:?}"));
    }
    broken
}

#[test]
fn a_job_that_is_taken_up_again_has_done_each_unit_once() {
    keep_of(cases() / 10, job(), |job| (broken_by(&job), yaml(&job)));
}
