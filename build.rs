//! Lets `fermata-learn` and the tests find libtorch at its build-time location (`fermata` does not need it), and
//! records the commit, which the machines of a site compare to check that they run the same program.

use std::env;
use std::path::PathBuf;

include!("learn/git_commit.rs");

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=learn/git_commit.rs");
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
