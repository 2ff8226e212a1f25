//! The integration tests: one program, with a module for each behaviour. Tests on real video and models look for them
//! in `FERMATA_DATA` and report themselves as skipped when it is not set (`skipped`).

// All of this program is tests, including the functions that several of them share.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "live")]
mod abuse;
#[cfg(feature = "live")]
mod analyse;
#[cfg(feature = "learn")]
mod audits;
#[cfg(feature = "live")]
mod browser;
#[cfg(feature = "live")]
mod cameras;
#[cfg(feature = "live")]
mod cases;
#[cfg(feature = "live")]
mod command;
#[cfg(feature = "learn")]
mod comparisons;
#[cfg(feature = "live")]
#[path = "../examples/custom_actor.rs"]
mod custom_actor;
#[cfg(feature = "live")]
mod disk;
mod doors;
#[cfg(feature = "live")]
mod endurance;
mod fuzzing;
mod graph_files;
mod graph_meetings;
#[cfg(feature = "learn")]
mod guide;
#[cfg(feature = "live")]
mod hostile;
#[path = "../examples/http_sink.rs"]
mod http_sink;
#[cfg(feature = "live")]
mod kpi;
mod laws;
#[cfg(feature = "learn")]
mod learning;
#[cfg(feature = "learn")]
mod learning_refusals;
#[cfg(feature = "live")]
mod live;
#[cfg(feature = "live")]
mod live_page;
#[cfg(feature = "live")]
mod live_page_parts;
#[cfg(feature = "live")]
mod live_page_soak;
#[cfg(feature = "learn")]
mod manifests;
#[cfg(feature = "live")]
mod models_at_hand;
#[cfg(feature = "live")]
mod mutations;
#[cfg(feature = "remote")]
#[path = "../remote/tests/edges/server.rs"]
#[allow(dead_code, reason = "tests of other crates use the rest of it")]
mod nats_server;
#[cfg(feature = "live")]
mod openvino;
#[cfg(feature = "learn")]
mod pipeline;
#[cfg(feature = "live")]
mod program;
mod running;
#[cfg(feature = "live")]
mod secrets;
#[cfg(feature = "live")]
mod seeking;
#[cfg(feature = "live")]
mod served_run;
#[cfg(feature = "live")]
#[path = "../actors/tests/video/servers.rs"]
#[allow(dead_code)] // Shared with the tests of `video_source`, which use the rest.
mod servers;
mod settled;
#[cfg(feature = "remote")]
mod site;
#[cfg(feature = "remote")]
mod site_again;
#[cfg(feature = "remote")]
mod site_trial;
mod skipped;
#[cfg(feature = "learn")]
mod softlabels;
#[cfg(feature = "learn")]
mod spared_inputs;
mod support;
#[cfg(feature = "live")]
mod sweep;
#[cfg(feature = "live")]
mod top;
#[cfg(feature = "live")]
mod traces_and_logs;
#[cfg(feature = "learn")]
mod training;
#[path = "../examples/unit_job.rs"]
mod unit_job;
mod units;
#[cfg(feature = "learn")]
mod unpacking;
mod watching;

#[cfg(feature = "live")]
#[test]
fn the_example_of_an_actor_of_ones_own_runs() {
    custom_actor::main().expect("the example");
}

#[test]
fn the_example_of_a_sink_that_finishes_later_runs() {
    http_sink::main().expect("the example");
}

#[test]
fn the_example_of_a_job_that_is_killed_and_resumed_runs() {
    let mut program = std::process::Command::new(std::env::current_exe().expect("a program"));
    program.args([
        "the_example_of_a_job_that_is_killed_and_resumed_runs",
        "--exact",
    ]);
    unit_job::run(program).expect("the example");
}
