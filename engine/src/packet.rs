//! Packets, which travel on edges: a payload and an envelope that holds its stream, its position and its time of
//! capture.
//!
//! This module owns the envelope's fields and the payload trait. Queues, marks and counters are elsewhere.

use std::any::{Any, TypeId};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Data that a packet carries from actor to actor.
///
/// A payload is shared between all consumers of an output, so it is immutable once emitted; an actor that wants to
/// change it clones it (cheap if the large parts are reference-counted).
pub trait Payload: Any + Send + Sync {
    /// Returns how much of a batch's `max` this payload takes: faces of a frame, rows of a shard.
    fn weight(&self) -> usize {
        1
    }

    /// Returns the bytes held in memory, for queues that are limited by `bytes`.
    fn bytes(&self) -> usize {
        0
    }

    /// Returns the name of the type, for messages.
    fn type_name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

impl fmt::Debug for dyn Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload")
    }
}

/// A payload whose type is known only at run time.
pub type AnyPayload = Arc<dyn Payload>;

/// Downcasts a payload to its own type.
///
/// # Errors
/// The untouched payload, if it is of another type.
pub fn downcast<T: Payload>(payload: AnyPayload) -> Result<Arc<T>, AnyPayload> {
    if (*payload).type_id() == TypeId::of::<T>() {
        let any: Arc<dyn Any + Send + Sync> = payload;
        Ok(any
            .downcast::<T>()
            .expect("the type was compared just before"))
    } else {
        Err(payload)
    }
}

/// Returns the payload as `T`, if it is of that type.
pub fn downcast_ref<T: Payload>(payload: &dyn Payload) -> Option<&T> {
    let any: &dyn Any = payload;
    any.downcast_ref()
}

/// One camera, file or shard sequence: the unit of ordering.
#[derive(Debug, PartialEq, Eq)]
pub struct Stream {
    /// Unique in the run, in the order in which streams were added.
    pub id: u32,
    /// Name as displayed and used in paths; a stream that returns under an old name is `door.2`.
    pub name: String,
    /// Where the stream comes from, as written (may hold credentials: never log it unredacted).
    pub uri: String,
}

/// The origin of a packet: its stream, its position and when it was captured.
#[derive(Debug)]
pub struct Capture {
    /// The stream that captured it.
    pub stream: Arc<Stream>,
    /// Number of reconnects of the stream so far.
    pub segment: u32,
    /// Position in the stream, from 0, without gaps at the source and never restarting within a stream.
    pub sequence: u64,
    /// Presentation time stamp of the source, nanoseconds.
    pub pts_ns: i64,
    /// Capture time on the run's clock, in nanoseconds since the run's start. For a paced recording this is when its
    /// time stamp was due, however late the packet was handed over; otherwise when the source delivered it.
    pub captured_ns: u64,
}

/// The capture that a packet derives from, shared by all packets derived from it. Reference-counted because packets are
/// moved many times between two actors, so what is moved should be small.
#[derive(Clone, Debug)]
pub struct Envelope(Arc<Capture>);

impl From<Capture> for Envelope {
    fn from(capture: Capture) -> Self {
        Self(Arc::new(capture))
    }
}

impl Deref for Envelope {
    type Target = Capture;

    fn deref(&self) -> &Capture {
        &self.0
    }
}

/// An envelope and its payload.
#[derive(Clone)]
pub struct Packet {
    /// Where and when it was captured.
    pub envelope: Envelope,
    /// What it carries.
    pub payload: AnyPayload,
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}
