//! Lets `fermata-learn` and the tests find libtorch where it was at build time, which `fermata` does not need; and notes the commit, by which the
//! machines of a site tell whether they run the same program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_LEARN").is_some()
        && let Some(libtorch) = env::var_os("LIBTORCH")
    {
        let lib = PathBuf::from(libtorch).join("lib");
        for target in ["rustc-link-arg-bin=fermata-learn", "rustc-link-arg-tests"] {
            println!("cargo::{target}=-Wl,-rpath,{}", lib.display());
        }
    }
    if env::var_os("CARGO_FEATURE_REMOTE").is_some() {
        note_commit();
    }
}

fn note_commit() {
    // The log of HEAD grows with each commit and checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
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
