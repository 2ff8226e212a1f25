//! Videos in players: any moment of a video written by a run can be found, and the amount read for that does not grow
//! with the length of the video before it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::abuse::Place;
use crate::browser::Browser;

const FPS: usize = 5;

/// Bars of a picture, each of which encodes a bit of its number.
const BARS: usize = 16;
/// Side of a bar, pixels: a block of the encoder.
const BAR: usize = 16;

/// Tolerance for a number of frames computed from a rounded time.
pub(crate) const WITHIN_A_FRAME: f64 = 0.1;

/// Rows of incompressible noise below a picture's bars.
const NOISE: usize = 48;

/// Makes pictures that show their numbers, as a Y4M file.
fn counted(count: usize) -> Vec<u8> {
    let (width, height) = (BARS * BAR, BAR + NOISE);
    let mut y4m = format!("YUV4MPEG2 W{width} H{height} F{FPS}:1 Cmono\n").into_bytes();
    let mut state = 1_u32;
    for number in 0..count {
        y4m.extend_from_slice(b"FRAME\n");
        let shade = |x: usize| {
            if number >> (x / BAR) & 1 == 1 {
                235
            } else {
                16
            }
        };
        let row: Vec<u8> = (0..width).map(shade).collect();
        for _ in 0..BAR {
            y4m.extend_from_slice(&row);
        }
        // Marsaglia's xorshift.
        y4m.extend((0..width * NOISE).map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        }));
    }
    y4m
}

/// Makes a video of `count` pictures that show their numbers, with ffmpeg.
pub(crate) fn numbered(folder: &Path, count: usize, name: &str) -> Output {
    let mut made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "yuv4mpegpipe",
            "-i",
            "-",
            "-pix_fmt",
            "yuv420p",
        ])
        .arg(folder.join(name))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = made.stdin.take().unwrap();
    input.write_all(&counted(count)).unwrap();
    drop(input);
    made.wait_with_output().unwrap()
}

/// Returns an expression for the number of the picture that a video element shows.
pub(crate) fn shown_number(video: &str) -> String {
    format!(
        "((video) => {{
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
            const context = canvas.getContext('2d');
            context.drawImage(video, 0, 0);
            const pixels = context.getImageData(0, {half}, canvas.width, 1).data;
            let number = 0;
            for (let bar = 0; bar < {BARS}; bar += 1) if (pixels[4 * (bar * {BAR} + {half})] > 127) number += 2 ** bar;
            return number;
        }})({video})",
        half = BAR / 2
    )
}

/// Has a run write a video of `count` pictures that show their numbers.
fn written(count: usize) -> Place {
    let place = Place::new(
        "\
fermata: 1
nodes:
  s: {use: video_source, uri: in.y4m}
  v: {use: write_video, each: stream, in: s, path: \"${run.dir}/v.mp4\"}
run: {clock: asap}
",
    );
    std::fs::write(place.path("in.y4m"), counted(count)).unwrap();
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    place
}

/// Returns the bytes that ffprobe reads of a video to find this moment, and the time of the packet that it finds.
fn probed(video: &Path, second: f64) -> (u64, f64) {
    let output = Command::new("ffprobe")
        .args(["-v", "verbose", "-of", "csv=p=0"])
        .args(["-show_entries", "packet=pts_time", "-read_intervals"])
        .arg(format!("{second}%+#1"))
        .arg(video)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = told.split_whitespace().collect();
    let at = words.windows(2).position(|two| two == ["bytes", "read,"]);
    let read = words[at.unwrap_or_else(|| panic!("{told}")) - 1];
    let time = String::from_utf8_lossy(&output.stdout);
    let time = time.trim().trim_end_matches(',').parse();
    (read.parse().unwrap(), time.expect("a time"))
}

#[test]
fn any_moment_of_a_long_video_is_found_in_a_browser_and_costs_what_it_costs_in_a_short_one() {
    let (long, short) = (written(240 * FPS), written(20 * FPS));
    let video = |place: &Place| place.path("o/v.mp4");
    let size = |place: &Place| std::fs::metadata(video(place)).unwrap().len();
    let read = |place: &Place, second: f64| {
        let (read, found) = probed(&video(place), second);
        // A keyframe comes at least every ten seconds.
        assert!(
            found <= second && found > second - 10.0,
            "{found} instead of {second}"
        );
        read
    };
    let of_short = [5.0, 18.0].map(|second| read(&short, second));
    let of_long = [5.0, 120.0, 238.0].map(|second| read(&long, second));
    // The players' buffers end at different places in the two.
    let most = of_short[0].max(of_short[1]) + 64 * 1024;
    let told = format!(
        "{of_long:?} of {}, {of_short:?} of {}",
        size(&long),
        size(&short)
    );
    assert!(of_long.iter().all(|read| *read <= most), "{told}");
    assert!(size(&long) > 10 * most, "{told}");

    let mut browser = Browser::of_files();
    std::fs::write(
        long.path("page.html"),
        "<!doctype html><video src='o/v.mp4' muted preload='auto'></video>",
    )
    .unwrap();
    browser.go(&format!("file://{}", long.path("page.html").display()));
    browser.wait_for("document.querySelector('video').readyState >= 2");
    let video = "document.querySelector('video')";
    let duration = browser.value(&format!("{video}.duration"));
    let duration = duration.as_f64().unwrap();
    assert!((duration - 240.0).abs() < 0.05, "{duration}");
    for number in [239 * FPS + 2, 17, 120 * FPS + 1] {
        // Into the frame, not onto its edge.
        let time = (number as f64 + 0.5) / FPS as f64;
        let sought = browser.value(&format!(
            "new Promise((found) => {{
                const video = {video};
                video.addEventListener('seeked', () => found(video.currentTime), {{once: true}});
                video.currentTime = {time};
            }})"
        ));
        assert!((sought.as_f64().unwrap() - time).abs() < 0.001, "{sought}");
        assert_eq!(browser.value(&shown_number(video)), number, "at {time}");
    }
}
