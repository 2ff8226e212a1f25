//! Times: live time stamps against arrival, gaps and steps in recordings, slow cameras, frames that had waited, and
//! recordings over the network.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fermata_actors::payload::VideoFrame;
use fermata_actors::sources::video_source::VideoSource;
use fermata_engine::packet::downcast;
use fermata_engine::report::FileReport;
use fermata_engine::testing::setup;
use fermata_engine::{
    ClockMode, Graph, LoadOptions, Next, Pacing, Registry, Report, RunOptions, RunningGraph, Source,
};

use crate::servers::{self, Http, Sending, Server};
use crate::skipped::data;
use crate::support::{
    DEADLINE, assert_same_times, camera_pictures, case, ffmpeg, ffprobe_pts_us, open, read_whole,
    seconds, segments, settings, settings_of, source, take,
};

fn start(text: &str) -> RunningGraph {
    let mut registry = Registry::builtin();
    fermata_actors::register(&mut registry);
    let options = LoadOptions::new(std::env::temp_dir());
    let graph = Graph::parse("clip.yaml", text, &registry, &options).expect("a correct graph");
    let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default());
    running.expect("a graph that starts")
}

/// Runs a source in a graph to its end.
fn run(uri: &str, clock: &str) -> Report {
    let text = format!(
        "
fermata: 1
nodes:
  clip: {{use: video_source, uri: '{uri}'}}
  end:  {{use: discard, in: clip}}
run: {{clock: {clock}}}
"
    );
    let report = start(&text).wait();
    assert!(report.balanced, "{:?}", report.imbalances);
    report
}

#[test]
fn what_had_waited_when_a_camera_was_opened_is_not_lost() {
    let sending = Sending {
        waiting: 60,
        ..Sending::at(10.0)
    };
    let server = servers::rtsp(&camera_pictures(), sending);
    let mut source = source(&format!("rtsp://127.0.0.1:{}/x", server.port));
    let burst = take(&mut source, 60);
    let kept = burst.iter().filter(|(captured, _)| captured.is_kept());
    assert!(kept.count() >= 55);
    // This ends: frames that come in real time may be overwritten.
    while take(&mut source, 1)[0].0.is_kept() {}
    assert_eq!(source.pacing(), Pacing::Live);
}

#[test]
fn a_graph_that_is_slower_than_a_burst_loses_nothing_of_it() {
    let sending = Sending {
        waiting: 60,
        most: 60,
        ..Sending::at(25.0)
    };
    let server = servers::rtsp(&camera_pictures(), sending);
    let text = format!(
        "
fermata: 1
nodes:
  clip: {{use: video_source, uri: 'rtsp://127.0.0.1:{}/x'}}
  slow: {{use: identity, in: clip, work: 20ms, queue: {{capacity: 1}}}}
  end:  {{use: discard, in: slow}}
run: {{clock: live}}
",
        server.port
    );
    let running = start(&text);
    let handle = running.handle();
    let delivered = || {
        handle
            .stream_report("clip")
            .map_or(0, |stream| stream.delivered)
    };
    let started = Instant::now();
    while delivered() < 60 {
        assert!(started.elapsed() < DEADLINE, "{} frames only", delivered());
        std::thread::park_timeout(Duration::from_millis(10));
    }
    handle.drain();
    assert_eq!(running.wait().streams["clip"].missed, 0);
}

#[test]
fn a_frame_that_is_stamped_far_off_moves_no_other() {
    let sending = Sending {
        off_s: |number| if matches!(number, 10 | 15) { 1000 } else { 0 },
        ..Sending::at(20.0)
    };
    let server = servers::rtsp(&camera_pictures(), sending);
    let mut source = source(&format!("rtsp://127.0.0.1:{}/x", server.port));
    let taken = take(&mut source, 30);
    let times = seconds(&taken);
    assert_eq!(segments(&taken), 0);
    assert!(
        (times[29] - times[0] - 29.0 / 20.0).abs() < 0.5,
        "{times:?}"
    );
    assert!(times.windows(2).all(|two| two[0] < two[1]), "{times:?}");
}

#[test]
fn a_camera_whose_clock_is_set_goes_on_in_a_new_segment() {
    for off_s in [
        (|number| if number < 10 { 0 } else { 7200 }) as fn(usize) -> i64,
        |number| if number < 10 { 7200 } else { 0 },
    ] {
        let sending = Sending {
            off_s,
            ..Sending::at(20.0)
        };
        let server = servers::rtsp(&camera_pictures(), sending);
        let mut source = source(&format!("rtsp://127.0.0.1:{}/x", server.port));
        let taken = take(&mut source, 25);
        let times = seconds(&taken);
        assert_eq!((segments(&taken), server.connections()), (1, 1));
        assert!(
            (times[24] - times[0] - 24.0 / 20.0).abs() < 0.5,
            "{times:?}"
        );
    }
}

#[test]
fn mjpeg_over_http_has_the_times_of_its_arrival() {
    let server = servers::mjpeg(servers::shades(), Sending::at(5.0));
    let mut source = source(&format!("http://127.0.0.1:{}/stream", server.port));
    let taken = take(&mut source, 12);
    let times = seconds(&taken);
    assert_eq!((times[0], segments(&taken)), (0.0, 0));
    let arrived = taken[11].1.duration_since(taken[3].1).as_secs_f64();
    let stated = times[11] - times[3];
    assert!((stated - arrived).abs() < 0.1, "{stated} s in {arrived} s");
}

#[test]
fn mjpeg_whose_parts_are_of_another_type_is_shown() {
    let types = [
        "Content-Type: image/jpg\r\n",
        "Content-Type: application/octet-stream\r\n",
        "content-type:  image/jpeg; quality=80\r\n",
        "",
    ];
    for type_line in types {
        let server = servers::mjpeg_of(type_line, servers::shades(), Sending::at(20.0));
        let mut source = source(&format!("http://127.0.0.1:{}/stream", server.port));
        let taken = take(&mut source, 12);
        let shades = taken.iter().map(|(captured, _)| {
            let payload = captured.payload(0).expect("a payload").clone();
            let video = downcast::<VideoFrame>(payload).expect("a frame");
            i32::from(video.frame.bgr()[2])
        });
        let shades: Vec<i32> = shades.collect();
        // Each is brighter by twenty than the previous one, and the first follows the tenth.
        let steps = shades
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).rem_euclid(200));
        let steps: Vec<i32> = steps.collect();
        assert!(
            steps.iter().all(|step| (17..=23).contains(step)),
            "{type_line:?}: {shades:?}"
        );
        assert_eq!((segments(&taken), server.connections()), (0, 2));
    }
}

#[test]
fn a_camera_that_was_opened_again_goes_on_in_time() {
    let sending = Sending {
        most: 10,
        ..Sending::at(20.0)
    };
    let pictures = camera_pictures();
    let server = servers::rtsp(&pictures, sending);
    let uri = format!("rtsp://127.0.0.1:{}/x", server.port);
    let settings = settings_of(serde_json::json!({
        "uri": uri, "timeout": "700ms", "reconnect": {"first": "50ms", "most": "50ms"}
    }));
    let mut source =
        VideoSource::create(settings, &setup()).unwrap_or_else(|error| panic!("{error}"));
    let taken = take(&mut source, 14);
    let times = seconds(&taken);
    assert_eq!(segments(&taken), 1);
    let lost = taken
        .iter()
        .position(|(captured, _)| captured.is_new_segment());
    let lost = lost.expect("a reconnect");
    let (stated, passed) = (
        times[lost] - times[lost - 1],
        taken[lost]
            .1
            .duration_since(taken[lost - 1].1)
            .as_secs_f64(),
    );
    assert!((stated - passed).abs() < 0.05, "{stated} s in {passed} s");
}

#[test]
fn the_timeout_means_no_picture_and_not_no_packet() {
    // Changes to a picture that never came: packets arrive, but nothing can be shown.
    let mut pictures = servers::access_units(&camera_pictures());
    pictures.retain(|units| units.iter().all(|unit| unit[0] & 0x1F == 1));
    let server = servers::rtsp_of(pictures, Sending::at(50.0));
    let uri = format!("rtsp://127.0.0.1:{}/x", server.port);
    let settings = settings_of(serde_json::json!({ "uri": uri, "timeout": "300ms" }));
    let mut source =
        VideoSource::create(settings, &setup()).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(source.next(), Ok(Next::Wait(_))));
}

#[test]
fn a_playlist_is_paced_and_its_segments_may_be_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("long.ts");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=10:duration=8 -c:v libx264 -g 10 -bf 0 -f segment -segment_time 1 -segment_format mpegts -segment_list_size 0 -reset_timestamps 0 -map 0 -y -segment_start_number 0 -loglevel error {}",
        &path.with_file_name("%d.ts"),
    );
    let segments: Vec<Vec<u8>> = (0..8)
        .map(|number| std::fs::read(folder.path().join(format!("{number}.ts"))))
        .map(|segment| segment.expect("a segment"))
        .collect();
    let server = servers::playlist(segments, Duration::from_secs(1));
    let uri = format!("http://127.0.0.1:{}/live.m3u8", server.port);
    // Shorter than a segment, as the default is for segments of ten seconds.
    let settings = settings_of(serde_json::json!({ "uri": uri, "timeout": "600ms" }));
    let mut source =
        VideoSource::create(settings, &setup()).unwrap_or_else(|error| panic!("{error}"));
    let taken = take(&mut source, 50);
    assert_eq!(
        (self::segments(&taken), source.pacing()),
        (0, Pacing::ByPts)
    );
    let times = seconds(&taken);
    assert!((times[49] - times[0] - 4.9).abs() < 0.01, "{times:?}");
}

/// Returns the time of each frame in µs, and a digest of its pixels: all frames of a long clip would take too much
/// memory.
fn digests(uri: &str) -> (Vec<i64>, Vec<u64>) {
    let source = open(settings_of(serde_json::json!({ "uri": uri })));
    let frames = source.map(|packet| {
        let mut packet = packet.unwrap_or_else(|error| panic!("{error}"));
        let mut hasher = DefaultHasher::new();
        packet.take::<VideoFrame>().frame.bgr().hash(&mut hasher);
        let us = (packet.envelope.pts_ns as f64 / 1e3).round() as i64;
        (us, hasher.finish())
    });
    frames.unzip()
}

#[test]
fn a_recording_over_http_is_whole_and_twice_the_same_with_and_without_ranges() {
    let Some(data) = data() else { return };
    let mut clips: Vec<PathBuf> = std::fs::read_dir(data.join("videos"))
        .expect("videos")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    clips.sort();
    assert!(clips.len() >= 3, "{clips:?}");
    for clip in clips {
        let stamps = ffprobe_pts_us(&clip);
        for http in [Http::Ranges, Http::Whole] {
            let server = servers::http(std::fs::read(&clip).expect("a clip"), http);
            let name = clip.file_name().expect("a name").to_string_lossy();
            let uri = format!("http://127.0.0.1:{}/{name}", server.port);
            let report = run(&uri, "asap");
            let stream = &report.streams["clip"];
            let (delivered, missed) = (stream.delivered as usize, stream.missed);
            assert_eq!((delivered, missed), (stamps.len(), 0), "{name}");
            let (times, pictures) = digests(&uri);
            assert_same_times(&times, &stamps, 1);
            assert!(digests(&uri) == (times, pictures), "{name} twice");
        }
    }
}

#[test]
fn a_recording_over_http_is_paced_by_its_stamps() {
    let server = servers::http(
        std::fs::read(case("drawn.mp4")).expect("a clip"),
        Http::Whole,
    );
    let report = run(&format!("http://127.0.0.1:{}/a.mp4", server.port), "live");
    let stream = &report.streams["clip"];
    assert_eq!((stream.delivered, stream.missed), (25, 0));
    assert!(report.wall_s > 0.9, "{} s", report.wall_s);
}

#[test]
fn stamps_that_step_back_are_no_wrap_and_begin_a_segment() {
    let frames = read_whole(case("back.ts"));
    assert_eq!(frames.len(), 50);
    let times: Vec<f64> = frames.iter().map(|read| read.pts_ns as f64 / 1e9).collect();
    assert!((times[49] - times[0] - 1.96).abs() < 0.2, "{times:?}");
    assert_eq!(frames.iter().map(|read| read.segment).max(), Some(1));
    let report = run(&case("back.ts").display().to_string(), "live");
    let stream = &report.streams["clip"];
    assert_eq!((stream.delivered, stream.missed), (50, 0));
    assert!(report.wall_s < 60.0, "{} s", report.wall_s);
}

#[test]
fn a_gap_of_a_recording_is_kept_and_not_waited_for() {
    for (file, frames, gap_s) in [("fwd.ts", 50, 7198.0), ("gap2200.mkv", 25, 2199.0)] {
        let read = read_whole(case(file));
        assert_eq!(read.len(), frames, "{file}");
        assert!(read.iter().all(|read| read.segment == 0), "{file}");
        let lasts = (read[frames - 1].pts_ns - read[0].pts_ns) as f64 / 1e9;
        assert!(lasts > gap_s, "{file} lasts {lasts} s");
        let mut live = setup();
        live.clock_mode = ClockMode::Live;
        let source = VideoSource::create(settings(case(file)), &live);
        let mut source = source.unwrap_or_else(|error| panic!("{error}"));
        let mut begun = 0;
        while let Next::Packet(captured) = source.next().expect("a frame") {
            begun += usize::from(captured.is_new_segment());
        }
        assert_eq!(begun, 1, "{file}");
        let report = run(&case(file).display().to_string(), "live");
        let stream = &report.streams["clip"];
        assert_eq!((stream.delivered, stream.missed), (frames as u64, 0));
        assert!(report.wall_s < 60.0, "{} s", report.wall_s);
    }
}

/// Runs a recording through a graph that writes it to a file; returns the frames' times in that file, in seconds, and
/// the report on it.
fn rewritten(node: &str, uri: &str) -> (Vec<f64>, FileReport) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.mp4");
    let text = format!(
        "
fermata: 1
streams: {{a: '{uri}'}}
nodes:
  clip:  {{use: {node}}}
  video: {{use: write_video, each: stream, in: clip, path: '{}'}}
run: {{clock: asap}}
",
        path.display()
    );
    let report = start(&text).wait();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let times = ffprobe_pts_us(&path);
    let file = report.files.into_iter().next().expect("a file");
    (times.into_iter().map(|us| us as f64 / 1e6).collect(), file)
}

#[test]
fn every_video_begins_at_zero_and_the_report_says_what_that_was() {
    let source = "video_source, each: stream, uri: \"${stream.uri}\"";
    let (times, file) = rewritten(source, &case("late.ts").display().to_string());
    assert_eq!((times.len(), times[0]), (25, 0.0));
    assert!((times[24] - 0.96).abs() < 0.01, "{times:?}");
    let [begin] = &file.segments[..] else {
        panic!("{:?}", file.segments);
    };
    assert_eq!((begin.segment, begin.at_ms), (0, 0.0));
    assert!((begin.pts_ms - 7_201_480.0).abs() < 100.0, "{begin:?}");
    assert!(begin.captured.starts_with("20") && begin.captured.ends_with('Z'));

    let (times, file) = rewritten(source, &case("back.ts").display().to_string());
    assert_eq!((times.len(), file.segments.len()), (50, 2));
    let second = &file.segments[1];
    assert_eq!(second.segment, 1);
    assert!((second.at_ms / 1e3 - times[25]).abs() < 0.2, "{second:?}");
}

#[test]
fn gaps_of_hours_are_written_as_they_are() {
    let source = "video_source, each: stream, uri: \"${stream.uri}\"";
    let (times, _) = rewritten(source, &case("gap2200.mkv").display().to_string());
    assert_eq!(times.len(), 25);
    assert!((times[24] - 2200.96).abs() < 0.1, "{times:?}");
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..3 {
        let path = folder.path().join(format!("{number}.png"));
        let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([number * 80, 90, 200]));
        picture.save(path).expect("an encoder");
    }
    let images = "image_source, each: stream, path: \"${stream.uri}\", fps: 0.000277777777";
    let (times, _) = rewritten(images, &folder.path().display().to_string());
    assert_eq!(times.len(), 3);
    assert!((times[2] - 7200.0).abs() < 0.1, "{times:?}");
}

/// 32 bits cannot hold more than six hours between two frames.
#[test]
fn gaps_that_a_file_cannot_hold_are_shortened_and_the_report_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..3 {
        let path = folder.path().join(format!("{number}.png"));
        let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([number * 80, 90, 200]));
        picture.save(path).expect("an encoder");
    }
    let images = "image_source, each: stream, path: \"${stream.uri}\", fps: 0.00003968253968";
    let (times, file) = rewritten(images, &folder.path().display().to_string());
    let hours: Vec<f64> = times.iter().map(|s| (s / 36.0).round() / 100.0).collect();
    assert_eq!(hours, [0.0, 6.0, 12.0]);
    let places = file.segments.iter().map(|begun| {
        let hours = [begun.pts_ms, begun.at_ms].map(|ms| (ms / 36_000.0).round() / 100.0);
        (begun.segment, hours[0], hours[1])
    });
    let expected = [(0, 0.0, 0.0), (0, 7.0, 6.0), (0, 14.0, 12.0)];
    assert_eq!(places.collect::<Vec<_>>(), expected);
}

/// An abandoned connection costs nothing: nothing is read from it.
#[test]
fn a_cancelled_camera_ends_and_is_not_opened_again() {
    let server: Server = servers::rtsp(&camera_pictures(), Sending::at(10.0));
    let setup = setup();
    let uri = format!("rtsp://127.0.0.1:{}/x", server.port);
    let settings = settings_of(serde_json::json!({ "uri": uri }));
    let mut source =
        VideoSource::create(settings, &setup).unwrap_or_else(|error| panic!("{error}"));
    take(&mut source, 2);
    setup.cancel_flag().store(true, Ordering::Relaxed);
    assert!(matches!(source.next(), Ok(Next::End)));
    assert_eq!(server.connections(), 1);
}
