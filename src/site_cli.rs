//! Command-line arguments of `fermata site`.

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
    #[arg(long, value_name = "NAME", value_parser = site_name)]
    pub site: String,
}

/// Maximum length of a site's name; characters beyond a–z, digits, `-` and `_` count three times or more. The name
/// becomes part of bounded names on the server.
const MOST_SITE: usize = 100;

/// Parses the name of a site.
pub(crate) fn site_name(given: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let length: usize = given
        .bytes()
        .map(|byte| if is_plain(byte) { 1 } else { 3 })
        .sum();
    match length {
        0 => Err("the name of a site must not be empty".to_owned()),
        1..=MOST_SITE => Ok(given.to_owned()),
        _ => Err(format!(
            "a site's name has at most {MOST_SITE} letters (a–z, digits, `-`, `_`)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::site_name;

    #[test]
    fn a_site_has_a_name_that_the_server_has_room_for() {
        for name in ["shop", "a b", "ä.ö", &"s".repeat(100)] {
            assert_eq!(site_name(name).as_deref(), Ok(name));
        }
        for name in ["", &"s".repeat(101), &"ä".repeat(17)] {
            assert!(site_name(name).is_err(), "{name}");
        }
    }
}
