//! A pass over what an edge's store holds of a stream: a consumer that is created afresh on the server.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use futures_util::StreamExt;

use crate::edge::arrival::most_unacknowledged;
use crate::error::chain;
use crate::names::EdgeNames;
use crate::store::StoreSpec;

/// Time after which the store redelivers a packet by itself. It is long, since a new pass recovers lost deliveries.
const ACK_WAIT: Duration = Duration::from_secs(3600);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// See the module documentation.
pub(crate) struct Pass {
    pub(crate) consumer: PullConsumer,
    messages: pull::Stream,
}

impl Pass {
    /// Begins a pass, which replaces the previous one.
    ///
    /// # Errors
    /// The server's answer.
    pub(crate) async fn begin(
        jetstream: &jetstream::Context,
        names: &EdgeNames,
        token: &str,
        store: StoreSpec,
    ) -> Result<Self, String> {
        let stream = jetstream.get_stream_no_info(&names.packets);
        let stream = stream.await.map_err(|error| chain(&error))?;
        // The consumer of the last pass, if there is one.
        let _ = stream.delete_consumer(token).await;
        let most = most_unacknowledged(store.full, store.limit);
        let consumer = stream
            .create_consumer(pull::Config {
                durable_name: Some(token.to_owned()),
                filter_subject: names.packets_of(token),
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: i64::try_from(most).unwrap_or(i64::MAX),
                ..pull::Config::default()
            })
            .await
            .map_err(|error| chain(&error))?;
        let messages = consumer.stream().max_messages_per_batch(most.min(500));
        let messages = messages.heartbeat(HEARTBEAT).messages().await;
        let messages = messages.map_err(|error| chain(&error))?;
        Ok(Self { consumer, messages })
    }
}

/// Returns the next message of a pass; none without a pass.
pub(crate) async fn next_of(
    pass: &mut Option<Pass>,
) -> Option<Result<jetstream::Message, pull::MessagesError>> {
    match pass {
        Some(pass) => pass.messages.next().await,
        None => None,
    }
}
