//! The payloads of random graphs: numbered packets of two types, some of which panic where the engine calls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fermata_engine::packet::downcast_ref;
use fermata_engine::{
    ActorError, AnyPayload, Codec, Input, InstanceName, Payload, Ports, Registry,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which of the two types a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Of {
    Numbers,
    Letters,
}

/// Where a payload panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trouble {
    Weight,
    Bytes,
    /// When it is dropped; but not while its thread is already panicking, which would end the process.
    Drop,
}

/// The contents of a payload of either type.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Name of the node instance that made it.
    pub(crate) maker: String,
    /// Equal to the packet's sequence number, except for live sources, which overwrite packets before they get one.
    pub(crate) number: u64,
    pub(crate) weight: usize,
    pub(crate) trouble: Option<Trouble>,
}

impl Facts {
    fn weight(&self) -> usize {
        assert!(
            self.trouble != Some(Trouble::Weight),
            "panic on purpose in `weight`"
        );
        self.weight
    }

    fn bytes(&self) -> usize {
        assert!(
            self.trouble != Some(Trouble::Bytes),
            "panic on purpose in `bytes`"
        );
        100 * (1 + self.weight)
    }
}

impl Drop for Facts {
    fn drop(&mut self) {
        let panics = self.trouble == Some(Trouble::Drop) && !std::thread::panicking();
        assert!(!panics, "panic on purpose in `drop`");
    }
}

macro_rules! payload {
    ($name:ident) => {
        #[derive(Debug)]
        pub(crate) struct $name(Facts);

        impl Payload for $name {
            fn weight(&self) -> usize {
                self.0.weight()
            }

            fn bytes(&self) -> usize {
                self.0.bytes()
            }
        }
    };
}

payload!(Numbered);
payload!(Lettered);

/// Encodes the contents as JSON. `trouble` is not encoded: a decoded payload never panics on purpose.
impl Facts {
    fn write(&self, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        let facts = (&self.maker, self.number, self.weight);
        Ok(serde_json::to_writer(bytes, &facts)?)
    }

    fn read(bytes: &[u8]) -> Result<Self, ActorError> {
        let (maker, number, weight) = serde_json::from_slice(bytes)?;
        Ok(Self {
            maker,
            number,
            weight,
            trouble: None,
        })
    }
}

macro_rules! codec {
    ($codec:ident, $payload:ident, $name:literal) => {
        struct $codec;

        impl Codec for $codec {
            type Payload = $payload;
            const NAME: &'static str = $name;
            const VERSION: u32 = 1;

            fn encode(payload: &$payload, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
                payload.0.write(bytes)
            }

            fn decode(bytes: &[u8]) -> Result<$payload, ActorError> {
                Facts::read(bytes).map($payload)
            }
        }
    };
}

codec!(NumberedV1, Numbered, "numbered");
codec!(LetteredV1, Lettered, "lettered");

/// Registers the codecs with which both types cross machines.
pub(crate) fn register_codecs(registry: &mut Registry) {
    let codecs = registry.codecs_mut();
    codecs.register::<NumberedV1>();
    codecs.register::<LetteredV1>();
}

/// Returns the maker of a payload of either type, and its number.
pub(crate) fn maker_and_number(payload: &dyn Payload) -> (String, u64) {
    let numbered = downcast_ref::<Numbered>(payload).map(|payload| &payload.0);
    let facts = numbered.or_else(|| downcast_ref::<Lettered>(payload).map(|payload| &payload.0));
    let facts = facts.expect("a payload of random graphs");
    (facts.maker.clone(), facts.number)
}

impl Of {
    pub(crate) fn payload(self, facts: Facts) -> AnyPayload {
        match self {
            Self::Numbers => Arc::new(Numbered(facts)),
            Self::Letters => Arc::new(Lettered(facts)),
        }
    }

    pub(crate) fn input(self, ports: Ports, name: &str) -> Ports {
        match self {
            Self::Numbers => ports.input::<Numbered>(name),
            Self::Letters => ports.input::<Lettered>(name),
        }
    }

    pub(crate) fn output(self, ports: Ports, name: &str) -> Ports {
        match self {
            Self::Numbers => ports.output::<Numbered>(name),
            Self::Letters => ports.output::<Lettered>(name),
        }
    }

    /// Takes the payload of an input of this type and checks that it belongs to the envelope. Returns it with its
    /// number.
    pub(crate) fn take(self, input: &mut Input, port: usize) -> Option<(AnyPayload, u64)> {
        let number = |facts: &Facts, input: &Input| {
            let envelope = &input.envelope;
            assert!(
                facts.number >= envelope.sequence,
                "{facts:?} is not of {envelope:?}"
            );
            let maker = InstanceName::parse(&facts.maker);
            let made_by = maker.stream.unwrap_or(maker.node);
            // A stream that was added again has a number appended to its name.
            assert_eq!(made_by, envelope.stream.name, "a packet of another stream");
            facts.number
        };
        match self {
            Self::Numbers => {
                let payload = input.take_port::<Numbered>(port)?;
                let number = number(&payload.0, input);
                Some((payload, number))
            }
            Self::Letters => {
                let payload = input.take_port::<Lettered>(port)?;
                let number = number(&payload.0, input);
                Some((payload, number))
            }
        }
    }
}

/// What an actor has seen so far. Panics where a law is broken; apart from this, only actors made to break may panic.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<u32, u64>);

impl Seen {
    /// Checks that a packet comes after the earlier ones of its stream.
    pub(crate) fn note(&mut self, input: &Input) {
        let envelope = &input.envelope;
        let before = self.0.insert(envelope.stream.id, envelope.sequence);
        assert!(
            before.is_none_or(|before| before < envelope.sequence),
            "out of order: {envelope:?} after {before:?}"
        );
    }
}
