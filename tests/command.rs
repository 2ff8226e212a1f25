//! The program as somebody types it, and what it answers. Whatever else a test looks at is its own.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::support::fermata;

/// Exit code, what was printed, and what was complained of.
pub(crate) type Answer = (i32, String, String);

/// The program with these arguments, without colours.
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

/// What an answer that is none of a failure says.
#[track_caller]
pub(crate) fn succeeded((code, text, errors): Answer) -> String {
    assert_eq!(code, 0, "{text}{errors}");
    text
}

/// Runs the program, which succeeds; what it says.
#[track_caller]
pub(crate) fn succeeds(arguments: &[impl AsRef<str>]) -> String {
    succeeded(run(&texts(arguments)))
}

/// That an answer refuses what was typed, and says these words.
#[track_caller]
pub(crate) fn was_refused((code, _, errors): Answer, words: &[&str]) {
    assert_eq!(code, 2, "{errors}");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in:\n{errors}");
    }
}

/// Runs the program, which refuses what was typed and says these words.
#[track_caller]
pub(crate) fn refused(arguments: &[impl AsRef<str>], words: &[&str]) {
    was_refused(run(&texts(arguments)), words);
}

/// Starts the program; nobody hears what it says.
pub(crate) fn start_unheard(arguments: &[impl AsRef<str>]) -> Child {
    let mut command = typed(&texts(arguments));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program")
}

/// Asks a program to end (Ctrl-C), and waits until it has.
pub(crate) fn interrupt(mut child: Child) -> ExitStatus {
    send(&child, "-INT");
    child.wait().expect("its end")
}

fn send(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status();
    assert!(sent.expect("kill").success());
}

/// Holds up a program that has a folder, and sees that nobody resumes what it does there: one error, and all files as
/// they were. The program is killed then.
#[cfg(feature = "learn")]
#[track_caller]
pub(crate) fn is_not_resumed_while_it_goes_on(mut child: Child, folder: &Path) {
    send(&child, "-STOP");
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

fn texts(arguments: &[impl AsRef<str>]) -> Vec<&str> {
    arguments.iter().map(AsRef::as_ref).collect()
}
