//! Runs a graph on one thread in virtual time, in an order that a seed decides, so that a failing run can be repeated
//! exactly.
//!
//! The engine is the same as in production: lanes, replicas and the control plane's decisions are state machines, which
//! production steps on threads and actors and [`simulate`] steps one at a time. A lane that has nothing to do is
//! stepped again only when it is woken or its time has come, so a lost wake-up shows as a run that does not end.
//!
//! ```
//! use std::sync::Arc;
//! use fermata_engine::sim::{SimOptions, simulate};
//! use fermata_engine::{Graph, LoadOptions, Registry};
//!
//! let text = "
//! fermata: 1
//! nodes:
//!   source: {use: test_source, count: 3, rate: 10}
//!   end:    {use: discard, in: source}
//! ";
//! let registry = Registry::builtin();
//! let graph = Graph::parse("example.yaml", text, &registry, &LoadOptions::new("out")).unwrap();
//! let run = simulate(graph, Arc::new(registry), &SimOptions::seeded(7)).unwrap();
//! assert!(run.ended && run.report.balanced);
//! assert_eq!(run.deliveries.len(), 3);
//! assert!(run.time.as_millis() >= 200, "the packets were paced by their time stamps");
//! ```
//!
//! Interleavings within a step and memory ordering are not simulated. Actors of a simulated graph must not wait for
//! real time or for other threads; they simulate computing with [`Clock::work`](crate::Clock::work) and hanging with
//! [`Clock::hang`](crate::Clock::hang).

mod adders;
mod handled;
mod options;
mod outcome;
mod random;
mod scheduler;

use std::sync::Arc;

use crate::graph::Graph;
use crate::registry::Registry;
use crate::start_error::StartError;

pub use options::{At, SimCommand, SimOptions};
pub use outcome::{Delivery, SimRun};

/// Runs a graph to its end.
///
/// # Errors
/// See [`crate::RunningGraph::start`].
pub fn simulate(
    graph: Graph,
    registry: Arc<Registry>,
    options: &SimOptions,
) -> Result<SimRun, StartError> {
    scheduler::Scheduler::new(graph, registry, options)?.run()
}
