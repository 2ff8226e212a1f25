//! Why a part of a site may not run.

use std::time::Instant;

use crate::connection::NatsConnection;

/// Why a part of a site may not run, or a run of a site may not be ended. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// Another graph runs under this name, or the same with other parameters.
    #[error(
        "site `{site}` runs another graph, `{graph}`, since {since}: all of its machines need the same graph file, includes, --param and --set; \
         end that run with `fermata site end {at}`, or give this one another --site"
    )]
    OtherGraph {
        /// The site.
        site: String,
        /// The options by which a command names the site and its server.
        at: String,
        /// The graph's name.
        graph: String,
        /// When its run was begun.
        since: String,
    },
    /// Another version of the program made the run.
    #[error(
        "site `{site}` is run by version {there} of this program, and this is {here}: install the same one everywhere; \
         or end that run with `fermata site end {at}`"
    )]
    OtherVersion {
        /// The site.
        site: String,
        /// The options by which a command names the site and its server.
        at: String,
        /// The version that began the run.
        there: String,
        /// The version of this program.
        here: String,
    },
    /// This machine's part is already running.
    #[error(
        "machine `{machine}` of site `{site}` runs already, since {since}: a machine has one part; stop that one, or give this one another --machine or --site"
    )]
    Taken {
        /// The site.
        site: String,
        /// The machine.
        machine: String,
        /// When it was started.
        since: String,
    },
    /// This machine's part has run, and its streams have ended.
    #[error(
        "the run of site `{site}` that was begun at {since} has ended on machine `{machine}`: clear it with `fermata site end {at}`, then start anew"
    )]
    Ended {
        /// The site.
        site: String,
        /// The options by which a command names the site and its server.
        at: String,
        /// The machine.
        machine: String,
        /// When the run was begun.
        since: String,
    },
    /// The server has edges of this site but no run.
    #[error(
        "the server still holds what an earlier run of site `{site}` left ({stores}): clear it with `fermata site end {at}`, or give this run another --site"
    )]
    Leftovers {
        /// The site.
        site: String,
        /// The options by which a command names the site and its server.
        at: String,
        /// Names of JetStream streams.
        stores: String,
    },
    /// The server's record of the run cannot be read.
    #[error(
        "the NATS server's record of the run of site `{site}` cannot be read: clear it with `fermata site end {at}`, or give this run another --site"
    )]
    Unreadable {
        /// The site.
        site: String,
        /// The options by which a command names the site and its server.
        at: String,
    },
    /// Parts of the run still run.
    #[error(
        "site `{site}` still runs on {machines}: let it end with `fermata site drain {at}`, or stop its parts"
    )]
    Running {
        /// The site.
        site: String,
        /// The options by which a command names the site and its server.
        at: String,
        /// The machines.
        machines: String,
    },
    /// There is no run.
    #[error("there is no run of site `{site}` at this server")]
    NoRun {
        /// The site.
        site: String,
    },
    /// The server cannot do what it is asked.
    #[error("site `{site}`: the NATS server failed to {what}: {reason}")]
    Server {
        /// The site.
        site: String,
        /// What it was asked to do.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl SiteError {
    /// Creates a [`SiteError::Server`] about something that was asked at `since` or later.
    pub(super) fn server(
        connection: &NatsConnection,
        since: Instant,
        what: &'static str,
        reason: String,
    ) -> Self {
        let site = connection.site.clone();
        let reason = connection.why(since, reason);
        Self::Server { site, what, reason }
    }
}
