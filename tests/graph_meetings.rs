//! Graph files whose streams meet: types along every path, queues sized for what a parallel batch holds back, lanes,
//! and streams that are units of work.

use std::collections::BTreeMap;

use fermata_engine::graph::{StreamSpec, schema};
use fermata_engine::{
    Actor, ActorError, End, Graph, Input, Next, Outputs, Overrides, Payload, Ports, ProviderSetup,
    Registry, Setup, Source, StreamProvider,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::options;

struct Apple;
impl Payload for Apple {}
struct Pear;
impl Payload for Pear {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Defines an actor of which only the ports matter.
macro_rules! placed {
    ($actor:ident, $name:literal, $ports:expr) => {
        struct $actor;

        impl Actor for $actor {
            const NAME: &'static str = $name;
            type Settings = Nothing;

            fn ports(_: &Nothing) -> Ports {
                $ports
            }

            fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
                Ok(Self)
            }

            fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
                Ok(())
            }
        }
    };
}

placed!(Eat, "eat_apples", Ports::new().input::<Apple>("in"));
placed!(
    Pair,
    "pair",
    Ports::new()
        .any_input("a")
        .any_input("b")
        .same_output("out")
        .stateless()
);
placed!(Remember, "remember", Ports::new().any_input("in"));
placed!(
    Sort,
    "sort",
    Ports::new().any_input("in").keeps_streams_apart()
);

/// Defines a source that ends at once.
macro_rules! tree {
    ($source:ident, $name:literal, $fruit:ty) => {
        struct $source;

        impl Source for $source {
            const NAME: &'static str = $name;
            type Settings = Nothing;

            fn ports(_: &Nothing) -> Ports {
                Ports::new().output::<$fruit>("out")
            }

            fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
                Ok(Self)
            }

            fn next(&mut self) -> Result<Next, ActorError> {
                Ok(Next::End)
            }
        }
    };
}

tree!(AppleTree, "apples", Apple);
tree!(PearTree, "pears", Pear);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BasketSettings {
    /// The number of streams.
    count: u32,
}

/// Provides a number of streams.
struct Baskets(u32);

impl StreamProvider for Baskets {
    const NAME: &'static str = "baskets";
    type Settings = BasketSettings;

    fn create(settings: BasketSettings, _: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self(settings.count))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        Ok(left.map(|number| StreamSpec {
            name: format!("basket-{number}"),
            uri: number.to_string(),
        }))
    }

    fn ended(&mut self, _: &str, _: End) -> Result<(), ActorError> {
        Ok(())
    }
}

fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.register_source::<AppleTree>();
    registry.register_source::<PearTree>();
    registry.register::<Eat>();
    registry.register::<Pair>();
    registry.register::<Remember>();
    registry.register::<Sort>();
    registry.register_provider::<Baskets>();
    registry
}

fn read(body: &str) -> Result<Graph, String> {
    let text = format!("fermata: 1\n{body}");
    let graph = Graph::parse("t.yaml", &text, &registry(), &options());
    graph.map_err(|problems| problems.to_string())
}

fn capacity(graph: &Graph, name: &str) -> usize {
    let found = graph.nodes.iter().find(|node| node.name == name);
    found.expect("the node").queue.capacity
}

#[test]
fn every_way_into_an_input_brings_what_it_takes() {
    let problems = read(
        "\
nodes:
  apples: {use: apples}
  pears: {use: pears}
  mixed: {use: identity, in: [apples, pears]}
  later: {use: identity, in: mixed}
  eat: {use: eat_apples, in: later}
",
    );
    assert_eq!(
        problems.unwrap_err(),
        "t.yaml:7:30: `eat` takes Apple, but `pears` gives Pear through `later`"
    );
}

#[test]
fn what_no_input_minds_may_be_mixed() {
    let text = "nodes:\n  a: {use: apples}\n  p: {use: pears}\n  \
                mixed: {use: identity, in: [a, p]}\n  end: {use: discard, in: mixed}\n";
    assert!(read(text).is_ok());
}

#[test]
fn an_output_like_the_first_input_carries_nothing_of_the_others() {
    let text = |first, second| {
        format!(
            "nodes:\n  s: {{use: apples}}\n  p: {{use: pears}}\n  \
             both: {{use: pair, in: {{a: {first}, b: {second}}}, require: [a]}}\n  \
             eat: {{use: eat_apples, in: both}}\n"
        )
    };
    // Their streams differ, which is a different problem.
    let apples_first = read(&text("s", "p")).unwrap_err();
    assert!(!apples_first.contains("takes Apple"), "{apples_first}");
    let pears_first = read(&text("p", "s")).unwrap_err();
    assert!(
        pears_first.contains("`eat` takes Apple, but `p` gives Pear"),
        "{pears_first}"
    );
}

/// Builds a graph that takes two streams through a shared node, one of them then through a batch, and both again
/// through a shared node.
fn in_turn(end: &str, run: &str) -> Result<Graph, String> {
    read(&format!(
        "\
streams: {{one: x, two: x}}
nodes:
  s:     {{use: apples, each: stream}}
  other: {{use: apples}}
  a:     {{use: identity, in: [s, other]}}
  x:     {{use: identity, each: stream, in: a, batch: {{max: 64}}}}
  b:     {{use: discard, in: x{end}}}
run: {{clock: {run}}}
"
    ))
}

#[test]
fn a_node_that_takes_streams_in_turn_has_room_for_what_a_batch_holds_of_one() {
    let graph = in_turn("", "asap").unwrap();
    assert_eq!(capacity(&graph, "b"), 64);
    assert_eq!(capacity(&graph, "a"), 4, "nothing is held back before it");
    assert_eq!(capacity(&in_turn("", "live").unwrap(), "b"), 4);
    assert_eq!(
        in_turn(", queue: {capacity: 8}", "asap").unwrap_err(),
        "t.yaml:8:32: the streams that meet in `b` would block each other: it takes them in turn, one of them is held \
         back up to 64 packets in a batch, and the queue of the other takes 8 (give `b` a queue capacity of at least 64)"
    );
    let bytes = in_turn(", queue: {bytes: 1MB}", "asap").unwrap_err();
    assert!(bytes.contains("could block each other"), "{bytes}");
    assert!(in_turn(", queue: {capacity: 64}", "asap").is_ok());
}

#[test]
fn a_batch_of_all_streams_holds_none_of_them_back_behind_the_others() {
    let graph = read(
        "\
streams: {one: x, two: x}
nodes:
  s: {use: apples, each: stream}
  a: {use: identity, in: s}
  x: {use: identity, in: a, batch: {max: 64}}
  b: {use: discard, in: x, queue: {capacity: 1}}
run: {clock: asap}
",
    );
    assert!(graph.is_ok(), "{graph:?}");
}

#[test]
fn streams_that_never_went_through_one_node_do_not_block_each_other() {
    let graph = read(
        "\
nodes:
  s1: {use: apples}
  s2: {use: apples}
  x:  {use: identity, in: s2, batch: {max: 64}}
  b:  {use: discard, in: [s1, x], queue: {capacity: 1}}
run: {clock: asap}
",
    );
    assert!(graph.is_ok(), "{graph:?}");
}

#[test]
fn a_batch_of_each_stream_holds_one_back_behind_the_others() {
    let text = |each| {
        format!(
            "\
streams: {{one: x, two: x}}
nodes:
  s: {{use: apples, each: stream}}
  x: {{use: identity, in: s, batch: {{max: 64{each}}}}}
  b: {{use: discard, in: x}}
run: {{clock: asap}}
"
        )
    };
    assert_eq!(capacity(&read(&text(", each: stream")).unwrap(), "b"), 64);
    assert_eq!(capacity(&read(&text("")).unwrap(), "b"), 4);
}

#[test]
fn streams_that_meet_at_two_nodes_side_by_side_block_each_other_behind_a_batch() {
    let text = |capacity| {
        format!(
            "\
nodes:
  s1: {{use: apples}}
  s2: {{use: apples}}
  x:  {{use: identity, in: s2, batch: {{max: 64}}}}
  a:  {{use: discard, in: [s1, s2]}}
  b:  {{use: discard, in: [s1, x]{capacity}}}
run: {{clock: asap}}
"
        )
    };
    let graph = read(&text("")).unwrap();
    assert_eq!((capacity(&graph, "a"), capacity(&graph, "b")), (4, 64));
    let problems = read(&text(", queue: {capacity: 63}")).unwrap_err();
    assert!(problems.contains("would block each other"), "{problems}");
}

#[test]
fn a_lane_has_queues_and_joins_like_threads_do() {
    let graph = read(
        "\
nodes:
  s: {use: apples, lane: one}
  a: {use: identity, in: s, lane: one, queue: {capacity: 2, full: drop_oldest}}
  b: {use: identity, in: s}
  j: {use: pair, in: {a: a, b: b}, lane: one}
",
    );
    let graph = graph.unwrap();
    assert_eq!(capacity(&graph, "a"), 2);
    assert!(
        graph
            .to_dot()
            .contains("\"s\" -> \"a\" [label=\"2, drops oldest, in lane\"]")
    );
}

const UNITS: &str = "\
params: {open: 3}
streams: {use: baskets, open: \"${open}\", count: 7}
nodes:
  s:   {use: apples, each: stream}
  all: {use: identity, in: s, batch: {max: 8, each: stream}}
  end: {use: sort, in: all}
";

#[test]
fn streams_may_come_from_a_provider() {
    let graph = read(UNITS).unwrap();
    let provider = graph.provider.as_ref().expect("a provider");
    assert_eq!((provider.name.as_str(), provider.open), ("baskets", 3));
    let settings: BTreeMap<String, u32> = provider.settings.parse().unwrap();
    assert_eq!(settings["count"], 7);
    assert!(graph.streams.is_empty() && !graph.takes_streams());
    let resolved = graph.resolved_yaml();
    assert!(
        read(resolved.trim_start_matches("fermata: 1\n")).is_ok(),
        "{resolved}"
    );
    let batch = graph.nodes[1].batch.as_ref().expect("a batch");
    assert!(batch.each_stream);
    let schema = schema(&registry()).to_string();
    assert!(schema.contains("baskets"), "{schema}");
}

#[test]
fn a_provider_is_refused_as_an_actor_would_be() {
    for (change, by, problem) in [
        (
            "baskets",
            "basket",
            "t.yaml:3:16: there is no provider of streams `basket` (did you mean `baskets`?)",
        ),
        (
            "count: 7",
            "cuont: 7",
            "unknown key `cuont` (did you mean `count`?)",
        ),
        ("count: 7", "count: 7, open: 2", "`open` is given twice"),
        (", count: 7", "", "t.yaml:3:16: `count` is missing"),
        ("\"${open}\"", "0", "`open` must be at least 1"),
        (
            "each: stream}\n  all",
            "}\n  all",
            "`baskets` provides streams, but no source of the graph reads them (add `each: stream` to a source)",
        ),
    ] {
        let problems = read(&UNITS.replace(change, by)).unwrap_err();
        assert!(problems.contains(problem), "{problems}");
    }
}

#[test]
fn no_stream_is_given_to_a_graph_that_has_a_provider() {
    let mut options = options();
    options.overrides = Overrides {
        streams: vec!["door=x".to_owned()],
        ..Overrides::default()
    };
    let text = format!("fermata: 1\n{UNITS}");
    let problems = Graph::parse("t.yaml", &text, &registry(), &options).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("the graph's streams come from `baskets`"),
        "{problems}"
    );
}

#[test]
fn a_node_whose_state_spans_units_is_refused() {
    let problems = read(&UNITS.replace("use: sort", "use: remember")).unwrap_err();
    assert_eq!(
        problems,
        "t.yaml:7:3: `remember` keeps state across streams, but each stream that `baskets` provides is a unit of work by \
         itself (add `each: stream`)"
    );
    assert!(read(&UNITS.replace("use: sort", "use: remember, each: stream")).is_ok());
    let problems = read(&UNITS.replace(", each: stream}}", "}}")).unwrap_err();
    assert_eq!(
        problems,
        "t.yaml:6:31: a batch of `all` would mix streams, but each stream that `baskets` provides is a unit of work by \
         itself (add `each: stream` to the batch)"
    );
}

/// Has as many inputs and outputs as `ports` says.
struct Wide;

impl Actor for Wide {
    const NAME: &'static str = "wide";
    type Settings = BTreeMap<String, usize>;

    fn ports(settings: &Self::Settings) -> Ports {
        let count = settings["ports"];
        let ports = (0..count).fold(Ports::new(), |ports, n| ports.any_input(&format!("i{n}")));
        (0..count).fold(ports, |ports, n| ports.output::<Apple>(&format!("o{n}")))
    }

    fn create(_: Self::Settings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

#[test]
fn an_actor_has_at_most_as_many_ports_as_a_word_has_bits() {
    let mut registry = Registry::builtin();
    registry.register::<Wide>();
    let parse = |count: usize| {
        let inputs: Vec<String> = (0..count).map(|n| format!("i{n}: s")).collect();
        let text = format!(
            "fermata: 1\nnodes:\n  s: {{use: test_source}}\n  w: {{use: wide, ports: {count}, in: {{{}}}}}\n",
            inputs.join(", ")
        );
        Graph::parse("t.yaml", &text, &registry, &options())
    };
    let problems = parse(65).unwrap_err().to_string();
    assert_eq!(
        problems,
        "t.yaml:4:3: `w` has 65 inputs, but at most 64 are allowed\nt.yaml:4:3: `w` has 65 outputs, but at most 64 are allowed"
    );
    parse(64).unwrap();
}
