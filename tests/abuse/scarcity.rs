//! Runs that lack what they need: disk space, a folder, descriptors, memory, an output. `docs/results/robustness.md`
//! has the table of these.

use std::fs;

use super::{Ended, GRAPH, Place, rows};
use crate::command::send;
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
    // The log is written elsewhere: it would fill the disk again.
    let script = format!(
        "cd '{}'; mkdir $DISK/o; ln -s $PWD/run.log $DISK/o/run.log
'{}' run g.yaml --out $DISK/o -q --set nodes.s.count=2000 --set nodes.s.fps=500 --set run.clock=live > said 2>&1 & P=$!
while kill -0 $P && ! grep -q '^a,' $DISK/o/a.csv.part; do sleep 0.05; done 2>/dev/null
dd if=/dev/zero of=$DISK/ballast bs=1k 2>/dev/null
while kill -0 $P && ! grep -q 'No space left on device' run.log; do sleep 0.05; done; rm $DISK/ballast
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
    // The last frame arrived after the disk had room again.
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

/// Every sink, and also the trace and the report, on a disk that fills up before the run is over.
#[test]
fn on_a_full_disk_every_sink_says_so_and_leaves_nothing_that_looks_whole() {
    let place = Place::new(
        "\
fermata: 1
nodes:
  s: {use: video_source, each: stream, uri: \"${stream.uri}\"}
  d: {use: detect_faces, in: s, every: 100000}
  csv: {use: write_csv, in: d, path: \"${run.dir}/faces.csv\"}
  json: {use: write_jsonl, in: d, path: \"${run.dir}/faces.jsonl\"}
  video: {use: write_video, each: stream, in: s, crf: 0, path: \"${run.dir}/v.mp4\"}
  images: {use: write_images, in: s, dir: images}
run: {clock: asap}
",
    );
    let made = place.script(
        "ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=4 -c:v mpeg2video -q:v 2 in.ts",
    );
    assert_eq!(made.code, Some(0), "{}", made.said);
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "cp '{}' $DISK/g.yaml; cd $DISK; mkdir images
timeout 250 '{}' run g.yaml --stream a='{}' --out o --trace t.pftrace -q > '{}' 2>&1
echo code $?; ls o images . > '{}'; cp -r . '{}'",
        place.path("g.yaml").display(),
        crate::support::fermata(),
        place.path("in.ts").display(),
        place.path("said").display(),
        place.path("listing").display(),
        place.path("copy").display(),
    );
    let Some(output) = on_a_small_disk(&disk, &script) else {
        return;
    };
    let code = String::from_utf8_lossy(&output.stdout);
    let said = fs::read_to_string(place.path("said")).unwrap();
    assert!(code.contains("code 1"), "{code}{said}");
    assert!(said.contains("No space left on device"), "{said}");
    for name in ["faces.csv", "faces.jsonl", "v.mp4"] {
        let is_told = said.contains(&format!("{name}.part"));
        let is_whole = place.path("copy/o").join(name).exists();
        assert!(is_told != is_whole, "{name}: {said}");
    }
    let images = place.names("copy/images");
    assert!(!images.is_empty(), "{said}");
    for name in images {
        let bytes = fs::read(place.path("copy/images").join(&name)).unwrap();
        assert!(
            name.ends_with(".jpg") && bytes.ends_with(&[0xFF, 0xD9]),
            "{name}"
        );
    }
}

/// The limit applies to each file: data beyond it cannot be written, and the next file has a limit of its own.
#[test]
fn a_video_that_cannot_grow_ends_as_a_part_and_goes_on_in_the_next_file() {
    let place = Place::new(GRAPH);
    let script =
        "ulimit -f 60; $F run g.yaml --set nodes.s.count=900 --set nodes.s.noise=40 --out o -q";
    let ended = place.script(script);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for words in [
        "File too large",
        "a.mp4.part holds",
        "are in it",
        "a.0002.mp4.part holds",
    ] {
        assert!(ended.said.contains(words), "{words}: {}", ended.said);
    }
    super::assert_files_as_reported(&place);
    for name in ["a.mp4.part", "a.0002.mp4.part"] {
        assert!(super::frames(&place.path("o").join(name)) > 0, "{name}");
    }
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

/// ext4 does this by itself when the device below it fails: even open files can no longer be written to.
#[test]
fn a_disk_that_turns_read_only_keeps_what_is_on_it_and_every_file_says_so() {
    let place = Place::new(GRAPH);
    let long = LONG.join(" ");
    let script = format!(
        "dd if=/dev/zero of=image bs=1M count=16 && mkfs.ext4 -q image && mkdir disk && mount -o loop image disk || exit 77
$F run g.yaml --out disk/o -q {long} > said 2>&1 & P=$!
while kill -0 $P && ! [ \"$(stat -c %s disk/o/a.mp4.part || echo 0)\" -gt 8000 ]; do sleep 0.05; done
mount -o remount,abort disk || exit 77
while kill -0 $P && ! grep -q a.mp4.part said; do sleep 0.05; done
kill -INT $P; wait $P; code=$?; cp -r disk/o copy; exit $code"
    );
    fs::write(place.path("script"), script).unwrap();
    let ended = place.script("unshare --mount bash script");
    if !place.path("copy").exists() {
        println!("skipped: no disk of one's own here (mkfs.ext4, loop devices, root)");
        return;
    }
    let said = fs::read_to_string(place.path("said")).unwrap();
    assert_eq!(ended.code, Some(1), "{said}");
    let files = place.names("copy");
    // Even the lock file cannot be removed.
    let left = [".lock", "a.csv.part", "a.mp4.part", "graph.yaml", "run.log"];
    assert_eq!(files, left, "{said}");
    let rows = rows(&place.path("copy/a.csv.part"));
    let frames = super::frames(&place.path("copy/a.mp4.part"));
    assert!(rows > 0 && frames > 0, "{rows} rows, {frames} frames");
    for words in [
        "rows of ",
        "Read-only file system",
        &format!("a.csv.part holds {rows} rows; "),
        &format!("a.mp4.part holds {frames} frames; "),
        "lines are missing in the log",
        "the report could not be written",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
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
    // The whole folder is removed: there is nothing to keep, but the run still ends.
    let place = Place::new(GRAPH);
    let mut run = place.start(&LONG, "a.csv.part", 1000);
    fs::remove_dir_all(place.path("o")).unwrap();
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(1));
}

#[test]
fn few_descriptors_are_an_error_and_no_crash() {
    let mut codes = Vec::new();
    for descriptors in 5..=30 {
        let place = Place::new(GRAPH);
        let script = format!("ulimit -n {descriptors}; exec $F run g.yaml --out o -q");
        let Ended { code, said } = place.script(&script);
        assert!(!said.contains("panicked"), "{descriptors}: {said}");
        match code {
            Some(2) => {
                assert!(place.names("o").is_empty(), "{descriptors}: {said}");
                assert_eq!(said.matches("error:").count(), 1, "{descriptors}: {said}");
                assert!(said.contains("nothing was started"), "{said}");
            }
            // Files that could not be opened later are reported, and the rest is there.
            Some(1) if place.path("o/report.json").exists() => {
                assert!(said.contains("failed:"), "{descriptors}: {said}");
                super::assert_files_as_reported(&place);
            }
            Some(1) => assert!(said.contains("could not be written"), "{said}"),
            Some(0) => super::assert_files_as_reported(&place),
            code => panic!("{descriptors}: {code:?}: {said}"),
        }
        codes.push(code);
    }
    // Refusals, failures and successes follow in that order: a number that suffices still suffices with one more.
    assert!(codes.is_sorted_by(|fewer, more| fewer >= more), "{codes:?}");
    assert_eq!((codes[0], codes[25]), (Some(2), Some(0)), "{codes:?}");
}

/// Where memory runs out is chance; what may become of a run then is not.
#[test]
fn little_memory_leaves_nothing_that_looks_whole_and_is_not() {
    let mut codes = Vec::new();
    for kilobytes in [100_000, 250_000, 300_000, 400_000, 600_000, 8_000_000] {
        let place = Place::new(GRAPH);
        // An allocation that fails while a backtrace is printed blocks for ever in the standard library.
        let script = format!(
            "export RUST_BACKTRACE=0; ulimit -v {kilobytes}; timeout -s KILL 120 $F run g.yaml --out o -q; exit $?"
        );
        let ended = place.script(&script);
        let said = &ended.said;
        match ended.code {
            // The system could not load the libraries, or nothing could be started.
            Some(127 | 2) => assert!(place.names("o").is_empty(), "{said}"),
            Some(0) => {
                super::assert_files_as_reported(&place);
                // A library may fail on a single frame, too.
                let report = place.report();
                for sink in report["streams"]["a"]["sinks"]
                    .as_object()
                    .unwrap()
                    .values()
                {
                    let losses = sink["losses"].as_object().unwrap().values();
                    let lost: u64 = losses.map(|count| count.as_u64().unwrap()).sum();
                    assert_eq!(sink["delivered"].as_u64().unwrap() + lost, 10, "{said}");
                }
            }
            // A library failed on some of the frames, which the report counts.
            Some(1) => super::assert_files_as_reported(&place),
            // The program could not continue: as after SIGKILL.
            Some(134 | 139) => assert!(!place.path("o/report.json").exists(), "{said}"),
            code => panic!("{code:?}: {said}"),
        }
        codes.push(ended.code);
    }
    assert_eq!(codes[0], Some(127));
    assert_eq!(codes[5], Some(0));
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
    let mut run = place.start(&LONG, "a.mp4.part", 6000);
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
