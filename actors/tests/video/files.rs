//! Reading files: every frame, the container's times, the same colours as ffmpeg, and the handling of bad files.

use std::path::Path;
use std::sync::Arc;

use fermata_actors::payload::VideoFrame;
use fermata_actors::sources::video_source::VideoSource;
use fermata_engine::{Graph, LoadOptions, Pacing, Registry, RunOptions, RunningGraph, Source};

use crate::skipped::data;
use crate::support::{
    assert_same_times, ffmpeg, ffprobe_packets, ffprobe_pts_us, largest_difference, open, pts_us,
    read_all, read_whole, refusal, settings, settings_of, warnings,
};

const VIDEOS: [(&str, usize); 8] = [
    ("intel_asl_again.mkv", 77),
    ("intel_face-demographics-walking-and-pause.mp4", 41),
    ("intel_head-pose-face-detection-female-and-male.mp4", 56),
    ("intel_classroom.mp4", 45),
    ("pyfeat_WolfgangLanger_Pexels.mp4", 472),
    ("pyfeat_single_face.mp4", 72),
    ("pyfeat_no_face.mp4", 95),
    ("pyfeat_noface_face.mov", 169),
];

/// Compares the first frames with the output of `ffmpeg -pix_fmt bgr24`.
fn assert_ffmpegs_pixels(path: &Path, most: usize) {
    let line = format!("-i {{}} -frames:v {most} -vsync passthrough -pix_fmt bgr24 -f rawvideo -");
    let theirs = ffmpeg(&line, path);
    let mut rest = &theirs[..];
    for packet in open(settings(path)).take(most) {
        let video = packet.expect("a frame").take::<VideoFrame>();
        let (frame, after) = rest.split_at(video.frame.bgr().len());
        let difference = largest_difference(video.frame.bgr(), frame);
        assert!(
            difference <= 2,
            "{}: pixels differ by {difference}",
            path.display()
        );
        rest = after;
    }
    assert!(rest.is_empty(), "fewer frames than ffmpeg");
}

#[test]
fn real_videos_have_all_frames_at_ffprobes_times() {
    let Some(data) = data() else { return };
    for (name, count) in VIDEOS {
        let path = data.join("videos").join(name);
        let frames = read_whole(&path);
        assert_eq!(frames.len(), count, "{name}");
        assert_same_times(&pts_us(&frames), &ffprobe_pts_us(&path), 1);
        assert!(frames.iter().all(|frame| frame.segment == 0));
    }
}

#[test]
fn real_videos_have_ffmpegs_colours() {
    let Some(data) = data() else { return };
    for (name, _) in VIDEOS {
        assert_ffmpegs_pixels(&data.join("videos").join(name), 10);
    }
}

#[test]
fn matrix_range_and_subsampling_of_a_video_are_respected() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds = [
        (
            "bt709:out_range=tv",
            "yuv420p",
            "-colorspace bt709 -color_range tv",
        ),
        (
            "bt601:out_range=tv",
            "yuv422p",
            "-colorspace smpte170m -color_range tv",
        ),
        (
            "bt709:out_range=pc",
            "yuv420p",
            "-colorspace bt709 -color_range pc",
        ),
        ("bt601:out_range=pc", "yuv444p", "-color_range pc"),
    ];
    for (matrix, format, tags) in kinds {
        let path = folder.path().join("clip.mkv");
        let line = format!(
            "-f lavfi -i testsrc2=size=162x90:rate=10:duration=0.5 -vf scale=out_color_matrix={matrix},format={format} \
             -c:v libx264 -qp 1 {tags} {{}}"
        );
        ffmpeg(&line, &path);
        assert_ffmpegs_pixels(&path, 5);
    }
}

#[test]
fn a_variable_frame_rate_keeps_its_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clip.mp4");
    let line = "-f lavfi -i testsrc=size=160x120:rate=25:duration=4 -vf select=not(mod(n\\,3))+not(mod(n\\,7)) \
                -vsync vfr -c:v libx264 {}";
    ffmpeg(line, &path);
    let frames = read_whole(&path);
    let distances: std::collections::BTreeSet<i64> = frames
        .windows(2)
        .map(|two| two[1].pts_ns - two[0].pts_ns)
        .collect();
    assert!(distances.len() > 1, "the clip has a fixed rate");
    assert_same_times(&pts_us(&frames), &ffprobe_pts_us(&path), 1);
}

#[test]
fn several_decoder_threads_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clip.mp4");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -c:v libx264 {}",
        &path,
    );
    let one = read_whole(&path);
    let several = settings_of(serde_json::json!({ "uri": path, "threads": 4 }));
    let (several, error) = read_all(open(several));
    assert!(error.is_none());
    assert_eq!(one.len(), 50);
    assert_eq!(pts_us(&one), pts_us(&several));
    for (a, b) in one.iter().zip(&several) {
        assert!(a.video.frame.bgr() == b.video.frame.bgr());
    }
}

#[test]
fn a_phones_rotation_is_undone() {
    let folder = tempfile::tempdir().expect("a folder");
    let lying = folder.path().join("lying.mp4");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=5:duration=1 -c:v libx264 {}",
        &lying,
    );
    for degrees in [90, 180, 270] {
        let turned = folder.path().join("turned.mp4");
        let source = lying.display();
        ffmpeg(
            &format!("-i {source} -c copy -metadata:s:v:0 rotate={degrees} {{}}"),
            &turned,
        );
        let frame = &read_whole(&turned)[0].video.frame;
        let expected = if degrees == 180 {
            (160, 120)
        } else {
            (120, 160)
        };
        assert_eq!((frame.width(), frame.height()), expected, "{degrees}°");
        assert_ffmpegs_pixels(&turned, 5);
    }
}

#[test]
fn a_resolution_that_changes_on_the_way_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut both = Vec::new();
    for size in ["160x120", "96x64"] {
        let path = folder.path().join("one.ts");
        ffmpeg(
            &format!("-f lavfi -i testsrc=size={size}:rate=10:duration=1 -c:v libx264 {{}}"),
            &path,
        );
        both.extend(std::fs::read(&path).expect("a part"));
    }
    let path = folder.path().join("both.ts");
    std::fs::write(&path, both).expect("both parts");
    let frames = read_whole(&path);
    let (ours, theirs) = (pts_us(&frames), ffprobe_pts_us(&path));
    assert_eq!(ours.len(), theirs.len());
    // The second part has the same time stamps as the first; once two frames confirm that, its times continue from the
    // first.
    assert_same_times(&ours[..11], &theirs[..11], 1);
    let later: Vec<i64> = (11..20).map(|index| theirs[0] + index * 100_000).collect();
    assert_same_times(&ours[11..], &later, 1);
    let sizes = frames
        .iter()
        .map(|read| (read.video.frame.width(), read.video.frame.height()));
    let mut sizes: Vec<_> = sizes.collect();
    sizes.dedup();
    assert_eq!(sizes, [(160, 120), (96, 64)]);
}

#[test]
fn a_file_that_ends_too_early_delivers_what_it_has_and_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, flags) in [("clip.mp4", "-movflags +faststart"), ("clip.mkv", "")] {
        let path = folder.path().join(name);
        let line = format!(
            "-f lavfi -i testsrc=size=320x240:rate=25:duration=4 -c:v libx264 -g 10 {flags} {{}}"
        );
        ffmpeg(&line, &path);
        let whole = std::fs::read(&path).expect("the clip");
        // Ten offsets, since a cut may also fall between two packets.
        for cut in (0..10).map(|step| whole.len() * 2 / 3 + step * 97) {
            std::fs::write(&path, &whole[..cut]).expect("half a clip");
            let (frames, error) = read_all(open(settings(&path)));
            assert!(
                (20..100).contains(&frames.len()),
                "{name}: {} frames",
                frames.len()
            );
            let error = error
                .unwrap_or_else(|| panic!("{name} seemed whole"))
                .to_string();
            assert!(
                error.contains("ends too early") && error.contains(name),
                "{error}"
            );
            assert!(
                error.contains(&format!("after {} frames", frames.len())),
                "{error}"
            );
        }
    }
}

#[test]
fn a_trimmed_recording_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (long, trimmed) = (
        folder.path().join("long.mp4"),
        folder.path().join("trimmed.mp4"),
    );
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=4 -c:v libx264 -g 20 {}",
        &long,
    );
    let source = long.display();
    ffmpeg(
        &format!("-ss 1.3 -t 1.5 -i {source} -c copy {{}}"),
        &trimmed,
    );
    assert_same_times(&pts_us(&read_whole(&trimmed)), &ffprobe_pts_us(&trimmed), 1);
}

#[test]
fn a_packet_that_cannot_be_decoded_does_not_end_the_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clip.mp4");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -c:v libx264 -g 10 -bf 0 {}",
        &path,
    );
    let (at, size) = ffprobe_packets(&path)[25];
    let mut bytes = std::fs::read(&path).expect("the clip");
    bytes[at..at + size].fill(0xFF);
    std::fs::write(&path, bytes).expect("a damaged clip");
    for threads in [1, 3] {
        let settings = settings_of(serde_json::json!({ "uri": path, "threads": threads }));
        let (frames, error) = read_all(open(settings));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames.len(), 49);
    }
}

#[test]
fn a_packet_of_zero_bytes_is_a_lost_frame_and_not_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clip.mp4");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -c:v mjpeg -an {}",
        &path,
    );
    let mut bytes = std::fs::read(&path).expect("the clip");
    // The table of sample sizes: its name, version, a common size of 0, the number of samples, their sizes. The last
    // sample becomes empty, so that no other moves.
    let table = bytes.windows(4).position(|name| name == b"stsz");
    let last = table.expect("a table of sample sizes") + 16 + 4 * 49;
    bytes[last..last + 4].fill(0);
    std::fs::write(&path, bytes).expect("a clip with an empty sample");
    let text = format!(
        "
fermata: 1
nodes:
  clip: {{use: video_source, uri: '{}'}}
  end:  {{use: discard, in: clip}}
run: {{clock: asap}}
",
        path.display()
    );
    let mut registry = Registry::builtin();
    registry.register_source::<VideoSource>();
    let options = LoadOptions::new(folder.path());
    let graph = Graph::parse("clip.yaml", &text, &registry, &options).expect("a correct graph");
    let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default());
    let report = running.expect("a graph that starts").wait();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let clip = &report.streams["clip"];
    assert_eq!((clip.delivered, clip.missed), (49, 1));
}

#[test]
fn what_is_no_video_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("notes.mp4");
    std::fs::write(&text, "not a video").expect("a text");
    let sound = folder.path().join("sound.wav");
    ffmpeg("-f lavfi -i sine=duration=0.1 {}", &sound);
    let y4m = |name: &str, size: &str| {
        let path = folder.path().join(name);
        let text = format!("YUV4MPEG2 {size} F25:1 Ip A1:1 C420jpeg\nFRAME\n");
        std::fs::write(&path, text).expect("a header");
        path
    };
    let huge = y4m("huge.y4m", "W60000 H60000");
    let large = y4m("large.y4m", "W20000 H10000");
    let missing = folder.path().join("missing.mp4");
    for (path, said) in [
        (text.as_path(), "cannot open"),
        (&sound, "no video stream"),
        (&huge, "larger than any memory holds"),
        (&large, "20000 x 10000 pixels"),
        (&missing, "No such file"),
        (folder.path(), "it is a folder"),
    ] {
        let refused = refusal(path);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert!(
            refused.contains(said) && refused.contains(name),
            "{refused}"
        );
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused_before_anything_starts() {
    for (wrong, said) in [
        (
            serde_json::json!({ "uri": "/dev/video98" }),
            "no camera at `/dev/video98`",
        ),
        (serde_json::json!({ "uri": "rtsp:///main" }), "no host"),
        (
            serde_json::json!({ "uri": "rtsp://h/", "size": "big" }),
            "640x480",
        ),
        (serde_json::json!({ "uri": "rtsp://h/", "fps": 0 }), "fps"),
        (
            serde_json::json!({ "uri": "rtsp://h/", "threads": 0 }),
            "threads",
        ),
        (
            serde_json::json!({ "uri": "rtsp://h/", "timeout": "0s" }),
            "timeout",
        ),
        (
            serde_json::json!({ "uri": "rtsp://h/", "reconnect": {"first": "9s", "most": "1s"} }),
            "reconnect",
        ),
    ] {
        let refused = VideoSource::check(&settings_of(wrong))
            .expect_err(said)
            .to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_file_is_paced_by_its_times_and_a_cancelled_one_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clip.mp4");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=1 -c:v libx264 {}",
        &path,
    );
    let mut source = open(settings(&path));
    assert_eq!(source.source.pacing(), Pacing::ByPts);
    assert!(matches!(source.next(), Some(Ok(_))));
    source.cancel();
    assert!(source.next().is_none());
}

/// A recorder that was killed leaves a playlist without an end, of which libav by default reads the last three segments
/// and then waits for minutes.
#[test]
fn a_playlist_that_was_not_finished_is_read_from_its_beginning_and_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.m3u8");
    let clip = "-f lavfi -i testsrc=size=96x64:rate=25:duration=3 -c:v libx264 -g 13 -hls_time 0.5 -hls_list_size 0 {}";
    ffmpeg(clip, &whole);
    let text = std::fs::read_to_string(&whole).unwrap();
    let (begun, end) = text.split_once("#EXT-X-ENDLIST").unwrap();
    assert_eq!(end.trim(), "");
    let unfinished = folder.path().join("unfinished.m3u8");
    std::fs::write(&unfinished, begun).unwrap();
    let mut frames = Vec::new();
    let said = warnings(|| frames = read_whole(&unfinished));
    assert_eq!((read_whole(&whole).len(), frames.len()), (75, 75));
    assert!(said.contains("does not say where it ends"), "{said}");
}
