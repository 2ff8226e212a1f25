//! Reading and checking graph files: what is accepted, and what is refused with which message and where.

use fermata_engine::graph::{OnError, WhenFull, redact, schema};
use std::collections::BTreeMap;

use fermata_engine::{
    Actor, ActorError, ClockMode, Graph, Input, Outputs, Overrides, Ports, Registry, Setup,
};

use crate::support::{load, load_with, options};

const CHAIN: &str = "\
fermata: 1
name: chain
params: {count: 10}
nodes:
  source: {use: test_source, count: \"${count}\"}
  middle: {use: identity, in: source, queue: {capacity: 2, full: drop_oldest, max_age: 1s}}
  end:    {use: discard, in: middle, on_error: stop}
run: {clock: asap, drain: 2s}
";

/// Returns every problem as `line:column message (help)`.
fn refused(text: &str) -> Vec<String> {
    let problems = load(text).expect_err("a graph with problems");
    problems
        .iter()
        .map(|problem| {
            let (line, column) = problem.place().unwrap_or_default();
            let help = problem.advice().map(|help| format!(" ({help})"));
            format!(
                "{line}:{column} {}{}",
                problem.message(),
                help.unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn a_queue_in_which_nothing_would_have_room_or_time_is_refused() {
    for (queue, words) in [
        ("bytes: 0", "with `bytes` of 0 no packet would have room"),
        ("max_age: 0s", "with a `max_age` of 0 every packet"),
        ("capacity: 0", "`capacity` must be at least 1"),
    ] {
        let queue = format!("queue: {{{queue}}}");
        let text = CHAIN.replace(
            "queue: {capacity: 2, full: drop_oldest, max_age: 1s}",
            &queue,
        );
        let told = refused(&text).join("\n");
        assert!(told.starts_with("6:") && told.contains(words), "{told}");
    }
}

#[test]
fn a_graph_says_what_its_file_says() {
    let graph = load(CHAIN).unwrap();
    assert_eq!(graph.name, "chain");
    assert_eq!(graph.run.clock, ClockMode::Asap);
    assert_eq!(graph.run.drain.as_secs(), 2);
    let middle = &graph.nodes[1];
    assert_eq!(middle.queue.capacity, 2);
    assert_eq!(
        middle.queue.full,
        WhenFull::Block,
        "under asap every edge blocks"
    );
    assert_eq!(middle.queue.max_age, None, "under asap nothing ages");
    let live = load_with(CHAIN, &["run.clock=live"]).unwrap();
    assert_eq!(live.nodes[1].queue.full, WhenFull::DropOldest);
    assert_eq!(live.nodes[1].queue.max_age.unwrap().as_millis(), 1000);
    assert_eq!(graph.nodes[2].on_error, OnError::Stop);
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let problems = refused(
        "\
fermata: 1
nodes:
  source: {use: test_sorce}
  a: {use: identity, in: sourc}
  b: {use: identity, in: source, wrok: 3ms}
  c: {use: discard, in: d, queue: {capacity: many}}
",
    );
    assert_eq!(
        problems,
        [
            "3:17 there is no actor `test_sorce` (did you mean `test_source`?)",
            "6:46 invalid type: string \"many\", expected usize",
            "5:34 unknown key `wrok` (did you mean `work`?)",
            "4:26 there is no node `sourc` (did you mean `source`?)",
        ]
    );
}

#[test]
fn unknown_and_duplicate_keys_are_refused() {
    assert_eq!(
        refused("fermata: 1\nnodse: {}\n"),
        ["2:1 unknown key `nodse` (did you mean `nodes`?)"]
    );
    assert_eq!(
        refused("fermata: 1\nnodes: {}\nnodes: {}\n"),
        ["3:1 `nodes` is given twice"]
    );
    assert_eq!(
        refused("nodes: {}\n"),
        ["1:1 the version of the file format is missing (begin the file with `fermata: 1`)"]
    );
}

#[test]
fn a_circle_is_refused_by_name() {
    let problems = refused(
        "\
fermata: 1
nodes:
  source: {use: test_source}
  a: {use: identity, in: c}
  b: {use: identity, in: a}
  c: {use: identity, in: b}
",
    );
    assert_eq!(
        problems,
        ["5:26 the nodes feed each other in a circle: b → c → a → b"]
    );
}

#[test]
fn an_input_that_nothing_feeds_is_refused() {
    let problems = refused("fermata: 1\nnodes:\n  a: {use: identity}\n");
    assert_eq!(
        problems,
        ["3:3 nothing feeds the input `in` of `a` (add `in: NODE`)"]
    );
    let problems = refused(
        "fermata: 1\nnodes:\n  s: {use: test_source}\n  e: {use: discard, in: s}\n  x: {use: discard, in: e}\n",
    );
    assert_eq!(
        problems,
        ["5:25 `e` is a sink: it has no output to take packets from"]
    );
}

#[test]
fn a_stream_in_a_shared_node_is_refused() {
    let problems = refused(
        "fermata: 1\nnodes:\n  s: {use: test_source, count: \"${stream.uri}\"}\n  e: {use: discard, in: s}\n",
    );
    assert_eq!(
        problems[0],
        "3:32 `${stream.…}` is used in a node that all streams share; it needs `each: stream`"
    );
}

#[test]
fn references_are_replaced_and_typed() {
    let text = "\
fermata: 1
params: {rate: \"${env.RATE:-12.5}\", count: null}
streams: {a: 7}
nodes:
  s: {use: test_source, each: stream, count: \"${stream.uri}\", rate: \"${rate}\"}
  e: {use: discard, in: s}
";
    let mut options = options();
    let registry = Registry::builtin();
    // Declared without a value but not used, so it is not missed.
    let graph = Graph::parse("t.yaml", text, &registry, &options).unwrap();
    assert!(
        graph.resolved_yaml().contains("rate: 12.5"),
        "{}",
        graph.resolved_yaml()
    );
    options.env.insert("RATE".to_owned(), "fast".to_owned());
    let problems = Graph::parse("t.yaml", text, &registry, &options).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "t.yaml:5:69: invalid type: string \"fast\", expected f64"
    );
}

#[test]
fn a_required_parameter_says_how_to_give_it() {
    let problems = refused(
        "fermata: 1\nparams: {count: null}\nnodes:\n  s: {use: test_source, count: \"${count}\"}\n  e: {use: discard, in: s}\n",
    );
    assert_eq!(
        problems,
        ["4:32 the parameter `count` has no value (give it with `--param count=…`)"]
    );
}

#[test]
fn overrides_change_the_graph_and_point_at_themselves() {
    let graph = load_with(CHAIN, &["nodes.middle.queue.capacity=9", "run.clock=live"]).unwrap();
    assert_eq!(graph.nodes[1].queue.capacity, 9);
    assert_eq!(graph.run.clock, ClockMode::Live);
    let graph = load_with(CHAIN, &["run.clock={replay: 2}"]).unwrap();
    assert_eq!(graph.run.clock, ClockMode::Replay(2.0));
    let problems = load_with(CHAIN, &["nodes.midle.queue=1", "nodes", "run.clock=slow"]);
    assert_eq!(
        problems.unwrap_err().to_string(),
        "command line:1:7: the graph has no node `midle` (did you mean `middle`?)\n\
         command line:1:7: `--set` takes NAME=VALUE"
    );
    let problems = load_with(CHAIN, &["run.clock=slow"]).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "command line:1:17: unknown value `slow` (known: live, replay, asap)"
    );
}

#[test]
fn parameters_and_streams_come_from_the_command_line() {
    let mut options = options();
    options.overrides = Overrides {
        params: vec!["count=3".to_owned()],
        streams: vec!["door=clip=1.mp4".to_owned()],
        set: Vec::new(),
    };
    let registry = Registry::builtin();
    let graph = Graph::parse("t.yaml", CHAIN, &registry, &options).unwrap();
    assert_eq!(graph.streams[0].uri, "clip=1.mp4");
    options.overrides.params = vec!["cuont=3".to_owned()];
    let problems = Graph::parse("t.yaml", CHAIN, &registry, &options).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "command line:1:9: the graph has no parameter `cuont` (did you mean `count`?)"
    );
}

#[test]
fn an_included_file_is_laid_under_the_including_one() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.yaml");
    let top = folder.path().join("top.yaml");
    std::fs::write(&base, CHAIN).unwrap();
    std::fs::write(
        &top,
        "fermata: 1\ninclude: base.yaml\nnodes:\n  middle: {queue: {capacity: 7}}\n",
    )
    .unwrap();
    let registry = Registry::builtin();
    let graph = Graph::load(&top, &registry, &options()).unwrap();
    assert_eq!(graph.nodes[1].queue.capacity, 7);
    assert_eq!(graph.name, "chain");
    std::fs::write(&base, "fermata: 1\ninclude: top.yaml\n").unwrap();
    let problems = Graph::load(&top, &registry, &options()).unwrap_err();
    assert!(
        problems.to_string().contains("`top.yaml` includes itself"),
        "{problems}"
    );
}

/// Counts, so it keeps state.
struct Count;

impl Actor for Count {
    const NAME: &'static str = "count";
    type Settings = BTreeMap<String, String>;

    fn ports(_: &Self::Settings) -> Ports {
        Ports::new().any_input("in").per_stream()
    }

    fn create(_: Self::Settings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

#[test]
fn an_actor_with_state_stands_once_for_each_stream() {
    let mut registry = Registry::builtin();
    registry.register::<Count>();
    let text =
        "fermata: 1\nnodes:\n  s: {use: test_source}\n  e: {use: count, in: s, replicas: 2}\n";
    let problems = Graph::parse("t.yaml", text, &registry, &options()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "t.yaml:4:3: `count` keeps state of one stream, so every stream needs its own instance (add `each: stream`)\n\
         t.yaml:4:26: `count` keeps state between packets, so it cannot have replicas"
    );
}

#[test]
fn two_ways_of_one_stream_into_one_input_are_refused() {
    let problems = refused(
        "\
fermata: 1
nodes:
  s: {use: test_source}
  a: {use: identity, in: s}
  b: {use: identity, in: s}
  e: {use: discard, in: [a, b]}
",
    );
    assert!(
        problems[0].starts_with("6:26 `a` and `b` carry the same streams"),
        "{problems:?}"
    );
}

#[test]
fn the_resolved_graph_is_a_graph_file_and_hides_credentials() {
    let text = "\
fermata: 1
streams: {cam: 'rtsp://me:secret@cam/1', odd: 'a: b #c'}
nodes:
  s: {use: test_source, each: stream, count: 3}
  e: {use: discard, in: [s]}
";
    let resolved = load(text).unwrap().resolved_yaml();
    assert!(!resolved.contains("secret"), "{resolved}");
    let again = load(&resolved).unwrap();
    assert_eq!(again.resolved_yaml(), resolved);
    assert_eq!(again.streams[1].uri, "a: b #c");
    assert_eq!(redact("http://a:b@c/d"), "http://***@c/d");
}

#[test]
fn a_key_that_is_no_text_stays_itself_in_the_resolved_graph() {
    let mut registry = Registry::builtin();
    registry.register::<Count>();
    let text = "fermata: 1\nnodes:\n  s: {use: test_source, each: stream}\n  \
                e: {use: count, each: stream, in: s, \"\": nothing, 5: five, null: word}\n";
    let graph = Graph::parse("t.yaml", text, &registry, &options()).unwrap();
    let resolved = graph.resolved_yaml();
    for line in ["    \"\": nothing\n", "    5: five\n", "    null: word\n"] {
        assert!(resolved.contains(line), "{resolved}");
    }
}

#[test]
fn numbers_beyond_reason_are_refused() {
    let problems = refused(
        "\
fermata: 1
nodes:
  s: {use: test_source}
  a: {use: identity, in: s, queue: {capacity: 1000001}}
  b: {use: identity, in: s, replicas: 257}
  c: {use: identity, in: s, batch: {max: 1000001}}
",
    );
    assert_eq!(
        problems,
        [
            "4:47 `capacity` must be at most 1000000",
            "5:39 `replicas` must be at most 256",
            "6:42 `max` must be at most 1000000"
        ]
    );
}

#[test]
fn a_value_of_a_stream_that_no_node_uses_is_refused() {
    let of = |count: &str| {
        format!(
            "\
fermata: 1
streams: {{door: {{uri: a.mp4, cuont: 7}}, hall: {{uri: b.mp4, name_of_room: hall}}}}
nodes:
  source: {{use: test_source, each: stream, count: {count}}}
  end:    {{use: discard, in: source}}
"
        )
    };
    let problems = load(&of("\"${stream.count:-3}\"")).unwrap_err().to_string();
    assert_eq!(
        problems,
        "test.yaml:2:30: no node uses the `cuont` of stream `door` (did you mean `count`?)\n\
         test.yaml:2:60: no node uses the `name_of_room` of stream `hall` (known: count)"
    );
    let problems = load(&of("3")).unwrap_err().to_string();
    assert!(
        problems.contains("(nodes refer to it as `${stream.cuont}`)"),
        "{problems}"
    );
}

#[test]
fn a_stream_has_values_of_its_own_and_others_the_default() {
    let text = "\
fermata: 1
streams: {door: {uri: a.mp4, count: 7}, hall: b.mp4}
nodes:
  source: {use: test_source, each: stream, count: \"${stream.count:-3}\"}
  end:    {use: discard, in: source}
";
    let graph = load(text).unwrap();
    let counts = graph.streams.iter().map(|stream| {
        let settings = graph.nodes[0].settings(Some(stream)).unwrap();
        let settings: serde_json::Value = settings.parse().unwrap();
        (stream.uri.clone(), settings["count"].clone())
    });
    let counts: Vec<_> = counts.collect();
    let expected = [("a.mp4", 7), ("b.mp4", 3)];
    assert_eq!(
        counts,
        expected.map(|(uri, count)| (uri.to_owned(), count.into()))
    );

    let mut elsewhere = options();
    elsewhere.overrides.streams = vec!["door=c.mp4".to_owned()];
    let graph = Graph::parse("test.yaml", text, &Registry::builtin(), &elsewhere).unwrap();
    assert_eq!(graph.streams[0].uri, "c.mp4");
    let settings = graph.nodes[0].settings(Some(&graph.streams[0])).unwrap();
    let settings: serde_json::Value = settings.parse().unwrap();
    assert_eq!(settings["count"], 7, "what else the file says of it stays");

    for (streams, words) in [
        ("{door: {count: 7}}", "the stream `door` has no address"),
        (
            "{door: {uri: a, count: [7]}}",
            "`count` of a stream must be a single value",
        ),
        ("{door: {uri: a, name: b}}", "a stream has its name already"),
    ] {
        let text = text.replace("{door: {uri: a.mp4, count: 7}, hall: b.mp4}", streams);
        let said = refused(&text);
        assert!(said.len() == 1 && said[0].contains(words), "{said:?}");
    }
    let said = refused(&text.replace(":-3", ""));
    assert!(
        said[0].contains("has no `stream.count` of its own"),
        "{said:?}"
    );
    assert!(said[0].contains("${stream.count:-"), "{said:?}");
}

#[test]
fn a_stream_bound_to_null_is_bound_to_nothing() {
    let problems = refused(
        "fermata: 1\nstreams: {door: null}\nnodes:\n  s: {use: test_source, each: stream}\n  e: {use: discard, in: s}\n",
    );
    assert_eq!(problems, ["2:11 the stream `door` has no address"]);
}

#[test]
fn the_schema_knows_every_actor_and_its_keys() {
    let registry = Registry::builtin();
    let schema = schema(&registry).to_string();
    for actor in registry.iter() {
        assert!(schema.contains(actor.name), "{} is missing", actor.name);
    }
    assert!(schema.contains("panic_every") && schema.contains("drop_oldest"));
    assert!(!schema.contains("$ref"), "one document without references");
}

#[test]
fn drawings_show_every_node_and_edge() {
    let graph = load_with(CHAIN, &["run.clock=live"]).unwrap();
    assert!(
        graph
            .to_dot()
            .contains("\"middle\" -> \"end\" [label=\"4\"]")
    );
    assert!(
        graph
            .to_mermaid()
            .contains("n_source -->|\"2, drops oldest\"| n_middle")
    );
}
