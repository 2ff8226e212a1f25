//! Contents of the file, and when it exists.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fermata_engine::testing::{ActorDriver, capture, input, setup, stream};
use fermata_engine::{Capture, End, Life, Services};
use fermata_vision::{Expression, Face, Frame, GroundTruth, Rect, TrueFace};
use tempfile::TempDir;

use super::*;
use crate::payload::VideoFrame;

const HEADER_LINE: &str = "stream,segment,sequence,pts_ms,track,x,y,w,h,score,raw_label,label,p_angry,p_disgust,p_fear,p_happy,p_sad,p_surprise,p_neutral,truth,true_face,latency_ms,file";

fn create(path: &Path, setup: Setup) -> Result<ActorDriver<WriteCsv>, ActorError> {
    ActorDriver::create(settings(path), setup)
}

fn settings(path: &Path) -> WriteCsvSettings {
    WriteCsvSettings {
        path: path.to_owned(),
        segment: None,
        keep: None,
    }
}

fn asap(path: &Path) -> ActorDriver<WriteCsv> {
    create(path, setup()).unwrap()
}

fn at(name: &str, sequence: u64) -> Capture {
    Capture {
        stream: stream(0, name),
        segment: 1,
        pts_ns: 33_366_667 * sequence as i64,
        captured_ns: 2_000_000,
        ..capture(sequence)
    }
}

fn frame(faces: Vec<Face>, truth: Option<GroundTruth>) -> Faces {
    let video = VideoFrame {
        frame: Frame::from_bgr(1, 1, vec![0; 3]),
        truth: truth.map(Arc::new),
        file: None,
    };
    Faces::found(video, faces)
}

fn send(actor: &mut ActorDriver<WriteCsv>, at: Capture, faces: Faces) -> Result<(), ActorError> {
    actor.process(input(at, faces)).map(drop)
}

fn rect(x: f32, side: f32) -> Rect {
    Rect {
        x,
        y: 20.5,
        w: side,
        h: side,
    }
}

fn known_face() -> Face {
    Face {
        rect: rect(-10.126, 64.0),
        score: Some(0.987_66),
        track: Some(7),
        raw_label: Some(Expression::Sad),
        smoothed: Some([0.0, 0.125, 0.0, 0.5, 0.25, 0.0, 0.125]),
        label: Some(Expression::Happy),
        ..Face::default()
    }
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_face_has_a_row_and_so_has_a_frame_without_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    let mut actor = asap(&path);
    let unknown = Face {
        rect: rect(100.0, 32.0),
        ..Face::default()
    };
    send(&mut actor, at("lobby", 0), frame(vec![], None)).unwrap();
    send(
        &mut actor,
        at("lobby", 1),
        frame(vec![known_face(), unknown], None),
    )
    .unwrap();
    actor.finish(End::default()).unwrap();
    let expected = [
        HEADER_LINE,
        "lobby,1,0,0.000,,,,,,,,,,,,,,,,,,,",
        "lobby,1,1,33.367,7,-10.13,20.50,64.00,64.00,0.9877,sad,happy,0.000000,0.125000,0.000000,0.500000,0.250000,0.000000,0.125000,,,,",
        "lobby,1,1,33.367,,100.00,20.50,32.00,32.00,,,,,,,,,,,,,,",
        "",
    ];
    assert_eq!(fs::read_to_string(&path).unwrap(), expected.join("\n"));
    assert_eq!(names(&folder), ["faces.csv"]);
}

#[test]
fn the_columns_are_those_of_the_expressions() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    asap(&path).finish(End::default()).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{HEADER_LINE}\n")
    );
    let columns: Vec<&str> = HEADER_LINE
        .split(',')
        .filter_map(|name| name.strip_prefix("p_"))
        .collect();
    assert_eq!(columns, Expression::ALL.map(Expression::name));
}

#[test]
fn latency_is_the_time_from_capture_by_the_runs_clock() {
    for mode in [ClockMode::Live, ClockMode::Replay(2.0)] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("faces.csv");
        let mut setup = setup();
        setup.clock_mode = mode;
        let mut actor = create(&path, setup).unwrap();
        let clock = &actor.setup().clock;
        clock.advance(Duration::from_micros(14_345));
        send(&mut actor, at("lobby", 0), frame(vec![], None)).unwrap();
        actor.finish(End::default()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().nth(1).unwrap().rsplit(',').nth(1),
            Some("12.345")
        );
    }
}

#[test]
fn a_box_is_one_drawn_face_and_a_drawn_face_is_one_box() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    let mut actor = asap(&path);
    let drawn = |identity, x: f32, expression| TrueFace {
        identity,
        rect: rect(x, 60.0),
        expression,
    };
    let truth = GroundTruth {
        faces: vec![
            drawn(3, 0.0, Expression::Angry),
            drawn(5, 20.0, Expression::Fear),
        ],
    };
    // The IoU with a box moved by d out of 60 is (60 − d) / (60 + d), which is 0.5 at d = 20. The second box overlaps
    // both faces enough.
    let boxes = [-5.0, 4.0, 39.9, 40.1, 300.0, f32::NAN];
    let faces = boxes.map(|x| Face {
        rect: rect(x, 60.0),
        ..Face::default()
    });
    send(&mut actor, at("lobby", 0), frame(faces.into(), Some(truth))).unwrap();
    actor.finish(End::default()).unwrap();
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let found: Vec<(String, String)> = reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            (row[19].to_owned(), row[20].to_owned())
        })
        .collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
    let none = ("", "");
    assert_eq!(
        found,
        [none, ("angry", "3"), ("fear", "5"), none, none, none]
    );
}

#[test]
fn without_smoothing_the_probabilities_are_the_classifiers_and_an_image_has_its_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    let mut actor = asap(&path);
    let face = Face {
        smoothed: None,
        label: None,
        probabilities: Some([0.0, 0.0, 0.25, 0.75, 0.0, 0.0, 0.0]),
        ..known_face()
    };
    let mut faces = frame(vec![face], None);
    faces.video.file = Some("door 1.jpg".into());
    send(&mut actor, at("lobby", 0), faces).unwrap();
    actor.finish(End::default()).unwrap();
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let row = reader.records().next().unwrap().unwrap();
    assert_eq!((&row[10], &row[11]), ("sad", ""));
    assert_eq!((&row[14], &row[15]), ("0.250000", "0.750000"));
    assert_eq!(&row[22], "door 1.jpg");
}

#[test]
fn any_stream_name_reads_back() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    let mut actor = asap(&path);
    let streams = ["a,b", "say \"hi\"", "two\nlines", "", "Türe 2", "=1+1"];
    for stream in streams {
        send(&mut actor, at(stream, 0), frame(vec![known_face()], None)).unwrap();
    }
    actor.finish(End::default()).unwrap();
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let read: Vec<String> = reader
        .records()
        .map(|row| row.unwrap()[0].to_owned())
        .collect();
    assert_eq!(read, streams);
}

#[test]
fn every_row_is_on_the_disk_when_its_frame_has_been_handled() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    let part = folder.path().join("faces.csv.part");
    let mut actor = asap(&path);
    for sequence in 0..3 {
        send(&mut actor, at("lobby", sequence), frame(vec![], None)).unwrap();
        let rows = fs::read_to_string(&part).unwrap();
        assert_eq!(rows.lines().count() as u64, sequence + 2);
        assert!(rows.ends_with('\n'));
    }
    assert_eq!(names(&folder), ["faces.csv.part"]);
    drop(actor);
    assert_eq!(names(&folder), ["faces.csv.part"], "what was written stays");
}

#[test]
fn a_run_that_is_stopped_keeps_its_rows_under_the_name_of_a_part() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    fs::write(&path, "old").unwrap();
    let mut actor = asap(&path);
    send(&mut actor, at("lobby", 0), frame(vec![], None)).unwrap();
    actor.finish(End::of(How::Stopped)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    let part = fs::read_to_string(folder.path().join("faces.csv.part")).unwrap();
    assert_eq!(part.lines().count(), 2);
}

#[test]
fn what_a_killed_run_left_is_moved_aside_and_an_earlier_file_replaced_when_the_new_one_is_finished()
{
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    fs::write(&path, "old").unwrap();
    fs::write(folder.path().join("faces.csv.part"), "left by a killed run").unwrap();
    let mut actor = asap(&path);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    actor.finish(End::default()).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{HEADER_LINE}\n")
    );
    let left = fs::read_to_string(folder.path().join("faces.csv.2.part")).unwrap();
    assert_eq!(left, "left by a killed run");
}

#[test]
fn segments_are_whole_tables_and_only_the_newest_are_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faces.csv");
    let settings = WriteCsvSettings {
        segment: Some(SegmentLimit::Time(Duration::from_millis(100))),
        keep: Some(2),
        ..settings(&path)
    };
    let mut actor = ActorDriver::<WriteCsv>::create(settings, setup()).unwrap();
    // 30 frames a second, of which the fourth comes after 100 ms; the other stream does not count towards it.
    for sequence in 0..12 {
        send(&mut actor, at("lobby", sequence), frame(vec![], None)).unwrap();
        let other = Capture {
            stream: stream(1, "door"),
            pts_ns: 7,
            ..at("door", sequence)
        };
        send(&mut actor, other, frame(vec![], None)).unwrap();
    }
    actor.finish(End::default()).unwrap();
    let mut left = names(&folder);
    left.sort();
    assert_eq!(left, ["faces.0003.csv", "faces.0004.csv"]);
    let mut rows = 0;
    for name in left {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.starts_with(HEADER_LINE) && text.ends_with('\n'));
        rows += text.lines().count() - 1;
    }
    assert_eq!(rows, 8 + 4);
}

#[test]
fn a_killed_parts_segments_go_on_after_the_last_settled_row_although_low_numbers_are_gone() {
    let folder = TempDir::new().unwrap();
    let life = Life {
        number: 2,
        settled: BTreeMap::from([("lobby".to_owned(), 4)]),
        since: Some(SystemTime::now()),
    };
    // `keep` had removed 0001 and 0002, and the part was killed while it wrote 0006.
    for (name, sequences) in [
        ("faces.0003.csv", 0..1),
        ("faces.0004.csv", 1..3),
        ("faces.0005.csv", 3..5),
        ("faces.0006.csv.part", 5..7),
    ] {
        let rows = sequences.map(|sequence| format!("lobby,1,{sequence},0.000\n"));
        let text = format!("{HEADER_LINE}\n{}", rows.collect::<String>());
        fs::write(folder.path().join(name), text).unwrap();
    }
    let settings = WriteCsvSettings {
        segment: Some(SegmentLimit::Time(Duration::from_secs(600))),
        keep: Some(3),
        ..settings(&folder.path().join("faces.csv"))
    };
    let setup = setup().with_services(Services::new().with(Arc::new(life)));
    let mut actor = ActorDriver::<WriteCsv>::create(settings, setup).unwrap();
    for sequence in 4..8 {
        send(&mut actor, at("lobby", sequence), frame(vec![], None)).unwrap();
    }
    actor.finish(End::default()).unwrap();
    let mut left = names(&folder);
    left.sort();
    assert_eq!(left, ["faces.0004.csv", "faces.0005.csv", "faces.0006.csv"]);
    let sequences = left.iter().flat_map(|name| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        let cells = text.lines().skip(1).map(|row| row.split(',').nth(2));
        let numbers = cells.map(|cell| cell.unwrap().parse().unwrap());
        numbers.collect::<Vec<u64>>()
    });
    assert_eq!(sequences.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_folder_that_is_not_there_is_refused_when_the_actor_is_created() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nowhere").join("faces.csv");
    let error = create(&path, setup()).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot create `") && error.contains("nowhere/faces.csv.part"),
        "{error}"
    );
    assert!(
        error.ends_with("its folder must exist and be writable"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_nobody_may_write_to_is_refused_when_the_actor_is_created() {
    // Not even root can create files there.
    let error = create(Path::new("/proc/faces.csv"), setup()).unwrap_err();
    assert!(
        error.to_string().contains("must exist and be writable"),
        "{error}"
    );
}

#[test]
fn a_path_that_names_no_file_is_refused_before_anything_starts() {
    let folder = TempDir::new().unwrap();
    for path in [folder.path().to_owned(), "/".into(), "".into()] {
        let error = WriteCsv::check(&settings(&path)).unwrap_err();
        assert!(error.to_string().contains("must name a file"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_at_once() {
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("faces.csv.part")).unwrap();
    let error = create(&folder.path().join("faces.csv"), setup()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("faces.csv.part") && error.contains("No space left"),
        "{error}"
    );
}
