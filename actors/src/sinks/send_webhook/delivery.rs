//! The thread that sends messages one after the other, and retries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fermata_engine::{ActorError, Ticket};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc as queue, watch};

use super::address::shown;

/// A message to send.
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    /// The call that finishes when it has been sent.
    pub(super) ticket: Option<Ticket>,
}

/// Retry policy and timeout.
#[derive(Clone, Debug)]
pub(super) struct Retry {
    pub(super) times: u32,
    pub(super) first: Duration,
    pub(super) most: Duration,
    pub(super) timeout: Duration,
}

/// Counts of the messages without a ticket.
#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    delivered: AtomicU64,
}

/// A queue of messages and the thread that sends them, which ends with it.
pub(super) struct Delivery {
    messages: Option<queue::Sender<Message>>,
    waiting: usize,
    counts: Arc<Counts>,
    to: String,
    /// Disconnects when the thread has ended.
    over: mpsc::Receiver<()>,
    /// Set to give up the remaining messages.
    give_up: watch::Sender<bool>,
}

impl Delivery {
    pub(super) fn start(url: Url, retry: Retry, waiting: usize) -> Result<Self, ActorError> {
        // Fails only if the process has already installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(retry.timeout)
            // The target of a redirect is not the given address.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| format!("cannot send over HTTP: {}", error.without_url()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (messages, mut taken) = queue::channel(waiting);
        let (over_sender, over) = mpsc::channel::<()>();
        let (give_up, mut given_up) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let sender = Sender {
            client,
            to: shown(&url),
            url,
            retry,
            counts: Arc::clone(&counts),
        };
        let to = sender.to.clone();
        let send = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = sender.run(&mut taken) => {}
                    _ = given_up.wait_for(|given_up| *given_up) => {}
                }
            });
            drop(over_sender);
        };
        std::thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(send)?;
        Ok(Self {
            messages: Some(messages),
            waiting,
            counts,
            to,
            over,
            give_up,
        })
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Fails if the queue is full or the thread has ended. If the message has a ticket, the ticket fails instead.
    pub(super) fn send(&self, message: Message) -> Result<(), ActorError> {
        let is_counted = message.ticket.is_none();
        let sent = self.messages.as_ref().map(|to| to.try_send(message));
        let (message, reason) = match sent {
            Some(Ok(())) => {
                self.counts
                    .taken
                    .fetch_add(u64::from(is_counted), Ordering::Relaxed);
                return Ok(());
            }
            Some(Err(TrySendError::Full(message))) => {
                let reason = format!(
                    "{} messages are already waiting for {}",
                    self.waiting, self.to
                );
                (Some(message), reason)
            }
            Some(Err(TrySendError::Closed(message))) => (Some(message), gone()),
            None => (None, gone()),
        };
        match message.and_then(|message| message.ticket) {
            // The call has been opened: its ticket reports the failure.
            Some(ticket) => {
                ticket.fail(reason);
                Ok(())
            }
            None => Err(reason.into()),
        }
    }

    /// Waits for undelivered messages.
    ///
    /// # Errors
    /// Fails if some could not be delivered.
    pub(super) fn finish(&mut self, within: Duration) -> Result<(), ActorError> {
        self.messages = None;
        let ended = self.over.recv_timeout(within);
        if matches!(ended, Err(mpsc::RecvTimeoutError::Timeout)) {
            let _ = self.give_up.send(true);
            let _ = self.over.recv();
        }
        let taken = self.counts.taken.load(Ordering::Relaxed);
        let lost = taken - self.counts.delivered.load(Ordering::Relaxed);
        match lost {
            0 => Ok(()),
            _ => Err(format!(
                "{lost} of {taken} messages could not be delivered to {}; the log says why",
                self.to
            )
            .into()),
        }
    }
}

impl Drop for Delivery {
    /// Gives up at once: an actor that is replaced must not wait.
    fn drop(&mut self) {
        let _ = self.give_up.send(true);
    }
}

fn gone() -> String {
    "the sending thread has ended".to_owned()
}

struct Sender {
    client: Client,
    url: Url,
    to: String,
    retry: Retry,
    counts: Arc<Counts>,
}

/// Why an attempt failed.
struct Refusal {
    reason: String,
    is_final: bool,
    /// Delay requested by the server.
    after: Option<Duration>,
}

impl Sender {
    async fn run(&self, messages: &mut queue::Receiver<Message>) {
        while let Some(Message { body, ticket }) = messages.recv().await {
            match (self.deliver(body).await, ticket) {
                (Ok(()), Some(ticket)) => ticket.done(),
                (Ok(()), None) => {
                    self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                }
                (Err(error), Some(ticket)) => ticket.fail(error),
                (Err(error), None) => tracing::warn!("a message was not delivered: {error}"),
            }
        }
    }

    async fn deliver(&self, body: Vec<u8>) -> Result<(), String> {
        let mut pause = self.retry.first;
        for tried in 1.. {
            let Err(refusal) = self.post(body.clone()).await else {
                return Ok(());
            };
            let Refusal {
                reason,
                is_final,
                after,
            } = refusal;
            if is_final || tried >= self.retry.times {
                let times = if tried == 1 { "time" } else { "times" };
                return Err(format!("{} {reason}, tried {tried} {times}", self.to));
            }
            tracing::debug!("{} {reason}; retrying", self.to);
            let wait = pause.max(after.unwrap_or_default()).min(self.retry.most);
            tokio::time::sleep(wait).await;
            pause = pause.saturating_mul(2).min(self.retry.most);
        }
        Ok(())
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), Refusal> {
        let request = self.client.post(self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(|error| {
            let reason = if error.is_timeout() {
                "did not answer in time".to_owned()
            } else if error.is_connect() {
                "cannot be reached".to_owned()
            } else {
                format!("did not answer ({})", error.without_url())
            };
            Refusal {
                reason,
                is_final: false,
                after: None,
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let is_passing = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
            );
        Err(Refusal {
            reason: format!("answered {status}"),
            is_final: !is_passing,
            after: wish(&response),
        })
    }
}

/// Returns `Retry-After` in seconds; dates are not supported.
fn wish(response: &Response) -> Option<Duration> {
    let after = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    after.trim().parse().ok().map(Duration::from_secs)
}
