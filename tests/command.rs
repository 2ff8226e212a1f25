//! Runs the program as a user types it, and returns its output. Further checks are up to each test.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::support::fermata;

/// Exit code, standard output and standard error.
pub(crate) type Answer = (i32, String, String);

/// Returns the program with these arguments, without colours.
fn typed(arguments: &[&str]) -> Command {
    let mut command = Command::new(fermata());
    command.args(arguments).env("NO_COLOR", "1");
    command
}

fn answer(mut command: Command) -> Answer {
    let output = command.output().expect("the program");
    (
        output.status.code().expect("an exit code"),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Answer {
    answer(typed(arguments))
}

/// Runs the program to its end in a folder.
pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> Answer {
    let mut command = typed(arguments);
    command.current_dir(folder);
    answer(command)
}

/// Asserts that an answer is a success and returns its output.
#[track_caller]
pub(crate) fn succeeded((code, text, errors): Answer) -> String {
    assert_eq!(code, 0, "{text}{errors}");
    text
}

/// Runs the program, which must succeed; returns its output.
#[track_caller]
pub(crate) fn succeeds(arguments: &[impl AsRef<str>]) -> String {
    succeeded(run(&texts(arguments)))
}

/// Asserts that an answer is a refusal that contains these words.
#[track_caller]
pub(crate) fn was_refused((code, _, errors): Answer, words: &[&str]) {
    assert_eq!(code, 2, "{errors}");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in:\n{errors}");
    }
}

/// Runs the program and asserts that it refuses its arguments with these words.
#[track_caller]
pub(crate) fn refused(arguments: &[impl AsRef<str>], words: &[&str]) {
    was_refused(run(&texts(arguments)), words);
}

/// Starts the program with its output discarded.
pub(crate) fn start_unheard(arguments: &[impl AsRef<str>]) -> Child {
    let mut command = typed(&texts(arguments));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program")
}

/// Interrupts a program (Ctrl-C) and waits until it has ended.
pub(crate) fn interrupt(mut child: Child) -> ExitStatus {
    send(&child, "INT");
    child.wait().expect("its end")
}

/// Sends a signal, such as INT.
#[track_caller]
pub(crate) fn send(child: &Child, signal: &str) {
    let mut kill = Command::new("kill");
    kill.args([format!("-{signal}"), child.id().to_string()]);
    assert!(kill.status().expect("kill").success());
}

/// Pauses a program that holds a folder and asserts that resuming the folder is refused: one error, and all files
/// unchanged. Then kills the program.
#[cfg(feature = "learn")]
#[track_caller]
pub(crate) fn is_not_resumed_while_it_goes_on(mut child: Child, folder: &Path) {
    send(&child, "STOP");
    crate::support::wait_until("all of its threads to stand still", || stands_still(&child));
    let before = crate::support::contents(folder);
    let (code, text, errors) = run(&["resume", &folder.display().to_string()]);
    assert_eq!(code, 2, "{text}{errors}");
    let told: Vec<&str> = errors.lines().collect();
    let words = format!("is in use by fermata-learn (process {} on ", child.id());
    assert!(told.len() == 1 && told[0].contains(&words), "{errors}");
    assert!(text.is_empty(), "{text}");
    let after = crate::support::contents(folder);
    assert!(after == before, "files changed");
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
}

/// Returns whether no thread of a stopped program finishes a system call any more.
#[cfg(feature = "learn")]
fn stands_still(child: &Child) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("its threads");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in brackets.
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        state.is_none_or(|state| state.starts_with('T'))
    })
}

fn texts(arguments: &[impl AsRef<str>]) -> Vec<&str> {
    arguments.iter().map(AsRef::as_ref).collect()
}
