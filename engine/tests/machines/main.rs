//! Tests graphs for several machines: which part each machine runs, and what is refused.

#![allow(clippy::unwrap_used)]

mod again;
mod ends;

use fermata_engine::graph::{NodeSpec, WhenFull};
use fermata_engine::{Graph, LoadOptions, Overrides, Registry};
use serde_json::{Value, json};

use ends::{ACTORS, registry};

fn load_with(text: &str, overrides: Overrides) -> Result<Graph, String> {
    let mut options = LoadOptions::new("/tmp/out");
    options.env.clear();
    options.overrides = overrides;
    let text = format!("fermata: 1\n{text}");
    Graph::parse("site.yaml", &text, &registry(), &options).map_err(|problems| problems.to_string())
}

fn load(text: &str) -> Result<Graph, String> {
    load_with(text, Overrides::default())
}

fn part(text: &str, machine: &str) -> Graph {
    load(text)
        .unwrap()
        .part(machine, ACTORS, &registry())
        .unwrap()
}

/// Returns `NAME: ACTOR <- FEEDERS (STREAMS)` for each node.
fn shape(graph: &Graph) -> Vec<String> {
    graph.nodes.iter().map(|node| line(graph, node)).collect()
}

fn line(graph: &Graph, node: &NodeSpec) -> String {
    let from = node.inputs.iter().flat_map(|input| &input.from);
    let from = from.map(|from| graph.nodes[from.node].name.as_str());
    let from: Vec<&str> = from.collect();
    let from = if from.is_empty() {
        String::new()
    } else {
        format!(" <- {}", from.join(", "))
    };
    let streams = graph.instances_of(node).into_iter().flatten();
    let streams: Vec<String> = streams.map(|stream| stream.name).collect();
    let streams = if node.each_stream {
        format!(" ({})", streams.join(", "))
    } else {
        String::new()
    };
    format!("{}: {}{from}{streams}", node.name, node.actor)
}

fn settings(graph: &Graph, name: &str) -> Value {
    let node = graph.nodes.iter().find(|node| node.name == name).unwrap();
    let stream = graph.instances_of(node).into_iter().next().flatten();
    node.settings(stream.as_ref()).unwrap().parse().unwrap()
}

const ONE_SOURCE: &str = "\
machines: {gate: {}, server: {}}
streams: {door: x, hall: y}
nodes:
  capture: {use: numbers, each: stream, on: gate}
  detect: {use: identity, in: capture, on: server, queue: {capacity: 2, full: drop_oldest, max_age: 300ms, quality: 80}}
  log: {use: discard, in: detect, on: server}
";

#[test]
fn each_machine_runs_its_nodes_and_the_ends_of_the_edges_between() {
    let gate = part(ONE_SOURCE, "gate");
    assert!(!gate.has_own_sinks() && part(ONE_SOURCE, "server").has_own_sinks());
    let note = "  note: {use: discard, in: capture, on: gate}\n";
    assert!(part(&format!("{ONE_SOURCE}{note}"), "gate").has_own_sinks());
    assert_eq!(
        shape(&gate),
        [
            "capture: numbers (door, hall)",
            "capture-server: send <- capture (door, hall)"
        ]
    );
    assert_eq!(
        settings(&gate, "capture-server"),
        json!({"edge": "capture-server", "full": "drop_oldest", "capacity": 2, "window": 2, "quality": 80, "max_age": "300ms"})
    );
    let server = part(ONE_SOURCE, "server");
    assert_eq!(
        shape(&server),
        [
            "capture: receive (door, hall)",
            "detect: identity <- capture",
            "log: discard <- detect"
        ]
    );
    assert_eq!(
        settings(&server, "capture"),
        json!({"edge": "capture-server", "full": "drop_oldest", "capacity": 2, "window": 2, "carries": "number"})
    );
    let queue = &server.nodes[1].queue;
    assert_eq!((queue.capacity, queue.full), (2, WhenFull::DropOldest));
    assert_eq!(server.machine(), Some("server"));
    assert_eq!(server.whole().nodes.len(), 3);
    assert!(!server.takes_streams() && gate.takes_streams());
    assert_eq!(server.resolved_yaml(), server.whole().resolved_yaml());
}

#[test]
fn two_cameras_on_two_machines_meet_on_a_third() {
    let text = "\
machines: {gate: {}, hall: {}, server: {}}
nodes:
  door: {use: numbers, on: gate}
  yard: {use: numbers, on: hall}
  small: {use: identity, each: stream, in: yard, on: hall}
  own: {use: numbers, on: server}
  all: {use: identity, each: stream, in: [own, door, small], on: server}
  log: {use: discard, in: all, on: server}
";
    assert_eq!(
        shape(&part(text, "hall")),
        [
            "yard: numbers",
            "small: identity <- yard (yard)",
            "small-server: send <- small (yard)"
        ]
    );
    let server = part(text, "server");
    assert_eq!(
        shape(&server),
        [
            "door: receive (door)",
            "small: receive (yard)",
            "own: numbers",
            "all: identity <- own, door, small (own, door, yard)",
            "log: discard <- all",
        ]
    );
    let names: Vec<&str> = server.streams.iter().map(|stream| &*stream.name).collect();
    assert_eq!(names, ["door", "yard"]);
}

#[test]
fn a_part_knows_who_sends_to_it_unless_that_goes_round() {
    let text = "\
machines: {gate: {}, hall: {}, server: {}}
nodes:
  door: {use: numbers, on: gate}
  small: {use: identity, in: door, on: hall}
  log: {use: discard, in: small, on: server}
";
    let of = |text: &str, machine: &str| part(text, machine).senders().map(Vec::from_iter);
    assert_eq!(of(text, "gate"), Some(Vec::new()));
    assert_eq!(of(text, "server"), Some(vec!["hall".to_owned()]));
    let back = "  lamp: {use: numbers, on: hall}\n  seen: {use: discard, in: lamp, on: gate}\n";
    let round = [text, back].concat();
    assert_eq!((of(&round, "gate"), of(&round, "hall")), (None, None));
    assert_eq!(of(&round, "server"), of(text, "server"));
    assert_eq!(load(text).unwrap().senders(), None, "the whole");
}

#[test]
fn streams_may_say_where_they_are_captured() {
    let text = "\
machines: {gate: {}, hall: {}, server: {}}
streams: {door: {uri: x, machine: gate}, yard: {uri: y, machine: hall}, desk: {uri: z, machine: server}}
nodes:
  capture: {use: numbers, each: stream, on: '${stream.machine}'}
  small: {use: identity, each: stream, in: capture, on: '${stream.machine}'}
  all: {use: identity, in: small, on: server}
  log: {use: discard, in: all, on: server}
";
    assert_eq!(
        shape(&part(text, "hall")),
        [
            "capture: numbers (yard)",
            "small: identity <- capture (yard)",
            "small-server: send <- small (yard)"
        ]
    );
    assert_eq!(
        shape(&part(text, "server")),
        [
            "capture: numbers (desk)",
            "small-server: receive (door, yard)",
            "small: identity <- capture (desk)",
            "all: identity <- small, small-server",
            "log: discard <- all",
        ]
    );
}

#[test]
fn an_edge_loses_nothing_that_any_node_wants_and_holds_what_a_batch_waits_for() {
    let text = "\
machines: {gate: {}, server: {}}
streams: {door: x}
nodes:
  capture: {use: numbers, each: stream, on: gate}
  show: {use: discard, in: capture, on: server, queue: {capacity: 1, full: drop_oldest, max_age: 1s}}
  log: {use: discard, in: capture, on: server, queue: {capacity: 7}}
  here: {use: discard, in: capture, on: gate, queue: {full: drop_newest}}
";
    let gate = part(text, "gate");
    let whole = json!({"edge": "capture-server", "full": "block", "capacity": 7});
    assert_eq!(settings(&gate, "capture-server"), whole);
    assert_eq!(gate.nodes.len(), 3);
    // What each consumer does with its packets is up to it.
    let nodes = part(text, "server").nodes;
    let full: Vec<WhenFull> = nodes.iter().map(|node| node.queue.full).collect();
    let is_block = full.iter().map(|&full| full == WhenFull::Block);
    assert!(is_block.eq([true, false, true]), "{full:?}");
    let text = text.replace("capacity: 7}", "capacity: 7}, batch: {max: 90, wait: 1s}");
    let gate = part(&text, "gate");
    assert_eq!(settings(&gate, "capture-server")["capacity"], 90);
}

#[test]
fn under_asap_edges_between_machines_block() {
    let asap = format!("{ONE_SOURCE}run: {{clock: asap}}\n");
    let settings = settings(&part(&asap, "gate"), "capture-server");
    assert_eq!(settings["full"], "block");
    assert_eq!(settings.get("max_age"), None);
}

#[test]
fn what_cannot_be_on_several_machines_is_refused_with_its_place() {
    let change = |from: &str, to: &str| {
        assert!(ONE_SOURCE.contains(from), "{from}");
        load(&ONE_SOURCE.replace(from, to)).unwrap_err()
    };
    for (refused, words) in [
        (
            change("on: gate", "on: gat"),
            "site.yaml:5:45: there is no machine `gat` (did you mean `gate`?)",
        ),
        (
            change(", on: gate", ""),
            "node `capture`: no machine is given (add `on:`; known: gate, server)",
        ),
        (
            change("machines: {gate: {}, server: {}}", "name: x"),
            "`on` names a machine, but the graph has no `machines` (add `machines: {gate: {}}`)",
        ),
        (
            change("server: {}}", "server: {}, attic: {}}"),
            "site.yaml:2:34: no node runs on machine `attic`",
        ),
        (
            change("gate: {}", "gate: {cores: 4}"),
            "machine `gate` takes no settings",
        ),
        (
            change("use: numbers", "use: locals"),
            "the packets from `capture` on machine `gate` to `detect` on `server` cannot travel: they are Local, which has no codec; known: number",
        ),
        (
            change("in: capture, on: server", "in: capture, on: gate"),
            "`quality` applies to pictures from another machine, but what feeds `detect` is on the same one",
        ),
        (
            change("in: detect, on: server", "in: detect, on: gate"),
            "the stream `door` would come to machine `gate` in several places: from capture, detect",
        ),
        (
            change(
                "in: detect, on: server",
                "in: [detect, capture], on: server",
            ),
            "carry the same streams",
        ),
        (
            change("quality: 80", "quality: 101"),
            "`quality` must be from 1 to 100",
        ),
        (
            change(
                "capture: {use: numbers, each: stream, on: gate}",
                "capture: {use: numbers, each: stream, on: '${stream.machine}'}",
            ),
            "a stream has no `stream.machine` of its own",
        ),
    ] {
        assert!(refused.contains(words), "{refused}");
    }
    let text = "\
machines: {gate: {}, server: {}}
streams: {door: x}
nodes:
  capture: {use: numbers, each: stream, on: gate, lane: one}
  log: {use: discard, each: stream, in: capture, on: server, lane: one}
";
    let refused = load(text).unwrap_err();
    assert!(
        refused.contains("lane `one` holds `capture` and `log`, which run on different machines"),
        "{refused}"
    );
    // A machine whose only node cannot be parsed is not reported as having none.
    let refused = change("use: numbers", "use: numbers, frames: 60");
    assert!(refused.contains("`frames`"), "{refused}");
    assert!(!refused.contains("no node runs on machine"), "{refused}");
    let problem = load(ONE_SOURCE).unwrap().part("sever", ACTORS, &registry());
    let problem = problem.unwrap_err().to_string();
    assert_eq!(
        problem,
        "there is no machine `sever` (did you mean `server`?)"
    );
    let without = load(ONE_SOURCE)
        .unwrap()
        .part("gate", ACTORS, &Registry::builtin());
    let without = without.unwrap_err().to_string();
    assert!(without.contains("no `send`"), "{without}");
}

#[test]
fn streams_that_meet_stay_together() {
    let text = "\
machines: {gate: {}, server: {}}
streams: {door: {uri: x, to: gate}, yard: {uri: y, to: server}}
nodes:
  capture: {use: numbers, each: stream, on: gate}
  log: {use: discard, each: stream, in: capture, on: '${stream.to}'}
";
    let refused = load(text).unwrap_err();
    assert!(
        refused.contains("`capture` gives the streams `door` and `yard` to `log` together"),
        "{refused}"
    );
}

#[test]
fn two_machines_may_write_the_same_path_and_one_may_not() {
    let text = "\
machines: {gate: {}, server: {}}
streams: {door: x}
nodes:
  capture: {use: numbers, each: stream, on: gate}
  here: {use: write, in: capture, on: gate, path: /tmp/out/a.csv}
  there: {use: write, in: capture, on: server, path: /tmp/out/a.csv}
";
    assert!(load(text).is_ok());
    let refused = load(
        &text
            .replace("on: server", "on: gate")
            .replace(", server: {}", ""),
    );
    assert!(refused.unwrap_err().contains("both write"));
}

#[test]
fn a_drawing_shows_machines_as_boxes() {
    let graph = load(ONE_SOURCE).unwrap();
    let dot = graph.to_dot();
    let gate = dot.find("subgraph \"cluster_gate\"").unwrap();
    let server = dot.find("subgraph \"cluster_server\"").unwrap();
    let of = |name: &str| dot.find(&format!("\"{name}\" [label=")).unwrap();
    assert!(gate < of("capture") && of("capture") < server && server < of("detect"));
    assert!(graph.to_mermaid().contains("subgraph m_1[\"server\"]"));
    assert!(!part(ONE_SOURCE, "gate").to_dot().contains("subgraph"));
}

#[test]
fn what_parts_have_in_common_is_all_but_where_streams_come_from_on_each() {
    let with = |params: &[&str], streams: &[&str], set: &[&str]| {
        let texts = |given: &[&str]| given.iter().map(|&text| text.to_owned()).collect();
        let overrides = Overrides {
            params: texts(params),
            streams: texts(streams),
            set: texts(set),
        };
        let text = format!("params: {{n: 1}}\n{ONE_SOURCE}");
        load_with(&text, overrides).unwrap().common_yaml()
    };
    let common = with(&[], &[], &[]);
    assert_eq!(common, with(&[], &["door=/dev/video3"], &[]));
    assert_ne!(common, with(&["n=2"], &[], &[]));
    assert_ne!(common, with(&[], &["attic=z"], &[]));
    assert_ne!(common, with(&[], &[], &["nodes.detect.queue.capacity=3"]));
    let gate = part(ONE_SOURCE, "gate").common_yaml();
    assert_eq!(gate, part(ONE_SOURCE, "server").common_yaml());
}
