//! Examines a NATS server for whoever sets one up: what it is, and what it permits this program.

use std::sync::Arc;
use std::time::Instant;

use async_nats::jetstream::stream;

use crate::connection::NatsConnection;
use crate::error::chain;
use crate::names::token;

/// What a server is, and what it permits this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFindings {
    /// Its version.
    pub version: String,
    /// Size limit of a message, in bytes.
    pub max_payload: usize,
    /// Whether the server requires an encrypted connection.
    pub tls_required: bool,
    /// Bytes that JetStream may keep in files for this account; none without a limit, or why it cannot be asked.
    pub storage: Result<Option<u64>, String>,
    /// Whether JetStream streams may be created, which machines that receive need; or why not.
    pub may_make_stores: Result<(), String>,
}

/// Examines the server of a connection. Creates a JetStream stream for that, and removes it.
pub fn examine(connection: &Arc<NatsConnection>) -> ServerFindings {
    connection.runtime.block_on(async {
        let info = connection.client.server_info();
        let since = Instant::now();
        let account = connection.jetstream.query_account().await;
        let storage = account.map_err(|error| connection.why(since, chain(&error)));
        let storage = storage.map(|account| {
            account
                .limits
                .max_storage
                .and_then(|most| u64::try_from(most).ok())
        });
        ServerFindings {
            version: info.version,
            max_payload: info.max_payload,
            tls_required: info.tls_required,
            storage,
            may_make_stores: try_store(connection).await,
        }
    })
}

async fn try_store(connection: &NatsConnection) -> Result<(), String> {
    let site = token(&connection.site);
    let name = format!("fermata+{site}+doctor+packets");
    let config = stream::Config {
        name: name.clone(),
        subjects: vec![format!("fermata.{site}.doctor.packets.*")],
        max_messages: 1,
        ..stream::Config::default()
    };
    let since = Instant::now();
    let made = connection.jetstream.create_stream(config).await;
    made.map_err(|error| connection.why(since, chain(&error)))?;
    let since = Instant::now();
    let removed = connection.jetstream.delete_stream(&name).await;
    let removed = removed.map(drop);
    removed.map_err(|error| connection.why(since, chain(&error)))
}
