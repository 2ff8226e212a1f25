//! Recordings that were damaged in the middle or cut: whatever the container, each frame is either delivered or counted
//! as missed, never both.

use std::path::{Path, PathBuf};

use fermata_actors::sources::video_source::VideoSource;
use fermata_engine::Source as _;

use crate::skipped::data;
use crate::support::{
    case, ffmpeg, ffprobe_packets, ffprobe_pts_us, open, read_all, read_whole, run, settings,
    warnings,
};

/// All file formats that can be read, with ffmpeg's options to encode them.
const KINDS: [(&str, &str); 17] = [
    ("a.flv", "-c:v libx264"),
    ("b.flv", "-c:v flv -q:v 5"),
    ("a.avi", "-c:v libx264"),
    ("b.avi", "-c:v mpeg4 -q:v 5"),
    ("c.avi", "-c:v mjpeg -q:v 9"),
    ("a.mkv", "-c:v libx264"),
    ("a.webm", "-c:v libvpx -deadline realtime -cpu-used 8"),
    ("a.mp4", "-c:v libx264"),
    ("b.mp4", "-c:v libx264 -movflags frag_keyframe+empty_moov"),
    ("a.mov", "-c:v mpeg4 -q:v 5"),
    ("a.ts", "-c:v libx264"),
    ("b.ts", "-c:v mpeg2video -bf 2 -q:v 5"),
    ("a.nut", "-c:v libx264"),
    ("b.nut", "-c:v mpeg4 -q:v 5"),
    ("a.mxf", "-c:v mpeg2video -q:v 5"),
    ("a.h264", "-c:v libx264"),
    ("a.hevc", "-c:v libx265 -x265-params log-level=0"),
];

/// Creates a clip of a hundred frames, four seconds long.
fn clip(folder: &Path, (name, codec): (&str, &str)) -> PathBuf {
    let path = folder.join(name);
    ffmpeg(
        &format!(
            "-f lavfi -i testsrc=size=160x120:rate=25:duration=4 {codec} -g 25 -threads 1 {{}}"
        ),
        &path,
    );
    path
}

/// Returns bytes that are the same in every run.
fn noise(seed: u32) -> impl Iterator<Item = u8> {
    (0_u32..).map(move |at| ((at + seed * 7919).wrapping_mul(2_654_435_761) >> 23) as u8)
}

#[test]
fn a_whole_recording_misses_nothing() {
    let cases =
        "drawn.mp4 sar.mp4 dm_hflip.mp4 drawn_hlg.mov gap2200.mkv late.ts back.ts fwd.ts gps0.mp4";
    let mut files: Vec<PathBuf> = cases.split(' ').map(case).collect();
    if let Some(data) = data() {
        let videos = std::fs::read_dir(data.join("videos")).expect("videos");
        files.extend(videos.map(|video| video.expect("a video").path()));
    }
    for file in files {
        let (_, missed, failed) = run(&file.display().to_string());
        assert_eq!((missed, failed), (0, false), "{}", file.display());
    }
}

#[test]
fn every_frame_of_a_damaged_recording_comes_or_is_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = Vec::new();
    for kind in KINDS {
        let path = clip(folder.path(), kind);
        let undamaged = run(&path.display().to_string());
        assert_eq!(undamaged, (100, 0, false), "{kind:?}");
        let whole = std::fs::read(&path).expect("a clip");
        for (share, length) in [(40, 300), (60, 1500)] {
            let mut bytes = whole.clone();
            let at = bytes.len() * share / 100;
            for (byte, noise) in bytes[at..]
                .iter_mut()
                .take(length)
                .zip(noise(length as u32))
            {
                *byte = noise;
            }
            std::fs::write(&path, bytes).expect("a damaged clip");
            let (delivered, missed, failed) = run(&path.display().to_string());
            let all = delivered + missed;
            // A stream that fails reports where it broke; otherwise nothing is lost silently and nothing counted twice,
            // except for frames that a decoder returns after an error, when they were already counted as missed.
            let is_told = failed || (99..=103).contains(&all);
            if !is_told || missed >= 100 {
                wrong.push(format!(
                    "{kind:?}, {length} bytes: {delivered} and {missed}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_transport_stream_that_was_cut_misses_the_frames_before_its_last_one() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [KINDS[10], KINDS[11]] {
        let path = clip(folder.path(), kind);
        let all = ffprobe_pts_us(&path);
        let whole = std::fs::read(&path).expect("a clip");
        let packets = whole.len() / 188;
        let mut missed_somewhere = 0;
        for share in 30..40 {
            let cut = (packets * share / 40) * 188 + 97 * (share % 2);
            std::fs::write(&path, &whole[..cut]).expect("a cut clip");
            let (frames, error) = read_all(open(settings(&path)));
            assert!(error.is_none(), "{error:?}");
            let last = frames.last().expect("a frame").pts_ns / 1000;
            let until = all.iter().filter(|&&at| at <= last + 1).count() as u64;
            let (delivered, missed, failed) = run(&path.display().to_string());
            assert_eq!((delivered, failed), (frames.len() as u64, false));
            // The torn picture comes after the last one and may be lost, too.
            let gone = until - delivered;
            assert!(
                (gone..=gone + 1).contains(&missed),
                "{kind:?}, {cut}: {gone} and {missed}"
            );
            missed_somewhere += missed;
        }
        assert!(
            missed_somewhere > 0,
            "the cuts were between pictures: {kind:?}"
        );
    }
}

#[test]
fn a_flash_video_or_a_matroska_file_that_stops_early_misses_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = clip(folder.path(), KINDS[0]);
    let whole = std::fs::read(&path).expect("a clip");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("half a clip");
    let (delivered, missed, failed) = run(&path.display().to_string());
    assert!(delivered < 80, "{delivered}");
    assert!(
        failed || (99..=101).contains(&(delivered + missed)),
        "{delivered} and {missed}"
    );
}

#[test]
fn older_containers_are_read_whole_and_say_where_they_were_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds = [
        ("a.wmv", "-c:v wmv2 -q:v 5"),
        ("a.ogv", "-c:v libtheora -q:v 5"),
        ("a.ivf", "-c:v libvpx -deadline realtime -cpu-used 8"),
        ("a.mjpeg", "-c:v mjpeg -q:v 9"),
        (
            "a.gxf",
            "-vf scale=720:576 -c:v mpeg2video -pix_fmt yuv422p -q:v 9",
        ),
    ];
    for kind in kinds {
        let path = clip(folder.path(), kind);
        let (delivered, missed, failed) = run(&path.display().to_string());
        assert_eq!((delivered, missed, failed), (100, 0, false), "{kind:?}");
        let whole = std::fs::read(&path).expect("a clip");
        std::fs::write(&path, &whole[..whole.len() * 3 / 5]).expect("a cut clip");
        let (delivered, missed, failed) = run(&path.display().to_string());
        // An Ogg file does not state how much is missing: a warning is logged.
        let is_told = failed || (99..=101).contains(&(delivered + missed));
        assert!(
            is_told || kind.0 == "a.ogv",
            "{kind:?}: {delivered} and {missed}"
        );
    }
}

#[test]
fn a_file_without_a_byte_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.mp4", "a.y4m", "a"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "").expect("a file");
        let error = VideoSource::check(&settings(&path)).expect_err("no bytes");
        assert!(error.to_string().ends_with("it is empty"), "{error}");
    }
    let system = settings(Path::new("/proc/version"));
    assert!(VideoSource::check(&system).is_ok());
}

#[test]
fn frames_from_before_the_beginning_have_times_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.mkv", "a.flv", "a.ts"] {
        let path = folder.path().join(name);
        ffmpeg(
            "-f lavfi -i testsrc=size=96x64:rate=25:duration=1 -c:v libx264 -output_ts_offset -0.5 -avoid_negative_ts disabled {}",
            &path,
        );
        let (frames, error) = read_all(open(settings(&path)));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames.len(), 25, "{name}");
        let steps = frames.windows(2).map(|two| two[1].pts_ns - two[0].pts_ns);
        for step in steps {
            assert!((step - 40_000_000).abs() <= 1_000_000, "{name}: {step}");
        }
        assert!(frames.iter().all(|frame| frame.segment == 0), "{name}");
    }
}

/// Decoders report undecodable data with many different errors.
#[test]
fn a_damaged_packet_costs_a_frame_whatever_its_decoder_says() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec, at) in [
        ("a.mov", "-c:v prores", 20),
        ("b.mkv", "-c:v libtheora -g 1", 0),
        ("c.mov", "-c:v qtrle", 4),
        ("d.avi", "-c:v huffyuv", 0),
        ("e.mkv", "-c:v ffv1", 0),
        ("f.mkv", "-c:v utvideo", 0),
        (
            "g.mov",
            "-s 256x144 -c:v dnxhd -profile:v dnxhr_lb -pix_fmt yuv422p",
            10,
        ),
        ("h.mov", "-c:v png", 0),
    ] {
        let path = clip(folder.path(), (name, codec));
        let mut bytes = std::fs::read(&path).unwrap();
        let (packet, size) = ffprobe_packets(&path)[40];
        let end = (packet + size).min(packet + at + 64);
        bytes[packet + at..end].fill(0xFF);
        std::fs::write(&path, bytes).unwrap();
        let (frames, missed, failed) = run(&path.display().to_string());
        assert_eq!((frames + missed, failed), (100, false), "{name}: {frames}");
        // Where frames refer to others, all are lost until the next key frame.
        assert!(missed <= 10, "{name}: {missed}");
    }
}

/// What a recorder or `ffmpeg -c copy` cuts between two key frames begins with frames that cannot be decoded.
#[test]
fn what_comes_before_the_first_key_frame_is_missed_and_told() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [
        ("a.mp4", "-c:v libx264 -bf 0"),
        ("b.mkv", "-c:v libx264 -bf 2"),
        ("c.ts", "-c:v libx264 -bf 0"),
        ("d.ts", "-c:v mpeg2video -bf 0 -q:v 5"),
        (
            "e.webm",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -auto-alt-ref 0",
        ),
    ] {
        let whole = clip(folder.path(), (name, codec));
        let cut = folder.path().join(format!("cut-{name}"));
        let copied = format!(
            "-i {} -c copy -bsf:v noise=drop='not(n)' {{}}",
            whole.display()
        );
        ffmpeg(&copied, &cut);
        let (frames, missed, failed) = run(&cut.display().to_string());
        assert_eq!((frames, missed, failed), (75, 24, false), "{name}");
        let said = warnings(|| assert_eq!(read_whole(&cut).len(), 75));
        assert!(said.contains("cannot be decoded"), "{name}: {said}");
    }
}

#[test]
fn a_recording_of_which_no_frame_can_be_decoded_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "b.mkv"] {
        let whole = clip(folder.path(), (name, "-c:v libx264 -bf 0"));
        let cut = folder.path().join(format!("cut-{name}"));
        let copied = format!(
            "-i {} -c copy -bsf:v noise=drop='gt(key,0)' {{}}",
            whole.display()
        );
        ffmpeg(&copied, &cut);
        let (frames, missed, failed) = run(&cut.display().to_string());
        assert_eq!((frames, failed), (0, true), "{name}: {missed}");
    }
}
