//! Replays the inputs that once broke a fuzz target and those from which fuzzing starts. `scripts/fuzz.sh` finds new
//! ones.

use crate::support::repository;

#[path = "fuzz/src/lib.rs"]
#[allow(
    unreachable_pub,
    reason = "where libFuzzer calls it, it is a crate of its own"
)]
mod laws_of_input;

/// Calls a fuzz target with every file kept for it.
fn try_kept_inputs(target: &str, check: fn(&[u8])) {
    for folder in ["corpus", "regressions"] {
        let folder = repository("tests/fuzz").join(folder).join(target);
        // Some targets have never been broken, so a folder may be missing.
        for file in folder.read_dir().into_iter().flatten() {
            let path = file.expect("a file").path();
            // Shown only when the test fails.
            println!("{}", path.display());
            check(&std::fs::read(path).expect("an input"));
        }
    }
}

#[test]
fn graph_files_that_were_kept_are_read_or_refused() {
    try_kept_inputs("graph_file", laws_of_input::graph_file);
}

#[test]
fn cards_that_were_kept_are_read_or_refused() {
    try_kept_inputs("card", laws_of_input::card);
}

#[test]
fn kept_references_come_to_what_they_should() {
    try_kept_inputs("interpolation", laws_of_input::interpolation);
}

#[test]
fn changes_that_were_kept_are_made_or_refused() {
    try_kept_inputs("overrides", laws_of_input::overrides);
}
