//! One of two runs with an edge between them, over a real NATS server.

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::testing::{Collector, ListSource};
use fermata_engine::{
    Actor, ActorError, Captured, Codecs, Graph, Input, LoadOptions, Next, Outputs, Ports, Registry,
    Report, RunOptions, RunningGraph, Services, Setup, Source,
};
use fermata_remote::{Credentials, NatsConnection};
use schemars::JsonSchema;
use serde::Deserialize;

use super::number::{Number, NumberV1};
use super::server::{PATIENCE, Server};

/// One of the two runs, with a connection of its own.
pub(crate) struct Part {
    running: Option<RunningGraph>,
    pub(crate) collector: Collector,
    pub(crate) connection: Arc<NatsConnection>,
}

pub(crate) fn registry(count: u64) -> (Registry, Collector) {
    let mut registry = Registry::builtin();
    registry.codecs_mut().register::<NumberV1>();
    fermata_remote::register(&mut registry);
    registry.register_source::<Gated>();
    registry.register::<Sparse>();
    ListSource::register(&mut registry, "numbers", (0..count).map(Number));
    let collector = Collector::register(&mut registry, "collect");
    (registry, collector)
}

pub(crate) fn parse(text: &str, registry: &Registry) -> Result<Graph, String> {
    let mut options = LoadOptions::new("/tmp/out");
    options.env.clear();
    let text = format!("fermata: 1\n{text}");
    Graph::parse("part.yaml", &text, registry, &options).map_err(|problems| problems.to_string())
}

impl Part {
    pub(crate) fn start(server: &Server, count: u64, text: &str) -> Self {
        Self::start_over(count, text, |codecs| {
            let connection = server.connect_as(&Credentials::default(), codecs);
            connection.expect("a connection")
        })
    }

    /// Starts the part of a machine, as the server's user of that name.
    #[allow(dead_code, reason = "not all tests have users")]
    pub(crate) fn start_on(machine: &str, server: &Server, count: u64, text: &str) -> Self {
        Self::start_over(count, text, |codecs| {
            server.connect_machine(machine, machine, codecs)
        })
    }

    /// Starts a part with a connection that the test makes.
    pub(crate) fn start_over(
        count: u64,
        text: &str,
        connect: impl FnOnce(&Codecs) -> Arc<NatsConnection>,
    ) -> Self {
        let (registry, collector) = registry(count);
        let connection = connect(registry.codecs());
        let graph = parse(text, &registry).expect("a graph");
        let options = RunOptions {
            services: Services::new().with(Arc::clone(&connection)),
            ..RunOptions::default()
        };
        let running = RunningGraph::start(graph, Arc::new(registry), options);
        Self {
            running: Some(running.expect("a graph that starts")),
            collector,
            connection,
        }
    }

    pub(crate) fn running(&self) -> &RunningGraph {
        self.running.as_ref().expect("it runs")
    }

    /// Waits until the run is over, for as long as it goes on: a disk may take its time for each packet.
    pub(crate) fn wait(mut self) -> (Report, Collector) {
        let mut running = self.running.take().expect("it runs");
        let mut seen = None;
        let report = loop {
            running = match running.wait_for(PATIENCE) {
                Ok(report) => break report,
                Err(running) => running,
            };
            let streams = running.handle().report().streams;
            let delivered: u64 = streams.values().map(|stream| stream.delivered).sum();
            let now = Some((delivered, self.collector.packets().len()));
            assert!(now > seen, "the run does not end; delivered, come: {now:?}");
            seen = now;
        };
        self.connection.close(Duration::from_secs(10));
        assert!(report.balanced, "{report:?}");
        (report, self.collector)
    }
}

pub(crate) fn sending(edge: &str, run: &str) -> String {
    format!(
        "\
streams: {{door: x, hall: x}}
nodes:
  numbers: {{use: numbers, each: stream}}
  send: {{use: send_packets, each: stream, in: numbers, {edge}}}
{run}"
    )
}

pub(crate) fn receiving(edge: &str, run: &str) -> String {
    format!(
        "\
streams: {{door: x, hall: x}}
nodes:
  receive: {{use: receive_packets, each: stream, carries: number, {edge}}}
  end: {{use: collect, in: receive}}
{run}"
    )
}

pub(crate) const ASAP: &str = "run: {clock: asap}\n";

/// A source of some numbers, and then of nothing until it is asked to end.
struct Gated {
    count: u64,
    given: u64,
    setup: Setup,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GatedSettings {
    count: u64,
}

impl Source for Gated {
    const NAME: &'static str = "gated";
    type Settings = GatedSettings;

    fn ports(_: &GatedSettings) -> Ports {
        Ports::new().output::<Number>("out")
    }

    fn create(settings: GatedSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            count: settings.count,
            given: 0,
            setup: setup.clone(),
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        if self.given == self.count {
            return Ok(if self.setup.cancelled() {
                Next::End
            } else {
                Next::Wait(Duration::from_millis(5))
            });
        }
        self.given += 1;
        let number = Number(self.given - 1);
        Ok(Next::Packet(Captured::new(Arc::new(number), 0)))
    }
}

/// A filter that lets only the first packet of `hall` through.
struct Sparse;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SparseSettings {}

impl Actor for Sparse {
    const NAME: &'static str = "sparse";
    type Settings = SparseSettings;

    fn ports(_: &SparseSettings) -> Ports {
        Ports::new().any_input("in").same_output("out").stateless()
    }

    fn create(_: SparseSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let envelope = input.envelope.clone();
        if envelope.stream.name != "hall" || envelope.sequence == 0 {
            out.emit_any(0, envelope, input.take_any(0).ok_or("no payload")?);
        }
        Ok(())
    }
}
