//! Answers of servers that lead to no pictures: each is reported by its name, with advice.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;

use fermata_actors::sources::video_source::VideoSource;
use fermata_engine::testing::setup;
use fermata_engine::{Next, Source};

use crate::servers::{self, Http};
use crate::support::{case, ffmpeg, open, read_all, read_whole, settings_of, source, warnings};

/// Starts a server that handles one connection after the other and answers each request with the result of `answer`.
fn answering(answer: impl Fn(&str) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let requests = connection.try_clone().expect("the same connection");
            let mut request = String::new();
            for line in BufReader::new(requests).lines().map_while(Result::ok) {
                if !line.is_empty() {
                    request.push_str(&line);
                    request.push('\n');
                    continue;
                }
                // A client that has seen enough closes: an error here is expected.
                let _ = connection.write_all(answer(&request).as_bytes());
                request.clear();
            }
        }
    });
    port
}

/// Returns an RTSP reply.
fn rtsp_reply(request: &str, status: &str, rest: &str) -> String {
    let sequence = request.lines().find_map(|line| line.strip_prefix("CSeq: "));
    let sequence = sequence.unwrap_or("0");
    format!("RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{rest}")
}

/// Asserts what is logged about a source that is not available yet.
#[track_caller]
fn says(json: serde_json::Value, words: &str) {
    let said = warnings(|| {
        let source = VideoSource::create(settings_of(json), &setup());
        let mut source = source.unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(source.next(), Ok(Next::Wait(_))));
    });
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_host_whose_name_is_not_known_is_told() {
    for uri in [
        "rtsp://nowhere.invalid/x",
        "http://u:p@nowhere.invalid:81/x",
    ] {
        says(
            serde_json::json!({ "uri": uri }),
            "the host name `nowhere.invalid`",
        );
    }
    // libav takes half of the password for the host.
    says(
        serde_json::json!({ "uri": "http://s3c.invalid/ret@127.0.0.1:9/x" }),
        "the host name `***`",
    );
}

#[test]
fn who_asks_for_a_password_is_told() {
    let port = answering(|request| {
        if request.starts_with("GET") {
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            rtsp_reply(
                request,
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
            )
        }
    });
    for scheme in ["rtsp", "http"] {
        let uri = format!("{scheme}://127.0.0.1:{port}/x");
        says(serde_json::json!({ "uri": uri }), "USER:PASSWORD@HOST");
    }
}

#[test]
fn a_camera_of_another_transport_is_told() {
    let port = answering(|request| {
        let description = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n";
        let length = description.len();
        match request.split(' ').next() {
            Some("DESCRIBE") => rtsp_reply(
                request,
                "200 OK",
                &format!(
                    "Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{description}"
                ),
            ),
            Some("SETUP") => rtsp_reply(request, "461 Unsupported Transport", "\r\n"),
            _ => rtsp_reply(request, "200 OK", "Public: DESCRIBE, SETUP, PLAY\r\n\r\n"),
        }
    });
    let uri = format!("rtsp://127.0.0.1:{port}/x");
    for (asked, other) in [
        ("tcp", "try `transport: udp`"),
        ("udp", "try `transport: tcp`"),
    ] {
        says(serde_json::json!({ "uri": uri, "transport": asked }), other);
    }
}

#[test]
fn a_web_page_is_no_video_and_is_not_asked_for_again() {
    let page = format!(
        "<!DOCTYPE html><html><body>{}</body></html>",
        "camera ".repeat(20_000)
    );
    for http in [Http::Ranges, Http::Whole, Http::Unstated] {
        for page in [page.as_str(), "<html></html>"] {
            let server = servers::http(page.as_bytes().to_vec(), http);
            let mut source = source(&format!("http://127.0.0.1:{}/", server.port));
            let error = source.next().err().expect("a refusal").to_string();
            assert!(error.contains("it is a web page"), "{error}");
        }
    }
}

#[test]
fn a_recording_that_is_too_large_to_be_fetched_is_told() {
    let clip = std::fs::read(case("drawn.mp4")).expect("a clip");
    let server = servers::http(clip, Http::Exaggerated);
    let mut source = source(&format!("http://127.0.0.1:{}/a.mp4", server.port));
    let error = source.next().err().expect("a refusal").to_string();
    assert!(error.contains("larger than the 4 GiB"), "{error}");
}

#[test]
fn a_recording_whose_length_nobody_states_ends_with_its_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let indexed_first = folder.path().join("a.mp4");
    let stream = folder.path().join("a.ts");
    let source = case("drawn.mp4");
    let copied = format!("-i {} -c copy", source.display());
    ffmpeg(
        &format!("{copied} -movflags +faststart {{}}"),
        &indexed_first,
    );
    ffmpeg(&format!("{copied} {{}}"), &stream);
    let expected = read_whole(&source);
    for path in [indexed_first, source, stream] {
        let server = servers::http(std::fs::read(&path).expect("a clip"), Http::Unstated);
        let uri = format!("http://127.0.0.1:{}/a", server.port);
        let (frames, error) = read_all(open(settings_of(serde_json::json!({ "uri": uri }))));
        assert!(error.is_none(), "{}: {error:?}", path.display());
        let mut pairs = frames.iter().zip(&expected);
        assert!(pairs.all(|(a, b)| a.video.frame.bgr() == b.video.frame.bgr()));
        assert_eq!(frames.len(), expected.len(), "{}", path.display());
    }
}
