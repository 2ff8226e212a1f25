//! Faults found by reading the engine in how streams are added while a graph runs, simulated.

use std::time::Duration;

use fermata_engine::sim::{At, SimCommand, SimOptions};
use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Registry, Setup, StartError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::faults::simulated;
use crate::support::assert_balanced;

/// Declares that it writes a file.
struct Write;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WriteSettings {
    path: String,
}

impl Actor for Write {
    const NAME: &'static str = "write";
    type Settings = WriteSettings;

    fn ports(settings: &WriteSettings) -> Ports {
        Ports::new().any_input("in").writes(&settings.path)
    }

    fn create(_: WriteSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

/// Adds streams, given as name and URI, one after the other; returns the result of each.
fn added(streams: &[(&str, &str)]) -> Vec<Result<String, StartError>> {
    let mut registry = Registry::builtin();
    registry.register::<Write>();
    let add = |(at, (name, uri)): (usize, &(&str, &str))| {
        let at = At::Time(Duration::from_millis(100 * (1 + at as u64)));
        let (name, uri) = ((*name).to_owned(), (*uri).to_owned());
        (at, SimCommand::AddStream { name, uri })
    };
    let mut commands: Vec<_> = streams.iter().enumerate().map(add).collect();
    commands.push((At::Time(Duration::from_secs(5)), SimCommand::Drain));
    let sim = SimOptions {
        hold_open: true,
        commands,
        ..SimOptions::seeded(1)
    };
    let text = "\
nodes:
  s: {use: test_source, each: stream, rate: 100}
  w: {use: write, each: stream, in: s, path: \"/tmp/out/${stream.uri}.csv\"}
";
    let (run, _) = simulated(text, registry, &sim);
    assert!(run.ended);
    assert_balanced(&run.report);
    run.added
}

#[test]
fn a_stream_whose_name_is_a_way_through_folders_is_refused_while_the_graph_runs() {
    let added = added(&[("../../etc", "a"), ("", "b"), ("fine", "c")]);
    assert!(matches!(added[0], Err(StartError::Graph(_))), "{added:?}");
    assert!(matches!(added[1], Err(StartError::Graph(_))), "{added:?}");
    assert!(added[2].is_ok(), "{added:?}");
}

#[test]
fn a_stream_that_would_write_the_file_of_another_is_refused_while_the_graph_runs() {
    let added = added(&[("door", "a"), ("hall", "a"), ("yard", "b")]);
    assert!(added[0].is_ok(), "{added:?}");
    assert!(matches!(added[1], Err(StartError::Graph(_))), "{added:?}");
    assert!(added[2].is_ok(), "{added:?}");
}
