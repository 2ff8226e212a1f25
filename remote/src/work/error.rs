//! Errors of a job at a NATS server.

/// Why a job cannot be begun, joined, resumed or ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Another job has the name.
    #[error(
        "the NATS server has another job `{job}`, begun by {by}: wait for its end, name another with --job, or, if nobody works on it any more, remove it with `fermata work --nats URL --job {job} --end`"
    )]
    Taken {
        /// Its name.
        job: String,
        /// Who hands out its units.
        by: String,
    },
    /// There is no such job.
    #[error("the NATS server has no job `{job}`")]
    NoJob {
        /// Its name.
        job: String,
    },
    /// The command that hands the job out is still running.
    #[error(
        "the job `{job}` is still handed out by {by}: end it there with Ctrl-C, which also removes the job"
    )]
    HandedOut {
        /// Its name.
        job: String,
        /// Who hands out its units.
        by: String,
    },
    /// The record at the server is not a job of this version.
    #[error(
        "the job `{job}` at the NATS server cannot be read: {reason}; was it begun by another version of this program?"
    )]
    Unreadable {
        /// Its name.
        job: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Others could not read the job's record: it is too large, or a field has an impossible value.
    #[error("the job cannot be described to workers: {reason}")]
    Unfit {
        /// Why.
        reason: String,
    },
    /// The server does not let this user look for jobs.
    #[error(
        "this user may not take part in jobs at the NATS server ({reason}): jobs need a user with all permissions in an account of their own"
    )]
    Forbidden {
        /// The server's answer.
        reason: String,
    },
    /// The server cannot do what the job needs.
    #[error("{doing} failed at the NATS server: {reason}")]
    Server {
        /// What was to be done.
        doing: &'static str,
        /// The server's answer.
        reason: String,
    },
}

/// Why a unit that was handed out has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoResult {
    /// As many workers as allowed were lost or failed over it.
    #[error("it was given up: {0}")]
    GivenUp(String),
    /// The job, or a part of it, is no longer at the server.
    #[error("the job `{job}` is no longer intact at the NATS server: {missing}")]
    JobGone {
        /// Its name.
        job: String,
        /// What is missing.
        missing: String,
    },
}
