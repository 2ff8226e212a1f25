//! Commands about models, and graphs with job actors, are carried out by `fermata-learn`, installed beside this
//! program: libtorch is loaded only there.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};

const PROGRAM: &str = "fermata-learn";

/// Returns whether `fermata-learn` is installed.
pub fn is_possible() -> bool {
    let this = std::env::current_exe();
    this.is_ok_and(|this| this.with_file_name(PROGRAM).is_file())
}

/// Replaces this process with `fermata-learn` and the same arguments. Returns only on failure.
///
/// # Errors
/// Fails if `fermata-learn` is not installed or cannot be started.
pub fn hand_over() -> anyhow::Result<u8> {
    let this = std::env::current_exe().context("cannot find where this program is")?;
    let program = this.with_file_name(PROGRAM);
    if !program.is_file() {
        bail!(
            "this command needs {PROGRAM} beside {}, which is not there: run `make setup-learn`, then `cargo build --release`",
            this.display()
        );
    }
    let error = Command::new(&program)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
