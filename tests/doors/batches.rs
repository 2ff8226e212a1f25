//! Actors that finish calls later and take batches.

use std::sync::Arc;

use fermata_engine::testing::{ActorDriver, ListSource, capture, input};
use fermata_engine::{
    Actor, ActorError, Graph, Input, Outputs, Payload, Ports, Registry, RunOptions, RunningGraph,
    Setup,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::support::{PATIENCE, assert_balanced, options};

struct Number(u64);

impl Payload for Number {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// Takes a ticket for each packet, and has no `process_batch` of its own.
struct OneByOne;

impl Actor for OneByOne {
    const NAME: &'static str = "one_by_one";
    type Settings = NoSettings;

    fn ports(_: &NoSettings) -> Ports {
        Ports::new().input::<Number>("in").finishes_later(4)
    }

    fn create(_: NoSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, out: &mut Outputs) -> Result<(), ActorError> {
        out.finish_later()?.done();
        Ok(())
    }
}

/// Fails the odd numbers of a batch, and finishes the others later.
struct Even;

impl Actor for Even {
    const NAME: &'static str = "even";
    type Settings = NoSettings;

    fn ports(_: &NoSettings) -> Ports {
        Ports::new().input::<Number>("in").finishes_later(4)
    }

    fn create(_: NoSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.process_batch(vec![input], out)
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        for mut input in inputs {
            if input.take::<Number>().0 % 2 == 1 {
                out.fail(&input.envelope, "odd");
            }
        }
        out.finish_later()?.done();
        Ok(())
    }
}

/// Runs ten numbers through an actor that takes them in batches of up to four; returns how many were processed, and how
/// many failed.
fn fates(actor: &str) -> (u64, u64) {
    let mut registry = Registry::builtin();
    registry.register::<OneByOne>();
    registry.register::<Even>();
    ListSource::register(&mut registry, "count", (0..10).map(Number));
    let text = format!(
        "fermata: 1
nodes:
  s: {{use: count}}
  takes: {{use: {actor}, in: s, batch: {{max: 4}}}}
run: {{clock: asap}}
"
    );
    let graph = Graph::parse("batches.yaml", &text, &registry, &options()).expect("a graph");
    let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default());
    let report = running.expect("a graph that starts").wait();
    assert_balanced(&report);
    let takes = &report.nodes["takes"];
    (takes.processed, takes.failed)
}

#[test]
fn packets_that_fail_in_a_call_that_is_finished_later_stay_failed() {
    assert_eq!(fates("even"), (5, 5));
}

#[test]
fn packets_of_a_batch_that_get_no_ticket_fail_and_are_not_called_processed() {
    let (processed, failed) = fates("one_by_one");
    // One ticket for each batch of four, four and two.
    assert_eq!((processed, failed), (3, 7));
}

#[test]
fn an_author_of_such_an_actor_is_shown_what_failed() {
    let mut actor = ActorDriver::<Even>::new(json!({})).expect("settings");
    let numbers = (0..3).map(|number| input(capture(number), Number(number)));
    let outcome = actor.process_batch(numbers.collect()).expect("no error");
    let settled = outcome.open.expect("an open call").wait(PATIENCE);
    let failed = settled.expect("no error").failed;
    let failed: Vec<u64> = failed.iter().map(|(of, _)| of.sequence).collect();
    assert_eq!(failed, [1]);
}
