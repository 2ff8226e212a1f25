//! Actors that exist only to stand in graphs: the engine's own have no join and hardly any settings, which would leave
//! much of the reader untested.

use std::collections::BTreeMap;

use fermata_engine::units::{HumanBytes, HumanDuration};
use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Registry, Setup};
use schemars::JsonSchema;
use serde::Deserialize;

/// Returns a registry with the engine's actors and those of this file.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.register::<Pair>();
    registry.register::<Note>();
    registry
}

/// Joins two inputs.
struct Pair;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PairSettings {}

impl Actor for Pair {
    const NAME: &'static str = "pair";
    type Settings = PairSettings;

    fn ports(_: &PairSettings) -> Ports {
        Ports::new()
            .any_input("left")
            .any_input("right")
            .same_output("out")
            .same_output("other")
    }

    fn create(_: PairSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

/// Takes settings of every shape.
struct Note;

/// One setting for each way in which the reader is asked for a value.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NoteSettings {
    pub(crate) text: Option<String>,
    pub(crate) label: String,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) numbers: Vec<f64>,
    pub(crate) pair: Option<(u8, bool)>,
    pub(crate) letter: Option<char>,
    pub(crate) size: Option<HumanBytes>,
    pub(crate) time: Option<HumanDuration>,
    pub(crate) shape: Option<Shape>,
    pub(crate) path: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "what counts is that they are read")]
pub(crate) enum Shape {
    Dot,
    Circle(u32),
    Line(i64, i64),
    Rectangle { width: u16, height: Option<u16> },
}

impl Actor for Note {
    const NAME: &'static str = "note";
    type Settings = NoteSettings;

    fn ports(settings: &NoteSettings) -> Ports {
        let ports = Ports::new().any_input("in").per_stream();
        match &settings.path {
            Some(path) => ports.writes(path),
            None => ports,
        }
    }

    fn check(settings: &NoteSettings) -> Result<(), ActorError> {
        match settings.texts.get("missing") {
            Some(missing) => Err(format!("`{missing}` is missing").into()),
            None => Ok(()),
        }
    }

    fn create(_: NoteSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}
