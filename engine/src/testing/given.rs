//! Inputs of actors and sources in tests: setups, streams, packets.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::{Clock, ClockMode};
use crate::connection::Connection;
use crate::error::ActorError;
use crate::file_book::FileBooks;
use crate::graph::{Secrets, Settings};
use crate::input::Input;
use crate::packet::{AnyPayload, Capture, Envelope, Payload, Stream};
use crate::services::Services;
use crate::settled::Settled;
use crate::setup::Setup;
use crate::tallies::Tallies;

/// Returns the setup of a node `test` without a stream, in `asap` mode, with a [manual clock](Clock::manual) at zero
/// and the system's temporary folder as the run's folder. Its fields can be changed before it is used.
pub fn setup() -> Setup {
    let clock = Clock::manual();
    Setup {
        node: "test".to_owned(),
        stream: None,
        run_dir: std::env::temp_dir(),
        clock_mode: ClockMode::Asap,
        connection: Arc::new(Connection::new(clock.clone(), Secrets::default(), None)),
        clock,
        cancel: Arc::default(),
        missed: Arc::default(),
        waited_ns: Arc::default(),
        lasting: Arc::default(),
        services: Services::new(),
        settled: Settled::default(),
        files: FileBooks::default(),
        secrets: Secrets::default(),
        tallies: Tallies::default(),
    }
}

/// Parses the settings of an actor from JSON like those of a graph file.
pub(crate) fn settings<T: DeserializeOwned>(json: &Value) -> Result<T, ActorError> {
    Ok(Settings::from_json(json)?.parse()?)
}

/// Returns a stream without an address. Within a test, streams of different names need different numbers.
pub fn stream(id: u32, name: &str) -> Arc<Stream> {
    Arc::new(Stream {
        id,
        name: name.to_owned(),
        uri: String::new(),
    })
}

/// Returns the capture of this sequence in stream 0, `test`, with everything else zero. Its fields can be overridden:
///
/// ```
/// use fermata_engine::Capture;
/// use fermata_engine::testing::{capture, stream};
///
/// let late = Capture { stream: stream(1, "door"), pts_ns: 40_000_000, ..capture(1) };
/// assert_eq!((late.sequence, late.segment), (1, 0));
/// ```
pub fn capture(sequence: u64) -> Capture {
    Capture {
        stream: stream(0, "test"),
        segment: 0,
        sequence,
        pts_ns: 0,
        captured_ns: 0,
    }
}

/// Returns a packet for an actor with one input.
pub fn input(envelope: impl Into<Envelope>, payload: impl Payload) -> Input {
    join(envelope, [Some(Arc::new(payload) as AnyPayload)])
}

/// Returns the packets of one capture for a join, in the order of its inputs; `None` for an input without a packet.
pub fn join(
    envelope: impl Into<Envelope>,
    payloads: impl IntoIterator<Item = Option<AnyPayload>>,
) -> Input {
    Input::join(envelope.into(), payloads)
}
