//! Cameras that are slow to send or answer, or never answer: opened once where possible, and warned of once a minute.

use std::time::{Duration, Instant};

use fermata_actors::sources::video_source::VideoSource;
use fermata_engine::testing::setup;
use fermata_engine::{Next, Source};

use crate::servers::{self, Farewell, Sending};
use crate::support::{
    DEADLINE, camera_pictures, seconds, segments, settings_of, source, take, warnings,
};

/// Asserts that a source with default settings shows all pictures of a camera at its own rate and from one connection.
fn shows_all(sending: Sending, pictures: usize) {
    let server = servers::rtsp(&camera_pictures(), sending);
    let mut source = source(&format!("rtsp://127.0.0.1:{}/x", server.port));
    let taken = take(&mut source, pictures);
    let fps = sending.fps;
    assert_eq!((server.connections(), segments(&taken)), (1, 0), "{fps}");
    assert!(server.sent() >= pictures - 1, "{} pictures", server.sent());
    for (number, second) in seconds(&taken).into_iter().enumerate() {
        let due = number as f64 / fps;
        assert!((second - due).abs() < 0.01, "{number}: {second} s at {fps}");
    }
}

#[test]
fn a_camera_of_a_picture_a_second_is_opened_once() {
    shows_all(Sending::at(1.0), 20);
}

#[test]
fn a_camera_that_answers_late_is_opened_once() {
    let sending = Sending {
        thinks_for: Duration::from_millis(1_000),
        ..Sending::at(2.0)
    };
    shows_all(sending, 25);
}

#[test]
fn slow_cameras_show_all_their_pictures_without_a_reconnect() {
    shows_all(Sending::at(1.5), 12);
    shows_all(Sending::at(5.0), 30);
}

#[test]
fn an_opening_that_takes_longer_than_the_timeout_succeeds_and_at_once_the_next_time() {
    let sending = Sending {
        thinks_for: Duration::from_millis(200),
        most: 20,
        farewell: Farewell::Close,
        ..Sending::at(20.0)
    };
    let server = servers::rtsp(&camera_pictures(), sending);
    let uri = format!("rtsp://127.0.0.1:{}/x", server.port);
    let settings = settings_of(serde_json::json!({
        "uri": uri, "timeout": "250ms", "reconnect": {"first": "10ms", "most": "10ms"}
    }));
    let mut source =
        VideoSource::create(settings, &setup()).unwrap_or_else(|error| panic!("{error}"));
    take(&mut source, 1);
    let opened = server.connections();
    assert!(opened > 1, "it is slow");
    let mut begun = 0;
    while begun < 3 {
        begun += segments(&take(&mut source, 1));
    }
    assert_eq!(server.connections(), opened + 3);
}

#[test]
fn a_camera_that_says_nothing_is_warned_of_once_a_minute_however_long_it_is_waited_for() {
    let sending = Sending {
        most: 0,
        ..Sending::at(20.0)
    };
    let server = servers::rtsp(&camera_pictures(), sending);
    let uri = format!("rtsp://127.0.0.1:{}/x", server.port);
    let settings = settings_of(serde_json::json!({
        "uri": uri, "timeout": "50ms", "reconnect": {"first": "10ms", "most": "10ms"}
    }));
    let said = warnings(|| {
        let mut source =
            VideoSource::create(settings, &setup()).unwrap_or_else(|error| panic!("{error}"));
        let started = Instant::now();
        while server.connections() < 5 {
            assert!(started.elapsed() < DEADLINE);
            let next = source.next().unwrap_or_else(|error| panic!("{error}"));
            if let Next::Wait(time) = next {
                std::thread::park_timeout(time);
            }
        }
    });
    let told = said
        .lines()
        .filter(|line| line.contains("no picture within"));
    assert_eq!(told.count(), 1, "{said}");
}
