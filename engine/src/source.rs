//! The contract between the engine and what streams come from: [`Source`].

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

/// Where a stream comes from. Sequence numbers, segments, pacing and capture times are the engine's.
pub trait Source: Sized + Send + 'static {
    /// The name after `use:` in a graph file.
    const NAME: &'static str;
    /// See [`Actor::Settings`](crate::Actor::Settings).
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Outputs and properties under these settings.
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

    /// Whether the engine paces the packets by their pts, or the world outside does. Asked when the source was created
    /// and after each read: an address may turn out to be a recording once it is open.
    fn pacing(&self) -> Pacing {
        Pacing::ByPts
    }

    /// Reads the next packet. May block for as long as a read takes; a source that can block for long watches
    /// [`Setup::cancelled`]. An error ends the stream as failed, unless the node's `on_error` says `restart`; after a
    /// panic the source is built anew, within the node's restarts, and the stream goes on with a new segment.
    fn next(&mut self) -> Result<Next, ActorError>;
}

/// Who sets a source's pace under the `live` and `replay` clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// A recording: the engine holds each packet until its pts is due, and a full queue suspends the source.
    ByPts,
    /// A camera: packets come when they come, and what cannot be taken is overwritten and counted as `missed`.
    Live,
    /// Somebody else has paced them, in another run: each packet is due when it comes, and a full queue suspends the
    /// source.
    AsGiven,
}

/// What a source has.
pub enum Next {
    /// A packet.
    Packet(Captured),
    /// Nothing for now; ask again after this time at the latest (a reconnect waiting for its next try, say).
    Wait(Duration),
    /// No packet with a sequence below this will come: for a source that hands on what another graph numbered, see
    /// [`Captured::numbered`].
    Mark(u64),
    /// The end of the stream.
    End,
    /// The end of a stream that ended elsewhere, and how it did there.
    EndedAs(End),
}

/// What a source has captured: payloads of one moment, one for each of its outputs that has one.
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
    /// A payload for the first (for most sources: only) output, with its presentation time stamp in nanoseconds.
    pub fn new(payload: AnyPayload, pts_ns: i64) -> Self {
        Self {
            first: Some(payload),
            ..Self::nothing(pts_ns)
        }
    }

    /// A capture without payloads so far; [`Captured::on`] adds them. An output without one gets nothing of this
    /// capture.
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

    /// Adds a payload for the output with this index (the order of [`Ports`]).
    pub fn on(mut self, output: usize, payload: AnyPayload) -> Self {
        match output {
            0 => self.first = Some(payload),
            _ => self.others.push((output, payload)),
        }
        self
    }

    /// Says that a new segment begins here: the first packet after a reconnect.
    pub fn in_new_segment(mut self) -> Self {
        self.new_segment = true;
        self
    }

    /// Keeps a live source from reading on before the graph has room for this packet, so that nothing overwrites it: it
    /// was waiting outside, with others behind it.
    pub fn kept(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Gives the packet a sequence and a segment from elsewhere, in the place of the engine's own. Sequences must grow,
    /// and be no lower than the last mark; one that is too low, or the largest number but one or above, ends the stream
    /// as failed.
    pub fn numbered(mut self, sequence: u64, segment: u32) -> Self {
        self.number = Some((sequence, segment));
        self
    }

    /// Says that it was captured so long ago, elsewhere: latencies and `max_age` count from then, or from the beginning
    /// of this run's clock where that is later.
    pub fn captured_ago(mut self, ago: Duration) -> Self {
        self.ago_ns = nanoseconds(ago);
        self
    }

    /// All payloads.
    pub(crate) fn into_payloads(self) -> impl Iterator<Item = AnyPayload> {
        let others = self.others.into_iter().map(|(_, payload)| payload);
        self.first.into_iter().chain(others)
    }

    /// Presentation time stamp, nanoseconds.
    pub fn pts_ns(&self) -> i64 {
        self.pts_ns
    }

    /// Whether a new segment begins here.
    pub fn is_new_segment(&self) -> bool {
        self.new_segment
    }

    /// Whether nothing may overwrite it.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// The payload of an output, if it has one.
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

    /// Hands on what another run has paced and ended: packets an hour apart, all of which have come already.
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
        // A full queue suspends it, so that nothing is missed.
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
