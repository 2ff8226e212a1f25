//! A sink that keeps what reaches it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::actor::Actor;
use crate::end::End;
use crate::error::ActorError;
use crate::input::Input;
use crate::lock::lock;
use crate::outputs::Outputs;
use crate::packet::{Packet, Payload, Stream, downcast};
use crate::ports::Ports;
use crate::registry::Registry;
use crate::setup::Setup;

/// The packets that a collecting sink of a graph has received, over all its instances; they can be read during or after
/// the run.
///
/// ```
/// use std::sync::Arc;
/// use fermata_engine::testing::{Collector, ListSource};
/// use fermata_engine::{Graph, LoadOptions, Payload, Registry, RunOptions, RunningGraph};
///
/// struct Number(u32);
/// impl Payload for Number {}
///
/// let mut registry = Registry::builtin();
/// ListSource::register(&mut registry, "numbers", (0..5).map(Number));
/// let collector = Collector::register(&mut registry, "collect");
/// let text = "
/// fermata: 1
/// nodes:
///   numbers: {use: numbers}
///   middle:  {use: identity, in: numbers}
///   end:     {use: collect, in: middle}
/// run: {clock: asap}
/// ";
/// let graph = Graph::parse("test.yaml", text, &registry, &LoadOptions::new("out")).unwrap();
/// let report = RunningGraph::start(graph, Arc::new(registry), RunOptions::default()).unwrap().wait();
///
/// assert!(report.balanced);
/// let numbers = collector.payloads::<Number>("numbers");
/// assert_eq!(numbers.iter().map(|number| number.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
/// assert!(collector.ends()["numbers"].is_complete());
/// ```
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    packets: Vec<Packet>,
    ends: BTreeMap<String, End>,
}

impl Collector {
    /// Registers a collecting sink under this name: one input `in` for payloads of any type, no settings.
    ///
    /// # Panics
    /// See [`Registry::register`].
    pub fn register(registry: &mut Registry, name: &'static str) -> Self {
        let collector = Self::default();
        let sink = Collect(collector.clone());
        registry.register_made::<Collect>(name, move |_, _| Ok(Collect(sink.0.clone())));
        collector
    }

    /// Returns all packets in the order of their arrival. Streams may be interleaved; each is in its own order.
    pub fn packets(&self) -> Vec<Packet> {
        self.lock().packets.clone()
    }

    /// Returns the payloads of a stream, in order. The stream of a shared source is named after its node.
    ///
    /// # Panics
    /// If a payload is of another type.
    pub fn payloads<T: Payload>(&self, stream: &str) -> Vec<Arc<T>> {
        let collected = self.lock();
        let packets = collected.packets.iter();
        let of_stream = packets.filter(|packet| packet.envelope.stream.name == stream);
        of_stream
            .map(|packet| {
                downcast(Arc::clone(&packet.payload)).unwrap_or_else(|_| {
                    panic!("{packet:?} does not carry {}", std::any::type_name::<T>())
                })
            })
            .collect()
    }

    /// Returns how streams have ended at this sink, by name.
    pub fn ends(&self) -> BTreeMap<String, End> {
        self.lock().ends.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        // A panic never leaves the data half-changed.
        lock(&self.0)
    }
}

/// Keeps the packets that reach it, so that a test can inspect them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CollectSettings {}

struct Collect(Collector);

impl Actor for Collect {
    const NAME: &'static str = "collect";
    type Settings = CollectSettings;

    fn ports(_: &CollectSettings) -> Ports {
        Ports::new().any_input("in").keeps_streams_apart()
    }

    /// Creates a sink whose packets cannot be read; [`Collector::register`] creates readable ones.
    fn create(_: CollectSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(Collector::default()))
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        if let Some(payload) = input.take_any(0) {
            self.0.lock().packets.push(Packet {
                envelope: input.envelope,
                payload,
            });
        }
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        self.0.lock().ends.insert(stream.name.clone(), end);
        Ok(())
    }
}
