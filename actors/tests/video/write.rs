//! Writing videos: every frame comes out again with its time and its colours, or not at all.

use std::path::Path;

use fermata_actors::payload::VideoFrame;
use fermata_actors::sinks::write_video::WriteVideo;
use fermata_engine::testing::{ActorDriver, capture, input};
use fermata_engine::{ActorError, Capture, End, How, Input};
use fermata_vision::Frame;

use crate::skipped::data;
use crate::support::{
    assert_same_times, ffmpeg, ffprobe_pts_us, ffprobe_stream, pts_us, read_whole,
};

pub(crate) const SIZE: (usize, usize) = (160, 96);

/// Resolution of a video's times, rounded up.
const TICK_US: i64 = 12;

/// Returns a smooth picture that is different for each number.
pub(crate) fn picture((width, height): (usize, usize), number: usize) -> Frame {
    let pixel = |index: usize| {
        let (x, y) = (index % width, index / width);
        let shade = |part: usize, whole: usize| (40 + part * 160 / whole.max(1)) as u8;
        [
            shade(x, width),
            shade(y, height),
            40 + (number * 37 % 160) as u8,
        ]
    };
    let pixels = (0..width * height).flat_map(pixel).collect();
    Frame::from_bgr(width, height, pixels)
}

/// Returns a picture of noise, which does not compress.
pub(crate) fn noise((width, height): (usize, usize), seed: usize) -> Frame {
    let mut state = seed as u32 | 1;
    let pixels = (0..width * height * 3).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    Frame::from_bgr(width, height, pixels.collect())
}

pub(crate) fn create(path: &Path) -> Result<ActorDriver<WriteVideo>, ActorError> {
    ActorDriver::new(serde_json::json!({ "path": path }))
}

pub(crate) fn packet(frame: Frame, sequence: u64, segment: u32, pts_ns: i64) -> Input {
    let at = Capture {
        segment,
        pts_ns,
        ..capture(sequence)
    };
    input(at, VideoFrame::of(frame))
}

/// Writes one picture at each (segment, time).
pub(crate) fn write(
    path: &Path,
    times: &[(u32, i64)],
    frame: impl Fn(usize) -> Frame,
) -> Result<(), ActorError> {
    let mut writer = create(path)?;
    for (number, (segment, pts_ns)) in times.iter().enumerate() {
        let input = packet(frame(number), number as u64, *segment, *pts_ns);
        writer.process(input)?;
    }
    writer.finish(End::default())
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder").flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn what_is_written_reads_back_at_its_times_and_in_its_colours() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    // A variable rate that does not begin at zero.
    let times: Vec<(u32, i64)> = (0..60)
        .map(|n: i64| (0, 1_500_000_000 + n * 33_333_333 + (n % 4) * 5_000_000))
        .collect();
    write(&path, &times, |number| picture(SIZE, number)).unwrap_or_else(|error| panic!("{error}"));
    let frames = read_whole(&path);
    let expected: Vec<i64> = times
        .iter()
        .map(|(_, pts_ns)| (pts_ns - times[0].1) / 1000)
        .collect();
    assert_same_times(&pts_us(&frames), &expected, TICK_US);
    assert_same_times(&ffprobe_pts_us(&path), &expected, TICK_US);
    for (number, read) in frames.iter().enumerate() {
        let written = picture(SIZE, number);
        let differences = read
            .video
            .frame
            .bgr()
            .iter()
            .zip(written.bgr())
            .map(|(a, b)| u64::from(a.abs_diff(*b)));
        let mean = differences.sum::<u64>() as f64 / written.bgr().len() as f64;
        assert!(mean < 3.0, "frame {number} is off by {mean} on average");
    }
    assert_eq!(names_in(folder.path()), ["out.mp4"]);
}

#[test]
fn the_file_says_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a:b.mp4");
    let times: Vec<(u32, i64)> = (0..25).map(|n| (0, n * 40_000_000)).collect();
    write(&path, &times, |number| picture(SIZE, number)).unwrap_or_else(|error| panic!("{error}"));
    let path = folder.path().join("plain.mp4");
    std::fs::rename(folder.path().join("a:b.mp4"), &path).expect("another name");
    for (entry, value) in [
        ("codec_name", "h264"),
        ("pix_fmt", "yuv420p"),
        ("color_space", "bt709"),
        ("color_range", "tv"),
        ("color_transfer", "bt709"),
        ("color_primaries", "bt709"),
        ("avg_frame_rate", "25/1"),
        // The last frame lasts as long as the others.
        ("duration", "1.000000"),
    ] {
        assert_eq!(ffprobe_stream(&path, entry), value, "{entry}");
    }
    let level: u32 = ffprobe_stream(&path, "level").parse().expect("a level");
    assert!(level <= 20, "level {level} for a tiny picture");
}

#[test]
fn a_segment_that_starts_over_goes_on_after_the_last_frame() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    let segment = |segment| (0..10).map(move |n: i64| (segment, n * 50_000_000));
    let times: Vec<(u32, i64)> = segment(0).chain(segment(1)).collect();
    write(&path, &times, |number| picture(SIZE, number)).unwrap_or_else(|error| panic!("{error}"));
    let expected: Vec<i64> = (0..20).map(|n| n * 50_000).collect();
    assert_same_times(&pts_us(&read_whole(&path)), &expected, TICK_US);
}

#[test]
fn odd_sizes_lose_a_line_and_changing_sizes_are_scaled_to_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    let sizes = [(161, 97), (161, 97), (320, 200), (99, 33)];
    let times: Vec<(u32, i64)> = (0..4).map(|n| (0, n * 40_000_000)).collect();
    write(&path, &times, |number| picture(sizes[number], 0))
        .unwrap_or_else(|error| panic!("{error}"));
    let frames = read_whole(&path);
    assert_eq!(frames.len(), 4);
    assert!(
        frames
            .iter()
            .all(|read| (read.video.frame.width(), read.video.frame.height()) == (160, 96))
    );
}

#[test]
fn the_only_column_or_row_stands_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    for (size, written) in [((1, 9), (2, 8)), ((9, 1), (8, 2)), ((1, 1), (2, 2))] {
        let gray = |_| Frame::from_bgr(size.0, size.1, vec![90; size.0 * size.1 * 3]);
        let ended = write(&path, &[(0, 0), (0, 40_000_000)], gray);
        ended.unwrap_or_else(|error| panic!("{error}"));
        let frames = read_whole(&path);
        assert_eq!(frames.len(), 2);
        for read in &frames {
            let frame = &read.video.frame;
            assert_eq!((frame.width(), frame.height()), written);
            assert!(frame.bgr().iter().all(|value| value.abs_diff(90) < 4));
        }
    }
}

#[test]
fn a_single_frame_is_a_video() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    write(&path, &[(0, 0)], |number| picture(SIZE, number))
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read_whole(&path).len(), 1);
}

#[test]
fn a_stream_without_frames_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    write(&path, &[], |number| picture(SIZE, number)).unwrap_or_else(|error| panic!("{error}"));
    assert!(names_in(folder.path()).is_empty());
}

/// Feeds evenly spaced pictures to a writer that is not finished.
fn unfinished(path: &Path, count: usize, distance_ns: i64) -> ActorDriver<WriteVideo> {
    let mut writer = create(path).unwrap_or_else(|error| panic!("{error}"));
    for number in 0..count {
        let at_ns = number as i64 * distance_ns;
        let input = packet(picture(SIZE, number), number as u64, 0, at_ns);
        let handled = writer.process(input);
        handled.unwrap_or_else(|error| panic!("{error}"));
    }
    writer
}

#[test]
fn what_is_written_can_be_played_nearly_to_its_end_at_any_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    for (fps, count) in [(60, 130), (25, 70), (15, 50), (8, 30), (3, 12), (1, 6)] {
        let path = folder.path().join(format!("{fps}.mp4"));
        let distance_ns = 1_000_000_000 / fps;
        // Not dropped before the file is read, as if the process were killed here.
        let writer = unfinished(&path, count, distance_ns);
        let part = folder.path().join(format!("{fps}.mp4.part"));
        let played = ffprobe_pts_us(&part).len();
        let lost = count - played;
        let most = usize::try_from(fps).expect("a rate").max(2);
        assert!(
            lost <= most,
            "{lost} of {count} frames at {fps} fps are lost"
        );
        drop(writer);
        assert!(part.exists() && !path.exists());
    }
}

#[test]
fn a_stream_that_slows_down_and_speeds_up_loses_no_frame_and_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    let part = folder.path().join("out.mp4.part");
    let mut at_ns = 0;
    let mut times = Vec::new();
    // Fast, a camera that is away for an hour, slow, fast, one stall.
    for (count, distance_ms) in [
        (40, 40),
        (1, 3_600_000),
        (6, 1000),
        (40, 40),
        (1, 900),
        (20, 40),
    ] {
        for _ in 0..count {
            times.push((0, at_ns));
            at_ns += distance_ms * 1_000_000;
        }
    }
    let mut writer = create(&path).unwrap_or_else(|error| panic!("{error}"));
    for (number, (segment, pts_ns)) in times.iter().enumerate() {
        let input = packet(picture(SIZE, number), number as u64, *segment, *pts_ns);
        let handled = writer.process(input);
        handled.unwrap_or_else(|error| panic!("{error}"));
        // Up to a second of the frames before that hour may be lost, until the first one after it comes.
        if (41..48).contains(&number) {
            let lost = number + 1 - ffprobe_pts_us(&part).len();
            assert!(lost <= 2, "{lost} frames are lost at frame {number}");
        }
    }
    let ended = writer.finish(End::default());
    ended.unwrap_or_else(|error| panic!("{error}"));
    let expected: Vec<i64> = times.iter().map(|(_, pts_ns)| pts_ns / 1000).collect();
    assert_same_times(&ffprobe_pts_us(&path), &expected, TICK_US);
    assert_same_times(&pts_us(&read_whole(&path)), &expected, TICK_US);
    ffmpeg("-xerror -i {} -fps_mode passthrough -f null -", &path);
}

#[test]
fn encoders_of_one_file_share_its_headers_whatever_the_preset() {
    let folder = tempfile::tempdir().expect("a folder");
    for preset in [
        "ultrafast",
        "superfast",
        "veryfast",
        "faster",
        "fast",
        "medium",
        "slow",
        "slower",
        "veryslow",
    ] {
        let path = folder.path().join(format!("{preset}.mp4"));
        let json = serde_json::json!({ "path": path, "preset": preset });
        let mut writer = ActorDriver::<WriteVideo>::new(json).unwrap_or_else(|e| panic!("{e}"));
        let mut at_ns = 0;
        for number in 0..60 {
            let input = packet(picture((64, 48), number), number as u64, 0, at_ns);
            writer
                .process(input)
                .unwrap_or_else(|error| panic!("{error}"));
            let is_slow = (20..30).contains(&number);
            at_ns += if is_slow { 1_000_000_000 } else { 20_000_000 };
        }
        let ended = writer.finish(End::default());
        ended.unwrap_or_else(|error| panic!("{error}"));
        ffmpeg("-xerror -i {} -fps_mode passthrough -f null -", &path);
        for (number, read) in read_whole(&path).iter().enumerate() {
            let written = picture((64, 48), number);
            let pairs = read.video.frame.bgr().iter().zip(written.bgr());
            let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            let mean = sum as f64 / written.bgr().len() as f64;
            assert!(
                mean < 6.0,
                "{preset}: frame {number} is off by {mean} on average"
            );
        }
    }
}

#[test]
fn frames_are_confirmed_once_they_are_on_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    let part = folder.path().join("out.mp4.part");
    let mut writer = create(&path).unwrap_or_else(|error| panic!("{error}"));
    let mut confirmed = 0;
    for number in 0..60 {
        let input = packet(
            picture(SIZE, number),
            number as u64,
            0,
            number as i64 * 40_000_000,
        );
        let outcome = writer.process(input);
        let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
        for (_, below) in outcome.flushed {
            confirmed = below;
            let played = ffprobe_pts_us(&part).len() as u64;
            assert!(played >= below, "{below} frames confirmed, {played} there");
        }
    }
    assert!(
        confirmed >= 35,
        "only {confirmed} of 60 frames were confirmed"
    );
}

#[test]
fn a_run_that_is_stopped_keeps_all_frames_in_a_part_and_spares_an_earlier_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    std::fs::write(&path, "of an earlier run").expect("an earlier file");
    let mut writer = unfinished(&path, 5, 40_000_000);
    let ended = writer.finish(End::of(How::Stopped));
    ended.unwrap_or_else(|error| panic!("{error}"));
    drop(writer);
    let part = folder.path().join("out.mp4.part");
    assert_eq!(ffprobe_pts_us(&part).len(), 5);
    assert_eq!(
        std::fs::read(&path).expect("the earlier file"),
        b"of an earlier run"
    );
}

#[test]
fn segments_are_whole_videos_and_only_the_newest_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    let json = serde_json::json!({ "path": path, "segment": "1s", "keep": 2 });
    let mut writer = ActorDriver::<WriteVideo>::new(json).unwrap_or_else(|error| panic!("{error}"));
    for number in 0..90 {
        let input = packet(
            picture(SIZE, number),
            number as u64,
            0,
            number as i64 * 40_000_000,
        );
        let handled = writer.process(input);
        handled.unwrap_or_else(|error| panic!("{error}"));
    }
    let ended = writer.finish(End::default());
    ended.unwrap_or_else(|error| panic!("{error}"));
    let mut left = names_in(folder.path());
    left.sort();
    assert_eq!(left, ["out.0003.mp4", "out.0004.mp4"]);
    for (name, frames, duration) in [
        ("out.0003.mp4", 25, "1.000000"),
        ("out.0004.mp4", 15, "0.600000"),
    ] {
        let path = folder.path().join(name);
        assert_eq!(ffprobe_pts_us(&path).len(), frames);
        assert_eq!(ffprobe_pts_us(&path)[0], 0);
        assert_eq!(ffprobe_stream(&path, "duration"), duration);
    }
}

/// Without an index, a fragmented file would be read from its beginning up to the wanted position.
#[test]
fn a_player_finds_any_moment_without_reading_what_is_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    let mut writer = create(&path).unwrap_or_else(|error| panic!("{error}"));
    for number in 0..750 {
        let time = number as i64 * 40_000_000;
        let handled = writer.process(packet(noise(SIZE, number), number as u64, 0, time));
        handled.unwrap_or_else(|error| panic!("{error}"));
    }
    let ended = writer.finish(End::default());
    ended.unwrap_or_else(|error| panic!("{error}"));
    let size = std::fs::metadata(&path).expect("a video").len();
    // Reading the headers costs the same for all.
    let mut first = None;
    for wanted in [3.0, 15.0, 28.0] {
        let mut probe = std::process::Command::new("ffprobe");
        probe.args(["-v", "verbose", "-of", "csv=p=0", "-show_entries"]);
        probe.args(["packet=pts_time", "-read_intervals"]);
        let probed = probe.arg(format!("{wanted}%+#1")).arg(&path).output();
        let probed = probed.expect("ffprobe");
        let time: f64 = String::from_utf8_lossy(&probed.stdout)
            .trim()
            .trim_end_matches(',')
            .parse()
            .expect("the time of a packet");
        assert!(
            time <= wanted && time > wanted - 2.0,
            "{time} instead of {wanted}"
        );
        let told = String::from_utf8_lossy(&probed.stderr);
        let words: Vec<&str> = told.split_whitespace().collect();
        let at = words.windows(2).position(|two| two == ["bytes", "read,"]);
        let read: u64 = words[at.expect("how much was read") - 1].parse().unwrap();
        let first = *first.get_or_insert(read);
        assert!(
            read < first + size / 8,
            "{read} of {size} bytes for {wanted}, {first} at first"
        );
    }
}

#[test]
fn a_real_video_survives_being_read_and_written() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["pyfeat_no_face.mp4", "pyfeat_noface_face.mov"] {
        let source = data.join("videos").join(name);
        let path = folder.path().join("out.mp4");
        let frames = read_whole(&source);
        let times: Vec<(u32, i64)> = frames.iter().map(|read| (0, read.pts_ns)).collect();
        write(&path, &times, |number| frames[number].video.frame.clone())
            .unwrap_or_else(|error| panic!("{error}"));
        let first = pts_us(&frames)[0];
        let expected: Vec<i64> = pts_us(&frames).iter().map(|us| us - first).collect();
        assert_same_times(&ffprobe_pts_us(&path), &expected, TICK_US);
        // Decodes without errors: `ffmpeg` runs with `-v error` and `-xerror`.
        ffmpeg("-xerror -i {} -f null -", &path);
    }
}

#[test]
fn a_video_begins_at_zero_wherever_its_times_begin() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    for start_us in [1_764_000_000_000_000, -80_000] {
        let times: Vec<(u32, i64)> = (0..30)
            .map(|n| (0, (start_us + n * 40_000) * 1000))
            .collect();
        write(&path, &times, |number| picture(SIZE, number))
            .unwrap_or_else(|error| panic!("{error}"));
        let expected: Vec<i64> = (0..30).map(|n| n * 40_000).collect();
        assert_same_times(&ffprobe_pts_us(&path), &expected, TICK_US);
    }
}
