//! What can be wrong with a connection to a NATS server.

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::{self, ErrorCode};

/// The oldest server that has what edges are built on.
pub const OLDEST_SERVER: &str = "2.10";

/// A server that cannot be used. Messages hold no secrets: an address is shown without what may stand before its `@`.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address cannot be read.
    #[error(
        "`{address}` is not the address of a NATS server: {reason}; write it as nats://HOST:PORT"
    )]
    Address {
        /// What was given, redacted.
        address: String,
        /// Why.
        reason: String,
    },
    /// A file with credentials or certificates cannot be read.
    #[error("cannot read {what}: {reason}")]
    Credentials {
        /// Which file, by its path.
        what: String,
        /// Why.
        reason: String,
    },
    /// Nobody answers.
    #[error(
        "no NATS server answers at {address}: {reason}; start one with `nats-server --jetstream`, or name another"
    )]
    NoServer {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// Of two that belong together, one is set.
    #[error("{there} is set in the environment, and {missing} is not: set both, or none")]
    Half {
        /// What is there.
        there: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// The server does not let this program in.
    #[error(
        "the NATS server at {address} refuses {what}: {reason}; it must know this machine by a file that NATS_CREDS or NATS_NKEY names, by NATS_TOKEN, or by NATS_USER and NATS_PASSWORD"
    )]
    Refused {
        /// Where.
        address: String,
        /// What was shown there, by the names of what holds it.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The two do not agree about TLS.
    #[error("no encrypted connection with the NATS server at {address}: {reason}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server lacks what edges are built on.
    #[error(
        "the NATS server at {address} is version {version}, {OLDEST_SERVER} or newer is needed: install one (`make setup-remote` brings one)"
    )]
    TooOld {
        /// Where.
        address: String,
        /// What it says of itself.
        version: String,
    },
    /// The server stores nothing.
    #[error(
        "the NATS server at {address} has no JetStream for this account: start it with `--jetstream`, or allow it ({reason})"
    )]
    NoJetStream {
        /// Where.
        address: String,
        /// What it said.
        reason: String,
    },
    /// This machine does not do what it should.
    #[error("the connection to the NATS server could not be started: {0}")]
    System(#[from] std::io::Error),
}

/// JetStream's error for a stream that cannot store a message.
const STORE_FAILED: u64 = 10077;
/// JetStream's errors where the server, or the account, may store no more.
const SERVER_FULL: [u64; 3] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED.0,
    ErrorCode::INSUFFICIENT_RESOURCES.0,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED.0,
];

/// Whether the server could not store a message, as a rule because there is one for its subject already, or as many as
/// there may be.
pub(crate) fn is_store_full(error: &PublishError) -> bool {
    code_of(error) == Some(STORE_FAILED)
}

/// Whether the server may store no message at all.
pub(crate) fn is_server_full(error: &PublishError) -> bool {
    code_of(error).is_some_and(|code| SERVER_FULL.contains(&code))
}

/// JetStream's code of a refusal.
pub(crate) fn code_of(error: &PublishError) -> Option<u64> {
    let source = std::error::Error::source(error);
    let refusal = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    refusal.map(|refusal| refusal.error_code().0)
}

/// An error and what it came from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !message.contains(&more) {
            message = format!("{message}: {more}");
        }
        source = error.source();
    }
    message
}
