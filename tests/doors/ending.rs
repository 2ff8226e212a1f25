//! Actors that have all they need of a stream and end it.

use std::sync::{Arc, Mutex};

use fermata_engine::testing::{Collector, ListSource};
use fermata_engine::{
    Actor, ActorError, Envelope, Graph, How, Input, Outputs, Payload, Ports, Registry, Report,
    RunOptions, RunningGraph, Services, Setup, Ticket,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{assert_balanced, options, wait_until};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EnoughSettings {
    /// The sequence number of the last packet it needs.
    last: u64,
    /// Only of this stream; of all streams if none is given.
    of: Option<String>,
    /// Fails on the packet with this sequence number.
    fail_at: Option<u64>,
}

/// Passes packets on until it has enough.
struct Enough(EnoughSettings);

impl Actor for Enough {
    const NAME: &'static str = "enough";
    type Settings = EnoughSettings;

    fn ports(_: &EnoughSettings) -> Ports {
        Ports::new()
            .any_input("in")
            .same_output("out")
            .keeps_streams_apart()
            .stateless()
    }

    fn create(settings: EnoughSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(settings))
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let stream = &input.envelope.stream.name;
        if self.0.fail_at == Some(input.envelope.sequence) {
            return Err("failure on purpose".into());
        }
        let is_of = self.0.of.as_ref().is_none_or(|of| of == stream);
        if is_of && input.envelope.sequence == self.0.last {
            out.end_stream(&input.envelope);
        }
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}

/// Passes on the left of two packets.
struct Left;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LeftSettings {}

impl Actor for Left {
    const NAME: &'static str = "left";
    type Settings = LeftSettings;

    fn ports(_: &LeftSettings) -> Ports {
        let ports = Ports::new().any_input("left").any_input("right");
        ports.same_output("out").stateless()
    }

    fn create(_: LeftSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}

/// A payload with this weight in a batch.
struct Weighs(usize);

impl Payload for Weighs {
    fn weight(&self) -> usize {
        self.0
    }
}

fn run(body: &str) -> (Report, Collector) {
    let mut registry = Registry::builtin();
    registry.register::<Enough>();
    ListSource::register(&mut registry, "growing", (1..=4).map(Weighs));
    registry.register::<Left>();
    let collector = Collector::register(&mut registry, "collect");
    let text = format!("fermata: 1\n{body}");
    let graph = Graph::parse("ending.yaml", &text, &registry, &options()).expect("a graph");
    let running = RunningGraph::start(graph, registry.into(), RunOptions::default());
    let report = running.expect("a graph that starts").wait();
    assert_balanced(&report);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    (report, collector)
}

/// Returns the sequence numbers of a stream that have arrived, in order.
fn sequences(collector: &Collector, stream: &str) -> Vec<u64> {
    let packets = collector.packets();
    let of_stream = packets.iter().map(|packet| &packet.envelope);
    of_stream
        .filter(|envelope| envelope.stream.name == stream)
        .map(|envelope| envelope.sequence)
        .collect()
}

fn assert_first(collector: &Collector, stream: &str, count: u64) {
    let sequences = sequences(collector, stream);
    assert!(sequences.iter().copied().eq(0..count), "{sequences:?}");
}

#[test]
fn an_actor_ends_an_endless_stream_and_what_is_on_the_way_is_finished() {
    let (report, collector) = run("\
nodes:
  s: {use: test_source}
  enough: {use: enough, in: s, last: 9, queue: {capacity: 8}}
  end: {use: collect, in: enough}
run: {clock: asap}
");
    let enough = &report.nodes["enough"];
    assert_eq!(enough.processed, 10);
    let stream = &report.streams["s"];
    assert_eq!(stream.captured, 10 + enough.finished);
    assert_eq!(
        stream.sinks["end"].losses.values().sum::<u64>(),
        enough.finished
    );
    assert_first(&collector, "s", 10);
    assert!(collector.ends()["s"].is_complete(), "all that was wanted");
}

#[test]
fn what_was_lost_before_an_actor_ended_the_stream_is_told_to_those_behind_it() {
    let (report, collector) = run("\
nodes:
  s: {use: test_source}
  enough: {use: enough, in: s, last: 9, fail_at: 4}
  end: {use: collect, in: enough}
run: {clock: asap}
");
    assert_eq!(report.nodes["enough"].failed, 1);
    let end = collector.ends()["s"];
    assert_eq!((end.how, end.lost), (How::Complete, true));
    assert!(!end.is_complete());
}

#[test]
fn a_sink_beside_the_one_that_ends_the_stream_gets_all_that_was_captured() {
    let (report, collector) = run("\
nodes:
  s: {use: test_source}
  enough: {use: enough, in: s, last: 9}
  end: {use: discard, in: enough}
  all: {use: collect, in: s}
");
    let stream = &report.streams["s"];
    assert_first(&collector, "s", stream.captured);
    assert_eq!(collector.ends()["s"].how, How::Drained);
    assert!(!collector.ends()["s"].lost);
}

#[test]
fn only_the_stream_that_an_actor_ends_is_ended() {
    let (report, collector) = run("\
streams: {a: 1000000000, b: 500}
nodes:
  s: {use: test_source, each: stream, count: \"${stream.uri}\"}
  enough: {use: enough, in: s, last: 9, of: a}
  end: {use: collect, in: enough}
run: {clock: asap}
");
    assert_first(&collector, "a", 10);
    assert_first(&collector, "b", 500);
    assert!(
        report.streams["a"].captured < 1_000_000_000,
        "{:?}",
        report.streams["a"]
    );
    assert_eq!(
        report.streams["b"].sinks["end"]
            .losses
            .values()
            .sum::<u64>(),
        0
    );
}

#[test]
fn joins_and_replicas_behind_an_early_end_get_what_belongs_together() {
    for (clock, replicas) in [("asap", 1), ("asap", 3), ("live", 1), ("live", 3)] {
        let (report, collector) = run(&format!(
            "\
nodes:
  s: {{use: test_source, rate: 20000}}
  enough: {{use: enough, in: s, last: 9, replicas: {replicas}}}
  other: {{use: identity, in: s, replicas: {replicas}, batch: {{max: 4, wait: 1ms}}}}
  both: {{use: left, in: {{left: enough, right: other}}}}
  end: {{use: collect, in: both}}
run: {{clock: {clock}}}
"
        ));
        let got = sequences(&collector, "s");
        // Other replicas may be processing later packets when one has enough.
        assert!(got.len() >= 10, "{got:?}");
        assert!(got.iter().copied().eq(0..got.len() as u64), "{got:?}");
        let enough = &report.nodes["enough"];
        assert_eq!(enough.processed, got.len() as u64);
        assert_eq!(enough.received, enough.processed + enough.finished);
    }
}

#[test]
fn a_packet_that_makes_its_batch_go_is_finished_where_that_batch_ends_the_stream() {
    // Packets of weights 1 and 2 fill a batch; the one of weight 3 waits for that batch, which ends the stream.
    let (report, collector) = run("\
nodes:
  s: {use: growing}
  enough: {use: enough, in: s, last: 1, batch: {max: 4}}
  end: {use: collect, in: enough}
run: {clock: asap}
");
    let enough = &report.nodes["enough"];
    assert_eq!(enough.processed, 2);
    assert!(enough.finished >= 1, "{enough:?}");
    assert_first(&collector, "s", 2);
}

/// The open calls: each with its ticket and an envelope.
type Calls = Mutex<Vec<(Ticket, Envelope)>>;

/// Finishes its calls when a test says so.
struct Asks(Arc<Calls>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AsksSettings {}

impl Actor for Asks {
    const NAME: &'static str = "asks";
    type Settings = AsksSettings;

    fn ports(_: &AsksSettings) -> Ports {
        let ports = Ports::new().any_input("in").finishes_later(1);
        ports.keeps_streams_apart().needs::<Calls>().stateless()
    }

    fn create(_: AsksSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self(setup.service().ok_or("nobody to ask")?))
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Err("it takes batches".into())
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        let call = (out.finish_later()?, inputs[0].envelope.clone());
        self.0.lock().unwrap().push(call);
        Ok(())
    }
}

#[test]
fn what_a_batch_holds_is_finished_when_the_answer_to_an_earlier_call_ends_the_stream() {
    let mut registry = Registry::builtin();
    registry.register::<Asks>();
    ListSource::register(&mut registry, "growing", (1..=4).map(Weighs));
    let calls = Arc::new(Calls::default());
    let text = "\
fermata: 1
nodes:
  s: {use: growing}
  asks: {use: asks, in: s, batch: {max: 4}}
run: {clock: asap}
";
    let graph = Graph::parse("asks.yaml", text, &registry, &options()).expect("a graph");
    let run_options = RunOptions {
        services: Services::new().with(Arc::clone(&calls)),
        ..RunOptions::default()
    };
    let running = RunningGraph::start(graph, registry.into(), run_options).expect("a start");
    let handle = running.handle();
    let taken = || handle.report().nodes["asks"].received;
    wait_until("two are in a call, the third is held", || {
        taken() == 3 && !calls.lock().unwrap().is_empty()
    });
    let (ticket, envelope) = calls.lock().unwrap().remove(0);
    ticket.settle(|out| {
        out.end_stream(&envelope);
        Ok(())
    });
    let report = running.wait();
    assert_balanced(&report);
    let asks = &report.nodes["asks"];
    assert_eq!(asks.processed, 2, "{asks:?}");
    assert_eq!(asks.finished, report.streams["s"].captured - 2);
    assert!(calls.lock().unwrap().is_empty(), "no call is made for them");
}
