//! What can be wrong with a job at a NATS server.

/// A job that cannot be begun, joined or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Somebody else's job has the name.
    #[error(
        "the NATS server has another job `{job}`, begun by {by}: wait for its end, name another with --job, or, if nobody does it any more, remove it with `fermata work --nats URL --job {job} --end`"
    )]
    Taken {
        /// Its name.
        job: String,
        /// Who hands its units out.
        by: String,
    },
    /// There is no such job.
    #[error("the NATS server has no job `{job}`")]
    NoJob {
        /// Its name.
        job: String,
    },
    /// Whoever hands the job out is there.
    #[error(
        "the job `{job}` is handed out by {by}, and goes on: end it there, with Ctrl-C, which removes it as well"
    )]
    HandedOut {
        /// Its name.
        job: String,
        /// Who hands its units out.
        by: String,
    },
    /// What stands at the server is no job of this version.
    #[error(
        "the job `{job}` at the NATS server cannot be read: {reason}; is its program of another version?"
    )]
    Unreadable {
        /// Its name.
        job: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The job is too large for a record.
    #[error("the job cannot be described to workers: {reason}")]
    TooLarge {
        /// Why.
        reason: String,
    },
    /// The server does not let this user look for jobs.
    #[error(
        "this user may not take part in jobs at the NATS server ({reason}): jobs need a user who may do everything in an account of their own"
    )]
    Forbidden {
        /// What the server said.
        reason: String,
    },
    /// The server does not do what it should.
    #[error("the NATS server does not do what the job needs ({doing}): {reason}")]
    Server {
        /// What was to be done.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Why nothing will come of a unit that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoResult {
    /// As many workers as may be were lost or failed over it.
    #[error("it was given up: {0}")]
    GivenUp(String),
    /// The job, or a part of it, is not at the server any more.
    #[error("the job `{job}` is not at the NATS server as it was: {missing}")]
    JobGone {
        /// Its name.
        job: String,
        /// What is not there.
        missing: String,
    },
}
