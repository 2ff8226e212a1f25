//! A folder is either complete or absent.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use fermata_files::{PartFolder, part_path, write};
use tempfile::tempdir;

use crate::names;

fn fill(folder: &PartFolder, contents: &str) {
    write(&folder.part().join("card.yaml"), contents.as_bytes()).unwrap();
}

fn contents(folder: &Path) -> String {
    fs::read_to_string(folder.join("card.yaml")).unwrap()
}

#[test]
fn a_folder_gets_its_name_when_it_is_finished_and_none_if_it_never_is() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("models/face");
    let part = PartFolder::create(&path).unwrap();
    fill(&part, "first");
    assert!(!path.exists());
    drop(part);
    assert!(names(&folder.path().join("models")).is_empty());

    let part = PartFolder::create(&path).unwrap();
    fill(&part, "second");
    part.finish().unwrap();
    assert_eq!(contents(&path), "second");
    assert_eq!(names(&folder.path().join("models")), ["face"]);
}

#[test]
fn what_is_there_is_replaced_as_a_whole_or_stays() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("face");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("card.yaml"), "old").unwrap();
    fs::write(path.join("of_the_old_one"), "").unwrap();

    let part = PartFolder::create(&path).unwrap();
    fill(&part, "new");
    drop(part);
    assert_eq!(contents(&path), "old");

    let part = PartFolder::create(&path).unwrap();
    fill(&part, "new");
    part.finish().unwrap();
    assert_eq!(contents(&path), "new");
    assert_eq!(names(&path), ["card.yaml"]);
    assert_eq!(names(folder.path()), ["face"]);
}

#[test]
fn a_reader_never_finds_the_name_empty_while_it_is_replaced() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("face");
    let replace = |round: usize| {
        let part = PartFolder::create(&path).unwrap();
        fill(&part, &round.to_string());
        part.finish().unwrap();
    };
    replace(0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..200).for_each(replace);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            assert!(path.is_dir());
        }
    });
    assert_eq!(contents(&path), "199");
}

#[test]
fn what_a_killed_run_left_beside_is_no_part_of_the_next() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("face");
    fs::create_dir(part_path(&path)).unwrap();
    fs::write(part_path(&path).join("left"), "").unwrap();
    let part = PartFolder::create(&path).unwrap();
    fill(&part, "new");
    part.finish().unwrap();
    assert_eq!(names(&path), ["card.yaml"]);
}

#[test]
fn a_folder_has_one_writer_at_a_time_and_another_touches_nothing_of_it() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("face");
    for is_there in [false, true] {
        let part = PartFolder::create(&path).unwrap();
        fill(&part, "first");
        let error = PartFolder::create(&path).unwrap_err().to_string();
        assert!(error.contains("face.part`"), "{error}");
        assert!(error.contains("another writer has it"), "{error}");
        assert_eq!(path.exists(), is_there);
        part.finish().unwrap();
        assert_eq!(contents(&path), "first");
    }
    drop(PartFolder::create(&path).unwrap());
    PartFolder::create(&path).expect("the one before was given up");
    assert_eq!(names(folder.path()), ["face"]);
}

#[test]
fn of_many_writers_at_once_each_finishes_a_whole_folder_or_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("face");
    let finished = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (path, finished) = (&path, &finished);
            scope.spawn(move || {
                for round in 0..100 {
                    let Ok(part) = PartFolder::create(path) else {
                        std::thread::yield_now();
                        continue;
                    };
                    assert!(names(part.part()).is_empty());
                    fs::write(part.part().join("one"), format!("{writer} {round}")).unwrap();
                    fs::write(part.part().join("other"), format!("{writer} {round}")).unwrap();
                    assert_eq!(names(part.part()), ["one", "other"]);
                    if round % 3 > 0 {
                        part.finish().unwrap();
                        finished.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(finished.into_inner() > 0);
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert_eq!(read("one"), read("other"));
    assert_eq!(names(folder.path()), ["face"]);
}

#[test]
fn a_link_that_has_the_parts_name_is_removed_and_what_it_leads_to_stays() {
    let folder = tempdir().unwrap();
    let (path, kept) = (folder.path().join("face"), folder.path().join("kept"));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("card.yaml"), "kept").unwrap();
    symlink(&kept, part_path(&path)).unwrap();
    let part = PartFolder::create(&path).unwrap();
    fill(&part, "new");
    part.finish().unwrap();
    assert_eq!(
        (contents(&path), contents(&kept)),
        ("new".into(), "kept".into())
    );
    assert_eq!(names(folder.path()), ["face", "kept"]);
}

#[test]
fn a_link_is_replaced_and_what_it_leads_to_stays() {
    let folder = tempdir().unwrap();
    let kept = folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("card.yaml"), "kept").unwrap();
    let path = folder.path().join("face");
    std::os::unix::fs::symlink(&kept, &path).unwrap();
    let part = PartFolder::create(&path).unwrap();
    fill(&part, "new");
    part.finish().unwrap();
    assert_eq!(
        (contents(&path), contents(&kept)),
        ("new".into(), "kept".into())
    );
    assert_eq!(names(folder.path()), ["face", "kept"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let error = PartFolder::create(Path::new("/proc/models/face")).unwrap_err();
    assert!(
        error.to_string().contains("/proc/models/face.part"),
        "{error}"
    );
}

#[test]
fn a_folder_is_the_same_whatever_leads_to_it() {
    let folder = tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for path in [&one, &other] {
        fs::create_dir(path).unwrap();
    }
    symlink("one", folder.path().join("link")).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let is_one = |path: &str| fermata_files::is_same_folder(&one, &folder.path().join(path));
    assert!(is_one("one") && is_one("link") && is_one("other/../one/."));
    assert!(!is_one("other") && !is_one("file") && !is_one("nowhere"));
}
