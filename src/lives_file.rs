//! The contents of `lives.json`: the lives of a part of a site, and what the book of the site knows of a part that was
//! killed and never restarted.

use std::path::Path;

use fermata_engine::Report;
use fermata_engine::report::{LifeReport, SiteEdgeReport, SiteReport, StreamReport};
use serde::{Deserialize, Serialize};

use crate::run_folder::LIVES;

/// The file.
#[derive(Serialize, Deserialize)]
pub(crate) struct Noted {
    /// The site's run.
    pub(crate) run: String,
    /// When the first life in this folder began, in milliseconds since 1970; 0 if unknown.
    #[serde(default)]
    pub(crate) since_unix_ms: u64,
    /// None in files of earlier versions.
    #[serde(default)]
    pub(crate) part: Option<PartNote>,
    /// The last is that of the program that wrote the file.
    pub(crate) lives: Vec<LifeReport>,
}

/// What distinguishes a part from the others of its site.
#[derive(Serialize, Deserialize)]
pub(crate) struct PartNote {
    pub(crate) machine: String,
    pub(crate) site: String,
    /// Its ends of edges to other machines.
    pub(crate) edges: Vec<SiteEdgeReport>,
    /// Whether any stream ends at it.
    pub(crate) has_sinks: bool,
}

fn read(folder: &Path) -> Option<Noted> {
    let text = fermata_files::read(&folder.join(LIVES), fermata_files::MOST_TEXT).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Returns the lives recorded in a folder, if they belong to this run.
#[cfg_attr(not(feature = "remote"), allow(dead_code))]
pub(crate) fn earlier(folder: &Path, run: &str) -> Option<Noted> {
    read(folder).filter(|noted| noted.run == run)
}

/// Reports what is known of a part whose lives were all killed: what its sources had captured, and where that went.
pub(crate) fn report_of_killed(folder: &Path) -> Option<Report> {
    let Noted {
        run, part, lives, ..
    } = read(folder)?;
    let PartNote {
        machine,
        site,
        edges,
        has_sinks,
    } = part?;
    let captured = lives.iter().flat_map(|life| life.captured.keys());
    let streams = captured.map(|stream| (stream.clone(), StreamReport::default()));
    let unknown =
        "it was killed and left no report: what had arrived at its own sinks is not known";
    Some(Report {
        machine: Some(machine),
        streams: streams.collect(),
        site: Some(SiteReport {
            site,
            run,
            incarnation: lives.last().map_or(1, |life| life.incarnation),
            clock: None,
            latency_error_ms: None,
            killed: lives,
        }),
        site_edges: edges,
        imbalances: has_sinks.then(|| unknown.to_owned()).into_iter().collect(),
        ..Report::default()
    })
}
