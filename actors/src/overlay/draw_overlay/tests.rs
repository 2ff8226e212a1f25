//! What comes out of the actor: pictures.

use fermata_engine::testing::{ActorDriver, setup};
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

/// Four faces in a row that fill most of a frame, two of them touching, all of them classified.
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
fn a_margin_out_of_range_is_refused() {
    let refused = ActorDriver::<DrawOverlay>::new(json!({"blur_margin": -1})).unwrap_err();
    assert!(refused.to_string().contains("blur_margin is -1"));
    let refused = ActorDriver::<DrawOverlay>::new(json!({"blur": "strong"})).unwrap_err();
    assert!(refused.to_string().contains("`strong`"), "{refused}");
    let mut timed = setup();
    timed.clock_mode = ClockMode::Live;
    let settings = serde_json::from_value(json!({})).unwrap();
    let mut actor = ActorDriver::<DrawOverlay>::create(settings, timed).unwrap();
    let frame = Faces::found(VideoFrame::of(gray(160, 90)), crowd(160, 90));
    assert!(actor.feed(frame).is_ok());
}
