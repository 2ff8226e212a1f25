//! A sink that discards everything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::error::ActorError;
use crate::input::Input;
use crate::outputs::Outputs;
use crate::ports::Ports;
use crate::setup::Setup;

/// Accepts packets and discards them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardSettings {}

/// See `DiscardSettings`.
pub struct Discard;

impl Actor for Discard {
    const NAME: &'static str = "discard";
    type Settings = DiscardSettings;

    fn ports(_: &DiscardSettings) -> Ports {
        Ports::new().any_input("in").stateless()
    }

    fn create(_: DiscardSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}
