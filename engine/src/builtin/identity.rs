//! Passes packets on unchanged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::clock::{Clock, nanoseconds};
use crate::error::ActorError;
use crate::input::Input;
use crate::outputs::Outputs;
use crate::ports::Ports;
use crate::setup::Setup;
use crate::units::HumanDuration;

/// Passes packets on unchanged, optionally after some work.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// Time for which each packet keeps a core busy. Default: 0.
    #[serde(default)]
    pub work: HumanDuration,
}

/// See `IdentitySettings`.
pub struct Identity {
    work_ns: u64,
    clock: Clock,
}

impl Actor for Identity {
    const NAME: &'static str = "identity";
    type Settings = IdentitySettings;

    fn ports(_: &IdentitySettings) -> Ports {
        Ports::new().any_input("in").same_output("out").stateless()
    }

    fn create(settings: IdentitySettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            work_ns: nanoseconds(settings.work.0),
            clock: setup.clock.clone(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        if self.work_ns > 0 {
            self.clock.work(self.work_ns);
        }
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}
