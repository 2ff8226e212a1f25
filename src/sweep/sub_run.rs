//! One run of a sweep: a process of its own, so that no run warms up, leaks into or brings down another.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::cli::GraphArguments;
use crate::kpi::{RunMeasures, measure};

/// Runs the graph into a folder and measures it.
///
/// # Errors
/// If the run fails, or wrote nothing that can be measured.
pub(super) fn run(graph: &GraphArguments, folder: &Path) -> anyhow::Result<RunMeasures> {
    let program = std::env::current_exe().context("cannot find where this program is")?;
    let mut command = Command::new(&program);
    command.args(["run", "--quiet", "--out"]);
    command.arg(folder).arg(&graph.graph);
    for (option, values) in [
        ("--stream", &graph.streams),
        ("--param", &graph.params),
        ("--set", &graph.set),
    ] {
        for value in values {
            command.args([option, value]);
        }
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let told = String::from_utf8_lossy(&output.stdout);
        let failed = told.lines().filter(|line| line.starts_with("failed:"));
        let lines: Vec<&str> = errors.lines().chain(failed).collect();
        let last = lines[lines.len().saturating_sub(6)..].join("\n");
        bail!(
            "the run in {} ended with {}:\n{last}",
            folder.display(),
            output.status
        );
    }
    measure(folder)
}
