//! Jobs over several machines: a coordinator hands units of work out, workers do them, and each unit has one result.
//!
//! What a unit is and what is computed of it, this module does not know: it moves numbers of units and bytes of
//! results.
//!
//! # What is at the server
//!
//! | what | holds |
//! | --- | --- |
//! | key-value bucket `fermata-jobs` | a key for each job that is under way: [`records::JobRecord`] |
//! | stream `fermata-ID-units`, a work queue | a subject for each unit that has no result, one message at most; a worker's lease is the consumer's ack wait |
//! | key-value bucket `fermata-ID-state` | `tries.N`: which workers have begun a unit ([`records::Tries`]); `unit.N`: what came of it ([`records::Outcome`]) |
//! | stream `fermata-ID-results` | results in pieces, a subject for each unit and attempt |
//! | subject `fermata-job.ID.worker`, not stored | what workers say of themselves |
//! | subject `fermata-job.ID.coordinator`, not stored | questions whether the job is handed out, which its coordinator answers |
//!
//! A unit is done when `unit.N` is *created*. A creation that seems to have failed is read back before anything is
//! thrown away, since the server may have done it and died before it could say so. Whoever comes second throws its own
//! result away.
//!
//! # Map
//!
//! | to … | read |
//! | --- | --- |
//! | understand the protocol | [`attempt`], [`decision`]: state machines without a network, and what tries them (`laws.rs`) |
//! | work | [`Worker`] |
//! | hand out | [`Coordinator`] |

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
pub use worker::Worker;
pub use workers::{Counted, JobNow, WorkerNow};
