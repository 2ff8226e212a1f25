//! A program's connection to a NATS server, which it lends to its actors: one client, one thread, the ends of all
//! edges.
//!
//! Makes and closes the connection. What an end does with it is in `sending` and `receiving`.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use fermata_engine::Codecs;
use fermata_engine::report::UnsentReport;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::claim::Claim;
use crate::credentials::Credentials;
use crate::error::{RemoteError, chain};
use crate::lock::lock;
use crate::losses::Losses;
use crate::names::inbox;

/// See [`OLDEST_SERVER`](crate::OLDEST_SERVER).
const OLDEST: (u64, u64) = (2, 10);
/// Time limit of a request to the server, and of a packet's acknowledgement.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that does not answer two of these pings counts as gone, whatever the network still hopes.
const PING_EVERY: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How a server's message about a missing permission begins.
const FORBIDDEN: &str = "Permissions Violation";

/// A server's message about a missing permission.
#[derive(Debug)]
struct Forbidden {
    said: String,
    at: Instant,
}

/// Whether the connection is up, and how often it has been established.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) is_up: bool,
    pub(crate) times: u64,
}

/// A connection to a NATS server with JetStream: the service that [`SendPackets`](crate::SendPackets) and
/// [`ReceivePackets`](crate::ReceivePackets) need. It reconnects by itself; the edges deal with what was under way when
/// it broke.
pub struct NatsConnection {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) site: String,
    /// Address of the server, without secrets.
    pub(crate) address: String,
    pub(crate) codecs: Arc<Codecs>,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) runtime: Handle,
    started: Instant,
    /// Claims of receiving ends that have not begun, by subject.
    claims: Mutex<HashMap<String, Claim>>,
    pub(crate) losses: Losses,
    /// The server's last message about a missing permission.
    forbidden: Arc<Mutex<Option<Forbidden>>>,
    ends: Mutex<HashMap<String, KnownEnd>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// An end of an edge for one stream.
struct KnownEnd {
    /// Number of the stream in the run.
    stream: u32,
    end: Arc<dyn Any + Send + Sync>,
    task: AbortHandle,
}

impl NatsConnection {
    /// Connects a program that is not part of a site. `site` separates the edges of programs that work together from
    /// those of all others; `codecs` are those of the payloads that edges may carry.
    ///
    /// # Errors
    /// See [`RemoteError`]. Nothing is left running in the background then.
    pub fn connect(
        address: &str,
        credentials: &Credentials,
        site: &str,
        codecs: Codecs,
    ) -> Result<Arc<Self>, RemoteError> {
        Self::connect_part(address, credentials, site, None, codecs)
    }

    /// Connects the part of a site that runs on `machine`, if any. Answers come to subjects of this machine's own,
    /// which no other machine needs permission to receive.
    ///
    /// # Errors
    /// See [`NatsConnection::connect`].
    pub fn connect_part(
        address: &str,
        credentials: &Credentials,
        site: &str,
        machine: Option<&str>,
        codecs: Codecs,
    ) -> Result<Arc<Self>, RemoteError> {
        let shown = redacted(address);
        let server: ServerAddr =
            address
                .parse()
                .map_err(|error: std::io::Error| RemoteError::Address {
                    address: shown.clone(),
                    reason: error.to_string(),
                })?;
        let (link_sender, link) = watch::channel(Link::default());
        let forbidden: Arc<Mutex<Option<Forbidden>>> = Arc::default();
        let options = credentials
            .options()?
            .name(format!("fermata {site}"))
            .custom_inbox_prefix(inbox(site, machine));
        let options = watched(options, link_sender, Arc::clone(&forbidden));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let opened = open(server, options, &shown, credentials);
        let (client, jetstream) = runtime.block_on(opened)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("nats".to_owned())
            .spawn(move || {
                // Also ends when the connection is dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_timeout(Duration::from_millis(200));
            })?;
        Ok(Arc::new(Self {
            client,
            jetstream,
            site: site.to_owned(),
            address: shown,
            codecs: Arc::new(codecs),
            link,
            closing: watch::Sender::new(false),
            runtime: handle,
            started: Instant::now(),
            claims: Mutex::default(),
            losses: Losses::default(),
            forbidden,
            ends: Mutex::default(),
            tasks: Mutex::default(),
            thread: Mutex::new(Some((stop, thread))),
        }))
    }

    /// Returns, by stream, the packets of an edge that did not get from here to the server for certain.
    pub fn unsent(&self, edge: &str) -> BTreeMap<String, UnsentReport> {
        self.losses.unsent(edge)
    }

    /// Returns, by stream, how many messages came here over an edge that were not messages of an edge.
    pub fn malformed(&self, edge: &str) -> BTreeMap<String, u64> {
        self.losses.malformed(edge)
    }

    /// Returns why the server did not do something that was asked at `since` or later: `reason`, unless it was forbidden.
    /// A forbidden request is never answered; the server reports it separately.
    pub(crate) fn why(&self, since: Instant, reason: String) -> String {
        match self.forbidden(since) {
            Some(forbidden) => format!(
                "this user lacks a permission ({forbidden}); docs/machines.md lists the permissions that each machine needs"
            ),
            None => reason,
        }
    }

    /// Takes the server's last message about a missing permission, if it came after `since`: an earlier one was about
    /// something else.
    pub(crate) fn forbidden(&self, since: Instant) -> Option<String> {
        let last = lock(&self.forbidden).take()?;
        (last.at >= since).then_some(last.said)
    }

    /// Returns the options by which a command names the site and its server.
    pub(crate) fn at(&self) -> String {
        format!(
            "--nats {} --site {}",
            quoted(&self.address),
            quoted(&self.site)
        )
    }

    /// Runs a future within the connection's runtime and waits for it. Not for the connection's own thread.
    pub(crate) fn block_on<F: Future>(&self, doing: F) -> F::Output {
        self.runtime.block_on(doing)
    }

    /// Returns milliseconds of a clock that the ends of all edges share.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the instant at which that clock will show a time.
    pub(crate) fn instant(&self, at_ms: u64) -> tokio::time::Instant {
        (self.started + Duration::from_millis(at_ms)).into()
    }

    /// Keeps a claim for the receiving end that is to have it.
    pub(crate) fn keep_claim(&self, subject: String, claim: Claim) {
        lock(&self.claims).insert(subject, claim);
    }

    /// Takes the claim that was kept for a subject, if there is one.
    pub(crate) fn kept_claim(&self, subject: &str) -> Option<Claim> {
        lock(&self.claims).remove(subject)
    }

    /// Returns the end of this name, made and started if there is none: an actor that is rebuilt continues with it. One
    /// that served a stream with another number is stopped first and replaced: that stream could not be added, and its
    /// end would take packets that nobody handles.
    pub(crate) fn end<E: Any + Send + Sync>(
        &self,
        name: &str,
        stream: u32,
        make: impl FnOnce() -> E,
        start: impl FnOnce(&Arc<E>) -> tokio::task::JoinHandle<()>,
    ) -> Arc<E> {
        let mut ends = lock(&self.ends);
        if let Some(known) = ends.get(name) {
            let end = Arc::clone(&known.end).downcast();
            match end {
                Ok(end) if known.stream == stream => return end,
                _ => known.task.abort(),
            }
        }
        let end = Arc::new(make());
        let task = start(&end);
        let known = KnownEnd {
            stream,
            end: Arc::clone(&end) as _,
            task: task.abort_handle(),
        };
        ends.insert(name.to_owned(), known);
        lock(&self.tasks).push(task);
        end
    }

    /// Waits until the connection is being closed.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Closes the connection once what has been settled is acknowledged; call it when the run is over. What cannot be
    /// acknowledged within `most` comes again to whoever receives next.
    pub fn close(&self, most: Duration) {
        let Some((stop, thread)) = lock(&self.thread).take() else {
            return;
        };
        let _ = self.closing.send(true);
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        let client = self.client.clone();
        let (done, is_done) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            let all = async {
                for task in tasks {
                    let _ = task.await;
                }
                let _ = client.flush().await;
            };
            let _ = tokio::time::timeout(most, all).await;
            let _ = done.send(());
        });
        let _ = is_done.recv();
        let _ = stop.send(());
        let _ = thread.join();
    }
}

impl Drop for NatsConnection {
    fn drop(&mut self) {
        // The thread ends by itself once the sender of its stop signal is dropped.
        lock(&self.thread).take();
    }
}

/// Returns the pause before an attempt to reconnect.
fn pause(attempts: usize) -> Duration {
    let doubled = 50_u64.saturating_mul(1 << attempts.min(10));
    Duration::from_millis(doubled).min(LONGEST_PAUSE)
}

fn note(link: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => link.send_modify(|link| {
            link.is_up = true;
            link.times += 1;
        }),
        Event::Disconnected | Event::Closed => link.send_modify(|link| link.is_up = false),
        // Refusals are reported to whoever asked; the connection recovers by itself.
        other => tracing::warn!("NATS: {other}"),
    }
}

/// Adds how a connection lasts, and who is told: `link` of each change, `forbidden` of each missing permission.
fn watched(
    options: ConnectOptions,
    link: watch::Sender<Link>,
    forbidden: Arc<Mutex<Option<Forbidden>>>,
) -> ConnectOptions {
    let link = Arc::new(link);
    options
        .connection_timeout(REQUEST_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(said)) = &event
                && said.starts_with(FORBIDDEN)
            {
                *lock(&forbidden) = Some(Forbidden {
                    said: said.clone(),
                    at: Instant::now(),
                });
            }
            let link = Arc::clone(&link);
            async move { note(&link, &event) }
        })
}

async fn open(
    server: ServerAddr,
    options: ConnectOptions,
    shown: &str,
    credentials: &Credentials,
) -> Result<(Client, jetstream::Context), RemoteError> {
    let address = shown.to_owned();
    let client = options.connect(server).await.map_err(|error| {
        let reason = chain(&error);
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                RemoteError::Refused {
                    address,
                    what: credentials.shown(),
                    // The sources of the error only repeat this.
                    reason: error.kind().to_string(),
                }
            }
            ConnectErrorKind::Tls => RemoteError::Tls { address, reason },
            ConnectErrorKind::Io if is_about_tls(&error) => RemoteError::Tls { address, reason },
            _ => RemoteError::NoServer { address, reason },
        }
    })?;
    let address = shown.to_owned();
    let version = client.server_info().version;
    if parsed(&version).is_none_or(|version| version < OLDEST) {
        return Err(RemoteError::TooOld { address, version });
    }
    let jetstream = jetstream::ContextBuilder::new()
        .timeout(REQUEST_TIMEOUT)
        .ack_timeout(REQUEST_TIMEOUT)
        .build(client.clone());
    if !client.server_info().jetstream {
        let reason = "the server reports that it is not enabled".to_owned();
        return Err(RemoteError::NoJetStream { address, reason });
    }
    Ok((client, jetstream))
}

/// Returns whether the two sides talked but could not agree, for example on certificates.
fn is_about_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData) {
            return true;
        }
        source = error.source();
    }
    false
}

fn parsed(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    Some((parts.next()??, parts.next()??))
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Returns an address without user, password or token.
fn redacted(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        assert_eq!(redacted("nats://me:secret@host:4222"), "nats://host:4222");
        assert_eq!(redacted("token@host"), "host");
        assert_eq!(redacted("tls://host"), "tls://host");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parsed("2.14.0"), Some((2, 14)));
        assert!(parsed("2.9.10").is_some_and(|version| version < OLDEST));
        assert_eq!(parsed("new"), None);
    }

    #[test]
    fn a_command_is_printed_as_a_shell_takes_it() {
        assert_eq!(quoted("nats://host:4222"), "nats://host:4222");
        assert_eq!(quoted("my shop's"), r"'my shop'\''s'");
    }

    #[test]
    fn an_address_where_nobody_answers_is_one_clear_error() {
        // A port that was just freed.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let url = format!("nats://me:secret@{address}");
        let connected =
            NatsConnection::connect(&url, &Credentials::default(), "site", Codecs::default());
        let error = connected.map(drop).unwrap_err().to_string();
        assert!(
            error.contains(&format!("no NATS server answers at nats://{address}")),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}
