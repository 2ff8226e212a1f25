//! Jobs over several machines: a coordinator hands out units of work, workers do them, and each unit has one result.
//!
//! This module does not know what a unit is or what is computed of it: it moves numbers of units and bytes of results.
//!
//! # State at the server
//!
//! | what | holds |
//! | --- | --- |
//! | key-value bucket `fermata-jobs` | a key for each job under way: [`records::JobRecord`] |
//! | stream `fermata-ID-units`, a work queue | a subject for each unit without a result, at most one message each; a worker's lease is the consumer's ack wait |
//! | key-value bucket `fermata-ID-state` | `tries.N`: which workers have begun a unit ([`records::Tries`]); `unit.N`: its outcome ([`records::Outcome`]) |
//! | stream `fermata-ID-results` | results in chunks, a subject for each unit and attempt |
//! | subject `fermata-job.ID.worker`, not stored | the workers' reports |
//! | subject `fermata-job.ID.coordinator`, not stored | questions whether the job is still handed out, which its coordinator answers |
//!
//! A unit is done when `unit.N` is *created*. A creation that seems to have failed is read back before anything is
//! discarded, since the server may have done it and died before it could answer. Whoever comes second discards its own
//! result.
//!
//! # Map
//!
//! | to … | read |
//! | --- | --- |
//! | understand the protocol | [`attempt`], [`decision`]: state machines without a network, and their tests (`laws.rs`) |
//! | compute units | [`Worker`] |
//! | hand out units | [`Coordinator`] |

mod assets;
pub mod attempt;
mod coordinator;
pub mod decision;
mod error;
mod finding;
mod given;
mod handed_out;
mod hindrance;
mod in_hand;
mod job_name;
#[cfg(test)]
mod laws;
mod performing;
mod presence;
pub mod records;
mod results;
mod worker;
mod workers;

pub use coordinator::Coordinator;
pub use error::{NoResult, WorkError};
pub use given::{Taken, WorkerSpec};
pub use handed_out::Returned;
pub use job_name::JobName;
pub use presence::end_job;
pub use records::WorkerReport;
pub use worker::Worker;
pub use workers::{Counted, JobNow, WorkerNow};
