//! Notifies a server when a face changes.
//!
//! `delivery` owns the thread that sends and retries; `address` owns where the address comes from and how it is shown.

mod address;
mod delivery;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::units::HumanDuration;
use fermata_engine::{Actor, ActorError, End, How, Input, Outputs, Ports, Setup, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::frame_line::FrameLine;
use crate::payload::Faces;
pub use address::Address;
use delivery::{Delivery, Message, Retry};

/// Posts JSON to a server when a track begins or its label changes, or for every frame.
///
/// The body is the line of `write_jsonl` with `changes` in it: `[{"what":"track_began","track":3},
/// {"what":"label_changed","track":3,"from":"sad","to":"happy"}]`. A 2xx response counts as delivered. No response,
/// 408, 429 and 5xx are retried after a pause that doubles from `retry.first` to `retry.most` (a longer `Retry-After`
/// is respected, up to `retry.most`); any other response, including a redirect, is final.
///
/// The graph is not slowed down: messages wait in a queue of `waiting`, and a frame for which there is no room fails,
/// which is counted in the report. Undelivered messages are counted, and the node fails at the end of the run with the
/// count. With `hold_up: true` a frame completes only when the server has its message: its call finishes later, at most
/// `waiting` are open, and a slow server slows the graph down.
///
/// The address is a secret (often the only one): it comes from a file or an environment variable, and is shown without
/// its path and query.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendWebhookSettings {
    /// Source of the address: `{file: PATH}` or `{env: NAME}`.
    pub address: Address,
    /// When a message is sent. Default: changes.
    #[serde(default)]
    pub send: Occasion,
    /// Maximum number of queued messages, 1 to 10000. Default: 256.
    #[serde(default = "default_waiting")]
    pub waiting: usize,
    /// Hold each frame until the server has its message. Default: false.
    #[serde(default)]
    pub hold_up: bool,
    /// How a failed message is retried.
    #[serde(default)]
    pub retry: RetrySettings,
    /// Timeout for a response. Default: 10s.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// How long the end of the run waits for undelivered messages. Default: 10s.
    #[serde(default = "default_timeout")]
    pub finish_within: HumanDuration,
}

/// When a message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// When a track begins or its label changes.
    #[default]
    Changes,
    /// For every frame.
    Frames,
}

/// How a failed message is retried.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Maximum number of attempts; 1 disables retrying. Default: 6.
    pub times: u32,
    /// The first pause. Default: 500ms.
    pub first: HumanDuration,
    /// The longest pause. Default: 30s.
    pub most: HumanDuration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            times: 6,
            first: HumanDuration(Duration::from_millis(500)),
            most: HumanDuration(Duration::from_secs(30)),
        }
    }
}

fn default_waiting() -> usize {
    256
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

/// Upper limit of `waiting`.
const MOST_WAITING: usize = 10_000;

/// See `SendWebhookSettings`.
pub struct SendWebhook {
    settings: SendWebhookSettings,
    changes: Changes,
    delivery: Delivery,
}

impl Actor for SendWebhook {
    const NAME: &'static str = "send_webhook";
    type Settings = SendWebhookSettings;

    fn ports(settings: &SendWebhookSettings) -> Ports {
        let ports = Ports::new().input::<Faces>("in").keeps_streams_apart();
        if settings.hold_up {
            ports.finishes_later(settings.waiting)
        } else {
            ports
        }
    }

    fn check(settings: &SendWebhookSettings) -> Result<(), ActorError> {
        let waiting = settings.waiting;
        if !(1..=MOST_WAITING).contains(&waiting) {
            return Err(format!("waiting is {waiting}, but must be 1 to {MOST_WAITING}").into());
        }
        if settings.retry.times == 0 {
            return Err("retry.times is 0, but a message must be sent at least once".into());
        }
        settings.address.read().map(drop)
    }

    fn create(settings: SendWebhookSettings, _: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let retry = Retry {
            times: settings.retry.times,
            first: settings.retry.first.0,
            most: settings.retry.most.0,
            timeout: settings.timeout.0,
        };
        let url = settings.address.read()?;
        Ok(Self {
            delivery: Delivery::start(url, retry, settings.waiting)?,
            changes: Changes::default(),
            settings,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let envelope = &input.envelope;
        let changes = self.changes.of(envelope.stream.id, &faces.faces);
        if changes.is_empty() && self.settings.send == Occasion::Changes {
            return Ok(());
        }
        let line = FrameLine::new(envelope, &faces, None, &changes);
        let body = serde_json::to_vec(&line)?;
        let ticket = if self.settings.hold_up {
            Some(out.finish_later()?)
        } else {
            None
        };
        self.delivery.send(Message { body, ticket })
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        self.changes.forget(stream.id);
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        let within = match end.how {
            How::Stopped => Duration::ZERO,
            _ => self.settings.finish_within.0,
        };
        self.delivery.finish(within)
    }
}
