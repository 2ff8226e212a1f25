//! Sends the packets of a stream over an edge to another machine.

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::graph::{DEFAULT_CAPACITY, WhenFull};
use fermata_engine::units::{HumanBytes, HumanDuration};
use fermata_engine::{
    Actor, ActorError, ClockMode, Codecs, End, Envelope, How, Input, Life, Outputs, Ports, Setup,
    Stream,
};
use prost::Message;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::connection::NatsConnection;
use crate::edge::sender::SenderSpec;
use crate::edge::wire::PacketMessage;
use crate::names::EdgeNames;
use crate::sending::{Outgoing, SendingEnd};
use crate::time::unix_ns;

/// Default for the packets that may be on their way to the store at once.
pub(crate) const DEFAULT_WINDOW: usize = 16;
/// Most packets that an edge may be set to hold, or to have on their way.
pub(crate) const MOST_HELD: usize = 100_000;
/// Time limit for the end of a stream to get out where nothing is promised, or where the run was stopped.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Sends the packets of a stream to `receive_packets` of another run, over a NATS server (`--nats`). A graph with
/// `machines` gets both actors by itself, wherever an edge leads from one machine to another.
///
/// With `full: block` a packet counts as delivered once the server has stored it, and no packet is lost while machines
/// or the connection recover; with `drop_oldest` or `drop_newest` packets for which there is no room are dropped and
/// counted, as at any queue.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendPacketsSettings {
    /// Name of the edge; the same as at `receive_packets`.
    pub edge: String,
    /// What happens while the edge is full: `block` holds packets back up to the source, and every packet arrives;
    /// `drop_oldest` and `drop_newest` lose some. The same as at `receive_packets`. Default: block.
    #[serde(default)]
    pub full: WhenFull,
    /// Packets that wait here for their turn, where the edge may drop. Default: 4.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default = "default_capacity")]
    pub capacity: usize,
    /// Packets that may be on their way to the server at once. The same as at `receive_packets`. Default: 16.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default = "default_window")]
    pub window: usize,
    /// JPEG quality of pictures on their way, 1 to 100, if payloads need not arrive exactly as they are. Default: they
    /// arrive exactly.
    #[schemars(range(min = 1, max = 100))]
    pub quality: Option<u8>,
    /// Bytes that may wait or be on their way at once; a larger packet goes alone. Default: no limit.
    pub bytes: Option<HumanBytes>,
    /// Age above which packets are dropped before they are sent, counted from their capture. Only for an edge that may
    /// drop. Default: none.
    pub max_age: Option<HumanDuration>,
}

pub(crate) fn default_capacity() -> usize {
    DEFAULT_CAPACITY
}

pub(crate) fn default_window() -> usize {
    DEFAULT_WINDOW
}

/// Checks the settings that both ends of an edge share.
pub(crate) fn check_edge(edge: &str, capacity: usize, window: usize) -> Result<(), ActorError> {
    if edge.is_empty() || edge.len() > 64 {
        return Err("the name of an edge must have 1 to 64 bytes".into());
    }
    for (name, value) in [("capacity", capacity), ("window", window)] {
        if !(1..=MOST_HELD).contains(&value) {
            return Err(format!("`{name}` must be from 1 to {MOST_HELD}, not {value}").into());
        }
    }
    Ok(())
}

/// Refuses an edge that drops under `asap`, where results must not depend on timing.
pub(crate) fn check_clock(full: WhenFull, setup: &Setup) -> Result<(), ActorError> {
    match (setup.clock_mode, full) {
        (_, WhenFull::Block) | (ClockMode::Live | ClockMode::Replay(_), _) => Ok(()),
        (ClockMode::Asap, _) => {
            Err("under the clock `asap` an edge may not drop packets: use `full: block`".into())
        }
    }
}

/// An actor that publishes packets at a NATS server, encoded by their codecs. A packet of an edge that blocks is
/// settled once the server has stored it.
pub struct SendPackets {
    end: Arc<SendingEnd>,
    connection: Arc<NatsConnection>,
    codecs: Arc<Codecs>,
    setup: Setup,
    settings: SendPacketsSettings,
    /// Whether the stream itself comes from another machine.
    goes_on: bool,
}

impl Actor for SendPackets {
    const NAME: &'static str = "send_packets";
    type Settings = SendPacketsSettings;

    fn ports(settings: &SendPacketsSettings) -> Ports {
        let ports = Ports::new()
            .any_input("in")
            .per_stream()
            .needs::<NatsConnection>();
        match settings.full {
            WhenFull::Block => ports.finishes_later(settings.window),
            WhenFull::DropOldest | WhenFull::DropNewest => ports,
        }
    }

    fn check(settings: &SendPacketsSettings) -> Result<(), ActorError> {
        check_edge(&settings.edge, settings.capacity, settings.window)?;
        if settings
            .quality
            .is_some_and(|quality| !(1..=100).contains(&quality))
        {
            return Err("`quality` must be from 1 to 100".into());
        }
        if settings.full == WhenFull::Block && settings.max_age.is_some() {
            return Err("an edge that blocks loses nothing: remove `max_age`, or let the edge drop with `full`".into());
        }
        Ok(())
    }

    fn create(settings: SendPacketsSettings, setup: &Setup) -> Result<Self, ActorError> {
        check_clock(settings.full, setup)?;
        let connection: Arc<NatsConnection> = setup.service().ok_or("no NATS connection")?;
        let stream = setup.stream.as_ref().ok_or("it needs `each: stream`")?;
        let names = EdgeNames::new(&connection.site, &settings.edge);
        let spec = SenderSpec {
            full: settings.full,
            capacity: settings.capacity,
            window: settings.window,
            bytes: settings.bytes.map(|bytes| bytes.0),
            max_age_ms: settings
                .max_age
                .map(|age| u64::try_from(age.0.as_millis()).unwrap_or(u64::MAX)),
        };
        let end = connection.end(
            &format!("send {}", names.packets_of(&stream.name)),
            stream.id,
            || SendingEnd::new(names, &stream.name, spec, setup.settled()),
            |end| {
                let run = Arc::clone(end).run(Arc::clone(&connection));
                connection.runtime.spawn(run)
            },
        );
        Ok(Self {
            end,
            codecs: Arc::clone(&connection.codecs),
            connection,
            setup: setup.clone(),
            settings,
            goes_on: setup
                .service::<Life>()
                .is_some_and(|life| life.settled.contains_key(&stream.name)),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let payload = input.take_any(0).ok_or("no payload")?;
        let mut bytes = Vec::with_capacity(payload.bytes() / 8);
        let form = match self.settings.quality {
            Some(quality) => self.codecs.encode_smaller(&*payload, quality, &mut bytes)?,
            None => self.codecs.encode(&*payload, &mut bytes)?,
        };
        let age_ns = self.age_ns(&input.envelope);
        let message = PacketMessage {
            sequence: input.envelope.sequence,
            segment: input.envelope.segment,
            pts_ns: input.envelope.pts_ns,
            captured_unix_ns: unix_ns().saturating_sub(i64::try_from(age_ns).unwrap_or(i64::MAX)),
            goes_on: self.goes_on,
            form: form.name.to_owned(),
            version: form.version,
            payload: bytes.into(),
            // Placeholders of the largest encoded size until the packet is numbered.
            incarnation: u64::MAX,
            number: u64::MAX,
        };
        let (size, most) = (message.encoded_len(), self.connection.client.max_payload());
        if size > most {
            return Err(format!(
                "a packet has {size} bytes, but the NATS server takes at most {most}: raise its `max_payload`, or send less"
            )
            .into());
        }
        let ticket = match self.settings.full {
            WhenFull::Block => Some(out.finish_later()?),
            WhenFull::DropOldest | WhenFull::DropNewest => None,
        };
        let captured_ms = self.connection.now_ms().saturating_sub(age_ns / 1_000_000);
        let outgoing = Outgoing { message, ticket };
        self.end.add(outgoing, size as u64, captured_ms);
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        // An end that does not get out would leave the other machine waiting, so where everything is to arrive it is
        // waited for like everything else.
        let is_promised = self.settings.full == WhenFull::Block && end.how != How::Stopped;
        let most = (!is_promised).then_some(END_PATIENCE);
        let closing = || *self.connection.closing.borrow();
        let ended = self.end.end(end, most, closing);
        let given = self.end.given();
        let losses = &self.connection.losses;
        losses
            .of(&self.settings.edge, &stream.name)
            .set_given(given);
        if given != Default::default() {
            let node = &self.setup.node;
            tracing::info!(%node, ?given, "packets of the edge may not have reached the server");
        }
        ended.map_err(|reason| {
            let edge = &self.settings.edge;
            format!("the other end of edge `{edge}` could not be told that the stream has ended: {reason}").into()
        })
    }
}

impl SendPackets {
    fn age_ns(&self, envelope: &Envelope) -> u64 {
        let now_ns = self.setup.clock.now_ns();
        now_ns.saturating_sub(envelope.captured_ns)
    }
}
