//! Tests of the tracker through the actor: packets in, packets out.

use std::collections::BTreeSet;

use fermata_engine::Capture;
use fermata_engine::testing::{ActorDriver, capture, input};
use fermata_vision::{Face, Frame, Point, Rect};
use proptest::prelude::*;

use super::*;
use crate::payload::VideoFrame;

const SIZE: (usize, usize) = (320, 240);
/// 25 frames/s.
const FRAME_NS: i64 = 40_000_000;

/// A tracker and the stream that it tracks.
struct Rig {
    actor: ActorDriver<TrackFaces>,
    frame: Frame,
    sequence: u64,
    segment: u32,
    pts_ns: i64,
    /// Doubtful detections of the next frame.
    doubtful: Vec<Face>,
    /// Where faces were lost on the latest frame, and whether all were known there.
    lost: Vec<Rect>,
    known: bool,
}

impl Rig {
    fn new(settings: serde_json::Value) -> Self {
        Self {
            actor: ActorDriver::new(settings).unwrap(),
            frame: Frame::from_bgr(SIZE.0, SIZE.1, vec![0; SIZE.0 * SIZE.1 * 3]),
            sequence: 0,
            segment: 0,
            pts_ns: 0,
            doubtful: Vec::new(),
            lost: Vec::new(),
            known: false,
        }
    }

    fn send(&mut self, faces: Vec<Face>, detected: bool) -> Result<Vec<Face>, ActorError> {
        let at = Capture {
            segment: self.segment,
            pts_ns: self.pts_ns,
            ..capture(self.sequence)
        };
        self.sequence += 1;
        self.pts_ns += FRAME_NS;
        let video = VideoFrame::of(self.frame.clone());
        let payload = Faces {
            detected,
            known: detected,
            doubtful: std::mem::take(&mut self.doubtful),
            ..Faces::found(video, faces)
        };
        let faces = self.actor.process(input(at, payload))?.only::<Faces>();
        assert_eq!(faces.detected, detected);
        (self.lost, self.known) = (faces.lost.clone(), faces.known);
        Ok(faces.faces.clone())
    }

    fn detect(&mut self, faces: Vec<Face>) -> Vec<Face> {
        self.send(faces, true).unwrap()
    }

    fn skip(&mut self) -> Vec<Face> {
        self.send(Vec::new(), false).unwrap()
    }
}

/// Returns a tracker that assigns ids immediately.
fn default_rig() -> Rig {
    Rig::new(serde_json::json!({"min_hits": 1}))
}

fn face(x: f32, y: f32, side: f32, score: f32) -> Face {
    Face {
        rect: Rect {
            x,
            y,
            w: side,
            h: side,
        },
        score: Some(score),
        ..Face::default()
    }
}

fn ids(faces: &[Face]) -> Vec<Option<u64>> {
    faces.iter().map(|face| face.track).collect()
}

/// Returns noise that is the same in every run, −1..1.
fn noise(seed: u64) -> f32 {
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

/// Lets two faces cross each other; the detector runs on every `every`-th frame, and `hidden` frames show only the
/// first. Returns on how many frames each was emitted under its own id.
fn cross(seed: u64, every: u64, hidden: std::ops::Range<u64>) -> [usize; 2] {
    let mut rig = default_rig();
    let mut kept = [0; 2];
    for frame in 0..60 {
        let jitter = |salt: u64| 1.5 * noise(seed * 1000 + frame * 8 + salt);
        let step = frame as f32 * 3.0;
        let truth = [(40.0 + step, 80.0), (220.0 - step, 92.0)];
        let out = if frame % every == 0 {
            let mut seen: Vec<Face> = (0..2)
                .map(|who| {
                    let salt = who as u64 * 3;
                    let (x, y) = truth[who];
                    face(
                        x + jitter(salt),
                        y + jitter(salt + 1),
                        48.0 + jitter(salt + 2),
                        0.9,
                    )
                })
                .collect();
            if hidden.contains(&frame) {
                seen.pop();
            } else if frame % 2 == 1 {
                seen.reverse();
            }
            rig.detect(seen)
        } else {
            rig.skip()
        };
        for (who, (x, y)) in truth.into_iter().enumerate() {
            let own = out.iter().find(|face| face.track == Some(who as u64 + 1));
            let near = own.is_some_and(|face| {
                (face.rect.x - x).abs() < 16.0 && (face.rect.y - y).abs() < 8.0
            });
            kept[who] += usize::from(near);
        }
        assert!(out.iter().all(|face| face.track.is_some_and(|id| id <= 2)));
    }
    kept
}

#[test]
fn crossing_faces_keep_their_ids() {
    for seed in 0..20 {
        assert_eq!(cross(seed, 1, 0..0), [60, 60], "seed {seed}");
    }
}

#[test]
fn crossing_faces_keep_their_ids_when_two_of_three_frames_are_skipped() {
    for seed in 0..20 {
        assert_eq!(cross(seed, 3, 0..0), [60, 60], "seed {seed}");
    }
}

#[test]
fn a_face_hidden_while_crossing_comes_back_under_its_id() {
    for seed in 0..20 {
        assert_eq!(cross(seed, 1, 27..34), [60, 60 - 7], "seed {seed}");
        // The detector runs on frames 27, 30 and 33, and does not see until 36 that the face is back.
        assert_eq!(cross(seed, 3, 27..34), [60, 60 - 9], "seed {seed}");
    }
}

#[test]
fn skipped_frames_get_predicted_boxes_without_a_score() {
    let mut rig = default_rig();
    for step in 0..10 {
        let mut seen = face(20.0 + 6.0 * step as f32, 60.0, 40.0, 0.8);
        seen.landmarks = Some(
            [Point {
                x: seen.rect.x + 10.0,
                y: 70.0,
            }; 5],
        );
        let out = rig.detect(vec![seen.clone()]);
        assert_eq!((out[0].rect, out[0].score), (seen.rect, Some(0.8)));
    }
    let predicted = &rig.skip()[0];
    assert_eq!((predicted.track, predicted.score), (Some(1), None));
    assert!(predicted.crop.is_none() && predicted.probabilities.is_none());
    assert!(
        (predicted.rect.x - 80.0).abs() < 1.5,
        "{:?}",
        predicted.rect
    );
    let landmark = predicted.landmarks.expect("moved along")[0];
    assert!((landmark.x - predicted.rect.x - 10.0).abs() < 0.5);
}

#[test]
fn an_unmatched_track_is_not_put_out_until_it_is_found_again() {
    let mut rig = default_rig();
    rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
    assert!(rig.detect(vec![]).is_empty());
    assert!(rig.skip().is_empty());
    let back = rig.detect(vec![face(52.0, 60.0, 40.0, 0.9)]);
    assert_eq!(ids(&back), [Some(1)]);
}

#[test]
fn a_track_ends_after_max_lost_by_the_time_stamps() {
    for (gap_ms, expected) in [(480, 1), (560, 2)] {
        let mut rig = Rig::new(serde_json::json!({"max_lost": "500ms", "min_hits": 1}));
        rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
        rig.pts_ns = gap_ms * 1_000_000;
        let back = rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
        assert_eq!(ids(&back), [Some(expected)], "after {gap_ms} ms");
    }
}

#[test]
fn no_predicted_box_outlives_max_lost() {
    let mut rig = Rig::new(serde_json::json!({"max_lost": "100ms", "min_hits": 1}));
    rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
    let shown: Vec<usize> = (0..4).map(|_| rig.skip().len()).collect();
    assert_eq!(shown, [1, 1, 0, 0]);
}

#[test]
fn a_predicted_box_ends_where_its_centre_leaves_the_frame() {
    let mut rig = default_rig();
    for step in 0..12 {
        rig.detect(vec![face(172.0 + 10.0 * step as f32, 60.0, 40.0, 0.9)]);
    }
    // The centre is at 302 and moves by 10 per frame; the frame is 320 wide.
    let shown: Vec<usize> = (0..4).map(|_| rig.skip().len()).collect();
    assert_eq!(shown, [1, 0, 0, 0]);
}

#[test]
fn low_scores_continue_tracks_but_start_none() {
    let mut rig = Rig::new(serde_json::json!({"high": 0.5, "min_hits": 1}));
    assert!(rig.detect(vec![face(50.0, 60.0, 40.0, 0.45)]).is_empty());
    rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
    let out = rig.detect(vec![
        face(51.0, 60.0, 40.0, 0.15),
        face(200.0, 60.0, 40.0, 0.15),
    ]);
    assert_eq!(ids(&out), [Some(1)]);
    assert_eq!(out[0].score, Some(0.15));
    assert!(rig.detect(vec![face(51.0, 60.0, 40.0, 0.05)]).is_empty());
}

#[test]
fn what_the_detector_doubts_continues_tracks_and_stays_apart_otherwise() {
    let mut rig = default_rig();
    rig.doubtful = vec![face(50.0, 60.0, 40.0, 0.4)];
    assert!(rig.detect(vec![]).is_empty(), "doubt starts nothing");
    rig.detect(vec![face(50.0, 60.0, 40.0, 0.7)]);
    rig.doubtful = vec![face(52.0, 60.0, 40.0, 0.4), face(200.0, 60.0, 40.0, 0.5)];
    let out = rig.detect(vec![]);
    assert_eq!((ids(&out), out[0].score), (vec![Some(1)], Some(0.4)));
}

#[test]
fn a_lost_face_is_looked_for_in_a_wider_space() {
    // Moved by more than a side: no overlap, but within the enlargement of both boxes.
    for (search, expected) in [(0.0, 2), (0.5, 1)] {
        let mut rig = Rig::new(serde_json::json!({"search": search, "min_hits": 1}));
        for _ in 0..3 {
            rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
        }
        rig.detect(vec![]);
        let back = rig.detect(vec![face(92.0, 60.0, 40.0, 0.9)]);
        assert_eq!(ids(&back), [Some(expected)], "search {search}");
    }
}

#[test]
fn where_a_lost_face_is_expected_is_said_until_it_ends() {
    let mut rig = Rig::new(serde_json::json!({"max_lost": "100ms", "min_hits": 1}));
    rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
    assert!(rig.lost.is_empty());
    let lost: Vec<usize> = (0..4)
        .map(|_| {
            assert!(rig.detect(vec![]).is_empty());
            rig.lost.len()
        })
        .collect();
    assert_eq!(lost, [1, 1, 0, 0]);
    rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
    rig.detect(vec![]);
    assert!((rig.lost[0].x - 50.0).abs() < 0.01);
    rig.skip();
    assert_eq!(rig.lost.len(), 1, "also on a frame that is skipped");
}

#[test]
fn a_scene_cut_ends_all_tracks_and_nobody_is_known_until_the_next_look() {
    let mut rig = default_rig();
    let picture = |period: usize| {
        let pixels = (0..SIZE.0 * SIZE.1).flat_map(|at| [(at / period % 2 * 200) as u8; 3]);
        Frame::from_bgr(SIZE.0, SIZE.1, pixels.collect())
    };
    let there = || vec![face(50.0, 60.0, 40.0, 0.9)];
    rig.frame = picture(40);
    assert_eq!(ids(&rig.detect(there())), [Some(1)]);
    assert_eq!(ids(&rig.skip()), [Some(1)]);
    assert!(rig.known);
    rig.frame = picture(SIZE.0 * 60);
    assert!(rig.skip().is_empty());
    assert!(!rig.known);
    assert_eq!(ids(&rig.detect(there())), [Some(2)]);
    assert!(rig.known);
    assert_eq!(rig.actor.actor.cuts, 1);
}

#[test]
fn a_detection_without_a_score_may_start_a_track() {
    let mut rig = default_rig();
    let mut unscored = face(50.0, 60.0, 40.0, 0.0);
    unscored.score = None;
    assert_eq!(ids(&rig.detect(vec![unscored])), [Some(1)]);
}

#[test]
fn a_face_seen_fewer_than_min_hits_times_is_put_out_without_an_id() {
    let mut rig = Rig::new(serde_json::json!({"min_hits": 3}));
    let there = || vec![face(50.0, 60.0, 40.0, 0.9)];
    let ghost = rig.detect(there());
    assert_eq!(ids(&ghost), [None]);
    assert_eq!(ids(&rig.skip()), [None], "shown between two looks too");
    assert!(rig.detect(vec![]).is_empty());
    let mut tracklets = BTreeSet::new();
    let mut shown = Vec::new();
    for _ in 0..4 {
        let faces = rig.detect(there());
        shown.extend(ids(&faces));
        tracklets.insert(faces[0].tracklet);
    }
    assert_eq!(shown, [None, None, Some(1), Some(1)]);
    assert_eq!(
        tracklets.len(),
        1,
        "smoothing goes on as the face gets its id"
    );
    assert!(!tracklets.contains(&ghost[0].tracklet));
}

#[test]
fn a_new_segment_ends_all_tracks_and_ids_go_on() {
    let mut rig = default_rig();
    rig.detect(vec![
        face(50.0, 60.0, 40.0, 0.9),
        face(150.0, 60.0, 40.0, 0.9),
    ]);
    rig.segment = 1;
    assert!(rig.skip().is_empty());
    assert_eq!(
        ids(&rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)])),
        [Some(3)]
    );
}

#[test]
fn time_stamps_that_fall_or_jump_do_no_harm() {
    let mut rig = default_rig();
    rig.detect(vec![face(50.0, 60.0, 40.0, 0.9)]);
    rig.pts_ns = -5_000_000_000;
    assert_eq!(
        ids(&rig.detect(vec![face(51.0, 60.0, 40.0, 0.9)])),
        [Some(1)]
    );
    rig.pts_ns = i64::MIN;
    assert_eq!(ids(&rig.skip()), [Some(1)]);
    rig.pts_ns = i64::MAX - 2 * FRAME_NS;
    assert!(rig.skip().is_empty());
}

#[test]
fn boxes_that_cannot_be_followed_go_on_without_an_id() {
    let mut rig = default_rig();
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let mut faces = vec![
        face(50.0, 60.0, 40.0, 0.9),
        face(1.0, 1.0, 0.0, 0.9),
        face(1.0, 1.0, -9.0, 0.9),
    ];
    faces.extend(strange.map(|value| face(value, 1.0, 10.0, 0.9)));
    faces.extend(strange.map(|value| face(1.0, 1.0, value, 0.9)));
    faces.push(face(0.0, 0.0, f32::MAX, 0.9));
    for _ in 0..3 {
        let out = rig.detect(faces.clone());
        assert_eq!(out.len(), faces.len());
        assert_eq!(out[0].track, Some(1));
        assert!(out[1..].iter().all(|face| face.track.is_none()));
        assert_eq!(ids(&rig.skip()), [Some(1)]);
    }
    assert!(
        rig.detect(vec![face(50.0, 60.0, 40.0, f32::NAN)])
            .is_empty()
    );
}

#[test]
fn faces_on_a_skipped_frame_are_an_error() {
    let error = default_rig()
        .send(vec![face(50.0, 60.0, 40.0, 0.9)], false)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("track_faces must follow detect_faces")
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    for (wrong, named) in [
        (serde_json::json!({"iou": 1.5}), "iou is 1.5"),
        (serde_json::json!({"high": -0.1}), "high is -0.1"),
        (serde_json::json!({"high": 0.3, "low": 0.4}), "low is 0.4"),
        (serde_json::json!({"max_lost": "0s"}), "max_lost is 0"),
        (serde_json::json!({"min_hits": 0}), "min_hits is 0"),
        (serde_json::json!({"search": -1}), "search is -1"),
        (serde_json::json!({"cut": 3}), "cut is 3"),
    ] {
        let settings = serde_json::from_value(wrong).unwrap();
        let error = TrackFaces::check(&settings).unwrap_err().to_string();
        assert!(error.starts_with(named), "{error}");
    }
    assert!(
        serde_json::from_value::<TrackFacesSettings>(serde_json::json!({"max_age": 3})).is_err()
    );
}

fn any_face() -> impl Strategy<Value = Face> {
    let coordinate = prop_oneof![20 => -30.0..300.0_f32, 1 => Just(f32::NAN), 1 => any::<f32>()];
    let side = prop_oneof![20 => 5.0..90.0_f32, 1 => Just(0.0), 1 => any::<f32>()];
    let score = prop_oneof![3 => 0.6..1.0_f32, 1 => 0.0..0.6_f32];
    (coordinate.clone(), coordinate, side, score)
        .prop_map(|(x, y, side, score)| face(x, y, side, score))
}

/// Generates frames: the detections, or `None` if the detector skipped it; and whether a new segment begins.
fn any_frames() -> impl Strategy<Value = Vec<(Option<Vec<Face>>, bool)>> {
    let detections = proptest::option::weighted(0.6, proptest::collection::vec(any_face(), 0..6));
    proptest::collection::vec((detections, proptest::bool::weighted(0.05)), 1..40)
}

fn same_place(a: &Rect, b: &Rect) -> bool {
    let bits = |rect: &Rect| [rect.x, rect.y, rect.w, rect.h].map(f32::to_bits);
    bits(a) == bits(b)
}

proptest! {
    #[test]
    fn ids_are_unique_in_a_frame_and_never_used_again(frames in any_frames()) {
        let mut rig = default_rig();
        let mut highest = 0;
        let mut first_of_segment = 1;
        for (detections, new_segment) in frames {
            if new_segment {
                rig.segment += 1;
                first_of_segment = highest + 1;
            }
            let out = match detections {
                Some(faces) => rig.detect(faces),
                None => rig.skip(),
            };
            let ids: Vec<u64> = out.iter().filter_map(|face| face.track).collect();
            let distinct: BTreeSet<u64> = ids.iter().copied().collect();
            prop_assert_eq!(distinct.len(), ids.len());
            for id in ids {
                prop_assert!(id >= first_of_segment && id <= highest + 1, "{} after {}", id, highest);
                highest = highest.max(id);
            }
        }
    }

    #[test]
    fn a_frame_that_was_looked_at_keeps_the_detectors_boxes(frames in any_frames()) {
        let mut rig = default_rig();
        for (detections, _) in frames {
            let Some(faces) = detections else {
                for face in rig.skip() {
                    prop_assert!(face.score.is_none() && face.track.is_some());
                }
                continue;
            };
            let mut out = rig.detect(faces.clone()).into_iter().peekable();
            for face in &faces {
                let is_next = |next: &Face| same_place(&next.rect, &face.rect) && next.score == face.score;
                let kept = out.next_if(is_next).is_some();
                let must = face.score.is_some_and(|score| score >= 0.6);
                prop_assert!(kept || !must, "lost {:?}", face);
            }
            prop_assert!(out.next().is_none(), "made up a box");
        }
    }
}
