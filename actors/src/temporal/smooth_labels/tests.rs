//! Tests of the smoothing through the actor: packets in, packets out.

use fermata_engine::testing::{ActorDriver, capture, input, stream};
use fermata_engine::{Capture, End};
use fermata_vision::Frame;
use fermata_vision::face::EXPRESSIONS;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::payload::VideoFrame;
use Expression::{Angry, Happy, Neutral, Sad};

const MS: i64 = 1_000_000;

fn actor(settings: serde_json::Value) -> ActorDriver<SmoothLabels> {
    ActorDriver::new(settings).unwrap()
}

fn stream_of(id: u32) -> Arc<Stream> {
    stream(id, &format!("stream{id}"))
}

/// Position of a frame.
#[derive(Clone, Copy, Default)]
struct At {
    stream: u32,
    segment: u32,
    ms: i64,
}

fn ms(ms: i64) -> At {
    At {
        ms,
        ..At::default()
    }
}

fn send(
    actor: &mut ActorDriver<SmoothLabels>,
    at: At,
    faces: Vec<Face>,
) -> Result<Vec<Face>, ActorError> {
    let capture = Capture {
        stream: stream_of(at.stream),
        segment: at.segment,
        pts_ns: at.ms * MS,
        ..capture(0)
    };
    let video = VideoFrame::of(Frame::from_bgr(1, 1, vec![0; 3]));
    let payload = Faces::found(video, faces);
    let faces = actor.process(input(capture, payload))?.only::<Faces>();
    Ok(faces.faces.clone())
}

fn face(track: u64, probabilities: Option<Probabilities>) -> Face {
    Face {
        track: Some(track),
        probabilities,
        raw_label: probabilities.as_ref().map(Expression::most_probable),
        ..Face::default()
    }
}

/// Returns a face of track 1 that shows `label` with certainty.
fn looks(label: Expression) -> Vec<Face> {
    vec![face(1, Some(sure(label)))]
}

fn sure(label: Expression) -> Probabilities {
    let mut probabilities = [0.0; EXPRESSIONS];
    probabilities[label.index()] = 1.0;
    probabilities
}

/// Returns the only face's label and its smoothed probability of Happy.
fn happy(faces: &[Face]) -> (Expression, f32) {
    let [face] = faces else {
        panic!("{} faces", faces.len());
    };
    let smoothed = face.smoothed.expect("smoothed");
    (face.label.expect("labelled"), smoothed[Happy.index()])
}

fn close(is: f32, should: f32) {
    assert!((is - should).abs() < 1e-6, "{is} for {should}");
}

#[test]
fn a_face_is_smoothed_before_it_has_a_track_and_goes_on_when_it_gets_one() {
    let mut actor = actor(json!({"ema": "250ms"}));
    let mut seen = face(1, Some(sure(Neutral)));
    (seen.track, seen.tracklet) = (None, Some(77));
    send(&mut actor, ms(0), vec![seen.clone()]).unwrap();
    seen.track = Some(1);
    seen.probabilities = Some(sure(Happy));
    let out = send(&mut actor, ms(100), vec![seen]).unwrap();
    close(happy(&out).1, 1.0 - 0.670_320);
}

#[test]
fn all_stages_together_match_hand_computed_numbers() {
    let mut actor = actor(json!({
        "ema": "250ms", "vote": 3, "hysteresis": {"margin": 0.1, "hold": 2}
    }));
    // Neutral once, then Happy every 100 ms: each time exp(−0.4) = 0.670320 of Neutral remains. Happy leads from the
    // second observation after it on (1 − 0.449329), wins two of three votes one later, then leads by 0.398 and by
    // 0.596, and so takes over at the fifth frame.
    let left = [1.0, 0.670_320, 0.449_329, 0.301_194, 0.201_897];
    let expected = [Neutral, Neutral, Neutral, Neutral, Happy];
    for (index, (left, label)) in left.into_iter().zip(expected).enumerate() {
        let seen = if index == 0 { Neutral } else { Happy };
        let out = send(&mut actor, ms(100 * index as i64), looks(seen)).unwrap();
        assert_eq!(out[0].raw_label, Some(seen));
        let (is, p_happy) = happy(&out);
        close(p_happy, 1.0 - left);
        assert_eq!(is, label, "frame {index}");
    }
}

#[test]
fn without_stages_the_classifiers_word_stands() {
    let mut actor = actor(json!({}));
    for (index, label) in [Happy, Sad, Happy].into_iter().enumerate() {
        let out = send(&mut actor, ms(40 * index as i64), looks(label)).unwrap();
        assert_eq!(
            (out[0].label, out[0].smoothed),
            (Some(label), Some(sure(label)))
        );
    }
}

#[test]
fn tracks_and_streams_are_smoothed_apart() {
    let mut actor = actor(json!({"ema": "250ms"}));
    send(&mut actor, ms(0), looks(Neutral)).unwrap();
    let other = At {
        stream: 1,
        ..ms(100)
    };
    assert_eq!(
        happy(&send(&mut actor, other, looks(Happy)).unwrap()),
        (Happy, 1.0)
    );
    let both = vec![face(2, Some(sure(Angry))), face(1, Some(sure(Happy)))];
    let out = send(&mut actor, ms(100), both).unwrap();
    assert_eq!(out[0].smoothed, Some(sure(Angry)));
    close(out[1].smoothed.unwrap()[Happy.index()], 1.0 - 0.670_320);
}

#[test]
fn a_face_without_probabilities_carries_its_tracks_latest_label() {
    let mut actor = actor(json!({"ema": "250ms"}));
    send(&mut actor, ms(0), looks(Neutral)).unwrap();
    let before = send(&mut actor, ms(100), looks(Happy)).unwrap();
    let out = send(&mut actor, ms(200), vec![face(1, None)]).unwrap();
    assert_eq!(
        (out[0].smoothed, out[0].label),
        (before[0].smoothed, before[0].label)
    );
    assert_eq!(out[0].raw_label, None);
    // It was not an observation: the next one is 200 ms after the latest, exp(−0.8) = 0.449329.
    let out = send(&mut actor, ms(300), looks(Happy)).unwrap();
    close(happy(&out).1, 1.0 - 0.670_320 * 0.449_329);
}

#[test]
fn a_graph_without_a_classifier_passes_unlabelled() {
    let mut actor = actor(json!({"ema": "250ms", "vote": 7}));
    let out = send(&mut actor, ms(0), vec![face(1, None), Face::default()]).unwrap();
    assert_eq!(out.len(), 2);
    assert!(
        out.iter()
            .all(|face| face.label.is_none() && face.smoothed.is_none())
    );
    assert!(send(&mut actor, ms(40), vec![]).unwrap().is_empty());
}

#[test]
fn a_face_without_a_track_is_not_smoothed() {
    let mut actor = actor(json!({"ema": "250ms", "vote": 7}));
    for (index, label) in [Neutral, Happy, Sad].into_iter().enumerate() {
        let mut untracked = looks(label);
        untracked[0].track = None;
        let out = send(&mut actor, ms(40 * index as i64), untracked).unwrap();
        assert_eq!(
            (out[0].label, out[0].smoothed),
            (Some(label), Some(sure(label)))
        );
    }
}

#[test]
fn a_track_that_is_away_too_long_starts_anew() {
    for (away_ms, label) in [(1000, Neutral), (1001, Happy)] {
        let mut actor = actor(json!({"vote": 5}));
        for frame in 0..3 {
            send(&mut actor, ms(frame), looks(Neutral)).unwrap();
        }
        send(&mut actor, ms(500), vec![]).unwrap();
        let out = send(&mut actor, ms(2 + away_ms), looks(Happy)).unwrap();
        assert_eq!(happy(&out).0, label, "after {away_ms} ms");
        assert_eq!(actor.actor.streams[&0].tracks.len(), 1);
    }
}

#[test]
fn a_track_that_is_predicted_is_not_away() {
    let mut actor = actor(json!({"vote": 5}));
    for frame in 0..3 {
        send(&mut actor, ms(frame), looks(Neutral)).unwrap();
    }
    send(&mut actor, ms(900), vec![face(1, None)]).unwrap();
    let out = send(&mut actor, ms(1800), looks(Happy)).unwrap();
    assert_eq!(happy(&out).0, Neutral);
}

#[test]
fn a_new_segment_and_the_end_of_a_stream_forget_its_tracks() {
    let mut actor = actor(json!({"ema": "250ms"}));
    send(&mut actor, ms(0), looks(Neutral)).unwrap();
    let next = At {
        segment: 1,
        ..ms(10)
    };
    assert_eq!(
        happy(&send(&mut actor, next, looks(Happy)).unwrap()),
        (Happy, 1.0)
    );
    actor.stream_ended(&stream_of(0), End::default()).unwrap();
    assert!(actor.actor.streams.is_empty());
}

#[test]
fn a_time_stamp_that_falls_holds_the_value_and_time_goes_on_from_there() {
    let mut actor = actor(json!({"ema": "250ms"}));
    send(&mut actor, ms(5000), looks(Neutral)).unwrap();
    assert_eq!(
        happy(&send(&mut actor, ms(0), looks(Happy)).unwrap()),
        (Neutral, 0.0)
    );
    let out = send(&mut actor, ms(100), looks(Happy)).unwrap();
    close(happy(&out).1, 1.0 - 0.670_320);
}

#[test]
fn what_is_no_distribution_is_refused_and_changes_nothing() {
    let mut actor = actor(json!({"ema": "250ms"}));
    send(&mut actor, ms(0), looks(Neutral)).unwrap();
    let mut nan = sure(Happy);
    nan[0] = f32::NAN;
    let mut negative = sure(Happy);
    (negative[0], negative[1]) = (-0.5, 0.5);
    for wrong in [nan, negative, [0.0; 7], [3.0; 7], [f32::INFINITY; 7]] {
        let faces = vec![face(1, Some(sure(Happy))), face(2, Some(wrong))];
        let error = send(&mut actor, ms(50), faces).unwrap_err().to_string();
        assert!(
            error.starts_with("face 1 has the probabilities ["),
            "{error}"
        );
    }
    let out = send(&mut actor, ms(100), looks(Happy)).unwrap();
    close(happy(&out).1, 1.0 - 0.670_320);
}

#[test]
fn settings_read_as_written_and_wrong_ones_are_refused() {
    let check = |settings| SmoothLabels::check(&serde_json::from_value(settings).unwrap());
    for right in [
        json!({"ema": "250ms", "vote": 7, "hysteresis": {"margin": 0.1, "hold": 3}}),
        json!({"one_euro": {"beta": 2}, "vote": "500ms", "hysteresis": {}}),
        json!({"ema": 0, "vote": 0, "one_euro": {}}),
        json!({"vote": "7"}),
    ] {
        check(right).unwrap();
    }
    for (wrong, named) in [
        (json!({"ema": "250ms", "one_euro": {}}), "ema and one_euro"),
        (
            json!({"one_euro": {"min_cutoff": 0}}),
            "one_euro.min_cutoff is 0",
        ),
        (
            json!({"one_euro": {"d_cutoff": -1.0}}),
            "one_euro.d_cutoff is -1",
        ),
        (json!({"one_euro": {"beta": -1.0}}), "one_euro.beta is -1"),
        (json!({"vote": 5000}), "vote is 5000"),
        (
            json!({"hysteresis": {"margin": 1.5}}),
            "hysteresis.margin is 1.5",
        ),
        (json!({"hysteresis": {"hold": 0}}), "hysteresis.hold is 0"),
    ] {
        let error = check(wrong).unwrap_err().to_string();
        assert!(error.starts_with(named), "{error}");
    }
    let read = |settings| serde_json::from_value::<SmoothLabelsSettings>(settings);
    for unreadable in [
        json!({"vote": "many"}),
        json!({"vote": -1}),
        json!({"votes": 7}),
    ] {
        assert!(read(unreadable).is_err());
    }
    let settings = read(json!({"vote": "500ms"})).unwrap();
    assert_eq!(serde_json::to_value(&settings).unwrap()["vote"], "500ms");
}

fn any_settings() -> impl Strategy<Value = serde_json::Value> {
    let filter = prop_oneof![
        Just(json!({})),
        (1..2000_u32).prop_map(|tau| json!({"ema": format!("{tau}ms")})),
        (0.1..5.0_f64, 0.0..20.0_f64)
            .prop_map(|(cutoff, beta)| json!({"one_euro": {"min_cutoff": cutoff, "beta": beta}})),
    ];
    let vote = prop_oneof![Just(json!(0)), Just(json!(5)), Just(json!("300ms"))];
    let hysteresis = prop_oneof![Just(json!(null)), Just(json!({"margin": 0.1, "hold": 3}))];
    (filter, vote, hysteresis).prop_map(|(mut settings, vote, hysteresis)| {
        settings["vote"] = vote;
        settings["hysteresis"] = hysteresis;
        settings
    })
}

fn any_probabilities() -> impl Strategy<Value = Probabilities> {
    proptest::array::uniform7(0.0..1.0_f32).prop_map(|values| {
        let sum: f32 = values.iter().sum::<f32>() + 1e-3;
        let mut probabilities = values.map(|value| value / sum);
        probabilities[0] += 1e-3 / sum;
        probabilities
    })
}

proptest! {
    #[test]
    fn smoothed_probabilities_sum_to_one(
        settings in any_settings(),
        observations in proptest::collection::vec((any_probabilities(), -50..300_i64), 1..40),
    ) {
        let mut actor = actor(settings);
        let mut now = 0;
        for (probabilities, step) in observations {
            now += step;
            let out = send(&mut actor, ms(now), vec![face(1, Some(probabilities))]).unwrap();
            let smoothed = out[0].smoothed.unwrap();
            prop_assert!((smoothed.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert!(smoothed.iter().all(|&p| (0.0..=1.0).contains(&p)));
            prop_assert!(out[0].label.is_some());
        }
    }

    #[test]
    fn what_does_not_change_stays_as_it_is(
        settings in any_settings(),
        probabilities in any_probabilities(),
        steps in proptest::collection::vec(-20..200_i64, 1..20),
    ) {
        let mut actor = actor(settings);
        let mut now = 0;
        for step in steps {
            now += step;
            let out = send(&mut actor, ms(now), vec![face(1, Some(probabilities))]).unwrap();
            for (is, should) in out[0].smoothed.unwrap().iter().zip(probabilities) {
                prop_assert!((is - should).abs() < 1e-5);
            }
            prop_assert_eq!(out[0].label, Some(Expression::most_probable(&out[0].smoothed.unwrap())));
        }
    }
}
