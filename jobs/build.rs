//! Lets the tests of this crate find libtorch where it was at build time.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(libtorch) = env::var_os("LIBTORCH") {
        let lib = PathBuf::from(libtorch).join("lib");
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
