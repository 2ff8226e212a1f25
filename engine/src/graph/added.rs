//! Checks of streams that are added while a graph runs, equivalent to those of the file's streams.

use std::path::PathBuf;

use crate::registry::Registry;

use super::names::{first_name, valid_name};
use super::part::declared;
use super::problem::{Problem, Problems};
use super::settings::SettingsError;
use super::spec::{Graph, NodeSpec, Placement, StreamSpec};
use super::writes::{Writer, Writers};

impl Graph {
    /// Checks that a stream may be added under this name. Names become parts of paths, so the rules of graph files
    /// apply.
    pub(crate) fn check_stream_name(name: &str) -> Result<(), Problem> {
        valid_name("a stream", name)
    }

    /// Checks that a stream may be added here under this name. In a part of a site, the stream with this name may
    /// belong to another machine.
    pub(crate) fn check_own_stream(&self, name: &str) -> Result<(), Problem> {
        Self::check_stream_name(name)?;
        let is_another = |known: &String| known == name;
        let is_of_site = self.part_of.is_some() && declared(self.whole()).iter().any(is_another);
        if is_of_site && !self.own_streams().iter().any(is_another) {
            let message = format!("the stream `{name}` comes from another machine of the site");
            let help = "it is opened where its source is; give this one another name";
            Err(Problem::nowhere(message).help(help))
        } else {
            Ok(())
        }
    }

    /// Checks that a stream of another machine may arrive over an edge. It keeps its name from there (`door.2`), so the
    /// name must not be in use; names from the network are checked like those in files.
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
        if is_known {
            Err(Problem::nowhere(format!(
                "stream `{name}` cannot come over edge {edge}: a stream of this name has been here before"
            )))
        } else {
            Ok(())
        }
    }

    /// Checks that a stream may be added beside others: its settings can be read, none of its instances writes what
    /// another instance writes or what a stream reads, and the registry's rules are followed. `stream` has its name in
    /// the run (`door.2`); `others` are all streams whose files must be preserved, including those that have ended.
    pub(crate) fn check_added_stream(
        &self,
        registry: &Registry,
        stream: &StreamSpec,
        others: &[StreamSpec],
    ) -> Result<(), Problems> {
        self.secrets.add_uri(&stream.uri);
        // A stream that returns runs where it ran before.
        let first = first_name(&stream.name);
        let is_unplaced = |node: &&NodeSpec| match &node.on {
            Some(placement @ Placement::OfStream(_)) => placement.of(first).is_none(),
            Some(Placement::Machine(_)) | None => false,
        };
        if let Some(node) = self.whole().nodes.iter().find(is_unplaced) {
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
            let before: Vec<Option<&StreamSpec>> = if node.each_stream {
                others.iter().map(Some).collect()
            } else {
                vec![None]
            };
            for other in before {
                // Settings that can no longer be read belong to instances that do not run.
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
        // Spellings do not tell everything; check the disk for links, and for files that the graph or the program
        // needs.
        let problems = problems.or_ok(()).and_then(|()| {
            let mut problems = Problems::default();
            self.check_replaced_by_added(registry, stream, others, &mut problems);
            let with_all = self.with_streams(others.iter().chain([stream]));
            let said = registry.rules().iter().flat_map(|rule| rule(&with_all));
            said.for_each(|said| problems.push(Problem::nowhere(said)));
            problems.or_ok(())
        });
        problems.map_err(|problems| problems.hiding(&self.secrets))
    }

    /// Returns the whole graph as if it had listed these streams of its run.
    fn with_streams<'a>(&self, streams: impl Iterator<Item = &'a StreamSpec>) -> Self {
        let whole = self.whole();
        // Streams of shared sources have the names of these.
        let is_shared = |node: &&NodeSpec| node.inputs.is_empty() && !node.each_stream;
        let is_listed = |stream: &&StreamSpec| {
            let mut shared = whole.nodes.iter().filter(is_shared);
            shared.all(|node| node.name != stream.name)
        };
        Self {
            streams: streams.filter(is_listed).cloned().collect(),
            ..whole.clone()
        }
    }

    /// Checks that what the settings of a stream's own instances name exists: a camera, a file. May take as long as
    /// opening it.
    pub(crate) fn check_instances(
        &self,
        registry: &Registry,
        stream: &StreamSpec,
    ) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for node in self.nodes.iter().filter(|node| node.each_stream) {
            if let Err(found) = node.check(registry, Some(stream), &self.secrets) {
                problems.extend(found);
            }
        }
        let problems = problems.or_ok(());
        problems.map_err(|problems| problems.hiding(&self.secrets))
    }
}

fn writer<'a>(node: &'a NodeSpec, stream: Option<&'a StreamSpec>) -> Writer<'a> {
    Writer {
        node: &node.name,
        stream: stream.map(|stream| stream.name.as_str()),
        settings: &node.settings,
    }
}

/// Returns the files that an instance writes.
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
    use crate::graph::{EdgeActors, LoadOptions};
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

    struct Read;

    impl Actor for Read {
        const NAME: &'static str = "read";
        type Settings = WriteSettings;

        fn ports(_: &WriteSettings) -> Ports {
            Ports::new().any_input("in")
        }

        fn reads(settings: &WriteSettings) -> Vec<PathBuf> {
            vec![settings.path.clone()]
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
    fn an_added_stream_follows_the_rules_of_the_whole_graph() {
        let mut registry = Registry::builtin();
        registry.register::<Write>();
        registry.register_rule(|graph: &Graph| {
            let streams = graph.streams.iter().map(|stream| &*stream.name);
            let streams: Vec<&str> = streams.collect();
            let said = format!("{} are too many", streams.join(", "));
            (streams.len() > 2).then_some(said).into_iter().collect()
        });
        let text =
            format!("{TEXT}  shared: {{use: test_source}}\n  end: {{use: discard, in: shared}}\n");
        let graph = Graph::parse("t.yaml", &text, &registry, &LoadOptions::new("/out")).unwrap();
        let hall = StreamSpec::new("hall", "/in/hall.mp4");
        let check = |others: &[StreamSpec]| {
            let checked = graph.check_added_stream(&registry, &hall, others);
            checked.map_err(|problems| problems.to_string())
        };
        let mut others = graph.streams.clone();
        others.push(StreamSpec::new("shared", ""));
        assert_eq!(check(&others), Ok(()));
        others.push(StreamSpec::new("yard", "/in/yard.mp4"));
        let said = check(&others).unwrap_err();
        assert_eq!(said, "door, yard, hall are too many");
    }

    #[test]
    fn an_added_stream_is_no_way_to_files_that_must_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["all.csv", "hall.csv", "graph.yaml.csv"] {
            std::fs::write(at(name), "mine").unwrap();
        }
        std::os::unix::fs::symlink(at("all.csv"), at("yard.csv")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("there")).unwrap();
        let mut registry = Registry::builtin();
        registry.register::<Write>();
        registry.register::<Read>();
        let here = folder.path().display();
        let text = format!(
            "\
fermata: 1
streams: {{door: x}}
nodes:
  s: {{use: test_source, each: stream}}
  r: {{use: read, each: stream, in: s, path: \"${{stream.uri}}\"}}
  w: {{use: write, each: stream, in: s, path: \"{here}/there/${{stream.name}}.csv\"}}
"
        );
        let path = at("graph.yaml.csv");
        std::fs::write(&path, text).unwrap();
        let graph = Graph::load(&path, &registry, &LoadOptions::new("/out")).unwrap();
        let added = |name: &str, uri: String| {
            let stream = StreamSpec {
                name: name.to_owned(),
                uri,
            };
            let checked = graph.check_added_stream(&registry, &stream, &graph.streams);
            checked.map_err(|problems| problems.to_string())
        };
        let uri = |name: &str| at(name).display().to_string();
        assert_eq!(added("lane", uri("all.csv")), Ok(()));
        let its_own = added("hall", uri("hall.csv")).unwrap_err();
        assert!(its_own.contains("which `r@hall` reads"), "{its_own}");
        let linked = added("yard", uri("all.csv")).unwrap_err();
        assert!(linked.contains("which `r@yard` reads"), "{linked}");
        let graph_file = added("graph.yaml", uri("all.csv")).unwrap_err();
        assert!(graph_file.contains("the graph is in"), "{graph_file}");
        let of_another = added("lane", uri("door.csv")).unwrap_err();
        assert!(of_another.contains("`w@door` writes"), "{of_another}");
    }

    /// Returns the result of adding a stream to a machine's part of a site, either from a source there or over an edge.
    fn added_at(machine: &str, name: &str, arrives: bool) -> Result<(), String> {
        let mut registry = Registry::builtin();
        registry.register::<Write>();
        let text = "\
fermata: 1
machines: {gate: {}, hall: {}}
streams: {door: {uri: x, machine: gate}, yard: {uri: x, machine: hall}}
nodes:
  s: {use: test_source, each: stream, on: \"${stream.machine}\"}
  w: {use: write, each: stream, in: s, path: \"/out/${stream.name}.csv\", on: \"${stream.machine}\"}
";
        let graph = Graph::parse("t.yaml", text, &registry, &LoadOptions::new("/out")).unwrap();
        let actors = EdgeActors {
            send: "discard",
            receive: "test_source",
        };
        let part = graph.part(machine, actors, &registry).unwrap();
        let stream = StreamSpec {
            name: name.to_owned(),
            uri: "x".to_owned(),
        };
        let own = || part.check_own_stream(first_name(name));
        let named = if arrives { Ok(()) } else { own() };
        named.map_err(|problem| problem.to_string())?;
        let checked = part.check_added_stream(&registry, &stream, &part.streams);
        checked.map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_stream_that_comes_back_runs_where_it_ran_before() {
        for arrives in [false, true] {
            assert_eq!(added_at("gate", "door.2", arrives), Ok(()));
        }
        let new = added_at("gate", "lane", false).unwrap_err();
        assert!(new.contains("has no machine for `s`"), "{new}");
    }

    #[test]
    fn a_stream_of_another_machine_is_not_opened_here() {
        let refused = added_at("gate", "yard", false).unwrap_err();
        let told = "the stream `yard` comes from another machine of the site";
        assert!(refused.contains(told), "{refused}");
        assert_eq!(added_at("hall", "yard.3", false), Ok(()));
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
