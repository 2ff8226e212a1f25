//! Receives the packets of a stream over an edge from another machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fermata_engine::graph::WhenFull;
use fermata_engine::units::HumanDuration;
use fermata_engine::{
    ActorError, Captured, ClockMode, Codecs, Connection, Next, Pacing, Ports, Setup, Source,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::connection::NatsConnection;
use crate::edge::arrival::Taken;
use crate::edge::wire::PacketMessage;
use crate::losses::StreamLosses;
use crate::names::EdgeNames;
use crate::receiving::{Fetched, ReceivingEnd};
use crate::send_packets::{check_clock, check_edge, default_capacity, default_window};
use crate::store::StoreSpec;
use crate::time::unix_ns;

/// How long to wait for a packet before the engine gets its turn.
const WAIT: Duration = Duration::from_millis(20);

/// Receives the packets of a stream that another run sends with `send_packets`, over a NATS server (`--nats`), with
/// their sequence numbers and segments, and ends the stream as that run ended it. A graph with `machines` gets both
/// actors by itself, wherever an edge leads from one machine to another.
///
/// A packet of an edge that blocks is acknowledged once every sink of this graph has settled it; a run that replaces a
/// killed one receives unacknowledged packets again. Packets that do not arrive are counted as `missed`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceivePacketsSettings {
    /// Name of the edge; the same as at `send_packets`.
    pub edge: String,
    /// What the edge carries: the name of a payload's codec, such as `faces`.
    pub carries: String,
    /// What happens while the edge is full; the same as at `send_packets`. Default: block.
    #[serde(default)]
    pub full: WhenFull,
    /// Packets of each stream that the edge holds, besides those on their way to it. If the edge blocks, a packet is
    /// held until the sinks of this graph have settled it and the server has recorded that; there is room for 64 more
    /// meanwhile. Default: 4.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default = "default_capacity")]
    pub capacity: usize,
    /// Packets that may be on their way to the server at once; the same as at `send_packets`. Default: 16.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default = "default_window")]
    pub window: usize,
    /// Age above which packets are dropped when they leave the edge, counted from their capture by the clocks of two
    /// machines. Only for an edge that may drop. Default: none.
    pub max_age: Option<HumanDuration>,
}

/// A source of what another run sends: its packets with their sequences and segments, its marks, its end. A packet of
/// an edge that blocks is acknowledged once everything below it has been settled at all sinks here, and flushed where a
/// sink confirms that.
pub struct ReceivePackets {
    end: Arc<ReceivingEnd>,
    codecs: Arc<Codecs>,
    connection: Arc<Connection>,
    setup: Setup,
    settings: ReceivePacketsSettings,
    losses: Arc<StreamLosses>,
    /// Count, for the report, of packets that come before they are captured.
    from_future: Arc<AtomicU64>,
}

impl Source for ReceivePackets {
    const NAME: &'static str = "receive_packets";
    type Settings = ReceivePacketsSettings;

    fn ports(settings: &ReceivePacketsSettings) -> Ports {
        Ports::new()
            .named_output("out", &settings.carries)
            .per_stream()
            .needs::<NatsConnection>()
    }

    fn check(settings: &ReceivePacketsSettings) -> Result<(), ActorError> {
        check_edge(&settings.edge, settings.capacity, settings.window)?;
        if settings.full == WhenFull::Block && settings.max_age.is_some() {
            return Err("an edge that blocks loses nothing: remove `max_age`, or let the edge drop with `full`".into());
        }
        Ok(())
    }

    fn create(settings: ReceivePacketsSettings, setup: &Setup) -> Result<Self, ActorError> {
        check_clock(settings.full, setup)?;
        let nats: Arc<NatsConnection> = setup.service().ok_or("no NATS connection")?;
        let stream = setup.stream.as_ref().ok_or("it needs `each: stream`")?;
        let names = EdgeNames::new(&nats.site, &settings.edge);
        let store = StoreSpec::new(settings.full, settings.capacity, settings.window);
        let losses = nats.losses.of(&settings.edge, &stream.name);
        let end = nats.end(
            // A second node that receives the same stream replaces the first one, which then reports it.
            &format!(
                "receive {} at {}",
                names.packets_of(&stream.name),
                setup.node
            ),
            stream.id,
            || ReceivingEnd::new(names, &stream.name, store, setup, Arc::clone(&losses)),
            |end| {
                let run = Arc::clone(end).run(Arc::clone(&nats));
                nats.runtime.spawn(run)
            },
        );
        Ok(Self {
            end,
            codecs: Arc::clone(&nats.codecs),
            connection: setup.connection(),
            setup: setup.clone(),
            settings,
            losses,
            from_future: setup.tally("packets that came before they were captured"),
        })
    }

    fn pacing(&self) -> Pacing {
        Pacing::AsGiven
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        let began = Instant::now();
        let (fetched, missed) = self.end.fetch(WAIT);
        self.setup.count_waited(began.elapsed());
        self.setup.count_missed(missed);
        match fetched {
            Fetched::Taken(taken) => {
                self.connection.restore();
                Ok(self.hand_on(taken))
            }
            Fetched::Nothing(obstacle) => {
                match obstacle {
                    Some(reason) => self.connection.lose(&reason),
                    None => self.connection.restore(),
                }
                Ok(Next::Wait(Duration::ZERO))
            }
            Fetched::Failed(failure) => Err(failure.into()),
        }
    }
}

impl ReceivePackets {
    /// Counts packets that come before they are captured, by the two machines' clocks, and logs the 1st, 2nd, 4th, 8th
    /// … of them.
    fn tell_future(&self, age_ns: i64) {
        self.from_future.fetch_add(1, Ordering::Relaxed);
        let count = self.losses.from_future.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            let (node, stream) = (&self.setup.node, self.end.stream());
            let ahead_ms = age_ns.unsigned_abs() as f64 / 1e6;
            tracing::warn!(%node, stream, count, ahead_ms, "packets come before they are captured, since the clocks of the two machines differ: synchronise them (NTP); until then latencies of such packets count from their arrival");
        }
    }

    fn hand_on(&self, taken: Taken<PacketMessage>) -> Next {
        match taken {
            Taken::Packet {
                sequence,
                segment,
                content,
            } => {
                let PacketMessage {
                    incarnation,
                    number,
                    ..
                } = content;
                let stream = self.end.stream();
                tracing::trace!(stream, incarnation, number, sequence, segment, "taken");
                match self.packet(sequence, segment, &content) {
                    Ok(captured) => Next::Packet(captured),
                    Err(error) => {
                        self.setup.count_missed(1);
                        let (node, error) = (&self.setup.node, error.to_string());
                        tracing::warn!(%node, sequence, %error, "a packet cannot be handed on");
                        Next::Mark(sequence + 1)
                    }
                }
            }
            Taken::Mark(next) => Next::Mark(next),
            Taken::End(end) => Next::EndedAs(end),
        }
    }

    fn packet(
        &self,
        sequence: u64,
        segment: u32,
        message: &PacketMessage,
    ) -> Result<Captured, ActorError> {
        if message.form != self.settings.carries {
            return Err(format!(
                "it is `{}`, but the edge carries `{}`",
                message.form, self.settings.carries
            )
            .into());
        }
        let age_ns = unix_ns().saturating_sub(message.captured_unix_ns);
        if age_ns < 0 {
            self.tell_future(age_ns);
        }
        let age_ns = age_ns.max(0);
        let age = Duration::from_nanos(age_ns.unsigned_abs());
        let ages = self.setup.clock_mode != ClockMode::Asap;
        if let Some(most) = self.settings.max_age.filter(|most| ages && age > most.0) {
            return Err(format!("it is {age:?} old, and `max_age` is {:?}", most.0).into());
        }
        let (form, version) = (&message.form, message.version);
        let payload = self.codecs.decode(form, version, &message.payload)?;
        let captured = Captured::new(payload, message.pts_ns).numbered(sequence, segment);
        Ok(captured.captured_ago(age))
    }
}
