//! Actors for graphs that are cut: the two ends of an edge, a sink that names a file, and payloads that can and cannot
//! travel. None of them runs.

use fermata_engine::graph::{EdgeActors, WhenFull};
use fermata_engine::testing::ListSource;
use fermata_engine::{
    Actor, ActorError, Codec, Input, Next, Outputs, Payload, Ports, Registry, Setup, Source,
};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug)]
struct Number(u64);

impl Payload for Number {}

struct NumberV1;

impl Codec for NumberV1 {
    type Payload = Number;
    const NAME: &'static str = "number";
    const VERSION: u32 = 1;

    fn encode(number: &Number, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        bytes.extend(number.0.to_le_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Number, ActorError> {
        Ok(Number(u64::from_le_bytes(bytes.try_into()?)))
    }
}

/// A payload that cannot travel between machines.
#[derive(Debug)]
struct Local;

impl Payload for Local {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only which settings come is looked at")]
struct Ends {
    edge: String,
    full: WhenFull,
    capacity: usize,
    window: Option<usize>,
    carries: Option<String>,
    quality: Option<u8>,
    bytes: Option<fermata_engine::units::HumanBytes>,
    max_age: Option<fermata_engine::units::HumanDuration>,
}

struct Send;

impl Actor for Send {
    const NAME: &'static str = "send";
    type Settings = Ends;

    fn ports(_: &Ends) -> Ports {
        Ports::new().any_input("in").per_stream()
    }

    fn create(_: Ends, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

struct Receive;

impl Source for Receive {
    const NAME: &'static str = "receive";
    type Settings = Ends;

    fn ports(settings: &Ends) -> Ports {
        let carries = settings.carries.as_deref().unwrap_or_default();
        Ports::new().named_output("out", carries).per_stream()
    }

    fn create(_: Ends, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        Ok(Next::End)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PathSettings {
    path: std::path::PathBuf,
}

/// A sink that would write a file.
struct Write;

impl Actor for Write {
    const NAME: &'static str = "write";
    type Settings = PathSettings;

    fn ports(settings: &PathSettings) -> Ports {
        Ports::new().any_input("in").writes(&settings.path)
    }

    fn create(_: PathSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

/// The actors at the two ends of an edge between machines.
pub(super) const ACTORS: EdgeActors = EdgeActors {
    send: Send::NAME,
    receive: Receive::NAME,
};

/// Returns a registry with sources of numbers, which can travel, and of payloads that cannot.
pub(super) fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.codecs_mut().register::<NumberV1>();
    registry.register::<Send>();
    registry.register_source::<Receive>();
    registry.register::<Write>();
    ListSource::register(&mut registry, "numbers", [Number(1)]);
    ListSource::register(&mut registry, "locals", [Local]);
    registry
}
