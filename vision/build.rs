//! Links libjpeg-turbo.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Version 3 has the interface of version 2 as well.
    let library = pkg_config::Config::new()
        .atleast_version("2.0")
        .probe("libturbojpeg");
    if let Err(error) = library {
        eprintln!("{error}\n\nlibjpeg-turbo is missing: apt-get install libturbojpeg0-dev");
        std::process::exit(1);
    }
}
