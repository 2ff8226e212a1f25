//! Counters that actors keep themselves, besides packets (faces that did not pass, pictures that were given up). The
//! report lists them with their node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;

/// The counters of a node instance, by what they count. They survive restarts and are shared by replicas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies(Arc<Mutex<BTreeMap<&'static str, Arc<AtomicU64>>>>);

impl Tallies {
    /// Returns the counter for `what`; 0 at first.
    pub(crate) fn of(&self, what: &'static str) -> Arc<AtomicU64> {
        Arc::clone(self.tallies().entry(what).or_default())
    }

    /// Returns all nonzero counts.
    pub(crate) fn report(&self) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        self.add_to(&mut counted);
        counted
    }

    /// Adds all nonzero counts to `counted`.
    pub(crate) fn add_to(&self, counted: &mut BTreeMap<String, u64>) {
        for (&what, tally) in &*self.tallies() {
            let count = tally.load(Ordering::Relaxed);
            if count > 0 {
                *counted.entry(what.to_owned()).or_default() += count;
            }
        }
    }

    fn tallies(&self) -> MutexGuard<'_, BTreeMap<&'static str, Arc<AtomicU64>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::error::ActorError;
    use crate::graph::{Graph, LoadOptions};
    use crate::input::Input;
    use crate::outputs::Outputs;
    use crate::ports::Ports;
    use crate::registry::Registry;
    use crate::run::{RunOptions, RunningGraph};
    use crate::setup::Setup;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct NoSettings {}

    struct Counts(Arc<AtomicU64>);

    impl Actor for Counts {
        const NAME: &'static str = "counts";
        type Settings = NoSettings;

        fn ports(_: &NoSettings) -> Ports {
            Ports::new().any_input("in").stateless()
        }

        fn create(_: NoSettings, setup: &Setup) -> Result<Self, ActorError> {
            setup.tally("what never happens");
            Ok(Self(setup.tally("packets that it saw")))
        }

        fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn the_report_tells_what_an_actor_and_its_replicas_counted() {
        let mut registry = Registry::builtin();
        registry.register::<Counts>();
        let text = "\
fermata: 1
nodes:
  source: {use: test_source, count: 20}
  end:    {use: counts, in: source, replicas: 2}
run: {clock: asap}
";
        let graph = Graph::parse("t.yaml", text, &registry, &LoadOptions::new("out"));
        let running = RunningGraph::start(
            graph.expect("a correct graph"),
            Arc::new(registry),
            RunOptions::default(),
        );
        let report = running.expect("a graph that starts").wait();
        let expected = BTreeMap::from([("packets that it saw".to_owned(), 20)]);
        assert_eq!(report.nodes["end"].counted, expected);
    }
}
