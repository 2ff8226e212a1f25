//! Messages, and a server that is slow, refuses, or is absent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use fermata_engine::testing::{ActorDriver, capture, input};
use fermata_vision::{Expression, Face, Frame, Rect};
use serde_json::{Value, json};

use super::*;
use crate::payload::VideoFrame;

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that answers with given status lines, repeating the last one, and passes on what was posted.
struct Server {
    address: String,
    bodies: mpsc::Receiver<Value>,
}

fn serve(answers: &[&'static str]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!(
        "http://{}/secret/path?key=hidden",
        listener.local_addr().unwrap()
    );
    let (sender, bodies) = mpsc::channel();
    let mut answers = answers.to_vec();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else {
                return;
            };
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let answer = match answers.len() {
                1 => answers[0],
                _ => answers.remove(0),
            };
            // Before the answer: whoever has that may count what has come.
            if sender.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
            let answer =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    Server { address, bodies }
}

fn faces(label: Expression) -> Faces {
    let face = Face {
        track: Some(1),
        label: Some(label),
        rect: Rect {
            x: 1.0,
            y: 2.0,
            w: 3.0,
            h: 4.0,
        },
        ..Face::default()
    };
    Faces::found(
        VideoFrame::of(Frame::from_bgr(1, 1, vec![0; 3])),
        vec![face],
    )
}

struct Sending {
    driver: ActorDriver<SendWebhook>,
    _folder: tempfile::TempDir,
}

fn sending(address: &str, more: Value) -> Result<Sending, ActorError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("address");
    std::fs::write(&file, address).unwrap();
    let mut settings = json!({
        "address": {"file": file},
        "retry": {"first": "1ms", "most": "5ms"},
    });
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    Ok(Sending {
        driver: ActorDriver::new(settings)?,
        _folder: folder,
    })
}

#[test]
fn changes_are_posted_and_a_refusal_that_passes_is_tried_again() {
    let server = serve(&["503 Busy", "429 Slower", "200 OK"]);
    let mut sending = sending(&server.address, json!({})).unwrap();
    for label in [Expression::Happy, Expression::Happy, Expression::Sad] {
        sending.driver.feed(faces(label)).unwrap();
    }
    sending.driver.finish(End::of(How::Complete)).unwrap();
    let bodies: Vec<Value> = server.bodies.try_iter().collect();
    // The first is sent three times.
    assert_eq!(bodies.len(), 4);
    assert_eq!(bodies[0], bodies[2]);
    assert_eq!(
        bodies[0]["changes"][0],
        json!({"what": "track_began", "track": 1, "label": "happy"})
    );
    assert_eq!(
        bodies[3]["changes"][0],
        json!({"what": "label_changed", "track": 1, "from": "happy", "to": "sad"})
    );
    assert_eq!(
        (&bodies[3]["stream"], &bodies[3]["sequence"]),
        (&json!("test"), &json!(2))
    );
}

#[test]
fn what_cannot_be_delivered_is_counted_and_the_address_is_never_shown_whole() {
    let server = serve(&["404 Not Found"]);
    let mut sending = sending(&server.address, json!({"send": "frames"})).unwrap();
    for _ in 0..3 {
        sending.driver.feed(faces(Expression::Happy)).unwrap();
    }
    let error = sending
        .driver
        .finish(End::of(How::Complete))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("3 of 3 messages could not be delivered to http://127.0.0.1:"),
        "{error}"
    );
    assert!(
        !error.contains("secret") && !error.contains("hidden"),
        "{error}"
    );
    // A final answer is not retried.
    assert_eq!(server.bodies.try_iter().count(), 3);
}

#[test]
fn a_server_that_is_not_there_holds_nothing_up_and_a_full_queue_fails_the_frame() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let more = json!({"send": "frames", "waiting": 2, "finish_within": "1ms", "retry": {"times": 1000, "first": "60s", "most": "60s"}});
    let mut sending = sending(&format!("http://{nobody}/secret"), more).unwrap();
    // One is being sent, two are queued.
    let failed: Vec<String> = (0..10)
        .filter_map(|_| sending.driver.feed(faces(Expression::Sad)).err())
        .map(|error| error.to_string())
        .collect();
    assert!(failed.len() >= 7, "{failed:?}");
    assert!(
        failed[0].contains("2 messages are already waiting for http://127.0.0.1:"),
        "{failed:?}"
    );
    let error = sending
        .driver
        .finish(End::of(How::Complete))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("could not be delivered") && !error.contains("secret"),
        "{error}"
    );
}

#[test]
fn where_the_graph_is_to_wait_a_call_finishes_when_the_server_has_its_message() {
    let server = serve(&["500 Oh", "204 Fine", "403 No"]);
    let mut sending = sending(&server.address, json!({"hold_up": true})).unwrap();
    let first = input(capture(0), faces(Expression::Happy));
    sending
        .driver
        .process(first)
        .unwrap()
        .open
        .unwrap()
        .wait(PATIENCE)
        .unwrap();
    assert_eq!(server.bodies.try_iter().count(), 2);
    let second = input(capture(1), faces(Expression::Sad));
    let error = sending
        .driver
        .process(second)
        .unwrap()
        .open
        .unwrap()
        .wait(PATIENCE)
        .unwrap_err()
        .to_string();
    assert!(error.contains("answered 403 Forbidden"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    sending.driver.finish(End::of(How::Complete)).unwrap();
}

#[test]
fn addresses_that_are_none_are_refused_without_being_shown() {
    for address in ["secret", "ftp://secret/path", ""] {
        let error = sending(address, json!({})).err().unwrap().to_string();
        assert!(
            error.contains("address") && !error.contains("secret"),
            "{error}"
        );
    }
    let missing = json!({"address": {"env": "FERMATA_NO_SUCH_ADDRESS"}});
    let error = ActorDriver::<SendWebhook>::new(missing)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("FERMATA_NO_SUCH_ADDRESS"), "{error}");
}
