//! Lets the tests and benches of this crate find libtorch where it was at build time, and records the build information
//! of a run's provenance.

use std::env;
use std::path::PathBuf;

include!("git_commit.rs");

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=git_commit.rs");
    if let Some(libtorch) = env::var_os("LIBTORCH") {
        let libtorch = PathBuf::from(libtorch);
        let lib = libtorch.join("lib");
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
        if let Ok(version) = std::fs::read_to_string(libtorch.join("build-version")) {
            println!("cargo::rustc-env=FERMATA_LIBTORCH={}", version.trim());
        }
    }
    note_commit();
}
