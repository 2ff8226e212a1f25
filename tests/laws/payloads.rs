//! What travels in random graphs: numbered packets of two types, some of which panic where the engine calls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fermata_engine::{AnyPayload, Input, InstanceName, Payload, Ports};
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
    /// When it is dropped; not while its thread panics already, which would end the process.
    Drop,
}

/// What is in a payload of either type.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Name of the node instance that made it.
    pub(crate) maker: String,
    /// Equal to the packet's sequence, but for live sources, which overwrite packets before they get one.
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
        struct $name(Facts);

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

    /// Takes the payload of an input, which is of this type, and looks whether it belongs to the envelope. Gives it with its
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
            // A stream that came back has a number behind its name.
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

/// What an actor has seen so far. It panics where a law is broken; only actors that break on purpose may.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<u32, u64>);

impl Seen {
    /// Looks whether a packet comes after those of its stream that came before it.
    pub(crate) fn note(&mut self, input: &Input) {
        let envelope = &input.envelope;
        let before = self.0.insert(envelope.stream.id, envelope.sequence);
        assert!(
            before.is_none_or(|before| before < envelope.sequence),
            "out of order: {envelope:?} after {before:?}"
        );
    }
}
