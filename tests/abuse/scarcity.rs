//! Runs that lack what they need: room, a folder, descriptors, memory, an output. `docs/results/robustness.md` is the table of these.

use std::fs;

use super::{GRAPH, Place, rows, send};
use crate::disk::on_a_small_disk;
use crate::support::wait_until;

const LONG: [&str; 4] = ["--set", "nodes.s.count=100000", "--set", "run.clock=live"];

#[test]
fn a_disk_that_was_full_for_a_while_costs_the_rows_of_that_while() {
    let place = Place::new(&GRAPH.replace(
        "  v: {use: write_video, each: stream, in: s, path: \"${run.dir}/${stream.name}.mp4\"}\n",
        "",
    ));
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    // The log lies elsewhere: it would fill the disk again.
    let script = format!(
        "cd '{}'; mkdir $DISK/o; ln -s $PWD/run.log $DISK/o/run.log
'{}' run g.yaml --out $DISK/o -q --set nodes.s.count=2000 --set nodes.s.fps=500 --set run.clock=live > said 2>&1 & P=$!
while ! [ -s $DISK/o/a.csv.part ]; do sleep 0.05; done
dd if=/dev/zero of=$DISK/ballast bs=1k 2>/dev/null; sleep 2; rm $DISK/ballast
wait $P; echo code $?; ls $DISK/o; cat said; echo rows; cat $DISK/o/a.csv.part",
        place.path("").display(),
        crate::support::fermata()
    );
    let Some(output) = on_a_small_disk(&disk, &script) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("code 1"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    let (_, table) = said.split_once("rows\n").unwrap();
    // The last frame came after the disk had room again.
    assert!(
        table.lines().last().unwrap().starts_with("a,0,1999,"),
        "{said}"
    );
    let cells = |row: &str| row.split(',').count();
    let columns = table.lines().next().map(cells);
    assert!(
        table.lines().all(|row| Some(cells(row)) == columns),
        "{table}"
    );
}

#[test]
fn a_disk_that_cannot_be_written_to_is_refused() {
    let place = Place::new(GRAPH);
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -o remount,ro $DISK; cd '{}'; '{}' run g.yaml --out $DISK/o -q 2>&1; echo code $?",
        place.path("").display(),
        crate::support::fermata()
    );
    let Some(output) = on_a_small_disk(&disk, &script) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("code 2") && said.contains("Read-only file system"),
        "{said}"
    );
}

#[test]
fn a_folder_that_vanishes_is_a_failure_and_its_files_keep_what_they_have() {
    let place = Place::new(GRAPH);
    let mut run = place.start(&LONG, "a.csv.part", 1000);
    fs::rename(place.path("o"), place.path("gone")).unwrap();
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let names = place.names("gone");
    assert!(names.contains(&"a.csv.part".to_owned()), "{names:?}");
    assert!(rows(&place.path("gone/a.csv.part")) > 0);
    // All of it removed: nothing to keep, and still an end.
    let place = Place::new(GRAPH);
    let mut run = place.start(&LONG, "a.csv.part", 1000);
    fs::remove_dir_all(place.path("o")).unwrap();
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(1));
}

#[test]
fn few_descriptors_are_an_error_and_no_crash() {
    let place = Place::new(GRAPH);
    for descriptors in [10, 13, 16, 20] {
        let script = format!("ulimit -n {descriptors}; $F run g.yaml --out o{descriptors} -q");
        let ended = place.script(&script);
        let is_told = matches!(ended.code, Some(0..=2));
        assert!(is_told, "{descriptors}: {:?} {}", ended.code, ended.said);
    }
}

#[test]
fn little_memory_leaves_nothing_that_looks_whole_and_is_not() {
    let place = Place::new(GRAPH);
    for kilobytes in [200_000, 300_000, 400_000] {
        let script = format!("ulimit -v {kilobytes}; $F run g.yaml --out o -q");
        let ended = place.script(&script);
        for (name, count) in [
            ("a.csv", rows as fn(&std::path::Path) -> u64),
            ("a.mp4", super::frames),
        ] {
            let path = place.path("o").join(name);
            if path.exists() {
                assert_eq!(count(&path), 10, "{name}: {}", ended.said);
            }
        }
    }
}

#[test]
fn a_run_without_outputs_ends_as_any_other() {
    let place = Place::new(GRAPH);
    for closed in ["2>&-", ">&-", ">&- 2>&-", "<&-", "> /dev/full 2> /dev/full"] {
        let script = format!("$F run g.yaml --out o {closed}; echo code $? > code");
        place.script(&script);
        let code = fs::read_to_string(place.path("code")).unwrap();
        let expected = if closed.contains(">&-") && !closed.starts_with('2')
            || closed.contains("> /dev/full")
        {
            // The summary could not be printed.
            ["code 0\n", "code 1\n"]
        } else {
            ["code 0\n", "code 0\n"]
        };
        assert!(expected.contains(&code.as_str()), "{closed}: {code}");
        assert_eq!(rows(&place.path("o/a.csv")), 10, "{closed}");
    }
}

#[test]
fn a_terminal_that_is_closed_drains_the_run() {
    let place = Place::new(GRAPH);
    let mut run = place.start(&LONG, "a.mp4.part", 2000);
    send(&run, "HUP");
    wait_until("the run ends", || {
        !fs::exists(place.path("o/.lock")).unwrap_or(true)
    });
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(
        rows(&place.path("o/a.csv")),
        super::frames(&place.path("o/a.mp4"))
    );
}
