//! How runs end, what they leave behind, and which exit codes they return.

use std::fs;
use std::process::Stdio;

use super::{GRAPH, Place, frames, rows};
use crate::command::send;
use crate::skipped::data;
use crate::support::{card_of_mini_xception, wait_until};

const LONG: [&str; 2] = ["--set", "nodes.s.count=100000"];

/// Asserts that every file named in the report is as the report describes it.
pub(crate) fn assert_files_as_reported(place: &Place) {
    let report = place.report();
    for file in report["files"].as_array().unwrap() {
        let path = place.path(file["path"].as_str().unwrap());
        let holds = file["holds"].as_u64().unwrap();
        let is_part = path
            .extension()
            .is_some_and(|extension| extension == "part");
        match file["state"].as_str().unwrap() {
            "removed" => {
                assert!(!path.exists(), "{file}");
                continue;
            }
            state => assert_eq!(state == "part", is_part, "{file}"),
        }
        let there = match file["unit"].as_str().unwrap() {
            "rows" => rows(&path),
            "lines" => fs::read_to_string(&path).unwrap().matches('\n').count() as u64,
            _ => frames(&path),
        };
        assert_eq!(there, holds, "{file}");
    }
}

#[test]
fn a_call_that_never_returns_costs_nobody_else_a_row() {
    let place = Place::new(
        "\
fermata: 1
nodes:
  a: {use: synthetic_faces, count: 100, fps: 100, seed: 1, width: 160, height: 120}
  b: {use: synthetic_faces, count: 100, fps: 100, seed: 2, width: 160, height: 120}
  da: {use: detect_faces, in: a, every: 1000}
  db: {use: detect_faces, in: b, every: 1000}
  seen: {use: write_csv, in: da, path: \"${run.dir}/seen.csv\"}
  stuck: {use: inject_faults, in: da, stall_after: 50}
  log: {use: write_csv, in: [stuck, db], path: \"${run.dir}/faces.csv\"}
run: {clock: live, drain: 1s}
",
    );
    let mut run = place.start(&[], "faces.csv.part", 5000);
    let part = place.path("o/faces.csv.part");
    let seen = place.path("o/seen.csv.part");
    wait_until("all of b, and what stalls", || {
        rows(&part) >= 150 && rows(&seen) > 50
    });
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let text = fs::read_to_string(&part).unwrap();
    assert_eq!(
        text.lines().filter(|line| line.starts_with("b,")).count(),
        100
    );
    assert_files_as_reported(&place);
}

#[test]
fn one_signal_finishes_every_file() {
    for signal in ["INT", "TERM", "HUP", "XCPU"] {
        let place = Place::new(GRAPH);
        let mut run = place.start(&LONG, "a.csv.part", 2000);
        send(&run, signal);
        assert_eq!(run.wait().unwrap().code(), Some(130), "{signal}");
        assert_files_as_reported(&place);
        let names = place.names("o");
        for finished in ["a.csv", "a.mp4", "report.json"] {
            assert!(names.iter().any(|name| name == finished), "{names:?}");
        }
        assert!(
            !names.iter().any(|name| name.ends_with(".part")),
            "{names:?}"
        );
    }
}

#[test]
fn a_second_signal_gives_up_what_hangs_and_keeps_its_file_as_a_part() {
    let place = Place::new(
        "\
fermata: 1
streams: {a: 1}
nodes:
  s: {use: synthetic_faces, each: stream, count: 100000, width: 160, height: 120, faces: 1}
  d: {use: detect_faces, in: s, every: 100000}
  stuck: {use: inject_faults, in: d, stall_after: 50}
  seen: {use: write_csv, in: d, path: \"${run.dir}/seen.csv\"}
  e: {use: write_csv, each: stream, in: stuck, path: \"${run.dir}/${stream.name}.csv\"}
  v: {use: write_video, each: stream, in: s, path: \"${run.dir}/${stream.name}.mp4\"}
run: {clock: asap, drain: 10m}
",
    );
    let mut run = place.start(&[], "a.csv.part", 1500);
    // What `seen` has got was sent to `stuck` as well: it has the packet that it stalls at,
    // however early the signal comes.
    let seen = place.path("o/seen.csv.part");
    wait_until("the packet that stalls", || {
        seen.exists() && rows(&seen) > 50
    });
    send(&run, "INT");
    // The first signal finishes what can be finished, then waits for the rest.
    wait_until("the video has its name", || place.path("o/a.mp4").exists());
    assert!(run.try_wait().unwrap().is_none());
    // Signals within 200 ms of each other count as one.
    std::thread::sleep(std::time::Duration::from_millis(250));
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(1));
    assert_files_as_reported(&place);
    let names = place.names("o");
    for kept in ["a.csv.part", "a.mp4", "report.json"] {
        assert!(names.iter().any(|name| name == kept), "{names:?}");
    }
    assert!(!place.path("o/a.csv").exists());
}

/// `nohup` starts programs this way.
#[test]
fn a_run_that_is_to_outlive_its_terminal_does() {
    let place = Place::new(GRAPH);
    let mut command = std::process::Command::new("bash");
    command
        .args([
            "-c",
            "trap '' HUP; exec \"$0\" \"$@\"",
            crate::support::fermata(),
        ])
        .args(["run", "g.yaml", "--out", "o", "--quiet"])
        .args(LONG)
        .current_dir(place.path(""))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut run = command.spawn().unwrap();
    let part = place.path("o/a.csv.part");
    let held = |least: u64| {
        wait_until("rows", || part.exists() && rows(&part) >= least);
        rows(&part)
    };
    let before = held(10);
    send(&run, "HUP");
    // More rows than any queue holds.
    held(before + 200);
    assert!(run.try_wait().unwrap().is_none());
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_files_as_reported(&place);
}

/// The system sends a signal every second once the processor time is used up.
#[test]
fn a_limit_of_processor_time_drains_once_however_often_it_is_told() {
    let place = Place::new(GRAPH);
    let mut run = place.start(&LONG, "a.csv.part", 2000);
    for _ in 0..4 {
        if run.try_wait().unwrap().is_none() {
            send(&run, "XCPU");
        }
        std::thread::sleep(std::time::Duration::from_millis(210));
    }
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert!(place.path("o/a.csv").exists(), "{:?}", place.names("o"));
    assert_files_as_reported(&place);
}

/// What an earlier analysis found is no result of one that was given up before it started.
#[test]
fn an_analysis_that_is_interrupted_before_it_starts_leaves_the_earlier_one_alone() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let place = Place::new(GRAPH);
    let model = model.path().to_str().unwrap();
    // Nobody answers there, but the nodes of each are made.
    let cameras: Vec<String> = (0..40)
        .map(|number| format!("rtsp://127.0.0.1:9/{number}"))
        .collect();
    let options = ["--detector", "haar", "--model", model, "--out", "o"];
    let cameras = cameras.iter().map(String::as_str);
    let arguments: Vec<&str> = ["analyse"]
        .into_iter()
        .chain(cameras)
        .chain(options)
        .collect();
    let earlier = [
        ("faces.csv", "earlier faces"),
        ("report.json", "{}"),
        ("summary.json", "earlier people"),
    ];
    for _ in 0..20 {
        let _ = fs::remove_dir_all(place.path("o"));
        fs::create_dir(place.path("o")).unwrap();
        for (name, text) in earlier {
            fs::write(place.path("o").join(name), text).unwrap();
        }
        let mut command = place.program(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = command.spawn().unwrap();
        wait_until("an analysis that starts", || {
            place.path("o/run.log").exists()
        });
        send(&run, "INT");
        let output = run.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{said}");
        if !said.contains("nothing was started") {
            // It was quicker than the signal.
            continue;
        }
        assert!(output.stdout.is_empty(), "{output:?}");
        assert_eq!(place.names("o"), earlier.map(|(name, _)| name));
        for (name, text) in earlier {
            assert_eq!(
                fs::read_to_string(place.path("o").join(name)).unwrap(),
                text
            );
        }
        return;
    }
    panic!("it always starts before it is interrupted");
}

#[test]
fn signals_within_a_moment_are_one() {
    let place = Place::new(GRAPH);
    let mut run = place.start(&LONG, "a.csv.part", 2000);
    // While it stands still, each kind of signal waits until it goes on.
    for signal in ["STOP", "INT", "TERM", "HUP", "XCPU", "CONT"] {
        send(&run, signal);
    }
    assert_eq!(run.wait().unwrap().code(), Some(130));
    // The run was drained, not stopped.
    assert!(place.path("o/a.csv").exists(), "{:?}", place.names("o"));
    assert_files_as_reported(&place);
}

#[test]
fn a_report_or_summary_that_cannot_be_written_does_not_make_a_run_undone() {
    let place = Place::new(GRAPH);
    fs::create_dir_all(place.path("o/report.json.part")).unwrap();
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(
        ended.said.contains("the report could not be written"),
        "{}",
        ended.said
    );
    assert!(place.path("o/a.mp4").exists());
    let place = Place::new(GRAPH);
    let ended = place.script("$F run g.yaml --out o -q > /dev/full");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(
        ended.said.contains("the summary could not be printed"),
        "{}",
        ended.said
    );
    assert!(place.path("o/report.json").exists());
    // A reader that has gone away is no failure.
    let ended = place.script("$F run g.yaml --out p -q | true; echo ${PIPESTATUS[0]}");
    assert!(ended.said.starts_with('0'), "{}", ended.said);
}

#[test]
fn a_run_without_an_error_output_ends_as_any_other() {
    let place = Place::new(GRAPH);
    // The reader reads nothing and exits.
    let script =
        "$F run g.yaml --out o --set nodes.s.count=100000 2> >(exec 0<&-; true) >/dev/null & P=$!
while kill -0 $P && ! [ -s o/a.csv.part ]; do sleep 0.05; done; kill -INT $P; wait $P; echo code $?";
    let ended = place.script(script);
    assert!(ended.said.contains("code 130"), "{}", ended.said);
    let ended = place.script("$F run g.yaml --out p 2>&- >&-; echo code $?");
    assert!(ended.said.contains("code 0"), "{}", ended.said);
}

#[test]
fn a_node_of_which_everything_failed_is_no_success() {
    let place = Place::new(
        "\
fermata: 1
nodes:
  s: {use: test_source, count: 10}
  x: {use: inject_faults, in: s, fail_every: 1}
  e: {use: discard, in: x}
run: {clock: asap}
",
    );
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(
        ended.said.contains("node `x` processed nothing"),
        "{}",
        ended.said
    );
    let ended = place.run(&["--set", "nodes.x.fail_every=2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

/// A camera may have nothing to show, but a recording of which nothing can be read has failed, even if everything else
/// succeeded.
#[test]
fn a_source_of_which_everything_is_missed_is_no_success() {
    let place = Place::new(
        "\
fermata: 1
nodes:
  s: {use: image_source, path: photos, skip_unreadable: true}
  other: {use: test_source, count: 10}
  e: {use: discard, in: s}
  f: {use: discard, in: other}
run: {clock: asap}
",
    );
    fs::create_dir(place.path("photos")).unwrap();
    fs::write(place.path("photos/a.jpg"), "no picture").unwrap();
    fs::write(place.path("photos/b.png"), "").unwrap();
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let words = "none of its images can be read (2 are missed)";
    assert!(ended.said.contains(words), "{}", ended.said);
    assert_eq!(place.report()["streams"]["other"]["delivered"], 10);
    let photo = image::RgbImage::new(64, 64);
    photo.save(place.path("photos/c.png")).unwrap();
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let model = crate::support::repository("models/expression");
    let mut analyse = place.program(&["analyse", "photos/a.jpg", "--out", "p", "-q", "--model"]);
    analyse.arg(model);
    let ended = super::ended(analyse);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
}

#[test]
fn a_limit_of_files_fails_the_writes_and_says_so() {
    let place = Place::new(GRAPH);
    let script = "ulimit -f 8; $F run g.yaml --set nodes.s.count=300 --out o -q";
    let ended = place.script(script);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("File too large"), "{}", ended.said);
    assert!(ended.said.contains("a.csv.part holds"), "{}", ended.said);
    let part = fs::read_to_string(place.path("o/a.csv.part")).unwrap();
    assert!(part.ends_with('\n') && part.len() <= 8192, "{}", part.len());
}

#[test]
fn a_sink_that_outlives_anothers_failure_finishes_its_file() {
    let place = Place::new(
        "\
fermata: 1
nodes:
  s: {use: synthetic_faces, count: 100000, width: 160, height: 120}
  d: {use: detect_faces, in: s, every: 100000}
  x: {use: inject_faults, in: d, panic_every: 50}
  lost: {use: write_csv, in: x, path: \"${run.dir}/lost.csv\"}
  log: {use: write_csv, in: d, path: \"${run.dir}/faces.csv\"}
run: {clock: asap, restart: {most: 0, within: 0s}}
",
    );
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(rows(&place.path("o/faces.csv")) >= 49);
    assert_eq!(rows(&place.path("o/lost.csv")), 49);
    assert_files_as_reported(&place);
}

#[test]
fn a_model_that_says_nothing_finite_is_no_success() {
    let Some(data) = crate::skipped::data() else {
        return;
    };
    let model = crate::support::card_of_mini_xception(&data);
    let card = model.path().join("card.yaml");
    // The overflow makes the result NaN.
    let text = fs::read_to_string(&card).unwrap();
    let text = text.replace("{multiply: 2}", "{multiply: 1e38}, {multiply: 1e38}");
    fs::write(&card, text).unwrap();
    let place = Place::new(
        "\
fermata: 1
params: {model: none}
nodes:
  s: {use: synthetic_faces, count: 12, faces: 1}
  d: {use: detect_faces, in: s}
  c: {use: crop_faces, in: d, model: \"${model}\"}
  m: {use: classify_expression, in: c, model: \"${model}\"}
  e: {use: discard, in: m}
run: {clock: asap}
",
    );
    let param = format!("model={}", model.path().display());
    let ended = place.run(&["--param", &param]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(
        ended.said.contains("`m` processed nothing"),
        "{}",
        ended.said
    );
}

/// A packet dropped ahead of two sinks is lost to both but reported once, and the summary, the report and the files
/// agree on it.
#[test]
fn summary_report_and_files_agree_on_what_was_lost() {
    let place = Place::new(
        "\
fermata: 1
nodes:
  a: {use: synthetic_faces, count: 120, fps: 120, seed: 1, width: 640, height: 480}
  detect: {use: detect_faces, in: a, model: haar, queue: {capacity: 1, full: drop_oldest}}
  lines: {use: write_jsonl, in: detect, path: \"${run.dir}/faces.jsonl\"}
  table: {use: write_csv, in: detect, path: \"${run.dir}/faces.csv\"}
run: {clock: live}
",
    );
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_files_as_reported(&place);
    let report = place.report();
    let stream = &report["streams"]["a"];
    let (captured, delivered) = (stream["captured"].as_u64(), stream["delivered"].as_u64());
    let (captured, delivered) = (captured.unwrap(), delivered.unwrap());
    let lines = fs::read_to_string(place.path("o/faces.jsonl")).unwrap();
    assert_eq!(lines.lines().count() as u64, delivered);
    let lost = captured - delivered;
    assert!(
        lost > 0,
        "a cascade looks at no 120 frames a second: {report:#}"
    );
    for sink in ["lines", "table"] {
        let losses = stream["sinks"][sink]["losses"].as_object().unwrap();
        let all: u64 = losses.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(all, lost, "{sink}: {losses:?}");
    }
    let row = ended.said.lines().find(|line| line.starts_with("a "));
    let cells: Vec<&str> = row.unwrap().split_whitespace().collect();
    let told = [captured.to_string(), "0".to_owned(), delivered.to_string()];
    assert_eq!(cells[1..4], told, "{row:?}");
    let told = format!("{lost} drop_oldest at detect");
    assert_eq!(ended.said.matches(&told).count(), 1, "{}", ended.said);
}
