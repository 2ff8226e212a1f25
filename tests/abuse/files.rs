//! Which folders belong to a run, and what remains of an earlier run in them.

use std::fs;

use super::{GRAPH, Place, frames, rows};
use crate::command::send;

const LONG: [&str; 4] = ["--set", "nodes.s.count=100000", "--set", "run.clock=live"];

#[test]
fn a_second_run_in_a_folder_is_refused_while_the_first_goes_on() {
    let place = Place::new(GRAPH);
    let mut first = place.start(&LONG, "a.csv.part", 1000);
    let second = place.run(&["--stream", "a=2"]);
    assert_eq!(second.code, Some(2), "{}", second.said);
    assert!(second.said.contains("in use by fermata"), "{}", second.said);
    send(&first, "INT");
    assert_eq!(first.wait().unwrap().code(), Some(130));
    let held = rows(&place.path("o/a.csv"));
    assert_eq!(frames(&place.path("o/a.mp4")), held);
    assert!(!place.path("o/earlier").exists());
}

#[test]
fn two_runs_never_write_one_file_from_two_folders() {
    let graph = GRAPH.replace("${run.dir}/${stream.name}.csv", "shared.csv");
    let place = Place::new(&graph);
    let mut first = place.start(&LONG, "a.mp4.part", 1000);
    let mut second = place.program(&["run", "g.yaml", "--out", "p", "--quiet"]);
    let second = super::ended({
        second.args(["--stream", "a=2"]);
        second
    });
    assert_eq!(second.code, Some(2), "{}", second.said);
    assert!(
        second.said.contains("another writer has it"),
        "{}",
        second.said
    );
    assert!(place.names("p").is_empty());
    send(&first, "INT");
    first.wait().unwrap();
    assert!(rows(&place.path("shared.csv")) > 0);
}

#[test]
fn what_an_earlier_run_left_goes_to_a_folder_of_its_own() {
    let place = Place::new(GRAPH);
    assert_eq!(place.run(&[]).code, Some(0));
    let mut killed = place.start(
        &[&LONG[..], &["--stream", "b=2"]].concat(),
        "b.csv.part",
        1000,
    );
    killed.kill().unwrap();
    killed.wait().unwrap();
    let first = ["a.csv", "a.mp4", "graph.yaml", "report.json", "run.log"];
    assert_eq!(place.names("o/earlier/1"), first);
    for name in ["a.csv", "a.mp4", "b.csv", "b.mp4", "report.json"] {
        assert!(!place.path("o").join(name).exists(), "{name} looks whole");
    }
    assert_eq!(place.run(&["--stream", "c=3"]).code, Some(0));
    let second = place.names("o/earlier/2");
    for name in [
        "a.csv.part",
        "a.mp4.part",
        "b.csv.part",
        "graph.yaml",
        "run.log",
    ] {
        assert!(
            second.iter().any(|known| known == name),
            "{name}: {second:?}"
        );
    }
    assert!(place.names("o").iter().all(|name| !name.ends_with(".part")));
}

#[test]
fn a_run_that_does_not_start_leaves_an_earlier_one_as_it_was() {
    let place = Place::new(GRAPH);
    assert_eq!(place.run(&[]).code, Some(0));
    let before = place.names("o");
    // This is found only when the actor is created: the folder of its file does not exist.
    let set = "nodes.e.path=${run.dir}/nowhere/${stream.name}.csv";
    let ended = place.run(&["--set", set]);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert_eq!(place.names("o"), before);
}

/// A mount point inside a folder cannot be moved.
#[test]
fn an_earlier_run_that_cannot_be_moved_stays_where_it_was() {
    let place = Place::new(GRAPH);
    assert_eq!(place.run(&[]).code, Some(0));
    let disk = place.path("o/disk");
    fs::create_dir(&disk).unwrap();
    let before = place.names("o");
    let script = format!(
        "cd '{}'; '{}' run g.yaml --out o -q 2>&1; echo code $?",
        place.path("").display(),
        crate::support::fermata()
    );
    let Some(output) = crate::disk::on_a_small_disk(&disk, &script) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("code 2"), "{said}");
    assert!(
        said.contains("cannot move o/disk") && said.contains("--out"),
        "{said}"
    );
    assert_eq!(place.names("o"), before);
}

#[test]
fn a_run_never_moves_what_it_reads() {
    let place = Place::new(GRAPH);
    assert_eq!(place.run(&[]).code, Some(0));
    let ended = super::ended(place.program(&["run", "o/graph.yaml", "--out", "o"]));
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    let again = GRAPH.replace(
        "synthetic_faces, each: stream, count: 10, width: 160, height: 120, faces: 1",
        "video_source, each: stream, uri: \"${stream.uri}\"",
    );
    fs::write(place.path("g.yaml"), again).unwrap();
    let ended = place.run(&["--stream", "a=o/a.mp4"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(place.path("o/a.mp4").exists() && !place.path("o/earlier").exists());
    // A replay of a run that was moved is correct.
    fs::rename(place.path("o/a.mp4"), place.path("b.mp4")).unwrap();
    let ended = place.run(&["--stream", "a=b.mp4"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}
