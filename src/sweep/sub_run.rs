//! One run of a sweep, in a process of its own, so that no run warms up, leaks into or crashes another.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::GraphArguments;
use crate::interrupts::Interrupts;
use crate::kpi::{RunMeasures, measure};

/// Time between two checks for an interrupt.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The sweep was interrupted, and its run with it.
#[derive(Debug)]
pub(super) struct EndedEarly;

impl fmt::Display for EndedEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ended early: the current run was ended too")
    }
}

impl Error for EndedEarly {}

/// Runs the graph into a folder and measures it. An interrupt ends the run before the sweep.
///
/// # Errors
/// Fails if the run fails or wrote nothing that can be measured; with [`EndedEarly`] on an interrupt.
pub(super) fn run(
    graph: &GraphArguments,
    folder: &Path,
    interrupts: &Interrupts,
) -> anyhow::Result<RunMeasures> {
    if interrupts.count() > 0 {
        return Err(EndedEarly.into());
    }
    let program = std::env::current_exe().context("cannot find where this program is")?;
    let mut command = Command::new(&program);
    command.args(["run", "--quiet", "--out"]);
    command.arg(folder).arg(&graph.graph);
    for (option, values) in [
        ("--stream", &graph.streams),
        ("--param", &graph.params),
        ("--set", &graph.set),
    ] {
        for value in values {
            command.args([option, value]);
        }
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = command.spawn();
    let started = started.with_context(|| format!("cannot start {}", program.display()))?;
    let output = output(started, interrupts);
    let output = output.with_context(|| format!("cannot wait for {}", program.display()))?;
    if interrupts.count() > 0 {
        return Err(EndedEarly.into());
    }
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let told = String::from_utf8_lossy(&output.stdout);
        let failed = told.lines().filter(|line| line.starts_with("failed:"));
        let lines: Vec<&str> = errors.lines().chain(failed).collect();
        let last = lines[lines.len().saturating_sub(6)..].join("\n");
        bail!(
            "the run in {} ended with {}:\n{last}",
            folder.display(),
            output.status
        );
    }
    measure(folder)
}

/// Waits for the end of a run, forwarding each signal to it: a signal sent to both processes counts there only once.
fn output(run: Child, interrupts: &Interrupts) -> io::Result<Output> {
    let process = i32::try_from(run.id()).ok().and_then(Pid::from_raw);
    let (send, ended) = channel();
    let wait = move || {
        // Nobody receives it if the sweep has ended.
        let _ = send.send(run.wait_with_output());
    };
    thread::Builder::new()
        .name("sub-run".to_owned())
        .spawn(wait)?;
    let mut told = 0;
    loop {
        match ended.recv_timeout(LOOK_EVERY) {
            Ok(output) => return output,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("its outputs cannot be read"));
            }
        }
        let count = interrupts.count();
        if count > told
            && let Some(process) = process
        {
            told = count;
            if let Err(error) = kill_process(process, Signal::TERM) {
                tracing::warn!("cannot signal the run to end: {error}");
            }
        }
    }
}
