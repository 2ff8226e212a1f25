//! Shared nodes that cannot keep up serve all streams alike, however their calls are made.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::sim::{At, SimCommand, SimOptions, simulate};
use fermata_engine::{Graph, LoadOptions, Registry};

const STREAMS: usize = 8;

/// What each of eight alike streams got through a shared node that manages a small part of them, in ten seconds.
fn delivered(shared: &str, seed: u64) -> Vec<u64> {
    let streams: Vec<String> = (0..STREAMS).map(|index| format!("s{index}: x")).collect();
    let text = format!(
        "\
fermata: 1
streams: {{{}}}
nodes:
  source: {{use: test_source, each: stream, rate: 30}}
{shared}
  end:    {{use: discard, each: stream, in: shared}}
run: {{clock: live}}
",
        streams.join(", ")
    );
    let registry = Registry::builtin();
    let options = LoadOptions::new("out");
    let graph = Graph::parse("turns.yaml", &text, &registry, &options).unwrap();
    let options = SimOptions {
        commands: vec![(At::Time(Duration::from_secs(10)), SimCommand::Drain)],
        ..SimOptions::seeded(seed)
    };
    let run = simulate(graph, Arc::new(registry), &options).unwrap();
    assert!(run.ended && run.report.balanced, "{:#?}", run.report);
    let streams = run.report.streams.values();
    streams.map(|stream| stream.delivered).collect()
}

#[test]
fn an_overloaded_shared_node_serves_all_streams_alike() {
    const DROPPING: &str = "queue: {capacity: 1, full: drop_oldest}";
    let nodes = [
        format!("  shared: {{use: identity, in: source, work: 20ms, {DROPPING}}}"),
        format!("  shared: {{use: identity, in: source, work: 40ms, replicas: 2, {DROPPING}}}"),
        format!("  shared: {{use: identity, in: source, work: 80ms, replicas: 3, {DROPPING}}}"),
        format!(
            "  shared: {{use: identity, in: source, work: 20ms, batch: {{max: 4}}, {DROPPING}}}"
        ),
        format!(
            "  shared: {{use: identity, in: source, work: 40ms, replicas: 2, batch: {{max: 3}}, {DROPPING}}}"
        ),
        // What blocks holds its sources up, and all of them alike.
        "  shared: {use: identity, in: source, work: 40ms, replicas: 2}".to_owned(),
        "  shared: {use: identity, in: source, work: 40ms, batch: {max: 3}}".to_owned(),
        // Two in a row, so that the second one's packets come from the lane of the first or from their own.
        format!(
            "  first:  {{use: identity, in: source, work: 10ms, {DROPPING}}}\n  \
             shared: {{use: identity, in: first, work: 40ms, replicas: 2, {DROPPING}}}"
        ),
    ];
    for node in &nodes {
        // A seed may have a lane go so seldom that its stream hardly gives anything; most do not.
        let mut shares: Vec<f64> = (0..15)
            .map(|seed| {
                let delivered = delivered(node, seed);
                let (least, most) = (delivered.iter().min(), delivered.iter().max());
                *least.unwrap() as f64 / *most.unwrap() as f64
            })
            .collect();
        shares.sort_by(f64::total_cmp);
        assert!(shares[7] > 0.75, "{node}: least by most, {shares:.2?}");
    }
}
