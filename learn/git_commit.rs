// Runs git while a crate is built; the crate's build script includes this file.

use std::path::Path;
use std::process::Command;

/// Passes the commit on as `FERMATA_GIT_COMMIT`, if there is one, and rebuilds the crate when it changes.
fn note_commit() {
    // The log of HEAD grows with each commit and checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=FERMATA_GIT_COMMIT={commit}");
    }
}

/// Returns git's output, or `None` if there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
