//! The integration tests: one program, a module for each behaviour. Tests on real video and models look for them in
//! `FERMATA_DATA` and say so when it is not set.

// All of this program is tests, also the functions that several of them share.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "learn")]
mod audits;
#[cfg(feature = "live")]
mod cameras;
#[cfg(feature = "learn")]
mod comparisons;
#[cfg(feature = "live")]
#[path = "../examples/custom_actor.rs"]
mod custom_actor;
#[cfg(feature = "live")]
mod disk;
#[cfg(feature = "live")]
mod endurance;
mod fuzzing;
mod graph_files;
mod graph_meetings;
mod laws;
#[cfg(feature = "learn")]
mod learning;
#[cfg(feature = "learn")]
mod learning_refusals;
#[cfg(feature = "live")]
mod live;
#[cfg(feature = "learn")]
mod manifests;
#[cfg(feature = "live")]
mod program;
mod running;
#[cfg(feature = "learn")]
mod softlabels;
mod support;
#[cfg(feature = "learn")]
mod training;
mod units;

#[cfg(feature = "live")]
#[test]
fn the_example_of_an_actor_of_ones_own_runs() {
    custom_actor::main().expect("the example");
}
