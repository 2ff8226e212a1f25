//! A sink that keeps the packets that reach it, by its name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup, Stream};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::payloads::maker_and_number;

/// A packet: sequence number, segment, timestamp, the payload's maker, and the payload's number.
pub(super) type Packet = (u64, u32, i64, String, u64);

/// What arrived at a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Came {
    /// In order of arrival, each with its stream.
    pub(super) packets: Vec<(String, Packet)>,
    pub(super) ends: BTreeMap<String, End>,
}

impl Came {
    pub(super) fn by_stream(&self) -> BTreeMap<&str, Vec<&Packet>> {
        let mut streams: BTreeMap<&str, Vec<&Packet>> = BTreeMap::new();
        for (stream, packet) in &self.packets {
            streams.entry(stream).or_default().push(packet);
        }
        streams
    }
}

/// What arrived at the sinks of a run.
#[derive(Default)]
pub(super) struct Gathered(Mutex<BTreeMap<String, Came>>);

impl Gathered {
    pub(super) fn take(&self) -> BTreeMap<String, Came> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn of(&self, sink: &str, note: impl FnOnce(&mut Came)) {
        note(self.0.lock().unwrap().entry(sink.to_owned()).or_default());
    }
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GatherSettings {}

/// The sink.
pub(super) struct Gather {
    node: String,
    gathered: Arc<Gathered>,
}

impl Actor for Gather {
    const NAME: &'static str = "gather";
    type Settings = GatherSettings;

    fn ports(_: &GatherSettings) -> Ports {
        Ports::new().any_input("in").needs::<Gathered>()
    }

    fn create(_: GatherSettings, setup: &Setup) -> Result<Self, ActorError> {
        let gathered: Arc<Gathered> = setup.service().ok_or("nothing gathers")?;
        gathered.of(&setup.node, |_| {});
        Ok(Self {
            node: setup.node.clone(),
            gathered,
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let payload = input.take_any(0).ok_or("no payload")?;
        let (maker, number) = maker_and_number(&*payload);
        let envelope = &input.envelope;
        let packet = (
            envelope.sequence,
            envelope.segment,
            envelope.pts_ns,
            maker,
            number,
        );
        let stream = envelope.stream.name.clone();
        self.gathered
            .of(&self.node, |came| came.packets.push((stream, packet)));
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        let stream = stream.name.clone();
        self.gathered.of(&self.node, |came| {
            came.ends.insert(stream, end);
        });
        Ok(())
    }
}
