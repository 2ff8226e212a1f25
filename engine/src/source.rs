//! The contract between the engine and the origin of a stream: [`Source`].

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::clock::nanoseconds;
use crate::end::End;
use crate::error::ActorError;
use crate::packet::AnyPayload;
use crate::ports::Ports;
use crate::setup::Setup;

/// The origin of a stream. The engine assigns sequence numbers, segments, pacing and capture times.
pub trait Source: Sized + Send + 'static {
    /// The name after `use:` in a graph file.
    const NAME: &'static str;
    /// See [`Actor::Settings`](crate::Actor::Settings).
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Returns the outputs and properties for these settings.
    fn ports(settings: &Self::Settings) -> Ports;

    /// See [`Actor::check`](crate::Actor::check).
    fn check(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// See [`Actor::reads`](crate::Actor::reads).
    fn reads(_settings: &Self::Settings) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Opens the source on the thread that will read it.
    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError>;

    /// Returns whether the packets are paced by the engine, using their pts, or by the outside world. Called when the
    /// source has been created and after each read, since an address may turn out to be a recording once it is open.
    fn pacing(&self) -> Pacing {
        Pacing::ByPts
    }

    /// Reads the next packet. May block for as long as a read takes; a source that can block for long must watch
    /// [`Setup::cancelled`]. An error ends the stream as failed, unless the node's `on_error` is `restart`. After a
    /// panic the source is rebuilt, within the node's restart budget, and the stream continues with a new segment.
    fn next(&mut self) -> Result<Next, ActorError>;
}

/// What paces a source under the `live` and `replay` clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// A recording: the engine holds each packet until its pts is due, and a full queue suspends the source.
    ByPts,
    /// A camera: packets come when they come, and those that cannot be taken are overwritten and counted as `missed`.
    Live,
    /// Packets already paced by another run: each is due when it arrives, and a full queue suspends the source.
    AsGiven,
}

/// The result of reading a source.
pub enum Next {
    /// A packet.
    Packet(Captured),
    /// Nothing for now; read again after this time at the latest (a reconnect waiting for its next attempt, say).
    Wait(Duration),
    /// No packet with a sequence below this will come. For a source that passes on what another graph numbered; see
    /// [`Captured::numbered`].
    Mark(u64),
    /// The end of the stream.
    End,
    /// The end of a stream that ended elsewhere, and how it ended there.
    EndedAs(End),
}

/// A capture of a source: payloads of one moment, at most one per output.
pub struct Captured {
    pub(crate) first: Option<AnyPayload>,
    pub(crate) others: Vec<(usize, AnyPayload)>,
    pub(crate) pts_ns: i64,
    pub(crate) new_segment: bool,
    pub(crate) kept: bool,
    pub(crate) number: Option<(u64, u32)>,
    pub(crate) ago_ns: u64,
}

impl Captured {
    /// Creates a capture with a payload for the first (and for most sources only) output and its presentation time
    /// stamp in nanoseconds.
    pub fn new(payload: AnyPayload, pts_ns: i64) -> Self {
        Self {
            first: Some(payload),
            ..Self::nothing(pts_ns)
        }
    }

    /// Creates a capture without payloads; add them with [`Captured::on`]. An output without a payload gets nothing of
    /// this capture.
    pub fn nothing(pts_ns: i64) -> Self {
        Self {
            first: None,
            others: Vec::new(),
            pts_ns,
            new_segment: false,
            kept: false,
            number: None,
            ago_ns: 0,
        }
    }

    /// Adds a payload for the output with this index (in the order of [`Ports`]).
    pub fn on(mut self, output: usize, payload: AnyPayload) -> Self {
        match output {
            0 => self.first = Some(payload),
            _ => self.others.push((output, payload)),
        }
        self
    }

    /// Marks the beginning of a new segment: the first packet after a reconnect.
    pub fn in_new_segment(mut self) -> Self {
        self.new_segment = true;
        self
    }

    /// Keeps a live source from reading on before the graph has room for this packet, so that it is not overwritten: it
    /// was already waiting outside, with others behind it.
    pub fn kept(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Sets a sequence and a segment assigned elsewhere, instead of the engine's own. Sequences must increase and be no
    /// lower than the last mark; one that is too low, or within the two largest numbers, ends the stream as failed.
    pub fn numbered(mut self, sequence: u64, segment: u32) -> Self {
        self.number = Some((sequence, segment));
        self
    }

    /// Sets how long ago it was captured, elsewhere. Latencies and `max_age` count from then, or from the start of this
    /// run's clock if that is later.
    pub fn captured_ago(mut self, ago: Duration) -> Self {
        self.ago_ns = nanoseconds(ago);
        self
    }

    /// Returns all payloads.
    pub(crate) fn into_payloads(self) -> impl Iterator<Item = AnyPayload> {
        let others = self.others.into_iter().map(|(_, payload)| payload);
        self.first.into_iter().chain(others)
    }

    /// Returns the presentation time stamp in nanoseconds.
    pub fn pts_ns(&self) -> i64 {
        self.pts_ns
    }

    /// Returns whether a new segment begins here.
    pub fn is_new_segment(&self) -> bool {
        self.new_segment
    }

    /// Returns whether it must not be overwritten.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Returns the payload of an output, if it has one.
    pub fn payload(&self, output: usize) -> Option<&AnyPayload> {
        match output {
            0 => self.first.as_ref(),
            _ => {
                let mut others = self.others.iter();
                others
                    .find(|(known, _)| *known == output)
                    .map(|(_, payload)| payload)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::Deserialize;

    use super::*;
    use crate::codec::Codec;
    use crate::end::How;
    use crate::graph::{Graph, LoadOptions};
    use crate::packet::Payload;
    use crate::registry::Registry;
    use crate::run::{RunOptions, RunningGraph};
    use crate::testing::Collector;

    struct Row;
    impl Payload for Row {}

    struct RowV1;

    impl Codec for RowV1 {
        type Payload = Row;
        const NAME: &'static str = "row";
        const VERSION: u32 = 1;

        fn encode(_: &Row, _: &mut Vec<u8>) -> Result<(), ActorError> {
            Ok(())
        }

        fn decode(_: &[u8]) -> Result<Row, ActorError> {
            Ok(Row)
        }
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct OtherRunSettings {
        carries: String,
    }

    /// Passes on what another run has paced and ended: packets an hour apart, all of which are already available.
    struct OtherRun(u64);

    const HOUR: Duration = Duration::from_secs(3600);

    impl Source for OtherRun {
        const NAME: &'static str = "other_run";
        type Settings = OtherRunSettings;

        fn ports(settings: &OtherRunSettings) -> Ports {
            Ports::new().named_output("out", &settings.carries)
        }

        fn create(_: OtherRunSettings, _: &Setup) -> Result<Self, ActorError> {
            Ok(Self(0))
        }

        fn pacing(&self) -> Pacing {
            Pacing::AsGiven
        }

        fn next(&mut self) -> Result<Next, ActorError> {
            if self.0 == 20 {
                let how = How::Drained;
                return Ok(Next::EndedAs(End { how, lost: true }));
            }
            let pts_ns = i64::try_from(self.0 * nanoseconds(HOUR))?;
            let captured = Captured::new(Arc::new(Row), pts_ns).numbered(self.0, 0);
            self.0 += 1;
            Ok(Next::Packet(captured.captured_ago(HOUR)))
        }
    }

    fn registry() -> (Registry, Collector) {
        let mut registry = Registry::builtin();
        registry.register_source::<OtherRun>();
        registry.codecs_mut().register::<RowV1>();
        let collector = Collector::register(&mut registry, "collect");
        (registry, collector)
    }

    fn parse(carries: &str, registry: &Registry) -> Result<Graph, String> {
        let text = format!(
            "\
fermata: 1
nodes:
  s: {{use: other_run, carries: {carries}}}
  slow: {{use: identity, in: s, work: 100us, queue: {{capacity: 1}}}}
  end: {{use: collect, in: slow}}
"
        );
        let parsed = Graph::parse("t.yaml", &text, registry, &LoadOptions::new("out"));
        parsed.map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_another_run_has_paced_is_due_at_once_and_ends_as_it_did_there() {
        let (registry, collector) = registry();
        let graph = parse("row", &registry).unwrap();
        let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default());
        let report = running.unwrap().wait();
        assert!(report.balanced && report.faults.is_empty(), "{report:?}");
        // A full queue suspends the source, so nothing is missed.
        assert_eq!(report.streams["s"].missed, 0);
        let packets = collector.packets();
        assert_eq!(packets.len(), 20);
        let captured = packets.iter().map(|packet| packet.envelope.captured_ns);
        assert!(captured.eq(std::iter::repeat_n(0, 20)), "before this run");
        let end = collector.ends()["s"];
        assert_eq!(
            end,
            End {
                how: How::Drained,
                lost: true
            }
        );
    }

    #[test]
    fn payloads_are_found_by_the_names_of_their_codecs() {
        let refused = parse("rows", &registry().0).unwrap_err();
        assert!(
            refused.contains("there is no codec for payloads called `rows`")
                && refused.contains("did you mean `row`?"),
            "{refused}"
        );
    }
}
