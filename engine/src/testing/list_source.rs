//! A source that emits the items of a list.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::clock::nanoseconds;
use crate::error::ActorError;
use crate::packet::Payload;
use crate::ports::Ports;
use crate::registry::Registry;
use crate::setup::Setup;
use crate::source::{Captured, Next, Source};
use crate::units::HumanDuration;

/// Emits the payloads of a list that a test has provided.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListSourceSettings {
    /// Time between the time stamps of two packets; the clocks `live` and `replay` pace packets by it. Default: none.
    #[serde(default)]
    pub every: HumanDuration,
}

/// A source that emits the payloads of a list, one packet each, and ends. Each instance begins with the first one;
/// under `each: stream` every stream gets all of them. See [`Collector`](super::Collector) for an example.
pub struct ListSource<T> {
    payloads: Arc<[Arc<T>]>,
    every_ns: u64,
    given: usize,
}

impl<T: Payload> ListSource<T> {
    /// Registers a source of these payloads under this name: one output `out`, settings [`ListSourceSettings`].
    ///
    /// # Panics
    /// See [`Registry::register`].
    pub fn register(
        registry: &mut Registry,
        name: &'static str,
        payloads: impl IntoIterator<Item = T>,
    ) {
        let payloads: Arc<[Arc<T>]> = payloads.into_iter().map(Arc::new).collect();
        registry.register_made_source::<Self>(name, move |settings, _| {
            Ok(Self::of(Arc::clone(&payloads), &settings))
        });
    }

    fn of(payloads: Arc<[Arc<T>]>, settings: &ListSourceSettings) -> Self {
        Self {
            payloads,
            every_ns: nanoseconds(settings.every.0),
            given: 0,
        }
    }
}

impl<T: Payload> Source for ListSource<T> {
    const NAME: &'static str = "list";
    type Settings = ListSourceSettings;

    fn ports(_: &ListSourceSettings) -> Ports {
        Ports::new().output::<T>("out")
    }

    /// Creates a source without payloads; [`ListSource::register`] creates those with a list.
    fn create(settings: ListSourceSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self::of(Arc::default(), &settings))
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        let Some(payload) = self.payloads.get(self.given) else {
            return Ok(Next::End);
        };
        let pts_ns = self.every_ns.saturating_mul(self.given as u64);
        self.given += 1;
        let pts_ns = i64::try_from(pts_ns).unwrap_or(i64::MAX);
        let captured = Captured::new(Arc::clone(payload) as _, pts_ns);
        Ok(Next::Packet(captured))
    }
}
