//! The contract between the engine and what streams come from: [`Source`].

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

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

    /// Opens the source on the thread that will read it.
    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError>;

    /// Whether the engine paces the packets by their pts, or the world outside does. Asked when the source was created and
    /// after each read: an address may turn out to be a recording once it is open.
    fn pacing(&self) -> Pacing {
        Pacing::ByPts
    }

    /// Reads the next packet. May block for as long as a read takes; a source that can block for long watches
    /// [`Setup::cancelled`]. An error ends the stream as failed, unless the node's `on_error` says `restart`; after a panic
    /// the source is built anew, within the node's restarts, and the stream goes on with a new segment.
    fn next(&mut self) -> Result<Next, ActorError>;
}

/// Who sets a source's pace under the `live` and `replay` clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// A recording: the engine holds each packet until its pts is due, and a full queue suspends the source.
    ByPts,
    /// A camera: packets come when they come, and what cannot be taken is overwritten and counted as `missed`.
    Live,
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
}

/// What a source has captured: payloads of one moment, one for each of its outputs that has one.
pub struct Captured {
    pub(crate) first: Option<AnyPayload>,
    pub(crate) others: Vec<(usize, AnyPayload)>,
    pub(crate) pts_ns: i64,
    pub(crate) new_segment: bool,
    pub(crate) kept: bool,
    pub(crate) number: Option<(u64, u32)>,
}

impl Captured {
    /// A payload for the first (for most sources: only) output, with its presentation time stamp in nanoseconds.
    pub fn new(payload: AnyPayload, pts_ns: i64) -> Self {
        Self {
            first: Some(payload),
            ..Self::nothing(pts_ns)
        }
    }

    /// A capture without payloads so far; [`Captured::on`] adds them. An output without one gets nothing of this capture.
    pub fn nothing(pts_ns: i64) -> Self {
        Self {
            first: None,
            others: Vec::new(),
            pts_ns,
            new_segment: false,
            kept: false,
            number: None,
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

    /// Keeps a live source from reading on before the graph has room for this packet, so that nothing overwrites it: it was
    /// waiting outside, with others behind it.
    pub fn kept(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Gives the packet a sequence and a segment from elsewhere, in the place of the engine's own. Sequences must grow, and
    /// be no lower than the last mark; one that is too low, or the largest number but one or above, ends the stream as failed.
    pub fn numbered(mut self, sequence: u64, segment: u32) -> Self {
        self.number = Some((sequence, segment));
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
