//! Streams that are units of work: a provider supplies them, is told how each ended, and resumes with those that are
//! not done.

use std::sync::{Arc, Mutex};

use fermata_engine::{
    Actor, ActorError, Captured, End, Graph, How, Input, LoadOptions, Next, Outputs, Payload,
    Ports, ProviderSetup, Registry, RunEvent, RunOptions, RunningGraph, Services, Setup, Source,
    Stream, StreamProvider, graph::StreamSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::assert_balanced;

/// A ledger of units shared by the provider, the source and the sink of the test.
#[derive(Default)]
struct Ledger {
    /// Names of the units still to be done.
    to_do: Mutex<Vec<String>>,
    ends: Mutex<Vec<(String, End)>>,
    /// What the sink has committed: unit and sum.
    committed: Mutex<Vec<(String, u64)>>,
    open: Mutex<(usize, usize)>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

static LEDGER: Mutex<Option<Arc<Ledger>>> = Mutex::new(None);

struct Units(Arc<Ledger>);

impl StreamProvider for Units {
    const NAME: &'static str = "units";
    type Settings = Nothing;

    fn create(_: Nothing, setup: &ProviderSetup) -> Result<Self, ActorError> {
        assert_eq!(setup.open, 2);
        let ledger = LEDGER.lock().unwrap().clone();
        Ok(Self(ledger.ok_or("no ledger")?))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let name = self.0.to_do.lock().unwrap().pop();
        let mut open = self.0.open.lock().unwrap();
        Ok(name.map(|name| {
            open.0 += 1;
            open.1 = open.1.max(open.0);
            StreamSpec {
                uri: name.clone(),
                name,
            }
        }))
    }

    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError> {
        let committed = self.0.committed.lock().unwrap();
        let is_committed = committed.iter().any(|(unit, _)| unit == stream);
        assert_eq!(is_committed, end.is_complete(), "told before the sink");
        self.0.open.lock().unwrap().0 -= 1;
        self.0.ends.lock().unwrap().push((stream.to_owned(), end));
        Ok(())
    }
}

struct Number(u64);

impl Payload for Number {}

/// Counts to ten; the unit `bad` has an unreadable row.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RowsSettings {
    unit: String,
}

struct Rows(RowsSettings, u64);

impl Source for Rows {
    const NAME: &'static str = "rows";
    type Settings = RowsSettings;

    fn ports(_: &RowsSettings) -> Ports {
        Ports::new().output::<Number>("out")
    }

    fn create(settings: RowsSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(settings, 0))
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        self.1 += 1;
        match self.1 {
            5 if self.0.unit == "bad" => Err("cannot read row 4".into()),
            number @ 1..=10 => Ok(Next::Packet(Captured::new(Arc::new(Number(number)), 0))),
            _ => Ok(Next::End),
        }
    }
}

/// Commits the sum of a unit that arrived whole. It needs the ledger as a service.
struct Commit {
    ledger: Arc<Ledger>,
    sums: std::collections::HashMap<u32, u64>,
}

impl Actor for Commit {
    const NAME: &'static str = "commit";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new()
            .input::<Number>("in")
            .keeps_streams_apart()
            .needs::<Ledger>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            ledger: setup.service().ok_or("no ledger")?,
            sums: Default::default(),
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let number = input.take::<Number>();
        *self.sums.entry(input.envelope.stream.id).or_default() += number.0;
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        let sum = self.sums.remove(&stream.id).unwrap_or(0);
        if end.is_complete() {
            let mut committed = self.ledger.committed.lock().unwrap();
            committed.push((stream.uri.clone(), sum));
        }
        Ok(())
    }
}

const GRAPH: &str = "\
fermata: 1
streams: {use: units, open: 2}
nodes:
  rows:   {use: rows, each: stream, unit: \"${stream.uri}\"}
  double: {use: identity, in: rows, batch: {max: 4, each: stream}, replicas: 2}
  commit: {use: commit, in: double}
run: {clock: asap}
";

fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.register_provider::<Units>();
    registry.register_provider::<LastAgain>();
    registry.register_provider::<NowAndThen>();
    registry.register_provider::<Never>();
    registry.register_source::<Rows>();
    registry.register::<Commit>();
    registry
}

fn start(services: Services) -> Result<RunningGraph, fermata_engine::StartError> {
    let registry = registry();
    let options = LoadOptions::new("/tmp/out");
    let graph = Graph::parse("units.yaml", GRAPH, &registry, &options).expect("a correct graph");
    let options = RunOptions {
        services,
        ..RunOptions::default()
    };
    RunningGraph::start(graph, Arc::new(registry), options)
}

#[test]
fn a_provider_gives_units_two_at_a_time_and_hears_how_each_ended() {
    let names = ["a", "b", "bad", "c", "d"];
    let ledger = Arc::new(Ledger {
        to_do: Mutex::new(names.map(str::to_owned).to_vec()),
        ..Ledger::default()
    });
    *LEDGER.lock().unwrap() = Some(Arc::clone(&ledger));
    let refused = start(Services::new()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("needs `Ledger`"), "{refused}");
    // No unit is given before somebody listens.
    let to_do = ledger.to_do.lock().unwrap();
    let running = start(Services::new().with(Arc::clone(&ledger))).expect("a graph that starts");
    let events = running.handle().subscribe();
    drop(to_do);
    let report = running.wait();
    assert_balanced(&report);
    let mut committed = ledger.committed.lock().unwrap().clone();
    committed.sort();
    let whole = ["a", "b", "c", "d"].map(|unit| (unit.to_owned(), 55));
    assert_eq!(committed, whole);
    let ends = ledger.ends.lock().unwrap();
    assert_eq!(ends.len(), names.len());
    for (unit, end) in ends.iter() {
        let how = if unit == "bad" {
            How::Failed
        } else {
            How::Complete
        };
        assert_eq!(end.how, how, "{unit}");
    }
    assert_eq!(
        *ledger.open.lock().unwrap(),
        (0, 2),
        "open now, and at most"
    );
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    let last = events.drain().last();
    assert!(matches!(last, Some(RunEvent::Ended)), "{last:?}");
}

/// Has one stream and no more while that one is open; supplies it once more after it has failed.
struct LastAgain(u32);

impl StreamProvider for LastAgain {
    const NAME: &'static str = "last_again";
    type Settings = Nothing;

    fn create(_: Nothing, _: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self(1))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let is_there = self.0 % 2 == 1;
        self.0 += u32::from(is_there);
        let name = format!("try-{}", self.0 / 2);
        let uri = if self.0 == 2 { "bad" } else { "good" }.to_owned();
        Ok(is_there.then_some(StreamSpec { name, uri }))
    }

    fn ended(&mut self, _: &str, end: End) -> Result<(), ActorError> {
        self.0 += u32::from(!end.is_complete());
        Ok(())
    }
}

#[test]
fn a_provider_that_had_no_more_may_give_a_stream_that_failed_again() {
    let graph = "\
fermata: 1
streams: {use: last_again, open: 2}
nodes:
  rows: {use: rows, each: stream, unit: \"${stream.uri}\"}
  end:  {use: discard, in: rows}
run: {clock: asap}
";
    let report = crate::support::start_with(graph, registry(), RunOptions::default()).wait();
    assert_balanced(&report);
    let units = report.units.expect("units");
    assert_eq!(
        (units.complete, units.failed),
        (1, vec!["try-1".to_owned()])
    );
}

/// Supplies a stream on every third request, three in all, and may have more until then.
struct NowAndThen {
    asked: u32,
    given: u32,
}

impl StreamProvider for NowAndThen {
    const NAME: &'static str = "now_and_then";
    type Settings = Nothing;

    fn create(_: Nothing, _: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self { asked: 0, given: 0 })
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        self.asked += 1;
        let is_there = self.asked.is_multiple_of(3) && self.may_have_more();
        self.given += u32::from(is_there);
        Ok(is_there.then(|| StreamSpec {
            name: format!("unit-{}", self.given),
            uri: "good".to_owned(),
        }))
    }

    fn may_have_more(&self) -> bool {
        self.given < 3
    }

    fn ended(&mut self, _: &str, _: End) -> Result<(), ActorError> {
        Ok(())
    }
}

const NOW_AND_THEN: &str = "\
fermata: 1
streams: {use: now_and_then, open: 2}
nodes:
  rows: {use: rows, each: stream, unit: \"${stream.uri}\"}
  end:  {use: discard, in: rows}
run: {clock: asap}
";

#[test]
fn a_provider_that_may_have_more_is_asked_again_while_nothing_runs() {
    let running = crate::support::start_with(NOW_AND_THEN, registry(), RunOptions::default());
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.units.expect("units").complete, 3);
}

/// May always have more, but never does.
struct Never;

impl StreamProvider for Never {
    const NAME: &'static str = "never";
    type Settings = Nothing;

    fn create(_: Nothing, _: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        Ok(None)
    }

    fn may_have_more(&self) -> bool {
        true
    }

    fn ended(&mut self, _: &str, _: End) -> Result<(), ActorError> {
        Ok(())
    }
}

#[test]
fn a_run_that_waits_for_units_ends_when_it_is_drained() {
    let graph = NOW_AND_THEN.replace("now_and_then", "never");
    let running = crate::support::start_with(&graph, registry(), RunOptions::default());
    running.handle().drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.units.expect("units").complete, 0);
}

/// Supplies many units, and panics when it is dropped.
struct Many(u64);

impl StreamProvider for Many {
    const NAME: &'static str = "many";
    type Settings = Nothing;

    fn create(_: Nothing, setup: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self(setup.open as u64))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let name = format!("u{}", self.0);
        let uri = String::new();
        self.0 = self.0.saturating_sub(1);
        Ok((self.0 > 0).then_some(StreamSpec { name, uri }))
    }

    fn ended(&mut self, _: &str, _: End) -> Result<(), ActorError> {
        Ok(())
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        panic!("a destructor of the test");
    }
}

#[test]
fn a_provider_hears_of_every_end_however_many_streams_are_open() {
    // More events than a subscriber may have pending: each stream begins and ends.
    let graph = "\
fermata: 1
streams: {use: many, open: 1000}
nodes:
  s:   {use: test_source, each: stream, count: 1}
  end: {use: discard, in: s}
run: {clock: asap}
";
    let mut registry = registry();
    registry.register_provider::<Many>();
    let running = crate::support::start_with(graph, registry, RunOptions::default());
    let report = running.wait_for(std::time::Duration::from_secs(300));
    let report = report.ok().expect("a run that ends");
    assert_balanced(&report);
    assert_eq!(report.units.expect("units").complete, 999);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

/// Takes long to record how its streams have ended.
struct Slow(Option<Arc<Ledger>>);

impl StreamProvider for Slow {
    const NAME: &'static str = "slow";
    type Settings = Nothing;

    fn create(_: Nothing, setup: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self(setup.service()))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let (name, uri) = ("a".to_owned(), "a".to_owned());
        Ok(Some(StreamSpec { name, uri }))
    }

    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError> {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let ledger = self.0.as_ref().ok_or("no ledger")?;
        ledger.ends.lock().unwrap().push((stream.to_owned(), end));
        Ok(())
    }
}

#[test]
fn a_run_is_over_when_its_provider_has_written_down_how_all_ended() {
    let graph = "\
fermata: 1
streams: {use: slow}
nodes:
  s:   {use: test_source, each: stream, rate: 100}
  end: {use: discard, in: s}
";
    let mut registry = registry();
    registry.register_provider::<Slow>();
    let ledger = Arc::new(Ledger::default());
    let options = RunOptions {
        services: Services::new().with(Arc::clone(&ledger)),
        ..RunOptions::default()
    };
    let running = crate::support::start_with(graph, registry, options);
    crate::support::wait_for(&running.handle(), |snapshot| snapshot.streams.len() == 1);
    running.handle().drain();
    running.wait();
    let ends = ledger.ends.lock().unwrap();
    assert!(ends.iter().any(|(name, _)| name == "a"), "{ends:?}");
}
