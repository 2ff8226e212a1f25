//! What can be typed about a site.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// Show the run of a site: its parts, and what waits at the server
    Status(SiteArguments),
    /// Stop all sources of a site; its parts exit once everything has been delivered
    Drain(SiteArguments),
    /// Remove a site whose parts have ended from the server: its run, and what its edges still hold
    End(SiteArguments),
}

#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Merge the reports of a site's parts and check the totals: captured = delivered + losses by cause and machine
    Merge {
        /// Folders of the parts' runs, or their reports
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct SiteArguments {
    /// NATS server; credentials are read as for `fermata run --nats`
    #[arg(long, value_name = "URL")]
    pub nats: String,
    /// Name of the site: the graph's, or what its parts were given with --site
    #[arg(long, value_name = "NAME")]
    pub site: String,
}
