//! Lets the tests and benches of this crate find libtorch where it was at build time, and notes what a run's provenance says of the build.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(libtorch) = env::var_os("LIBTORCH") {
        let libtorch = PathBuf::from(libtorch);
        let lib = libtorch.join("lib");
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
        if let Ok(version) = std::fs::read_to_string(libtorch.join("build-version")) {
            println!("cargo::rustc-env=FERMATA_LIBTORCH={}", version.trim());
        }
    }
    // The log of HEAD grows with each commit and checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=FERMATA_GIT_COMMIT={commit}");
    }
}

/// What git says, or nothing where there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
