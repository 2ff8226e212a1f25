//! Actors for graphs that are cut: the two ends of an edge, a sink that names a file, and payloads that can and cannot
//! travel. None of them does anything where it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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

/// How many more times a [`Fickle`] of `yard` fails.
pub(super) struct Failures(pub(super) AtomicU32);

/// A filter that cannot be created at first.
struct Fickle;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FickleSettings {}

impl Actor for Fickle {
    const NAME: &'static str = "fickle";
    type Settings = FickleSettings;

    fn ports(_: &FickleSettings) -> Ports {
        Ports::new().any_input("in").same_output("out")
    }

    fn create(_: FickleSettings, setup: &Setup) -> Result<Self, ActorError> {
        let failures: Arc<Failures> = setup.service().ok_or("no count")?;
        let is_yard = setup
            .stream
            .as_ref()
            .is_some_and(|stream| stream.name == "yard");
        let one_less = |left: u32| left.checked_sub(1);
        let relaxed = Ordering::Relaxed;
        if is_yard && failures.0.fetch_update(relaxed, relaxed, one_less).is_ok() {
            return Err("not yet".into());
        }
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
    registry.register::<Fickle>();
    ListSource::register(&mut registry, "numbers", [Number(1)]);
    ListSource::register(&mut registry, "locals", [Local]);
    registry
}
