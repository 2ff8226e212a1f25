//! `sweep.json` and `sweep.html`: the runs of a grid as a table and as flicker against lag.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;

use super::vary::Varied;
use crate::kpi::Measures;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("../kpi/page.css");
const SCRIPT: &str = include_str!("page.js");

/// The contents of `sweep.json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sweep {
    /// The varied paths with their values.
    vary: Vec<(String, Vec<String>)>,
    runs: Vec<Point>,
}

/// A run of the grid.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    /// Its folder, relative to `sweep.json`.
    pub(super) folder: String,
    /// Values by path.
    pub(super) set: BTreeMap<String, String>,
    /// The measures of all streams.
    pub(super) kpi: Measures,
}

impl Sweep {
    pub(super) fn of(varied: &[Varied], runs: Vec<Point>) -> Self {
        let vary = varied.iter();
        Self {
            vary: vary.map(|v| (v.path.clone(), v.values.clone())).collect(),
            runs,
        }
    }
}

/// Strips a path's common prefix.
pub(super) fn short(path: &str) -> &str {
    path.strip_prefix("nodes.").unwrap_or(path)
}

/// Renders the page.
pub(super) fn page(sweep: &Sweep) -> anyhow::Result<String> {
    let data = serde_json::to_string(sweep).context("the numbers are not JSON")?;
    // No value may end the script that contains it; the data is inserted last, so that no text in it is taken for a
    // placeholder.
    let data = data.replace('<', "\\u003c");
    let page = PAGE.replace("/*style*/", STYLE);
    let page = page.replace("/*script*/", SCRIPT);
    Ok(page.replacen("/*data*/", &data, 1))
}
