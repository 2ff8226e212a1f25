//! An actor that holds packets back until later ones have arrived: it keeps their tickets, and is told when no more
//! will arrive.

use std::collections::VecDeque;
use std::sync::Arc;

use fermata_engine::sim::{SimOptions, simulate};
use fermata_engine::testing::{Collector, ListSource};
use fermata_engine::{
    Actor, ActorError, AnyPayload, Envelope, Graph, Input, Outputs, Payload, Ports, Registry,
    RunOptions, RunningGraph, Setup, Stream, Ticket,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{assert_balanced, options};

#[derive(Debug, PartialEq)]
struct Number(u64);

impl Payload for Number {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HoldBackSettings {
    /// Maximum number of packets held back.
    most: usize,
}

/// Passes a packet, or a batch, on once this many later ones have arrived, or no more will.
struct HoldBack {
    most: usize,
    held: VecDeque<(Vec<(Envelope, AnyPayload)>, Ticket)>,
}

impl HoldBack {
    fn let_go(&mut self, most: usize) {
        while self.held.len() > most {
            let (packets, ticket) = self.held.pop_front().unwrap();
            ticket.settle(|out| {
                for (envelope, payload) in packets {
                    out.emit_any(0, envelope, payload);
                }
                Ok(())
            });
        }
    }
}

impl Actor for HoldBack {
    const NAME: &'static str = "hold_back";
    type Settings = HoldBackSettings;

    fn ports(settings: &HoldBackSettings) -> Ports {
        let ports = Ports::new().input::<Number>("in").output::<Number>("out");
        ports.per_stream().finishes_later(settings.most + 2)
    }

    fn create(settings: HoldBackSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            most: settings.most,
            held: VecDeque::new(),
        })
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.process_batch(vec![input], out)
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        let packets = inputs.into_iter().map(|mut input| {
            let payload = input.take::<Number>() as AnyPayload;
            (input.envelope, payload)
        });
        self.held
            .push_back((packets.collect(), out.finish_later()?));
        self.let_go(self.most);
        Ok(())
    }

    fn stream_ending(&mut self, _: &Arc<Stream>) -> Result<(), ActorError> {
        self.let_go(0);
        Ok(())
    }
}

fn graph(most: usize, more: &str, clock: &str) -> (Graph, Registry, Collector) {
    let mut registry = Registry::builtin();
    registry.register::<HoldBack>();
    ListSource::register(&mut registry, "count", (0..20).map(Number));
    let collector = Collector::register(&mut registry, "collect");
    let lane = if more.contains("lane") {
        ", lane: one"
    } else {
        ""
    };
    let text = format!(
        "
fermata: 1
streams: {{a: 1, b: 2}}
nodes:
  count: {{use: count, each: stream{lane}}}
  hold:  {{use: hold_back, each: stream, in: count, most: {most}{more}}}
  end:   {{use: collect, in: hold}}
run: {{clock: {clock}}}
"
    );
    let graph = Graph::parse("test.yaml", &text, &registry, &options()).expect("a correct graph");
    (graph, registry, collector)
}

#[track_caller]
fn assert_whole(collector: &Collector) {
    for stream in ["a", "b"] {
        let numbers = collector.payloads::<Number>(stream);
        let numbers: Vec<u64> = numbers.iter().map(|number| number.0).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "{stream}");
        assert!(collector.ends()[stream].is_complete(), "{stream}");
    }
}

#[test]
fn whoever_holds_packets_back_lets_them_go_when_no_more_will_come() {
    for most in [1, 3, 50] {
        // The last batch has two packets, which wait until the stream ends.
        let in_batches = [", batch: {max: 3}", ", lane: one, batch: {max: 3}"];
        for more in ["", ", lane: one"].into_iter().chain(in_batches) {
            for clock in ["asap", "live"] {
                let (graph, registry, collector) = graph(most, more, clock);
                let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default());
                let report = running.expect("a graph that starts").wait();
                assert_balanced(&report);
                assert_whole(&collector);
            }
        }
    }
}

#[test]
fn it_does_so_in_every_order_of_events() {
    for seed in 0..50 {
        let (graph, registry, collector) = graph(3, "", "asap");
        let run = simulate(graph, Arc::new(registry), &SimOptions::seeded(seed));
        let run = run.expect("a graph that starts");
        assert!(run.ended, "{:?}", run.unfinished);
        assert_balanced(&run.report);
        assert_whole(&collector);
    }
}
