//! A site whose parts, server and connections are harmed at random while it runs: `scripts/trial-site.py`, for seconds
//! and on one machine, with relays in place of links. With `FERMATA_SOAK` it runs for a minute with another seed each
//! time. In network namespaces it is run by hand.

use std::path::Path;
use std::process::Command;

use crate::support::fermata;

#[test]
fn what_was_acknowledged_is_in_the_table_whatever_happens_to_parts_server_and_connections() {
    let is_long = std::env::var_os("FERMATA_SOAK").is_some();
    let (seconds, seed) = if is_long {
        ("60", std::process::id().to_string())
    } else {
        ("6", "7".to_owned())
    };
    let folder = tempfile::tempdir().unwrap();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3")
        .arg(package.join("scripts/trial-site.py"))
        .args(["--local", "--seconds", seconds, "--seed", &seed])
        .args(["--every", "0.3", "1.5", "--patience", "300", "--keep"])
        .arg(folder.path())
        .arg("--fermata")
        .arg(fermata())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("1 of 1 runs held"), "{said}");
}
