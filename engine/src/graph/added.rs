//! Streams that are added while a graph runs, checked as those of its file were.

use std::path::PathBuf;

use crate::registry::Registry;

use super::names::valid_name;
use super::problem::{Problem, Problems};
use super::settings::SettingsError;
use super::spec::{Graph, NodeSpec, Placement, StreamSpec};
use super::writes::{Writer, Writers};

impl Graph {
    /// Whether a stream may be added under this name. Names are parts of paths, so what is refused in a file is refused
    /// here.
    pub(crate) fn check_stream_name(name: &str) -> Result<(), Problem> {
        valid_name("a stream", name)
    }

    /// Whether a stream of another machine may come here over an edge. It keeps the name that it got there (`door.2`), so that there may be no
    /// other one of this name; what comes from the network is checked as files are.
    pub(crate) fn check_arriving_stream(
        name: &str,
        edge: &str,
        is_known: bool,
    ) -> Result<(), Problem> {
        let of_life = |(name, life): (&str, &str)| {
            life.parse::<u32>()
                .is_ok_and(|life| life > 1)
                .then(|| name.to_owned())
        };
        let given = name.rsplit_once('.').and_then(of_life);
        valid_name("a stream", given.as_deref().unwrap_or(name))?;
        match is_known {
            true => Err(Problem::nowhere(format!(
                "stream `{name}`, which comes over edge {edge}, cannot be told from another one of this name that has been here"
            ))),
            false => Ok(()),
        }
    }

    /// Whether a stream may be added beside others: its settings can be read, and none of its instances writes what
    /// another one writes, or what a stream reads. `stream` has the name that it gets in the run (`door.2`); `others`
    /// are all whose files must stay, also those of streams that have ended.
    pub(crate) fn check_added_stream(
        &self,
        registry: &Registry,
        stream: &StreamSpec,
        others: &[StreamSpec],
    ) -> Result<(), Problems> {
        self.secrets.add_uri(&stream.uri);
        let of_stream = |node: &&NodeSpec| matches!(node.on, Some(Placement::OfStream(_)));
        if let Some(node) = self.whole().nodes.iter().find(of_stream) {
            let problem = Problem::nowhere(format!(
                "a stream that is added has no machine for `{}`, which the graph places by a value of each stream",
                node.name
            ));
            return Err(problem
                .help("write it into the graph file, or place the node by a machine's name")
                .into());
        }
        let mut problems = Problems::default();
        let mut writers = Writers::default();
        writers.keep(stream);
        for node in &self.nodes {
            let before: Vec<Option<&StreamSpec>> = match node.each_stream {
                true => others.iter().map(Some).collect(),
                false => vec![None],
            };
            for other in before {
                // What cannot be read any more does not run.
                if let Ok(paths) = writes(node, registry, other) {
                    writers.add(writer(node, other), &paths, &mut problems);
                }
            }
        }
        for other in others {
            writers.keep(other);
        }
        for node in self.nodes.iter().filter(|node| node.each_stream) {
            match writes(node, registry, Some(stream)) {
                Ok(paths) => writers.add(writer(node, Some(stream)), &paths, &mut problems),
                Err(found) => problems.extend(found),
            }
        }
        problems
            .or_ok(())
            .map_err(|problems| problems.hiding(&self.secrets))
    }
}

fn writer<'a>(node: &'a NodeSpec, stream: Option<&'a StreamSpec>) -> Writer<'a> {
    Writer {
        node: &node.name,
        stream: stream.map(|stream| stream.name.as_str()),
        settings: &node.settings,
    }
}

/// The files that an instance writes.
fn writes(
    node: &NodeSpec,
    registry: &Registry,
    stream: Option<&StreamSpec>,
) -> Result<Vec<PathBuf>, Problems> {
    let settings = node.settings(stream)?;
    let Some(actor) = registry.get(&node.actor) else {
        return Ok(Vec::new());
    };
    let ports = actor.ports(&settings);
    let ports = ports.map_err(SettingsError::into_problem)?;
    Ok(ports.writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::LoadOptions;
    use crate::{Actor, ActorError, Input, Outputs, Ports, Setup};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct WriteSettings {
        path: PathBuf,
    }

    struct Write;

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

    const TEXT: &str = "\
fermata: 1
streams: {door: /in/door.mp4}
nodes:
  s: {use: test_source, each: stream}
  w: {use: write, each: stream, in: s, path: \"${stream.uri}.csv\"}
  all: {use: write, in: s, path: /out/all.csv}
";

    fn added(name: &str, uri: &str) -> Result<(), String> {
        let mut registry = Registry::builtin();
        registry.register::<Write>();
        let graph = Graph::parse("t.yaml", TEXT, &registry, &LoadOptions::new("/out")).unwrap();
        let stream = StreamSpec {
            name: name.to_owned(),
            uri: uri.to_owned(),
        };
        let checked = graph.check_added_stream(&registry, &stream, &graph.streams);
        checked.map_err(|problems| problems.to_string())
    }

    #[test]
    fn an_added_stream_writes_what_nobody_else_does() {
        assert_eq!(added("hall", "/in/hall.mp4"), Ok(()));
        assert_eq!(
            added("hall", "/in/../in/door.mp4").unwrap_err(),
            "t.yaml:5:46: `w@door` and `w@hall` both write /in/../in/door.mp4.csv (put `${stream.name}` into the path)"
        );
        assert_eq!(
            added("hall", "/out/all").unwrap_err(),
            "t.yaml:5:46: `all` and `w@hall` both write /out/all.csv"
        );
    }

    #[test]
    fn an_added_stream_reads_what_nobody_writes() {
        assert_eq!(
            added("hall", "/out/all.csv").unwrap_err(),
            "t.yaml:6:34: `all` would write over /out/all.csv, which a stream reads"
        );
    }

    #[test]
    fn the_name_of_an_added_stream_is_no_way_through_folders() {
        assert!(Graph::check_stream_name("hall-2").is_ok());
        for name in ["../hall", "", "a/b", "-x", "door.2"] {
            let problem = Graph::check_stream_name(name).unwrap_err();
            assert!(
                problem.message().contains("cannot be the name of a stream"),
                "{problem}"
            );
        }
    }
}
