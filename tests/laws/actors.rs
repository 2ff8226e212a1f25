//! The actors of random graphs: they check that they get the packets they should.

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Registry, Setup};
use schemars::JsonSchema;
use serde::Deserialize;

use super::counter::Counter;
use super::doors::{Enough, Later};
use super::keep::Keep;
use super::payloads::{Of, Seen};

/// Returns a registry with all actors that random graphs use.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.register_source::<Counter>();
    registry.register::<Choose>();
    registry.register::<Split>();
    registry.register::<Meet>();
    registry.register::<Keep>();
    registry.register::<Later>();
    registry.register::<Enough>();
    registry
}

/// Passes every n-th packet.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChooseSettings {
    of: Of,
    every: u64,
}

struct Choose {
    of: Of,
    every: u64,
    seen: Seen,
}

impl Actor for Choose {
    const NAME: &'static str = "choose";
    type Settings = ChooseSettings;

    fn ports(settings: &ChooseSettings) -> Ports {
        let ports = settings.of.input(Ports::new(), "in");
        settings.of.output(ports, "out").stateless()
    }

    fn create(settings: ChooseSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            of: settings.of,
            every: settings.every,
            seen: Seen::default(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.seen.note(&input);
        if let Some((payload, _)) = self.of.take(&mut input, 0)
            && input.envelope.sequence.is_multiple_of(self.every)
        {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}

/// Sends even packets one way and those divisible by three the other: some go both ways, some neither.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitSettings {
    of: Of,
}

struct Split {
    of: Of,
    seen: Seen,
}

/// Names of a split's outputs.
pub(crate) const SPLIT_OUTPUTS: [&str; 2] = ["even", "third"];

impl Actor for Split {
    const NAME: &'static str = "split";
    type Settings = SplitSettings;

    fn ports(settings: &SplitSettings) -> Ports {
        let ports = settings.of.input(Ports::new(), "in").stateless();
        let names = SPLIT_OUTPUTS.iter();
        names.fold(ports, |ports, name| settings.of.output(ports, name))
    }

    fn create(settings: SplitSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            of: settings.of,
            seen: Seen::default(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.seen.note(&input);
        if let Some((payload, _)) = self.of.take(&mut input, 0) {
            let envelope = input.envelope;
            if envelope.sequence.is_multiple_of(2) {
                out.emit_any(0, envelope.clone(), payload.clone());
            }
            if envelope.sequence.is_multiple_of(3) {
                out.emit_any(1, envelope, payload);
            }
        }
        Ok(())
    }
}

/// A join of two or three inputs, whose packets must be of one capture.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeetSettings {
    of: Of,
    inputs: usize,
}

struct Meet {
    of: Of,
    inputs: usize,
    seen: Seen,
}

/// Names of a join's inputs.
pub(crate) const MEET_INPUTS: [&str; 3] = ["a", "b", "c"];

impl Actor for Meet {
    const NAME: &'static str = "meet";
    type Settings = MeetSettings;

    fn ports(settings: &MeetSettings) -> Ports {
        let named = MEET_INPUTS.iter().take(settings.inputs);
        let ports = named.fold(Ports::new(), |ports, name| settings.of.input(ports, name));
        settings.of.output(ports, "out").stateless()
    }

    fn create(settings: MeetSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            of: settings.of,
            inputs: settings.inputs,
            seen: Seen::default(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.seen.note(&input);
        let found: Vec<_> = (0..self.inputs)
            .filter_map(|port| self.of.take(&mut input, port))
            .collect();
        for (_, number) in &found {
            assert_eq!(*number, found[0].1, "a join of two captures");
        }
        if let Some((payload, _)) = found.into_iter().next() {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}
