//! Tests that shared nodes that cannot keep up serve all streams equally, however their calls are made.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fermata_engine::sim::{At, SimCommand, SimOptions, simulate};
use fermata_engine::{
    Actor, ActorError, AnyPayload, Envelope, Graph, Input, LoadOptions, Outputs, Ports, Registry,
    RunOptions, RunningGraph, Setup, Ticket,
};
use schemars::JsonSchema;
use serde::Deserialize;

const STREAMS: usize = 8;

/// Longer than anything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns how many packets each of eight identical streams got through an overloaded shared node in ten seconds.
fn delivered(shared: &str, seed: u64) -> Vec<u64> {
    let streams: Vec<String> = (0..STREAMS).map(|index| format!("s{index}: x")).collect();
    let text = format!(
        "\
fermata: 1
streams: {{{}}}
nodes:
  source: {{use: test_source, each: stream, rate: 30}}
{shared}
  end:    {{use: discard, each: stream, in: shared}}
run: {{clock: live}}
",
        streams.join(", ")
    );
    let registry = Registry::builtin();
    let options = LoadOptions::new("out");
    let graph = Graph::parse("turns.yaml", &text, &registry, &options).unwrap();
    let options = SimOptions {
        commands: vec![(At::Time(Duration::from_secs(10)), SimCommand::Drain)],
        ..SimOptions::seeded(seed)
    };
    let run = simulate(graph, Arc::new(registry), &options).unwrap();
    assert!(run.ended && run.report.balanced, "{:#?}", run.report);
    let streams = run.report.streams.values();
    streams.map(|stream| stream.delivered).collect()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// Passes packets on later, from another thread that takes a millisecond for each.
struct Later(mpsc::Sender<(Envelope, AnyPayload, Ticket)>);

impl Actor for Later {
    const NAME: &'static str = "later";
    type Settings = NoSettings;

    fn ports(_: &NoSettings) -> Ports {
        let ports = Ports::new().any_input("in").same_output("out");
        ports.finishes_later(4).stateless()
    }

    fn create(_: NoSettings, _: &Setup) -> Result<Self, ActorError> {
        let (sender, calls) = mpsc::channel::<(Envelope, AnyPayload, Ticket)>();
        thread::spawn(move || {
            for (envelope, payload, ticket) in calls {
                thread::sleep(Duration::from_millis(1));
                ticket.settle(|out| {
                    out.emit_any(0, envelope, payload);
                    Ok(())
                });
            }
        });
        Ok(Self(sender))
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let payload = input.take_any(0).ok_or("no payload")?;
        let ticket = out.finish_later()?;
        self.0.send((input.envelope, payload, ticket))?;
        Ok(())
    }
}

/// Not simulated, since the answers come from another thread. The sources always have more packets, so the node waits
/// for one only if the system does not run its thread: one try of three must be undisturbed. Packets that come late,
/// when other streams have filled their queues, are served too.
#[test]
fn a_shared_node_whose_calls_are_finished_later_serves_all_streams_alike() {
    let tries: Vec<(u64, u64)> = (0..3).map(|_| least_and_most_of_later()).collect();
    let is_fair = |(least, most): &(u64, u64)| 2 * least > *most;
    assert!(tries.iter().any(is_fair), "{tries:?}");
}

/// Returns the lowest and the highest number of packets of a stream that came through, after at least fifty of each.
fn least_and_most_of_later() -> (u64, u64) {
    let streams: Vec<String> = (0..STREAMS).map(|index| format!("s{index}: x")).collect();
    let text = format!(
        "\
fermata: 1
streams: {{{}}}
nodes:
  source: {{use: test_source, each: stream}}
  shared: {{use: later, in: source, queue: {{capacity: 8}}}}
  end:    {{use: discard, in: shared}}
run: {{clock: live}}
",
        streams.join(", ")
    );
    let mut registry = Registry::builtin();
    registry.register::<Later>();
    let options = LoadOptions::new("out");
    let graph = Graph::parse("turns.yaml", &text, &registry, &options).unwrap();
    let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default()).unwrap();
    let handle = running.handle();
    let began = Instant::now();
    loop {
        let streams = handle.report().streams;
        let delivered: Vec<u64> = streams.values().map(|stream| stream.delivered).collect();
        if delivered.iter().all(|delivered| *delivered >= 50) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{delivered:?}");
        thread::sleep(Duration::from_millis(5));
    }
    handle.drain();
    let streams = running.wait().streams;
    let delivered = || streams.values().map(|stream| stream.delivered);
    (delivered().min().unwrap(), delivered().max().unwrap())
}

#[test]
fn an_overloaded_shared_node_serves_all_streams_alike() {
    const DROPPING: &str = "queue: {capacity: 1, full: drop_oldest}";
    let nodes = [
        format!("  shared: {{use: identity, in: source, work: 20ms, {DROPPING}}}"),
        format!("  shared: {{use: identity, in: source, work: 40ms, replicas: 2, {DROPPING}}}"),
        format!("  shared: {{use: identity, in: source, work: 80ms, replicas: 3, {DROPPING}}}"),
        format!(
            "  shared: {{use: identity, in: source, work: 20ms, batch: {{max: 4}}, {DROPPING}}}"
        ),
        format!(
            "  shared: {{use: identity, in: source, work: 40ms, replicas: 2, batch: {{max: 3}}, {DROPPING}}}"
        ),
        // A blocking queue holds its sources up, all of them equally.
        "  shared: {use: identity, in: source, work: 40ms, replicas: 2}".to_owned(),
        "  shared: {use: identity, in: source, work: 40ms, batch: {max: 3}}".to_owned(),
        // Two shared nodes in a row, so that the second one is fed from the lane of the first.
        format!(
            "  first:  {{use: identity, in: source, work: 10ms, {DROPPING}}}\n  \
             shared: {{use: identity, in: first, work: 40ms, replicas: 2, {DROPPING}}}"
        ),
    ];
    for node in &nodes {
        // A seed may step a lane so rarely that its stream emits hardly anything; most seeds do not.
        let mut shares: Vec<f64> = (0..15)
            .map(|seed| {
                let delivered = delivered(node, seed);
                let (least, most) = (delivered.iter().min(), delivered.iter().max());
                *least.unwrap() as f64 / *most.unwrap() as f64
            })
            .collect();
        shares.sort_by(f64::total_cmp);
        assert!(shares[7] > 0.75, "{node}: least by most, {shares:.2?}");
    }
}
