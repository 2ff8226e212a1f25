//! Errors of a connection to a NATS server.

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::{self, ErrorCode};

/// Oldest server version that has what edges need.
pub const OLDEST_SERVER: &str = "2.10";

/// Why a server cannot be used. Messages contain no secrets: an address is shown without anything before its `@`.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address cannot be parsed.
    #[error(
        "`{address}` is not the address of a NATS server: {reason}; write it as nats://HOST:PORT"
    )]
    Address {
        /// The address as given, redacted.
        address: String,
        /// Why.
        reason: String,
    },
    /// A file with credentials or certificates cannot be read.
    #[error("cannot read {what}: {reason}")]
    Credentials {
        /// Path of the file.
        what: String,
        /// Why.
        reason: String,
    },
    /// No server answers.
    #[error(
        "no NATS server answers at {address}: {reason}; start one with `nats-server --jetstream`, or name another"
    )]
    NoServer {
        /// The server's address.
        address: String,
        /// Why.
        reason: String,
    },
    /// Only one of two settings that belong together is present.
    #[error("{there} is set in the environment, and {missing} is not: set both, or none")]
    Half {
        /// The variable that is set.
        there: &'static str,
        /// The variable that is missing.
        missing: &'static str,
    },
    /// The server refuses the credentials.
    #[error(
        "the NATS server at {address} refuses {what}: {reason}; give valid credentials in a file that NATS_CREDS or NATS_NKEY names, in NATS_TOKEN, or in NATS_USER and NATS_PASSWORD"
    )]
    Refused {
        /// The server's address.
        address: String,
        /// What was presented, by the names of the variables that hold it.
        what: String,
        /// The server's answer.
        reason: String,
    },
    /// Client and server do not agree on TLS.
    #[error("no encrypted connection with the NATS server at {address}: {reason}")]
    Tls {
        /// The server's address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server is too old for what edges need.
    #[error(
        "the NATS server at {address} is version {version}, but {OLDEST_SERVER} or newer is needed: install one (`make setup-remote` does)"
    )]
    TooOld {
        /// The server's address.
        address: String,
        /// The version that it reports.
        version: String,
    },
    /// The server offers no JetStream to this account.
    #[error(
        "the NATS server at {address} has no JetStream for this account: start it with `--jetstream`, or enable it for the account ({reason})"
    )]
    NoJetStream {
        /// The server's address.
        address: String,
        /// The server's answer.
        reason: String,
    },
    /// A system call on this machine failed.
    #[error("the connection to the NATS server could not be started: {0}")]
    System(#[from] std::io::Error),
}

/// JetStream's error code for a stream that cannot store a message.
const STORE_FAILED: u64 = 10077;
/// JetStream's error codes for a server, or an account, that may store no more.
const SERVER_FULL: [u64; 3] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED.0,
    ErrorCode::INSUFFICIENT_RESOURCES.0,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED.0,
];

/// Returns whether the server could not store a message, usually because its subject already holds one, or as many as
/// it may.
pub(crate) fn is_store_full(error: &PublishError) -> bool {
    code_of(error) == Some(STORE_FAILED)
}

/// Returns whether the server may store no message at all.
pub(crate) fn is_server_full(error: &PublishError) -> bool {
    code_of(error).is_some_and(|code| SERVER_FULL.contains(&code))
}

/// Returns JetStream's error code of a refusal.
pub(crate) fn code_of(error: &PublishError) -> Option<u64> {
    let source = std::error::Error::source(error);
    let refusal = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    refusal.map(|refusal| refusal.error_code().0)
}

/// Formats an error with its chain of sources.
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
