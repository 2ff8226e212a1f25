//! Injects faults on purpose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::clock::Clock;
use crate::error::ActorError;
use crate::input::Input;
use crate::outputs::Outputs;
use crate::ports::Ports;
use crate::setup::Setup;

/// Passes packets on, but fails, panics or hangs now and then, to test how a graph handles it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InjectFaultsSettings {
    /// Panics on every n-th packet of this instance. Default: never.
    #[serde(default)]
    pub panic_every: Option<u64>,
    /// Fails on every n-th packet of this instance. Default: never.
    #[serde(default)]
    pub fail_every: Option<u64>,
    /// Hangs after this many packets. Default: never.
    #[serde(default)]
    pub stall_after: Option<u64>,
}

/// See `InjectFaultsSettings`.
pub struct InjectFaults {
    settings: InjectFaultsSettings,
    seen: u64,
    clock: Clock,
}

impl Actor for InjectFaults {
    const NAME: &'static str = "inject_faults";
    type Settings = InjectFaultsSettings;

    fn ports(_: &InjectFaultsSettings) -> Ports {
        Ports::new().any_input("in").same_output("out").stateless()
    }

    fn create(settings: InjectFaultsSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            settings,
            seen: 0,
            clock: setup.clock.clone(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.seen += 1;
        let seen = self.seen;
        let falls_on =
            |every: Option<u64>| every.is_some_and(|every| every > 0 && seen.is_multiple_of(every));
        if self.settings.stall_after.is_some_and(|after| seen > after) {
            self.clock.hang();
        }
        assert!(
            !falls_on(self.settings.panic_every),
            "panic on purpose at packet {seen}"
        );
        if falls_on(self.settings.fail_every) {
            return Err(format!("failure on purpose at packet {seen}").into());
        }
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}
