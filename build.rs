//! Lets `fermata-learn`, and it alone, find libtorch where it was at build time.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_LEARN").is_some()
        && let Some(libtorch) = env::var_os("LIBTORCH")
    {
        let lib = PathBuf::from(libtorch).join("lib");
        println!(
            "cargo::rustc-link-arg-bin=fermata-learn=-Wl,-rpath,{}",
            lib.display()
        );
    }
}
