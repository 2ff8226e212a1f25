//! Examines a NATS server for whoever sets one up: what it is, and what it permits this program. Owns what is tried;
//! nothing is that could disturb a site.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream;

use crate::connection::NatsConnection;
use crate::error::chain;
use crate::last::{Unread, last};
use crate::names::{EdgeNames, token};

/// Time for the server to report that a subscription is forbidden. It does not report that one is allowed.
const OBJECTION: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);

/// What a server is, and what it permits this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFindings {
    /// Its version.
    pub version: String,
    /// Size limit of a message, in bytes.
    pub max_payload: usize,
    /// Whether the server requires an encrypted connection.
    pub tls_required: bool,
    /// Whether the server's answers may reach this program. If not, the reason, which is then also that of everything
    /// below: nothing else could be tried.
    pub answers: Result<(), String>,
    /// Whether the record of the site's run may be read, as every part must (whether or not there is one); or why not.
    pub may_read_run: Result<(), String>,
    /// Bytes that JetStream may keep in files for this account; none without a limit, or why it cannot be asked.
    pub storage: Result<Option<u64>, String>,
    /// Whether JetStream streams may be created, which machines that receive need; or why not.
    pub may_make_stores: Result<(), String>,
}

/// Examines the server of a connection. Creates a JetStream stream for that, and removes it.
pub fn examine(connection: &Arc<NatsConnection>) -> ServerFindings {
    connection.runtime.block_on(async {
        let info = connection.client.server_info();
        let run = try_run(connection).await;
        let answers = match &run {
            Ok(()) => Ok(()),
            Err(_) => try_inbox(connection).await,
        };
        let (storage, may_make_stores) = match &answers {
            Ok(()) => (ask_storage(connection).await, try_store(connection).await),
            Err(reason) => (Err(reason.clone()), Err(reason.clone())),
        };
        ServerFindings {
            version: info.version,
            max_payload: info.max_payload,
            tls_required: info.tls_required,
            may_read_run: answers.clone().and(run),
            answers,
            storage,
            may_make_stores,
        }
    })
}

/// Reads the record of the run of the connection's site, as a part does first.
async fn try_run(connection: &NatsConnection) -> Result<(), String> {
    let site = token(&connection.site);
    let store = format!("fermata+{site}+site");
    let subject = format!("fermata.{site}.site.run");
    let since = Instant::now();
    let ignore = |_| Ok::<(), Infallible>(());
    match last(&connection.jetstream, &store, &subject, ignore).await {
        // There need not be a run: the server has looked.
        Ok(_) | Err(Unread::NoStore) => Ok(()),
        Err(Unread::Other(reason)) => Err(connection.why(since, reason)),
    }
}

/// Listens where answers would come, and fails if the server forbids that.
async fn try_inbox(connection: &NatsConnection) -> Result<(), String> {
    let client = &connection.client;
    let since = Instant::now();
    let listening = client.subscribe(client.new_inbox()).await;
    let _listening = listening.map_err(|error| chain(&error))?;
    while since.elapsed() < OBJECTION {
        let forbidden = connection.why(since, String::new());
        if !forbidden.is_empty() {
            return Err(forbidden);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn ask_storage(connection: &NatsConnection) -> Result<Option<u64>, String> {
    let since = Instant::now();
    let account = connection.jetstream.query_account().await;
    let account = account.map_err(|error| connection.why(since, chain(&error)))?;
    let most = account.limits.max_storage;
    Ok(most.and_then(|most| u64::try_from(most).ok()))
}

async fn try_store(connection: &NatsConnection) -> Result<(), String> {
    let inbox = connection.client.new_inbox();
    let unique = inbox.rsplit('.').next().unwrap_or_default();
    // Not among those of the connection's site, whose runs would be refused if it were left there.
    let names = EdgeNames::new("doctor", unique);
    let config = stream::Config {
        name: names.packets.clone(),
        subjects: vec![names.packets_of("*")],
        max_messages: 1,
        ..stream::Config::default()
    };
    let since = Instant::now();
    let made = connection.jetstream.create_stream(config).await;
    made.map_err(|error| connection.why(since, chain(&error)))?;
    let since = Instant::now();
    let removed = connection.jetstream.delete_stream(&names.packets).await;
    let removed = removed.map(drop);
    removed.map_err(|error| connection.why(since, chain(&error)))
}
