//! Lets `fermata-learn` and the tests find libtorch where it was at build time; `fermata` does not need it.

use std::env;
use std::path::PathBuf;

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
}
