//! A file is either complete or absent.

use std::fs;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fermata_files::{
    FileError, PartFile, RecordFile, Unfinished, is_being_written, part_path, remove_earlier, write,
};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use crate::names;

/// What happens to a file that was begun.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Finished,
    Dropped,
    Removed,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Finished), Just(End::Dropped), Just(End::Removed)]
}

fn unfinished() -> impl Strategy<Value = Unfinished> {
    prop_oneof![Just(Unfinished::Kept), Just(Unfinished::Removed)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Several writers, one after another: the name always holds the last finished file, `.part` what the last
    /// unfinished writer left (if it was to be kept and not empty), and numbered parts what earlier kept ones left.
    #[test]
    fn a_name_only_ever_shows_a_finished_file(
        writers in prop::collection::vec((prop::collection::vec(any::<Vec<u8>>(), 0..4), unfinished(), end()), 1..6),
    ) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("file.csv");
        let (mut finished, mut left) = (None, None);
        let mut aside: Vec<Vec<u8>> = Vec::new();
        for (pieces, unfinished, end) in writers {
            let mut file = PartFile::create(&path, unfinished).unwrap();
            let mut contents = Vec::new();
            for piece in &pieces {
                file.write_all(piece).unwrap();
                contents.extend_from_slice(piece);
                prop_assert_eq!(fs::read(&path).ok(), finished.clone());
                prop_assert_eq!(&fs::read(file.part()).unwrap(), &contents);
            }
            let before: Option<Vec<u8>> = left.take();
            if unfinished == Unfinished::Kept {
                aside.extend(before);
            }
            match end {
                End::Finished => {
                    file.finish().unwrap();
                    finished = Some(contents);
                }
                End::Dropped => {
                    drop(file);
                    let is_left = unfinished == Unfinished::Kept && !contents.is_empty();
                    left = is_left.then_some(contents);
                }
                End::Removed => file.remove().unwrap(),
            }
            prop_assert_eq!(fs::read(&path).ok(), finished.clone());
            prop_assert_eq!(fs::read(part_path(&path)).ok(), left.clone());
            for (number, contents) in aside.iter().enumerate() {
                let name = format!("file.csv.{}.part", number + 2);
                prop_assert_eq!(&fs::read(folder.path().join(name)).unwrap(), contents);
            }
        }
        let there = usize::from(finished.is_some()) + usize::from(left.is_some()) + aside.len();
        prop_assert_eq!(names(folder.path()).len(), there);
    }

    #[test]
    fn what_is_written_whole_is_read_back(first: Vec<u8>, second: Vec<u8>) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("report.json");
        for contents in [first, second] {
            write(&path, &contents).unwrap();
            prop_assert_eq!(fs::read(&path).unwrap(), contents);
            prop_assert_eq!(names(folder.path()), ["report.json"]);
        }
    }
}

#[test]
fn the_part_stands_beside_the_file_however_the_path_is_written() {
    for (path, part) in [
        ("a/b.csv", "a/b.csv.part"),
        ("b.csv", "b.csv.part"),
        ("a/model/", "a/model.part"),
        ("a/./model/.", "a/model.part"),
        ("/b", "/b.part"),
    ] {
        assert_eq!(part_path(Path::new(path)), PathBuf::from(part), "{path}");
    }
}

/// A way to begin a file.
type Begin = fn(&Path) -> Result<PartFile, FileError>;

#[test]
fn nothing_is_written_through_a_link_that_has_the_parts_name() {
    let ways: [Begin; 3] = [
        |path| PartFile::create(path, Unfinished::Kept),
        |path| PartFile::create(path, Unfinished::Removed),
        PartFile::go_on,
    ];
    for contents in ["", "an input"] {
        for is_symbolic in [true, false] {
            for begin in ways {
                let folder = tempdir().unwrap();
                let (path, input) = (folder.path().join("a.csv"), folder.path().join("input"));
                fs::write(&input, contents).unwrap();
                if is_symbolic {
                    symlink(&input, part_path(&path)).unwrap()
                } else {
                    fs::hard_link(&input, part_path(&path)).unwrap()
                }
                let mut file = begin(&path).unwrap();
                file.write_all(b"new").unwrap();
                file.finish().unwrap();
                assert_eq!(fs::read_to_string(&input).unwrap(), contents);
                assert_eq!(fs::read_to_string(&path).unwrap(), "new");
                assert!(path.symlink_metadata().unwrap().is_file());
            }
        }
    }
}

#[test]
fn a_link_that_leads_nowhere_makes_no_file_elsewhere() {
    let folder = tempdir().unwrap();
    let (path, elsewhere) = (folder.path().join("a.csv"), folder.path().join("elsewhere"));
    for unfinished in [Unfinished::Kept, Unfinished::Removed] {
        symlink(&elsewhere, part_path(&path)).unwrap();
        PartFile::create(&path, unfinished)
            .unwrap()
            .finish()
            .unwrap();
        assert!(!elsewhere.exists() && path.symlink_metadata().unwrap().is_file());
    }
}

#[test]
fn a_pipe_that_has_the_parts_name_is_refused_and_not_waited_for() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let mut make = std::process::Command::new("mkfifo");
    assert!(make.arg(part_path(&path)).status().unwrap().success());
    for begun in [
        PartFile::create(&path, Unfinished::Kept),
        PartFile::create(&path, Unfinished::Removed),
        PartFile::go_on(&path),
    ] {
        let error = begun.unwrap_err().to_string();
        assert!(error.contains("a.csv.part`: it is a pipe"), "{error}");
    }
}

#[test]
fn two_never_go_on_with_one_part() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut first = PartFile::go_on(&path).unwrap();
    first.write_all(b"abc").unwrap();
    let error = PartFile::go_on(&path).unwrap_err().to_string();
    assert!(error.contains("another writer has it"), "{error}");
    drop(first);
    let mut second = PartFile::go_on(&path).unwrap();
    second.write_all(b"def").unwrap();
    second.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "abcdef");
}

/// Returns a path whose part is on a device that is always full.
fn on_a_full_disk(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("faces.csv");
    symlink("/dev/full", part_path(&path)).unwrap();
    path
}

#[test]
fn a_full_disk_leaves_the_old_file_and_says_what_to_do() {
    let folder = tempdir().unwrap();
    let path = on_a_full_disk(&folder);
    fs::write(&path, "old").unwrap();
    let error = write(&path, b"new").unwrap_err().to_string();
    assert!(error.starts_with("cannot write `"), "{error}");
    assert!(
        error.contains("faces.csv`: No space left on device"),
        "{error}"
    );
    assert!(error.ends_with("; free some space on its disk"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["faces.csv"]);
}

#[test]
fn after_a_failed_write_a_file_that_is_to_be_kept_is_kept() {
    for (unfinished, left) in [
        (Unfinished::Kept, &["faces.csv.part"][..]),
        (Unfinished::Removed, &[]),
    ] {
        let folder = tempdir().unwrap();
        let mut file = PartFile::create(&on_a_full_disk(&folder), unfinished).unwrap();
        assert!(file.write_all(b"row").is_err());
        drop(file);
        assert_eq!(names(folder.path()), left, "{unfinished:?}");
    }
}

#[test]
fn a_name_that_was_taken_in_between_fails_the_file_and_tells_where_its_contents_are() {
    for (unfinished, said, left) in [
        (
            Unfinished::Kept,
            "what was written is in `",
            &["faces.csv", "faces.csv.part"][..],
        ),
        (
            Unfinished::Removed,
            "the file is incomplete and was removed",
            &["faces.csv"],
        ),
    ] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("faces.csv");
        let mut file = PartFile::create(&path, unfinished).unwrap();
        file.write_all(b"row").unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();
        let error = file.finish().unwrap_err().to_string();
        assert!(
            error.contains("faces.csv`") && error.contains(said),
            "{error}"
        );
        assert_eq!(names(folder.path()), left);
    }
}

#[test]
fn where_nothing_can_be_written_it_is_said_before_anything_is() {
    let folder = tempdir().unwrap();
    for (path, said) in [
        (
            folder.path().join("nowhere/a.csv"),
            "must exist and be writable",
        ),
        (
            folder.path().to_owned(),
            "`: it is a folder; name a file in it",
        ),
        ("/proc/a.csv".into(), "must exist and be writable"),
    ] {
        let error = PartFile::create(&path, Unfinished::Kept)
            .unwrap_err()
            .to_string();
        assert!(error.ends_with(said), "{error}");
        let error = write(&path, b"").unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_file_in_the_present_folder_is_finished() {
    // The folder of this name is the empty path. The test uses the crate's folder, since changing the current folder
    // needs a process of its own.
    let name = format!("part-file-test-{}", std::process::id());
    write(Path::new(&name), b"x").unwrap();
    let read = fs::read(&name);
    fs::remove_file(&name).unwrap();
    assert_eq!(read.unwrap(), b"x");
}

#[test]
fn what_an_earlier_run_left_is_removed_if_it_is_there() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.json");
    write(&path, b"old").unwrap();
    for _ in 0..2 {
        remove_earlier(&path).unwrap();
        assert!(names(folder.path()).is_empty());
    }
    fs::create_dir(&path).unwrap();
    let error = remove_earlier(&path).unwrap_err().to_string();
    assert!(error.starts_with("cannot replace `"), "{error}");
}

#[test]
fn two_writers_of_one_file_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("faces.csv");
    let mut first = PartFile::create(&path, Unfinished::Kept).unwrap();
    first.write_all(b"row").unwrap();
    let refused = PartFile::create(&path, Unfinished::Kept).unwrap_err();
    assert!(
        refused.to_string().contains("another writer has it"),
        "{refused}"
    );
    assert!(is_being_written(&path));
    // A part that an earlier writer left is not being written.
    fs::write(folder.path().join("other.csv.part"), "row").unwrap();
    assert!(!is_being_written(&folder.path().join("other.csv")));
    first.finish().unwrap();
    assert!(!is_being_written(&path));
    fs::remove_file(folder.path().join("other.csv.part")).unwrap();
    assert_eq!(names(folder.path()), ["faces.csv"]);
    PartFile::create(&path, Unfinished::Kept).expect("the first one has ended");
}

#[test]
fn of_many_writers_at_once_each_finishes_a_whole_file_or_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("faces.csv");
    write(&path, b"whole").unwrap();
    std::thread::scope(|scope| {
        for way in [Unfinished::Kept, Unfinished::Removed].repeat(2) {
            let path = &path;
            scope.spawn(move || {
                for round in 0..1_000 {
                    let Ok(mut file) = PartFile::create(path, way) else {
                        std::thread::yield_now();
                        continue;
                    };
                    file.write_all(b"whole").unwrap();
                    assert_eq!(fs::read(file.part()).unwrap(), b"whole");
                    // Most parts are removed: syncing takes long.
                    if round % 50 == 0 {
                        file.finish().unwrap();
                    } else {
                        file.remove().unwrap();
                    }
                    assert_eq!(fs::read(path).unwrap(), b"whole");
                }
            });
        }
    });
    assert_eq!(names(folder.path()), ["faces.csv"]);
}

#[test]
fn records_that_another_writer_has_are_not_rewritten() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let mut live = RecordFile::create(&path).unwrap();
    live.write_all(b"one\ntwo\nthree\n").unwrap();
    live.flush().unwrap();
    for cuts in [&[][..], &[0..4, 4..8], &[4..8, 8..14], &[0..4, 8..14]] {
        let error = RecordFile::go_on(&path, cuts).unwrap_err().to_string();
        assert!(error.contains("another writer has it"), "{error}");
        live.write_all(b"more\n").unwrap();
        live.flush().unwrap();
        assert_eq!(fs::metadata(live.part()).unwrap().len(), live.length());
    }
    drop(live);
    let next = RecordFile::go_on(&path, &[0..4, 4..8]).unwrap();
    assert!(is_being_written(&path), "the rewritten part is locked too");
    assert!(RecordFile::go_on(&path, &[]).is_err());
    next.finish().unwrap();
    let left = fs::read_to_string(&path).unwrap();
    assert_eq!(left, "three\nmore\nmore\nmore\nmore\n");
    assert_eq!(names(folder.path()), ["rows.csv"]);
}

#[test]
fn records_behind_a_link_are_neither_changed_nor_begun_anew() {
    let folder = tempdir().unwrap();
    let (path, input) = (folder.path().join("rows.csv"), folder.path().join("input"));
    fs::write(&input, "one\ntwo\n").unwrap();
    for cuts in [&[][..], &[0..4, 4..8], &[4..4, 4..8]] {
        symlink(&input, part_path(&path)).unwrap();
        let error = RecordFile::go_on(&path, cuts).unwrap_err().to_string();
        assert!(error.contains("it is a link"), "{error}");
        assert_eq!(fs::read_to_string(&input).unwrap(), "one\ntwo\n");
        assert_eq!(names(folder.path()), ["input"]);
    }
}

#[test]
fn what_somebody_goes_on_with_is_nobody_elses() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut first = PartFile::go_on(&path).unwrap();
    first.write_all(b"half").unwrap();
    for refused in [
        PartFile::go_on(&path),
        PartFile::create(&path, Unfinished::Removed),
    ] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("another writer has it"), "{said}");
    }
    drop(first);
    let mut second = PartFile::go_on(&path).unwrap();
    second.write_all(b" and half").unwrap();
    second.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"half and half");
}

#[test]
fn records_are_on_the_disk_as_a_whole_once_they_are_flushed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let mut file = RecordFile::create(&path).unwrap();
    file.write_all(b"a,b\n").unwrap();
    assert_eq!(fs::read(file.part()).unwrap(), b"");
    file.flush().unwrap();
    file.write_all(b"1,").unwrap();
    assert_eq!(fs::read(file.part()).unwrap(), b"a,b\n");
    drop(file);
    assert_eq!(fs::read(part_path(&path)).unwrap(), b"a,b\n");
    let file = RecordFile::create(&path).unwrap();
    assert_eq!(file.length(), 0);
    file.finish().unwrap();
    let left = fs::read(folder.path().join("rows.csv.2.part")).unwrap();
    assert_eq!(left, b"a,b\n");
}

#[test]
fn a_flush_that_fails_is_an_error_each_time() {
    let folder = tempdir().unwrap();
    let mut file = RecordFile::create(&on_a_full_disk(&folder)).unwrap();
    for _ in 0..2 {
        file.write_all(b"row\n").unwrap();
        assert!(file.flush().is_err());
        assert_eq!(file.length(), 0);
        // The records of the failed flush are not written with the next one.
        file.flush().unwrap();
    }
}

/// Copies the descriptor of an open file of this process, as a process that is being started has it for a moment.
#[expect(
    unsafe_code,
    reason = "nothing safe copies a descriptor that another object owns"
)]
fn copy_of_descriptor(path: &Path) -> OwnedFd {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let is_meant = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == path);
    let entry = entries.into_iter().find(is_meant).expect("an open file");
    let number = entry.file_name().to_string_lossy().parse().unwrap();
    // SAFETY: the caller keeps the file open meanwhile.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().unwrap()
}

#[test]
fn a_copied_descriptor_locks_no_part_that_its_writer_has_left() {
    let folder = tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("file.csv");
    let mut left = PartFile::create(&path, Unfinished::Kept).unwrap();
    left.write_all(b"row").unwrap();
    let copy = copy_of_descriptor(left.part());
    assert!(is_being_written(&path));
    drop(left);
    assert!(!is_being_written(&path));
    PartFile::go_on(&path).unwrap();
    drop(copy);
}
