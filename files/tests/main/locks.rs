//! One process at a time owns a folder. The other processes are this test program, started again for the test
//! `a_process_of_its_own`, which plays the role in `ROLE`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fermata_files::{FolderLock, Holder, LOCK_FILE, LockError};
use tempfile::tempdir;

use crate::names;

const ROLE: &str = "FERMATA_TEST_LOCK_ROLE";
const FOLDER: &str = "FERMATA_TEST_LOCK_FOLDER";

fn again(role: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "locks::a_process_of_its_own", "--nocapture"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Starts a process that holds the folder until its input ends, and waits until it does.
fn holding(role: &str, folder: &Path) -> Child {
    let mut child = again(role, folder).spawn().unwrap();
    let said = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let holds = said
        .map_while(Result::ok)
        .any(|line| line.ends_with("holds"));
    assert!(holds, "the other process does not hold the folder");
    child
}

#[test]
fn a_process_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let folder = std::env::var_os(FOLDER).unwrap();
    let folder = Path::new(&folder);
    let until_the_input_ends = || {
        println!("\nholds");
        let _ = std::io::stdin().lines().count();
    };
    match role.as_str() {
        "hold" => {
            let _lock = FolderLock::take(folder).unwrap();
            until_the_input_ends();
        }
        "become" => {
            let lock = FolderLock::take(folder).unwrap();
            let mut next = again("become_last", folder);
            next.stdin(Stdio::inherit()).stdout(Stdio::inherit());
            lock.hand_over(&mut next).unwrap();
            panic!("{}", next.exec());
        }
        "become_last" => {
            let lock = FolderLock::take(folder).unwrap();
            assert_held(FolderLock::take(folder));
            until_the_input_ends();
            drop(lock);
            FolderLock::take(folder).expect("it was given back");
        }
        "become_without" => {
            let _lock = FolderLock::take(folder).unwrap();
            let mut next = again("hold", folder);
            next.stdin(Stdio::inherit()).stdout(Stdio::inherit());
            panic!("{}", next.exec());
        }
        "parent" => {
            let lock = FolderLock::take(folder).unwrap();
            // It runs on after this process, without the lock.
            let mut shell = Command::new("sh");
            shell.args(["-c", "sleep 5 &"]).status().unwrap();
            drop(lock);
        }
        role => panic!("no role {role}"),
    }
}

#[track_caller]
fn assert_held(taken: Result<FolderLock, LockError>) -> Holder {
    match taken {
        Err(LockError::Held { holder, .. }) => holder.expect("a holder"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_has_one_owner_and_says_who() {
    let folder = tempdir().unwrap();
    let lock = FolderLock::take(folder.path()).unwrap();
    let error = FolderLock::take(folder.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("process {} on ", std::process::id())),
        "{error}"
    );
    assert_eq!(
        assert_held(FolderLock::take(folder.path())).process,
        std::process::id()
    );
    assert_eq!(lock.folder(), folder.path());
    drop(lock);
    assert!(
        names(folder.path()).is_empty(),
        "nothing is left of a lock that was given back"
    );
    FolderLock::take(folder.path()).unwrap();
}

#[test]
fn another_process_keeps_it_until_it_ends() {
    let folder = tempdir().unwrap();
    let mut child = holding("hold", folder.path());
    assert_eq!(
        assert_held(FolderLock::take(folder.path())).process,
        child.id()
    );
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    FolderLock::take(folder.path()).unwrap();
}

#[test]
fn what_a_killed_process_left_locks_nothing() {
    let folder = tempdir().unwrap();
    let mut child = holding("hold", folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(folder.path()), [LOCK_FILE]);
    let lock = FolderLock::take(folder.path()).unwrap();
    assert_eq!(
        assert_held(FolderLock::take(folder.path())).process,
        std::process::id()
    );
    drop(lock);
}

#[test]
fn it_goes_on_through_exec_and_is_given_back_once() {
    let folder = tempdir().unwrap();
    let mut child = holding("become", folder.path());
    assert_eq!(
        assert_held(FolderLock::take(folder.path())).process,
        child.id()
    );
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    FolderLock::take(folder.path()).unwrap();
}

#[test]
fn without_being_asked_it_does_not_go_through_exec() {
    let folder = tempdir().unwrap();
    let mut child = holding("become_without", folder.path());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn programs_that_the_owner_starts_do_not_hold_it() {
    let folder = tempdir().unwrap();
    let mut child = again("parent", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    FolderLock::take(folder.path()).unwrap();
}

#[test]
fn of_many_at_once_there_is_never_more_than_one() {
    let folder = tempdir().unwrap();
    let inside = std::sync::atomic::AtomicUsize::new(0);
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let order = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let Ok(lock) = FolderLock::take(folder.path()) else {
                        continue;
                    };
                    assert_eq!(inside.fetch_add(1, order), 0);
                    taken.fetch_add(1, order);
                    inside.fetch_sub(1, order);
                    drop(lock);
                }
            });
        }
    });
    assert!(taken.into_inner() > 0);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_it() {
    let folder = tempdir().unwrap();
    let error = FolderLock::take(&folder.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, LockError::File(_)), "{error}");
    assert!(error.to_string().contains("nowhere/.lock"), "{error}");
}

#[test]
fn nothing_is_written_through_a_link_that_has_the_locks_name() {
    let folder = tempdir().unwrap();
    let (input, run) = (folder.path().join("input"), folder.path().join("run"));
    fs::write(&input, "an input").unwrap();
    fs::create_dir(&run).unwrap();
    symlink(&input, run.join(LOCK_FILE)).unwrap();
    let error = FolderLock::take(&run).unwrap_err().to_string();
    assert!(error.contains("it is a link"), "{error}");
    fs::remove_file(run.join(LOCK_FILE)).unwrap();
    fs::hard_link(&input, run.join(LOCK_FILE)).unwrap();
    let lock = FolderLock::take(&run).unwrap();
    assert_eq!(fs::read_to_string(&input).unwrap(), "an input");
    assert_held(FolderLock::take(&run));
    // As when the folder is copied with hard links while it is locked.
    fs::hard_link(run.join(LOCK_FILE), folder.path().join("copy")).unwrap();
    assert_held(FolderLock::take(&run));
    drop(lock);
    FolderLock::take(&run).expect("it was given back");
}

#[test]
fn a_pipe_that_has_the_locks_name_is_refused() {
    let folder = tempdir().unwrap();
    let mut make = std::process::Command::new("mkfifo");
    let made = make.arg(folder.path().join(LOCK_FILE)).status();
    assert!(made.unwrap().success());
    let error = FolderLock::take(folder.path()).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}
