//! Files as real cameras, phones and recorders write them: mirrored, with non-square pixels, damaged, with trailing
//! data.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{case, ffmpeg, open, read_all, read_whole, refusal, run, settings};

fn run_case(file: &str) -> (u64, u64, bool) {
    run(&case(file).display().to_string())
}

#[test]
fn mirrored_matrices_show_what_ffmpeg_shows() {
    for file in ["dm_hflip.mp4", "dm_transpose.mp4", "dm_transverse.mp4"] {
        let path = case(file);
        let theirs = ffmpeg("-i {} -frames:v 1 -pix_fmt bgr24 -f rawvideo -", &path);
        let ours = &read_whole(&path)[0].video.frame;
        let differs = ours.bgr().iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b));
        assert_eq!(ours.bgr().len(), theirs.len(), "{file}");
        assert!(differs.max() <= Some(2), "{file}");
    }
}

#[test]
fn pictures_that_ask_for_it_themselves_are_turned() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = folder.path().join("plain.mp4");
    ffmpeg(
        "-f lavfi -i testsrc=size=96x64:rate=25:duration=0.4 -c:v libx264 {}",
        &plain,
    );
    let (turned, source) = (folder.path().join("turned.mkv"), plain.display());
    for (asked, size) in [
        ("rotate=90", (64, 96)),
        ("rotate=180:flip=horizontal", (96, 64)),
    ] {
        let filter = format!("h264_metadata=display_orientation=insert:{asked}");
        ffmpeg(
            &format!("-i {source} -c copy -bsf:v {filter} {{}}"),
            &turned,
        );
        let theirs = ffmpeg("-i {} -frames:v 1 -pix_fmt bgr24 -f rawvideo -", &turned);
        let ours = &read_whole(&turned)[0].video.frame;
        assert_eq!((ours.width(), ours.height()), size, "{asked}");
        let differs = ours.bgr().iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b));
        assert!(differs.max() <= Some(2), "{asked}");
    }
}

#[test]
fn pixels_are_square_whatever_they_were() {
    // A half-D1 recorder's picture of the same scene.
    let (wide, square) = (read_whole(case("sar.mp4")), read_whole(case("drawn.mp4")));
    let (wide, square) = (&wide[0].video.frame, &square[0].video.frame);
    assert_eq!((wide.width(), wide.height()), (640, 480));
    let differences = wide.bgr().iter().zip(square.bgr());
    let sum: u64 = differences.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let mean = sum as f64 / wide.bgr().len() as f64;
    assert!(mean < 6.0, "off by {mean} on average");

    let folder = tempfile::tempdir().expect("a folder");
    for (sar, rotate, size) in [
        ("16/15", 0, (171, 120)),
        ("8/9", 0, (160, 135)),
        // The picture is stretched before it is rotated.
        ("2/1", 90, (120, 320)),
        // An implausible aspect ratio is ignored.
        ("1/100", 0, (160, 120)),
    ] {
        let path = folder.path().join("a.mp4");
        ffmpeg(
            &format!(
                "-f lavfi -i testsrc=size=160x120:rate=5:duration=0.4,setsar={sar} -c:v libx264 {{}}"
            ),
            &path,
        );
        let turned = folder.path().join("b.mp4");
        let source = path.display();
        ffmpeg(
            &format!("-i {source} -c copy -metadata:s:v:0 rotate={rotate} {{}}"),
            &turned,
        );
        let frame = &read_whole(&turned)[0].video.frame;
        assert_eq!((frame.width(), frame.height()), size, "{sar}");
    }
}

#[test]
fn frames_that_damage_has_taken_count_as_missed() {
    assert_eq!(run_case("dmg_long.mkv"), (81, 19, false));
    assert_eq!(run_case("dmg_long.ts"), (98, 2, false));
}

#[test]
fn gaps_of_a_whole_recording_are_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gaps.mkv");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=4 -vf select='not(between(n\\,30\\,60))' -vsync vfr -c:v libx264 {}",
        &path,
    );
    let (delivered, missed, failed) = run(&path.display().to_string());
    assert_eq!((delivered, missed, failed), (69, 0, false));
}

#[test]
fn what_stands_behind_the_pictures_of_a_file_is_not_missed() {
    for (file, frames) in [("gps0.mp4", 25), ("junk_long.mp4", 100)] {
        assert_eq!(run_case(file), (frames, 0, false), "{file}");
    }
}

#[test]
fn the_cover_of_a_sound_file_is_no_video() {
    for file in ["audio_cover.m4a", "song.mp3"] {
        let refused = refusal(case(file));
        assert!(refused.contains("it holds no video stream"), "{refused}");
    }
}

#[test]
fn an_hdr_video_is_read_all_the_same() {
    let frames = read_whole(case("drawn_hlg.mov"));
    assert_eq!(frames.len(), 25);
}

#[test]
fn shared_memory_and_pipes_are_files() {
    let mut shared = tempfile::Builder::new()
        .suffix(".mp4")
        .tempfile_in("/dev/shm")
        .expect("shared memory");
    let clip = std::fs::read(case("late.ts")).expect("a clip");
    shared.write_all(&clip).expect("room");
    assert_eq!(read_whole(shared.path()).len(), 25);

    // What a shell would pass on: a pipe that another process fills.
    let mut cat = Command::new("cat")
        .arg(case("late.ts"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("cat");
    let pipe = cat.stdout.take().expect("a pipe");
    let number = std::os::fd::AsRawFd::as_raw_fd(&pipe);
    let (frames, error) = read_all(open(settings(format!("/dev/fd/{number}"))));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames.len(), 25);
    cat.wait().expect("it ends");
}

#[test]
fn colours_that_no_standard_knows_are_unknown_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, codec) in [
        ("a.mpg", "mpeg2"),
        ("a.ts", "mpeg2"),
        ("a.mp4", "h264"),
        ("a.mkv", "h264"),
    ] {
        let encoder = match codec {
            "h264" => "libx264",
            _ => "mpeg2video",
        };
        let path = folder.path().join(name);
        ffmpeg(
            &format!(
                "-f lavfi -i testsrc=size=96x64:rate=25:duration=0.4 -c:v {encoder} -bsf:v {codec}_metadata=colour_primaries=200:transfer_characteristics=200:matrix_coefficients=200 {{}}"
            ),
            &path,
        );
        assert_eq!(read_whole(&path).len(), 10, "{name}");
    }
}

#[test]
fn a_video_of_which_nothing_can_be_decoded_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("moving.webp");
    ffmpeg(
        "-f lavfi -i testsrc=size=96x64:rate=25:duration=0.4 -c:v libwebp_anim {}",
        &path,
    );
    let (frames, error) = read_all(open(settings(&path)));
    assert_eq!(frames.len(), 0);
    let error = error.expect("an error").to_string();
    assert!(error.contains("none of its frames"), "{error}");
}

/// The time stamps of the second part begin less than a second before the end of the first.
#[test]
fn a_recording_that_was_joined_from_short_parts_goes_on_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (part, path) = (folder.path().join("part.ts"), folder.path().join("both.ts"));
    ffmpeg(
        "-f lavfi -i testsrc=size=96x64:rate=25:duration=0.8 -c:v libx264 -bf 0 {}",
        &part,
    );
    let bytes = std::fs::read(&part).expect("a part");
    std::fs::write(&path, [&bytes[..], &bytes].concat()).expect("both");
    let times: Vec<i64> = read_whole(&path).iter().map(|read| read.pts_ns).collect();
    assert_eq!(times.len(), 40);
    let steps = times.windows(2).map(|two| (two[1] - two[0]) / 1_000_000);
    // The first frame of the second part keeps its time stamp: until the next one it may be a stumble.
    let others = steps
        .enumerate()
        .filter(|(index, _)| !(19..21).contains(index));
    assert!(
        others.clone().all(|(_, ms)| (39..=41).contains(&ms)),
        "{times:?}"
    );
    let whole_ms = (times[39] - times[0]) / 1_000_000;
    assert!((1_540..=1_580).contains(&whole_ms), "{whole_ms}");
}
