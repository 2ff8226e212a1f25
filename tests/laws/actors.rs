//! The actors of random graphs: numbered packets, and actors that look whether the numbers are the right ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::{
    Actor, ActorError, Captured, Input, Next, Outputs, Pacing, Payload, Ports, Registry, Setup,
    Source,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What travels in random graphs.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// Name of the node instance that made it.
    maker: String,
    /// Equal to the packet's sequence.
    number: u64,
    weight: usize,
}

impl Payload for Numbered {
    fn weight(&self) -> usize {
        self.weight
    }

    fn bytes(&self) -> usize {
        100 * (1 + self.weight)
    }
}

/// All actors that random graphs use.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.register_source::<Counter>();
    registry.register::<Choose>();
    registry.register::<Split>();
    registry.register::<Meet>();
    registry
}

/// Produces numbered packets.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterSettings {
    count: u64,
    rate: f64,
    /// Packets come when they come, as from a camera.
    live: bool,
    /// Weights go round from 0 to below this.
    weights: usize,
    /// Has nothing for a while before every n-th packet, and begins a new segment with it.
    reconnect_every: Option<u64>,
    /// Breaks after this many packets.
    fail_after: Option<u64>,
}

struct Counter {
    settings: CounterSettings,
    node: String,
    produced: u64,
    waited: bool,
}

impl Source for Counter {
    const NAME: &'static str = "counter";
    type Settings = CounterSettings;

    fn ports(_: &CounterSettings) -> Ports {
        Ports::new().output::<Numbered>("out")
    }

    fn create(settings: CounterSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            settings,
            node: setup.node.clone(),
            produced: 0,
            waited: false,
        })
    }

    fn pacing(&self) -> Pacing {
        match self.settings.live {
            true => Pacing::Live,
            false => Pacing::ByPts,
        }
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        let settings = &self.settings;
        if self.produced >= settings.count {
            return Ok(Next::End);
        }
        if settings
            .fail_after
            .is_some_and(|after| self.produced >= after)
        {
            return Err("the source broke on purpose".into());
        }
        let number = self.produced;
        let new_segment = settings
            .reconnect_every
            .is_some_and(|every| number > 0 && number.is_multiple_of(every));
        let period = Duration::from_secs_f64(1.0 / settings.rate);
        let pause = if new_segment {
            20
        } else {
            u32::from(settings.live)
        };
        if pause > 0 && !std::mem::replace(&mut self.waited, true) {
            return Ok(Next::Wait(period * pause));
        }
        self.waited = false;
        self.produced += 1;
        Ok(Next::Packet(Captured {
            payload: Arc::new(Numbered {
                maker: self.node.clone(),
                number,
                weight: number as usize % settings.weights,
            }),
            pts_ns: (number as f64 / settings.rate * 1e9) as i64,
            new_segment,
        }))
    }
}

/// What an actor has seen so far. It panics where a law is broken; only actors that break on purpose may.
#[derive(Default)]
struct Seen(BTreeMap<u32, u64>);

impl Seen {
    /// Looks whether a packet comes after those of its stream that came before it.
    fn note(&mut self, input: &Input) {
        let envelope = &input.envelope;
        let before = self.0.insert(envelope.stream.id, envelope.sequence);
        assert!(
            before.is_none_or(|before| before < envelope.sequence),
            "out of order: {envelope:?} after {before:?}"
        );
    }
}

/// Takes the payload of an input and looks whether it belongs to the envelope.
fn look(input: &mut Input, port: usize) -> Option<Arc<Numbered>> {
    let payload = input.take_port::<Numbered>(port)?;
    let envelope = &input.envelope;
    // A live source that is held up overwrites packets before they get a sequence.
    assert!(
        payload.number >= envelope.sequence,
        "{payload:?} is not of {envelope:?}"
    );
    let stream = &envelope.stream.name;
    let maker = payload.maker.split_once('@');
    let made_by = maker.map_or(payload.maker.as_str(), |(_, stream)| stream);
    assert_eq!(made_by, stream, "a packet of another stream");
    Some(payload)
}

/// Lets every n-th packet pass.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChooseSettings {
    every: u64,
}

struct Choose {
    every: u64,
    seen: Seen,
}

impl Actor for Choose {
    const NAME: &'static str = "choose";
    type Settings = ChooseSettings;

    fn ports(_: &ChooseSettings) -> Ports {
        Ports::new()
            .input::<Numbered>("in")
            .output::<Numbered>("out")
            .stateless()
    }

    fn create(settings: ChooseSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            every: settings.every,
            seen: Seen::default(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.seen.note(&input);
        if let Some(payload) = look(&mut input, 0)
            && input.envelope.sequence.is_multiple_of(self.every)
        {
            out.emit::<Numbered>(input.envelope, payload);
        }
        Ok(())
    }
}

/// Even packets go one way, those that three divides the other: some both ways, some none.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitSettings {}

struct Split(Seen);

impl Actor for Split {
    const NAME: &'static str = "split";
    type Settings = SplitSettings;

    fn ports(_: &SplitSettings) -> Ports {
        Ports::new()
            .input::<Numbered>("in")
            .output::<Numbered>("even")
            .output::<Numbered>("third")
            .stateless()
    }

    fn create(_: SplitSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(Seen::default()))
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.0.note(&input);
        if let Some(payload) = look(&mut input, 0) {
            let envelope = input.envelope;
            if envelope.sequence.is_multiple_of(2) {
                out.emit_on::<Numbered>(0, envelope.clone(), Arc::clone(&payload));
            }
            if envelope.sequence.is_multiple_of(3) {
                out.emit_on::<Numbered>(1, envelope, payload);
            }
        }
        Ok(())
    }
}

/// A join of two or three inputs, whose packets must be of one capture.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeetSettings {
    inputs: usize,
}

struct Meet {
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
        named
            .fold(Ports::new(), |ports, name| ports.input::<Numbered>(name))
            .output::<Numbered>("out")
            .stateless()
    }

    fn create(settings: MeetSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            inputs: settings.inputs,
            seen: Seen::default(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.seen.note(&input);
        let found: Vec<_> = (0..self.inputs)
            .filter_map(|port| look(&mut input, port))
            .collect();
        for payload in &found {
            assert_eq!(payload.number, found[0].number, "a join of two captures");
        }
        if let Some(payload) = found.into_iter().next() {
            out.emit::<Numbered>(input.envelope, payload);
        }
        Ok(())
    }
}
