//! Commands about models, and graphs with actors of jobs, are carried out by `fermata-learn`, beside this program:
//! libtorch is loaded there and not here.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};

const PROGRAM: &str = "fermata-learn";

/// Whether `fermata-learn` is installed.
pub fn is_possible() -> bool {
    let this = std::env::current_exe();
    this.is_ok_and(|this| this.with_file_name(PROGRAM).is_file())
}

/// Becomes `fermata-learn` with the same arguments. Returns only if that is not possible.
///
/// # Errors
/// `fermata-learn` is not installed, or cannot be started.
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
