//! The two actors at the ends of an edge of a cut graph: like `send_packets` and `receive_packets`, over a simulated
//! network.

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::graph::WhenFull;
use fermata_engine::units::{HumanBytes, HumanDuration};
use fermata_engine::{
    Actor, ActorError, Captured, Codecs, End, Input, Next, Outputs, Pacing, Ports, Setup, Source,
    Stream,
};
use fermata_remote::edge::arrival::Taken;
use fermata_remote::edge::sender::SenderSpec;
use fermata_remote::edge::simulated::Parcel;
use fermata_remote::edge::wire::PacketMessage;
use prost::Message;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::payloads;
use super::network::{Line, Network};

fn window() -> usize {
    3
}

/// Settings of both ends.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndSettings {
    edge: String,
    full: WhenFull,
    capacity: usize,
    #[serde(default = "window")]
    window: usize,
    carries: Option<String>,
    bytes: Option<HumanBytes>,
    max_age: Option<HumanDuration>,
}

impl EndSettings {
    /// Returns the line of the actor's stream.
    fn line(&self, setup: &Setup) -> Result<Arc<Line>, ActorError> {
        let network: Arc<Network> = setup.service().ok_or("no network")?;
        let stream = setup.stream.as_ref().ok_or("no stream")?;
        let age_ms = |age: HumanDuration| u64::try_from(age.0.as_millis()).unwrap_or(u64::MAX);
        let spec = SenderSpec {
            full: self.full,
            capacity: self.capacity,
            window: self.window,
            bytes: self.bytes.map(|bytes| bytes.0),
            max_age_ms: self.max_age.map(age_ms),
        };
        Ok(network.line(&self.edge, &stream.name, spec))
    }
}

fn codecs() -> Codecs {
    let mut registry = fermata_engine::Registry::builtin();
    payloads::register_codecs(&mut registry);
    registry.codecs().clone()
}

pub(super) struct Send {
    line: Arc<Line>,
    codecs: Codecs,
    is_lossless: bool,
}

impl Actor for Send {
    const NAME: &'static str = "send";
    type Settings = EndSettings;

    fn ports(settings: &EndSettings) -> Ports {
        let ports = Ports::new().any_input("in").per_stream().needs::<Network>();
        match settings.full {
            WhenFull::Block => ports.finishes_later(settings.window),
            WhenFull::DropOldest | WhenFull::DropNewest => ports,
        }
    }

    fn create(settings: EndSettings, setup: &Setup) -> Result<Self, ActorError> {
        let line = settings.line(setup)?;
        line.begins_at(setup.settled());
        Ok(Self {
            line,
            codecs: codecs(),
            is_lossless: settings.full == WhenFull::Block,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let payload = input.take_any(0).ok_or("no payload")?;
        let mut bytes = Vec::new();
        let form = self.codecs.encode(&*payload, &mut bytes)?;
        let envelope = &input.envelope;
        let message = PacketMessage {
            sequence: envelope.sequence,
            segment: envelope.segment,
            pts_ns: envelope.pts_ns,
            form: form.name.to_owned(),
            version: form.version,
            payload: bytes.into(),
            ..PacketMessage::default()
        };
        let content = message.encode_to_vec();
        let ticket = self.is_lossless.then(|| out.finish_later()).transpose()?;
        let parcel = |now_ms| Parcel {
            sequence: message.sequence,
            segment: message.segment,
            goes_on: false,
            bytes: content.len() as u64,
            captured_ms: now_ms,
            content,
        };
        self.line.add(parcel, ticket);
        Ok(())
    }

    fn stream_ended(&mut self, _: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        self.line.end(end);
        Ok(())
    }
}

pub(super) struct Receive {
    network: Arc<Network>,
    line: Arc<Line>,
    codecs: Codecs,
    setup: Setup,
}

impl Source for Receive {
    const NAME: &'static str = "receive";
    type Settings = EndSettings;

    fn ports(settings: &EndSettings) -> Ports {
        let carries = settings.carries.as_deref().unwrap_or_default();
        let ports = Ports::new().named_output("out", carries);
        ports.per_stream().needs::<Network>()
    }

    fn create(settings: EndSettings, setup: &Setup) -> Result<Self, ActorError> {
        let line = settings.line(setup)?;
        line.leads_to(setup.settled());
        Ok(Self {
            network: setup.service().ok_or("no network")?,
            line,
            codecs: codecs(),
            setup: setup.clone(),
        })
    }

    fn pacing(&self) -> Pacing {
        Pacing::AsGiven
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        let (taken, missed) = self.network.take(&self.line);
        self.setup.count_missed(missed);
        Ok(match taken {
            None => Next::Wait(Duration::ZERO),
            Some(Taken::Mark(mark)) => Next::Mark(mark),
            Some(Taken::End(end)) => Next::EndedAs(end),
            Some(Taken::Packet {
                sequence,
                segment,
                content,
            }) => {
                let message = PacketMessage::read(content.into())?;
                let (form, version) = (&message.form, message.version);
                let payload = self.codecs.decode(form, version, &message.payload)?;
                let captured = Captured::new(payload, message.pts_ns);
                Next::Packet(captured.numbered(sequence, segment))
            }
        })
    }
}
