//! Calls that are finished later, from another thread: order, the window, tickets that are dropped or arrive too late,
//! ends.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fermata_engine::testing::{Collector, ListSource};
use fermata_engine::{
    Actor, ActorError, AnyPayload, End, Envelope, Graph, How, Input, Outputs, Payload, Ports,
    Registry, RunOptions, RunningGraph, Services, Setup, Stream, Ticket,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{PATIENCE, assert_balanced, options, wait_until};

#[derive(Debug, PartialEq)]
struct Number(u64);

impl Payload for Number {}

/// A call that waits for its answer.
struct Call {
    envelope: Envelope,
    payload: AnyPayload,
    ticket: Ticket,
}

impl Call {
    /// Passes the packet on.
    fn pass(self) {
        let (envelope, payload) = (self.envelope, self.payload);
        self.ticket.settle(|out| {
            out.emit_any(0, envelope, payload);
            Ok(())
        });
    }
}

#[derive(Default)]
struct Desk {
    calls: Vec<Call>,
    /// What the actors were told: streams that ended, and their own end.
    told: Vec<String>,
    /// Most calls that were open at once.
    most: usize,
}

/// Answers calls when a test says so.
#[derive(Default)]
struct Elsewhere {
    desk: Mutex<Desk>,
    asked: Condvar,
}

impl Elsewhere {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this many calls are open, and takes them.
    fn take(&self, calls: usize) -> Vec<Call> {
        let desk = self.desk();
        let (mut desk, timeout) = self
            .asked
            .wait_timeout_while(desk, PATIENCE, |desk| desk.calls.len() < calls)
            .unwrap();
        assert!(!timeout.timed_out(), "{} calls", desk.calls.len());
        std::mem::take(&mut desk.calls)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskSettings {
    open: usize,
    panic_at: Option<u64>,
    fail_at: Option<u64>,
    /// Answers this packet at once.
    at_once: Option<u64>,
}

/// Has its calls answered elsewhere.
struct Ask {
    settings: AskSettings,
    elsewhere: Arc<Elsewhere>,
}

impl Actor for Ask {
    const NAME: &'static str = "ask";
    type Settings = AskSettings;

    fn ports(settings: &AskSettings) -> Ports {
        Ports::new()
            .any_input("in")
            .same_output("out")
            .needs::<Elsewhere>()
            .finishes_later(settings.open)
            .stateless()
    }

    fn create(settings: AskSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            settings,
            elsewhere: setup.service().ok_or("nobody is elsewhere")?,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let sequence = Some(input.envelope.sequence);
        let payload = input.take_any(0).ok_or("no payload")?;
        assert!(self.settings.panic_at != sequence, "panic on purpose");
        if self.settings.at_once == sequence {
            out.emit_any(0, input.envelope, payload);
            return Ok(());
        }
        let ticket = out.finish_later()?;
        if self.settings.fail_at == sequence {
            return Err("failure on purpose, with the ticket in hand".into());
        }
        assert!(out.finish_later().is_err(), "two tickets for one call");
        let mut desk = self.elsewhere.desk();
        desk.calls.push(Call {
            envelope: input.envelope,
            payload,
            ticket,
        });
        desk.most = desk.most.max(desk.calls.len());
        self.elsewhere.asked.notify_all();
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        let told = format!("{} {:?}", stream.name, end.how);
        self.elsewhere.desk().told.push(told);
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        self.elsewhere
            .desk()
            .told
            .push(format!("finish {:?}", end.how));
        Ok(())
    }
}

/// A run whose calls are answered elsewhere.
struct Asked {
    running: RunningGraph,
    elsewhere: Arc<Elsewhere>,
    collector: Collector,
}

/// Starts a graph whose source `numbers` emits the numbers below `count`.
fn start(count: u64, body: &str) -> Asked {
    let mut registry = Registry::builtin();
    registry.register::<Ask>();
    ListSource::register(&mut registry, "numbers", (0..count).map(Number));
    let collector = Collector::register(&mut registry, "collect");
    let elsewhere = Arc::new(Elsewhere::default());
    let text = format!("fermata: 1\n{body}");
    let graph = Graph::parse("later.yaml", &text, &registry, &options()).expect("a graph");
    let run_options = RunOptions {
        services: Services::new().with(Arc::clone(&elsewhere)),
        ..RunOptions::default()
    };
    let running = RunningGraph::start(graph, Arc::new(registry), run_options);
    Asked {
        running: running.expect("a graph that starts"),
        elsewhere,
        collector,
    }
}

impl Asked {
    /// Returns what has arrived of a stream, in order.
    fn got(&self, stream: &str) -> Vec<u64> {
        let numbers = self.collector.payloads::<Number>(stream);
        numbers.iter().map(|number| number.0).collect()
    }

    fn captured(&self, stream: &str) -> u64 {
        let report = self.running.handle().stream_report(stream);
        report.map_or(0, |stream| stream.captured)
    }
}

const CHAIN: &str = "\
nodes:
  s: {use: numbers}
  ask: {use: ask, in: s, open: 4}
  end: {use: collect, in: ask}
run: {clock: asap}
";

#[test]
fn calls_that_are_answered_backwards_are_published_in_order_and_no_more_than_declared_are_open() {
    let asked = start(20, CHAIN);
    for _ in 0..5 {
        let calls = asked.elsewhere.take(4);
        assert_eq!(calls.len(), 4);
        calls.into_iter().rev().for_each(Call::pass);
    }
    let (elsewhere, collector) = (asked.elsewhere, asked.collector);
    let report = asked.running.wait();
    assert_balanced(&report);
    let numbers = collector.payloads::<Number>("s");
    assert!(numbers.iter().map(|n| n.0).eq(0..20), "{numbers:?}");
    assert!(collector.ends()["s"].is_complete());
    let desk = elsewhere.desk();
    assert_eq!(desk.most, 4);
    assert_eq!(desk.told, ["s Complete", "finish Complete"]);
}

#[test]
fn streams_do_not_wait_for_the_answers_of_each_other() {
    let asked = start(
        2,
        "\
streams: {a: x, b: x}
nodes:
  s: {use: numbers, each: stream}
  ask: {use: ask, in: s, open: 4}
  end: {use: collect, in: ask}
",
    );
    let calls = asked.elsewhere.take(4);
    let (of_a, of_b): (Vec<Call>, Vec<Call>) = calls
        .into_iter()
        .partition(|call| call.envelope.stream.name == "a");
    of_b.into_iter().rev().for_each(Call::pass);
    wait_until("all of b", || asked.collector.ends().contains_key("b"));
    assert_eq!((asked.got("a"), asked.got("b")), (vec![], vec![0, 1]));
    of_a.into_iter().for_each(Call::pass);
    assert_balanced(&asked.running.wait());
    assert_eq!(asked.collector.payloads::<Number>("a").len(), 2);
}

#[test]
fn tickets_that_are_dropped_or_failed_fail_their_packets_and_nothing_else() {
    let asked = start(4, CHAIN);
    let mut calls = asked.elsewhere.take(4).into_iter();
    drop(calls.next());
    calls.next().unwrap().ticket.fail("nobody answered");
    let panicking = calls.next().unwrap();
    let settled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        panicking.ticket.settle(|_| panic!("panic on purpose"));
    }));
    assert!(settled.is_err(), "a panic is the panic of who settles");
    calls.next().unwrap().pass();
    let report = asked.running.wait();
    assert_balanced(&report);
    assert_eq!(report.nodes["ask"].failed, 3);
    assert_eq!(report.nodes["ask"].restarts, 0);
    assert_eq!(asked.collector.packets().len(), 1);
    assert!(asked.collector.ends()["s"].lost);
}

#[test]
fn what_is_finished_at_once_waits_for_what_is_finished_later() {
    let asked = start(
        3,
        "\
nodes:
  s: {use: numbers}
  ask: {use: ask, in: s, open: 4, at_once: 1, fail_at: 2}
  end: {use: collect, in: ask}
",
    );
    let calls = asked.elsewhere.take(1);
    let handle = asked.running.handle();
    wait_until("all captured", || asked.captured("s") == 3);
    assert_eq!(handle.report().nodes["ask"].failed, 0, "its turn will come");
    calls.into_iter().for_each(Call::pass);
    let collector = asked.collector;
    let report = asked.running.wait();
    assert_balanced(&report);
    assert_eq!(collector.payloads::<Number>("s").len(), 2);
    assert_eq!(report.nodes["ask"].failed, 1);
}

#[test]
fn the_answers_to_an_actor_that_was_replaced_come_too_late_and_its_calls_have_failed() {
    let asked = start(
        6,
        "\
nodes:
  s: {use: numbers}
  ask: {use: ask, in: s, open: 4, panic_at: 2}
  end: {use: collect, in: ask}
",
    );
    // The calls of 3, 4 and 5 belong to the new actor.
    let mut calls = Vec::new();
    while calls.len() < 5 {
        calls.extend(asked.elsewhere.take(1));
    }
    let late: Vec<Call> = calls.drain(..2).collect();
    late.into_iter().for_each(Call::pass);
    calls.into_iter().for_each(Call::pass);
    let collector = asked.collector;
    let report = asked.running.wait();
    assert_balanced(&report);
    let ask = &report.nodes["ask"];
    assert_eq!((ask.failed, ask.restarts), (3, 1));
    let numbers = collector.payloads::<Number>("s");
    assert!(numbers.iter().map(|n| n.0).eq(3..6), "{numbers:?}");
}

#[test]
fn open_calls_hold_the_end_of_their_stream_and_of_the_run() {
    let asked = start(2, CHAIN);
    let calls = asked.elsewhere.take(2);
    wait_until("the source is through", || asked.captured("s") == 2);
    let Err(running) = asked.running.wait_for(Duration::from_millis(300)) else {
        panic!("the run has ended, and two calls are open");
    };
    assert!(asked.elsewhere.desk().told.is_empty());
    assert!(asked.collector.ends().is_empty());
    calls.into_iter().for_each(Call::pass);
    assert_balanced(&running.wait());
    let desk = asked.elsewhere.desk();
    assert_eq!(desk.told, ["s Complete", "finish Complete"]);
}

const ENDLESS: &str = "\
nodes:
  s: {use: test_source}
  ask: {use: ask, in: s, open: 3}
  end: {use: collect, in: ask}
";

#[test]
fn a_drain_waits_for_open_calls() {
    let asked = start(0, &format!("{ENDLESS}run: {{drain: 1h}}\n"));
    let calls = asked.elsewhere.take(3);
    asked.running.handle().drain();
    calls.into_iter().for_each(Call::pass);
    let over = std::sync::atomic::AtomicBool::new(false);
    let elsewhere = Arc::clone(&asked.elsewhere);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let calls = std::mem::take(&mut elsewhere.desk().calls);
                calls.into_iter().for_each(Call::pass);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let report = asked.running.wait();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        report
    });
    assert_balanced(&report);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let stream = &report.streams["s"];
    assert_eq!(stream.delivered, stream.captured);
}

#[test]
fn a_drain_that_waits_too_long_and_a_stop_give_up_open_calls_and_count_them() {
    for (ends, run) in [("drain", "run: {drain: 100ms}\n"), ("stop", "")] {
        let asked = start(0, &format!("{ENDLESS}{run}"));
        let calls = asked.elsewhere.take(3);
        match ends {
            "drain" => asked.running.handle().drain(),
            _ => asked.running.handle().stop(),
        }
        let report = asked.running.wait();
        assert_balanced(&report);
        assert!(report.hung.is_empty(), "{ends}: {:?}", report.hung);
        let late = report.faults.iter();
        let late = late.filter(|fault| fault.message.contains("draining took"));
        assert_eq!(late.count(), usize::from(ends == "drain"));
        assert!(report.nodes["ask"].abandoned >= 3, "{ends}");
        let stopped = format!("finish {:?}", How::Stopped);
        assert_eq!(asked.elsewhere.desk().told.last(), Some(&stopped));
        // Nobody waits for these any more.
        calls.into_iter().for_each(Call::pass);
        assert!(asked.collector.packets().is_empty());
    }
}

#[test]
fn replicas_before_and_behind_keep_the_order() {
    let asked = start(
        40,
        "\
nodes:
  s: {use: numbers}
  before: {use: identity, in: s, replicas: 3, batch: {max: 3}}
  ask: {use: ask, in: before, open: 4}
  behind: {use: identity, in: ask, replicas: 2}
  end: {use: collect, in: behind}
run: {clock: asap}
",
    );
    for _ in 0..10 {
        let mut calls = asked.elsewhere.take(4);
        calls.swap(0, 3);
        calls.swap(1, 3);
        calls.into_iter().for_each(Call::pass);
    }
    assert_balanced(&asked.running.wait());
    let numbers = asked.collector.payloads::<Number>("s");
    assert!(numbers.iter().map(|n| n.0).eq(0..40), "{numbers:?}");
}

#[test]
fn replicas_of_an_actor_that_finishes_later_are_refused() {
    let mut registry = Registry::builtin();
    registry.register::<Ask>();
    let text = "\
fermata: 1
nodes:
  s: {use: test_source}
  ask: {use: ask, in: s, open: 4, replicas: 2}
  end: {use: discard, in: ask}
";
    let refused = Graph::parse("later.yaml", text, &registry, &options()).unwrap_err();
    assert!(refused.to_string().contains("finishes"), "{refused}");
}

/// Panics in its destructor: wherever the engine drops a discarded answer, this must have no effect.
struct Explosive;

impl Payload for Explosive {}

impl Drop for Explosive {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "panic on purpose in `drop`");
    }
}

#[test]
fn answers_that_nobody_waits_for_may_panic_when_they_are_dropped() {
    let asked = start(
        3,
        "\
nodes:
  s: {use: numbers}
  ask: {use: ask, in: s, open: 4, panic_at: 2}
  end: {use: discard, in: ask}
",
    );
    let mut calls = asked.elsewhere.take(2);
    let pass = |call: Call| {
        let envelope = call.envelope;
        call.ticket.settle(|out| {
            out.emit::<Explosive>(envelope, Explosive);
            Ok(())
        });
    };
    // Before or after the panic: discarded with its call, or too late for it.
    pass(calls.remove(1));
    wait_until("the panic", || {
        let report = asked.running.handle().report();
        report.nodes["ask"].failed == 3
    });
    pass(calls.remove(0));
    let report = asked.running.wait();
    assert_balanced(&report);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}
