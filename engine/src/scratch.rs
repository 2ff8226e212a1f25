//! t
use crate::graph::*;
use crate::*;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
fn node(
    reg: &Registry,
    name: &str,
    actor: &str,
    input: Option<(usize, usize)>,
    raw: serde_json::Value,
) -> NodeSpec {
    let s = Settings(raw.clone());
    let ports = reg.get(actor).unwrap().ports(&s).unwrap();
    NodeSpec {
        name: name.into(),
        actor: actor.into(),
        each_stream: false,
        inputs: input
            .map(|(n, o)| {
                vec![InputSpec {
                    port: 0,
                    from: vec![OutputRef { node: n, output: o }],
                }]
            })
            .unwrap_or_default(),
        ports,
        queue: QueueSpec {
            capacity: 10,
            bytes: None,
            full: WhenFull::Block,
            max_age: None,
        },
        lane: None,
        replicas: 1,
        batch: None,
        on_error: OnError::Skip,
        require: Require::All,
        raw,
    }
}
fn graph(nodes: Vec<NodeSpec>, clock: ClockMode) -> Graph {
    Graph {
        name: "t".into(),
        streams: vec![],
        nodes,
        run: RunSpec {
            clock,
            drain: Duration::from_secs(5),
            restart: RestartSpec {
                most: 5,
                within: Duration::from_secs(60),
            },
            call_deadline: Duration::from_secs(5),
        },
        run_dir: "/tmp".into(),
    }
}
#[test]
fn chain() {
    let reg = Arc::new(Registry::builtin());
    for n in [300_000u64, 1_200_000] {
        let mut nodes = vec![
            node(
                &reg,
                "src",
                "test_source",
                None,
                json!({"count":n,"bytes":"921600"}),
            ),
            node(&reg, "id", "identity", Some((0, 0)), json!({})),
            node(&reg, "end", "discard", Some((1, 0)), json!({})),
        ];
        nodes[1].lane = Some("l".into());
        nodes[2].lane = Some("l".into());
        let t = std::time::Instant::now();
        let r = RunningGraph::start(
            graph(nodes, ClockMode::Live),
            reg.clone(),
            RunOptions::default(),
        )
        .unwrap()
        .wait();
        println!("{n} {:?} wall {} {:#?}", t.elapsed(), r.wall_s, r.balanced);
        if n < 1_000_000 {
            println!("{}", serde_json::to_string_pretty(&r).unwrap());
        }
    }
}
#[test]
fn faults() {
    let reg = Arc::new(Registry::builtin());
    let mut nodes = vec![
        node(&reg, "src", "test_source", None, json!({"count":1000})),
        node(
            &reg,
            "bad",
            "inject_faults",
            Some((0, 0)),
            json!({"panic_every":400,"fail_every":7}),
        ),
        node(
            &reg,
            "id",
            "identity",
            Some((1, 0)),
            json!({"work":"100us"}),
        ),
        node(&reg, "end", "discard", Some((2, 0)), json!({})),
    ];
    nodes[2].replicas = 3;
    nodes[2].batch = Some(BatchSpec {
        max: 4,
        wait: Duration::from_millis(3),
    });
    let r = RunningGraph::start(
        graph(nodes, ClockMode::Asap),
        reg.clone(),
        RunOptions::default(),
    )
    .unwrap()
    .wait();
    println!("{}", serde_json::to_string_pretty(&r).unwrap());
    assert!(r.balanced);
}
