//! Tests of the pictures that the actor emits.

use fermata_engine::Capture;
use fermata_engine::testing::{ActorDriver, capture, input, setup};
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::{Frame, Rect};
use serde_json::json;

use super::*;

const SIZES: [(usize, usize); 6] = [
    (160, 90),
    (320, 240),
    (480, 270),
    (1080, 1920),
    (1920, 1080),
    (3840, 2160),
];

fn gray(width: usize, height: usize) -> Frame {
    Frame::from_bgr(width, height, vec![100; width * height * 3])
}

/// Returns four classified faces in a row that fill most of a frame, two of them touching.
fn crowd(width: usize, height: usize) -> Vec<Face> {
    let side = 0.2 * width.min(height) as f32;
    let places = [0.0, 1.0, 2.2, 3.4];
    (0..4)
        .map(|who| Face {
            rect: Rect {
                x: side * places[who as usize],
                y: height as f32 * 0.4,
                w: side,
                h: side,
            },
            score: Some(0.9),
            track: Some(who + 1),
            tracklet: Some(who),
            probabilities: Some([0.9, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]),
            raw_label: Some(Expression::Angry),
            smoothed: Some([1.0 / EXPRESSIONS as f32; EXPRESSIONS]),
            label: Some(Expression::Surprise),
            ..Face::default()
        })
        .collect()
}

fn drawn(settings: serde_json::Value, faces: Faces) -> Frame {
    let mut actor = ActorDriver::<DrawOverlay>::new(settings).unwrap();
    actor
        .feed(faces)
        .unwrap()
        .only::<VideoFrame>()
        .frame
        .clone()
}

fn pixel(frame: &Frame, x: f32, y: f32) -> &[u8] {
    let at = (y as usize * frame.width() + x as usize) * 3;
    &frame.bgr()[at..at + 3]
}

#[test]
fn nothing_is_drawn_inside_of_a_face_at_any_size() {
    for (width, height) in SIZES {
        let faces = crowd(width, height);
        let video = VideoFrame::of(gray(width, height));
        let frame = drawn(json!({}), Faces::found(video, faces.clone()));
        for face in &faces {
            let inner = face.rect.scaled(0.6);
            for step in 0..100 {
                let (x, y) = (step % 10, step / 10);
                let x = inner.x + inner.w * x as f32 / 10.0;
                let y = inner.y + inner.h * y as f32 / 10.0;
                assert_eq!(
                    pixel(&frame, x, y),
                    [100; 3],
                    "{width}x{height} at {x}, {y}"
                );
            }
        }
        let changed = frame.bgr().iter().filter(|&&value| value != 100).count();
        assert!(
            changed > 500,
            "{width}x{height}: something is drawn around them"
        );
    }
}

#[test]
fn the_time_shown_is_that_of_the_video_which_is_written() {
    let settings = serde_json::from_value(json!({})).unwrap();
    let mut state = StreamState::new(&settings);
    let mut shown = |ms: i64| {
        let capture = Capture {
            pts_ns: (26_000_000 + ms) * 1_000_000,
            ..capture(0)
        };
        let frame = Faces::found(VideoFrame::of(gray(8, 8)), Vec::new());
        let status = state.status(&input(capture, frame).envelope, None);
        status
            .rsplit_once(' ')
            .unwrap()
            .0
            .rsplit_once(' ')
            .unwrap()
            .1
            .to_owned()
    };
    assert_eq!([shown(0), shown(1_500)], ["0.0", "1.5"]);
}

#[test]
fn faces_are_hidden_in_every_mode_and_what_is_unknown_as_a_whole() {
    let (width, height) = (320, 240);
    let noisy = || {
        let pixels = (0..width * height * 3).map(|at| (at * 37 % 251) as u8);
        VideoFrame::of(Frame::from_bgr(width, height, pixels.collect()))
    };
    for mode in ["solid", "pixelate", "blur", "gaussian"] {
        let settings = json!({"blur": mode, "labels": false, "status": false});
        let faces = crowd(width, height);
        let rect = faces[2].rect;
        let frame = drawn(settings.clone(), Faces::found(noisy(), faces));
        let plain = noisy().frame;
        let (x, y) = (rect.center().x, rect.y - 0.2 * rect.h);
        assert_ne!(
            pixel(&frame, x, y),
            pixel(&plain, x, y),
            "{mode}: the margin"
        );
        assert_eq!(pixel(&frame, 5.0, 5.0), pixel(&plain, 5.0, 5.0), "{mode}");
        let frame = drawn(settings, Faces::not_looked_at(noisy()));
        let same = frame.bgr().iter().zip(plain.bgr());
        let same = same.filter(|(a, b)| a == b).count();
        assert!(same < plain.bgr().len() / 20, "{mode}: {same}");
    }
}

#[test]
fn with_a_delay_a_face_is_hidden_before_it_was_found_and_the_end_lets_all_frames_go() {
    let (width, height) = (320, 240);
    let settings = json!({"blur": "solid", "blur_delay": "80ms", "labels": false, "status": false});
    let mut actor = ActorDriver::<DrawOverlay>::new(settings).unwrap();
    let rect = crowd(width, height)[2].rect;
    let mut open = Vec::new();
    for number in 0..6 {
        let faces = match number {
            3 => crowd(width, height).split_off(2),
            _ => Vec::new(),
        };
        let capture = Capture {
            pts_ns: number * 40_000_000,
            ..capture(number as u64)
        };
        let frame = Faces::found(VideoFrame::of(gray(width, height)), faces);
        open.push(actor.process(input(capture, frame)).unwrap().open.unwrap());
    }
    let most = Duration::from_secs(60);
    let settled = open.iter().filter(|call| call.is_settled()).count();
    assert_eq!(settled, 3, "frame 2 hears of frames 3 and 4");
    let stream = capture(0).stream;
    actor.stream_ending(&stream).unwrap();
    let hidden = open.into_iter().map(|call| {
        let outcome = call.wait(most).unwrap();
        let frame = outcome.only::<VideoFrame>().frame.clone();
        pixel(&frame, rect.center().x, rect.center().y) != [100; 3]
    });
    let hidden: Vec<bool> = hidden.collect();
    assert_eq!(hidden, [false, true, true, true, true, true]);
    actor.stream_ended(&stream, End::default()).unwrap();
}

#[test]
fn frames_that_come_too_fast_for_a_delay_are_let_go_and_counted() {
    let settings = json!({"blur": "solid", "blur_delay": "10s"});
    let mut actor = ActorDriver::<DrawOverlay>::new(settings).unwrap();
    let frames = MOST_HELD + 5;
    for number in 0..frames {
        let frame = Faces::found(VideoFrame::of(gray(64, 48)), Vec::new());
        let capture = Capture {
            pts_ns: number as i64,
            ..capture(number as u64)
        };
        actor.process(input(capture, frame)).unwrap();
    }
    let held = &actor.actor.streams[&0].held;
    assert_eq!(held.hurried, 5);
}

#[test]
fn a_margin_out_of_range_is_refused() {
    let refused = ActorDriver::<DrawOverlay>::new(json!({"blur_margin": -1})).unwrap_err();
    assert!(refused.to_string().contains("blur_margin is -1"));
    let refused = ActorDriver::<DrawOverlay>::new(json!({"blur_delay": "1s"})).unwrap_err();
    assert!(refused.to_string().contains("no `blur`"), "{refused}");
    let refused = ActorDriver::<DrawOverlay>::new(json!({"blur": "strong"})).unwrap_err();
    assert!(refused.to_string().contains("`strong`"), "{refused}");
    let mut timed = setup();
    timed.clock_mode = ClockMode::Live;
    let settings = serde_json::from_value(json!({})).unwrap();
    let mut actor = ActorDriver::<DrawOverlay>::create(settings, timed).unwrap();
    let frame = Faces::found(VideoFrame::of(gray(160, 90)), crowd(160, 90));
    assert!(actor.feed(frame).is_ok());
}
