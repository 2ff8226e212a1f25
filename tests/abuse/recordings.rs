//! What live streams record: nothing is overwritten, and the report says what is in each file.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Place, assert_files_as_reported, frames};
use crate::command::send;
use crate::support::wait_until;

const GRAPH: &str = "\
fermata: 1
nodes:
  s: {use: video_source, each: stream, uri: \"${stream.uri}\", record: \"${run.dir}/${stream.name}.mkv\",
      reconnect: {first: 50ms, most: 100ms}, timeout: 1m}
  e: {use: discard, each: stream, in: s}
run: {clock: live}
";

/// Frames per connection.
const FRAMES: usize = 50;

/// A camera over HTTP that fails: its first connections send a clip each, later ones nothing.
struct Camera {
    uri: String,
    /// Connections that wait for a picture.
    held: Arc<AtomicUsize>,
}

impl Camera {
    fn start(clip: Vec<u8>, connections: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/live.ts", listener.local_addr().unwrap());
        let held = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&held);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for (number, connection) in listener.incoming().flatten().enumerate() {
                if number < connections {
                    // A client that has seen enough closes the connection: nothing to handle.
                    let _ = show(&connection, &clip);
                } else {
                    open.push(connection);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { uri, held }
    }

    fn is_waited_for(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }
}

fn show(mut connection: &TcpStream, clip: &[u8]) -> std::io::Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(connection);
    while request != "\r\n" {
        request.clear();
        if lines.read_line(&mut request)? == 0 {
            break;
        }
    }
    connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")?;
    connection.write_all(clip)
}

fn clip(place: &Place) -> Vec<u8> {
    let made = place.script(
        "ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=2 -c:v libx264 -g 10 -bf 0 clip.ts",
    );
    assert_eq!(made.code, Some(0), "{}", made.said);
    fs::read(place.path("clip.ts")).unwrap()
}

#[test]
fn a_recording_is_never_written_over_whatever_streams_are_called() {
    let place = Place::new(GRAPH);
    let clip = clip(&place);
    let [door, other, third] = [3, 1, 2].map(|count| Camera::start(clip.clone(), count));
    let streams = [
        format!("door={}", door.uri),
        format!("door-2={}", other.uri),
        format!("door-3={}", third.uri),
    ];
    let arguments: Vec<&str> = streams.iter().flat_map(|one| ["--stream", one]).collect();
    let mut command = place.command(&arguments);
    let mut run = command.spawn().unwrap();
    wait_until("all that is shown is recorded", || {
        [&door, &other, &third]
            .into_iter()
            .all(Camera::is_waited_for)
    });
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_files_as_reported(&place);
    let mut recorded = place.names("o");
    recorded.retain(|name| name.ends_with(".mkv"));
    assert_eq!(recorded.len(), 6, "{recorded:?}");
    for name in &recorded {
        let there = frames(&place.path("o").join(name));
        assert_eq!(there, FRAMES as u64, "{name} of {recorded:?}");
    }
    let report = place.report();
    let complete = report["files"].as_array().unwrap().iter();
    let complete = complete.filter(|file| file["state"] == "complete");
    assert_eq!(complete.count(), 6, "{}", report["files"]);
}

#[test]
fn a_recording_of_an_earlier_run_stays_where_the_path_is_the_same() {
    let place = Place::new(&GRAPH.replace("${run.dir}/${stream.name}.mkv", "kept.mkv"));
    fs::write(place.path("kept.mkv"), "a recording").unwrap();
    fs::write(place.path("kept.0002.mkv.part"), "what a killed run left").unwrap();
    let camera = Camera::start(clip(&place), 1);
    let stream = format!("door={}", camera.uri);
    let mut run = place.command(&["--stream", &stream]).spawn().unwrap();
    wait_until("all is recorded", || camera.is_waited_for());
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read(place.path("kept.mkv")).unwrap(), b"a recording");
    let left = fs::read(place.path("kept.0002.mkv.part")).unwrap();
    assert_eq!(left, b"what a killed run left");
    assert_eq!(frames(&place.path("kept.0003.mkv")), FRAMES as u64);
}

#[test]
fn a_recording_that_cannot_grow_holds_what_is_said_of_it() {
    let place = Place::new(GRAPH);
    let clip = clip(&place);
    for kilobytes in [6, 20, 40, 60] {
        let camera = Camera::start(clip.clone(), 1);
        let script = format!(
            "ulimit -f {kilobytes}; timeout -s INT 60 $F run g.yaml --stream door={} --out o -q",
            camera.uri
        );
        let ended = place.script(&script);
        assert_eq!(ended.code, Some(1), "{kilobytes}: {}", ended.said);
        assert!(ended.said.contains("File too large"), "{}", ended.said);
        assert_files_as_reported(&place);
        let file = &place.report()["files"][0];
        let (held, lost) = (&file["holds"], &file["discarded"]);
        let given = held.as_u64().unwrap() + lost.as_u64().unwrap();
        assert!(given <= FRAMES as u64, "{file}");
    }
}
