//! A report names the packets that did not reach a sink by cause and place, in one phrase.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::sim::{At, SimCommand, SimOptions, simulate};
use fermata_engine::{Graph, LoadOptions, Registry};

#[test]
fn what_was_waiting_for_a_node_when_a_run_was_stopped_is_abandoned_before_it() {
    let text = "\
fermata: 1
streams: {a: x}
nodes:
  source: {use: test_source, each: stream, rate: 10000}
  slow:   {use: identity, each: stream, in: source, work: 1ms, queue: {capacity: 4}}
  end:    {use: discard, in: slow}
";
    let registry = Registry::builtin();
    let graph = Graph::parse("t.yaml", text, &registry, &LoadOptions::new("out")).unwrap();
    for seed in 0..20 {
        let options = SimOptions {
            commands: vec![(At::Time(Duration::from_millis(100)), SimCommand::Stop)],
            ..SimOptions::seeded(seed)
        };
        let registry = Arc::new(Registry::builtin());
        let report = simulate(graph.clone(), registry, &options).unwrap().report;
        assert!(report.balanced, "{:?}", report.imbalances);
        let sink = &report.streams["a"].sinks["end"];
        let before = sink.losses["abandoned before slow@a"];
        assert!((1..=5).contains(&before), "{sink:?}");
        for loss in sink.losses.keys() {
            let places = loss.matches(" at ").count() + loss.matches(" before ").count();
            assert_eq!(places, 1, "{loss}");
        }
    }
}
