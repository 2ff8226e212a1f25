//! Network streams: a real RTSP server that dies and comes back, one that is late, one that never answers, and HTTP.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fermata_actors::payload::VideoFrame;
use fermata_actors::sources::video_source::VideoSource;
use fermata_engine::packet::downcast;
use fermata_engine::testing::setup;
use fermata_engine::{Captured, Next, Pacing, Setup, Source};

use crate::support::{
    assert_same_times, ffmpeg, ffprobe_pts_us, open, pts_us, read_all, read_whole, settings_of,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// A server that is killed on drop.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(port: u16, credentials: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/video/rtsp_server.py");
        // Only Debian's own interpreter finds Debian's bindings.
        let system = std::path::Path::new("/usr/bin/python3");
        let python = if system.exists() {
            "/usr/bin/python3"
        } else {
            "python3"
        };
        let mut command = Command::new(python);
        command.arg(script).arg(port.to_string()).args(credentials);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect(python);
        let mut said = String::new();
        let stdout = child.stdout.take().expect("a piped output");
        BufReader::new(stdout)
            .read_line(&mut said)
            .expect("the server's port");
        if let Ok(port) = said.trim().parse() {
            return Self { child, port };
        }
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("a piped output")
            .read_to_string(&mut stderr)
            .expect("text");
        let _ = child.wait();
        panic!("GStreamer's RTSP server (`make setup-test` installs it): {stderr}");
    }

    fn uri(&self) -> String {
        format!("rtsp://127.0.0.1:{}/live", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn camera(uri: &str, setup: &Setup) -> VideoSource {
    let settings = serde_json::json!({
        "uri": uri, "timeout": "3s", "reconnect": { "first": "50ms", "most": "200ms" }
    });
    VideoSource::create(settings_of(settings), setup).unwrap_or_else(|error| panic!("{error}"))
}

/// Polls the source until a frame comes.
fn next_frame(source: &mut VideoSource) -> Captured {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        match source.next().unwrap_or_else(|error| panic!("{error}")) {
            Next::Packet(captured) => return captured,
            Next::Wait(time) => std::thread::park_timeout(time),
            Next::Mark(_) | Next::End | Next::EndedAs(_) => panic!("a live stream ended"),
        }
    }
    panic!("no frame within {DEADLINE:?}");
}

/// Polls the source until it has to wait.
fn until_lost(source: &mut VideoSource) {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        match source.next().unwrap_or_else(|error| panic!("{error}")) {
            Next::Packet(_) => {}
            Next::Wait(_) => return,
            Next::Mark(_) | Next::End | Next::EndedAs(_) => panic!("a live stream ended"),
        }
    }
    panic!("not lost within {DEADLINE:?}");
}

#[test]
fn a_camera_that_dies_and_comes_back_begins_a_new_segment() {
    let server = Server::start(0, &[]);
    let (port, uri) = (server.port, server.uri());
    let setup = setup();
    let mut source = camera(&uri, &setup);
    assert_eq!(source.pacing(), Pacing::Live);
    let first: Vec<Captured> = (0..10).map(|_| next_frame(&mut source)).collect();
    assert!(first.iter().all(|captured| !captured.is_new_segment()));
    assert!(
        first
            .windows(2)
            .all(|two| two[0].pts_ns() < two[1].pts_ns())
    );

    drop(server);
    until_lost(&mut source);

    let _server = Server::start(port, &[]);
    let again: Vec<bool> = (0..5)
        .map(|_| next_frame(&mut source).is_new_segment())
        .collect();
    assert_eq!(again, [true, false, false, false, false]);

    setup.cancel_flag().store(true, Ordering::Relaxed);
    assert!(matches!(source.next(), Ok(Next::End)));
}

/// Returns what a recording of a source can reproduce: each picture, and its time after the first one's.
fn pictures<'a>(frames: impl Iterator<Item = (&'a VideoFrame, i64)>) -> Vec<(Vec<u8>, i64)> {
    let mut first_ns = None;
    frames
        .map(|(video, pts_ns)| {
            let since_ns = pts_ns - *first_ns.get_or_insert(pts_ns);
            (video.frame.bgr().to_vec(), since_ns)
        })
        .collect()
}

#[test]
fn what_a_camera_sent_is_recorded_and_can_be_replayed() {
    let server = Server::start(0, &[]);
    let (port, uri) = (server.port, server.uri());
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = ["door.mkv", "door.0002.mkv"].map(|name| folder.path().join(name));
    let settings = serde_json::json!({
        "uri": uri, "timeout": "3s", "reconnect": { "first": "50ms", "most": "200ms" }, "record": first
    });
    let mut source = open(settings_of(settings)).source;
    let taken = |source: &mut VideoSource| -> Vec<Captured> {
        (0..12).map(|_| next_frame(source)).collect()
    };
    let mut before = taken(&mut source);
    before.extend((0..30).map(|_| next_frame(&mut source)));
    // As if the process were killed here: 25 frames are one second.
    let lost = before
        .len()
        .saturating_sub(ffprobe_pts_us(&folder.path().join("door.mkv.part")).len());
    assert!(lost <= 25, "{lost} of {} frames are lost", before.len());
    assert!(!first.exists(), "it has its name before it is whole");
    drop(server);
    until_lost(&mut source);
    assert!(first.exists());
    let _server = Server::start(port, &[]);
    let after = taken(&mut source);
    drop(source);

    for (captured, path) in [(before, first), (after, second)] {
        let frames: Vec<Arc<VideoFrame>> = captured
            .iter()
            .map(|captured| {
                let payload = captured.payload(0).expect("a payload").clone();
                downcast::<VideoFrame>(payload).expect("a frame")
            })
            .collect();
        let times = captured.iter().map(Captured::pts_ns);
        let live = pictures(frames.iter().map(|frame| &**frame).zip(times));
        let read = read_whole(&path);
        assert!(read.len() >= live.len(), "{} frames", read.len());
        let replayed = pictures(read.iter().map(|read| (&*read.video, read.pts_ns)));
        for (n, (live, replayed)) in live.iter().zip(&replayed).enumerate() {
            assert!(live.0 == replayed.0, "picture {n} of {}", path.display());
            assert!((live.1 - replayed.1).abs() <= 1_000_000, "frame {n}");
        }
    }
}

#[test]
fn a_recording_needs_a_live_stream_and_a_place() {
    let refused = |settings: serde_json::Value, words: &str| {
        let checked = VideoSource::check(&settings_of(settings));
        let error = checked.expect_err("a refusal").to_string();
        assert!(error.contains(words), "{error}");
    };
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    refused(
        serde_json::json!({"uri": clip, "record": "a.mkv"}),
        "a recording already",
    );
    refused(
        serde_json::json!({"uri": "rtsp://camera/1", "record": "a.mp4"}),
        "ends in .mkv",
    );
    let server = Server::start(0, &[]);
    let nowhere = serde_json::json!({"uri": server.uri(), "record": "/nowhere/a.mkv"});
    let mut source = open(settings_of(nowhere)).source;
    let error = source.next().err().expect("an error").to_string();
    assert!(error.contains("/nowhere/a.mkv"), "{error}");
}

#[test]
fn a_camera_that_is_absent_at_start_is_tried_again() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("its address").port();
    drop(free);
    let mut source = camera(&format!("rtsp://127.0.0.1:{port}/live"), &setup());
    until_lost(&mut source);
    let _server = Server::start(port, &[]);
    assert!(!next_frame(&mut source).is_new_segment());
}

#[test]
fn credentials_of_the_uri_open_a_guarded_camera() {
    let server = Server::start(0, &["guard", "s3cret"]);
    let uri = server.uri();
    let mut refused = camera(&uri, &setup());
    until_lost(&mut refused);
    let guarded = uri.replace("rtsp://", "rtsp://guard:s3cret@");
    next_frame(&mut camera(&guarded, &setup()));
}

#[test]
fn udp_carries_pictures_too() {
    let server = Server::start(0, &[]);
    let udp = serde_json::json!({ "uri": server.uri(), "transport": "udp" });
    let mut source = open(settings_of(udp)).source;
    let frames: Vec<i64> = (0..5).map(|_| next_frame(&mut source).pts_ns()).collect();
    assert!(frames.is_sorted());
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    let uri = format!("rtsp://{address}/live");
    let mut source = open(settings_of(
        serde_json::json!({ "uri": uri, "timeout": "200ms" }),
    ))
    .source;
    let started = Instant::now();
    assert!(matches!(source.next(), Ok(Next::Wait(_))));
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < DEADLINE,
        "{took:?}"
    );
}

#[test]
fn a_cancellation_interrupts_a_read_that_would_take_long() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let uri = format!("rtsp://{}/live", silent.local_addr().expect("its address"));
    let settings = settings_of(serde_json::json!({ "uri": uri, "timeout": "10m" }));
    let setup = setup();
    let mut source =
        VideoSource::create(settings, &setup).unwrap_or_else(|error| panic!("{error}"));
    let reader = std::thread::spawn(move || source.next().map(|next| matches!(next, Next::End)));
    // The source is inside libav as soon as its connection arrives.
    let _connection = silent.accept().expect("a connection");
    setup.cancel_flag().store(true, Ordering::Relaxed);
    let ended = reader
        .join()
        .expect("no panic")
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(ended);
}

#[test]
fn a_recording_over_http_ends_at_its_end_or_fails_where_it_breaks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clip.mp4");
    ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -c:v libx264 -movflags +faststart {}",
        &path,
    );
    let clip = std::fs::read(&path).expect("the clip");
    for (sent, is_whole) in [(clip.len(), true), (clip.len() / 2, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let clip = clip.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // A client that has seen enough closes: an error here is expected.
                let _ = serve(connection, clip.len(), &clip[..sent]);
            }
        });
        let uri = format!("http://guest:s3cret@{address}/clip.mp4");
        let (frames, error) = read_all(open(settings_of(serde_json::json!({ "uri": uri }))));
        if is_whole {
            assert!(error.is_none(), "{error:?}");
            assert_same_times(&pts_us(&frames), &ffprobe_pts_us(&path), 1);
        } else {
            let error = error.expect("an error").to_string();
            assert!(
                error.contains("http://***@127.0.0.1") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}

/// Answers one HTTP request with a file of this length, or as much of it as is given.
fn serve(mut connection: TcpStream, length: usize, body: &[u8]) -> std::io::Result<()> {
    let mut request = BufReader::new(connection.try_clone()?).lines();
    while request
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    connection.write_all(body)
}
