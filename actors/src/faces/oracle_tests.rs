//! Compares `detect_faces` on real frames with a plain Python implementation of the same models
//! (`oracles/detections.py`), and checks its behaviour where the faces are known.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use fermata_engine::testing::{ActorDriver, capture, input};
use fermata_vision::{Face, Frame, Rect};
use serde::Deserialize;
use serde_json::{Value, json};

use super::detect_faces::DetectFaces;
use crate::payload::{Faces, VideoFrame};
use crate::skipped::{data, skip};

#[derive(Deserialize)]
struct Golden {
    results: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    detector: String,
    model: String,
    video: String,
    frame: usize,
    faces: Vec<ExpectedFace>,
}

#[derive(Deserialize)]
struct ExpectedFace {
    score: f32,
    rect: [f32; 4],
    #[serde(default)]
    landmarks: Option<[[f32; 2]; 5]>,
}

const SINGLE_FACE: &str = "pyfeat_single_face.mp4";

/// Returns the same pixels as the oracle had: ffmpeg's own conversion to BGR.
fn frame(data: &Path, video: &str, index: usize) -> Frame {
    let path = data.join("videos").join(video);
    let path = path.to_str().unwrap();
    let size = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=width,height", path])
        .output()
        .unwrap();
    let size = String::from_utf8(size.stdout).unwrap();
    let mut sides = size.trim().split(',').map(|side| side.parse().unwrap());
    let (width, height): (usize, usize) = (sides.next().unwrap(), sides.next().unwrap());
    let count = (index + 1).to_string();
    let raw = Command::new("ffmpeg")
        .args(["-v", "error", "-i", path, "-f", "rawvideo"])
        .args(["-pix_fmt", "bgr24", "-fps_mode", "passthrough"])
        .args(["-frames:v", &count, "-"])
        .output()
        .unwrap();
    let bytes = width * height * 3;
    let pixels = raw.stdout.chunks_exact(bytes).nth(index).unwrap();
    Frame::from_bgr(width, height, pixels.to_vec())
}

fn actor(settings: Value) -> Result<ActorDriver<DetectFaces>, String> {
    ActorDriver::new(settings).map_err(|error| error.to_string())
}

fn of_model(model: &Path) -> Result<ActorDriver<DetectFaces>, String> {
    actor(json!({ "model": model }))
}

fn detect_at(actor: &mut ActorDriver<DetectFaces>, frame: &Frame, sequence: u64) -> Arc<Faces> {
    let video = VideoFrame::of(frame.clone());
    let packet = input(capture(sequence), video);
    actor.process(packet).unwrap().only()
}

fn detect(actor: &mut ActorDriver<DetectFaces>, frame: &Frame) -> Vec<Face> {
    detect_at(actor, frame, 0).faces.clone()
}

fn is_at(face: &Face, expected: &ExpectedFace) -> bool {
    let Rect { x, y, w, h } = face.rect;
    let close = |a: f32, b: f32| (a - b).abs() <= 2.0;
    let [left, top, width, height] = expected.rect;
    close(x, left) && close(y, top) && close(w, width) && close(h, height)
}

fn agree(face: &Face, expected: &ExpectedFace) -> bool {
    let points = |landmarks: [[f32; 2]; 5]| {
        let found = face.landmarks.expect("landmarks");
        let pairs = found.iter().zip(landmarks);
        pairs.fold(true, |all, (point, [x, y])| {
            all && (point.x - x).abs() <= 2.0 && (point.y - y).abs() <= 2.0
        })
    };
    let score = face.score.expect("a score");
    is_at(face, expected)
        && (score - expected.score).abs() <= 0.01
        && expected.landmarks.is_none_or(points)
}

#[test]
fn networks_find_the_same_faces_as_a_plain_reading_of_their_models() {
    let Some(data) = data() else { return };
    let golden: Golden =
        serde_json::from_str(include_str!("../../oracles/detections.json")).unwrap();
    let mut faces_compared = 0;
    let mut loaded: Option<(String, ActorDriver<DetectFaces>)> = None;
    for expected in &golden.results {
        if loaded
            .as_ref()
            .is_none_or(|(name, _)| *name != expected.detector)
        {
            let actor = of_model(&data.join(&expected.model)).unwrap();
            loaded = Some((expected.detector.clone(), actor));
        }
        let (_, actor) = loaded.as_mut().unwrap();
        let found = detect(actor, &frame(&data, &expected.video, expected.frame));
        let context = format!(
            "{} in frame {} of {}: {found:?}",
            expected.detector, expected.frame, expected.video
        );
        assert_eq!(found.len(), expected.faces.len(), "{context}");
        for face in &expected.faces {
            assert!(found.iter().any(|found| agree(found, face)), "{context}");
            faces_compared += 1;
        }
        let sorted = found.is_sorted_by(|a, b| a.score >= b.score);
        assert!(sorted, "{context}");
    }
    assert!(faces_compared > 30, "{faces_compared}");
}

#[test]
fn the_cascade_finds_the_face_of_a_real_frame() {
    let Some(data) = data() else { return };
    let mut actor = match actor(json!({ "model": "haar" })) {
        Err(error) if error.contains("opencv-data") => {
            skip(&error);
            return;
        }
        actor => actor.unwrap(),
    };
    let frame = frame(&data, SINGLE_FACE, 0);
    let faces = detect(&mut actor, &frame);
    assert_eq!(faces.len(), 1, "{faces:?}");
    let yunet = data.join("detect/yunet_n_dynamic.onnx");
    let reference = detect(&mut of_model(&yunet).unwrap(), &frame);
    let overlap = faces[0].rect.iou(&reference[0].rect);
    assert!(overlap > 0.5, "{faces:?}");
    assert!(
        faces[0]
            .score
            .is_some_and(|score| (0.5..1.0).contains(&score))
    );
}

#[test]
fn a_smaller_copy_gives_boxes_in_pixels_of_the_frame() {
    let Some(data) = data() else { return };
    let frame = frame(&data, SINGLE_FACE, 0);
    let yunet = data.join("detect/yunet_n_dynamic.onnx");
    let full = detect(&mut of_model(&yunet).unwrap(), &frame);
    let mut small = actor(json!({ "model": yunet, "max_side": 320 })).unwrap();
    let small = detect(&mut small, &frame);
    assert_eq!((full.len(), small.len()), (1, 1));
    assert!(full[0].rect.iou(&small[0].rect) > 0.8, "{small:?}");
    let [full, small] = [&full[0], &small[0]].map(|face| face.landmarks.unwrap()[2]);
    assert!((full.x - small.x).hypot(full.y - small.y) < 10.0);
}

#[test]
fn packets_between_pass_without_faces_and_marked_as_not_looked_at() {
    let Some(data) = data() else { return };
    let frame = frame(&data, SINGLE_FACE, 0);
    let yunet = data.join("detect/yunet_n_dynamic.onnx");
    let mut actor = actor(json!({ "model": yunet, "every": 3 })).unwrap();
    for sequence in 0..7 {
        let packet = detect_at(&mut actor, &frame, sequence);
        let looked = sequence % 3 == 0;
        assert_eq!(
            (packet.detected, packet.faces.len()),
            (looked, usize::from(looked))
        );
        assert_eq!(packet.video.frame.bgr().as_ptr(), frame.bgr().as_ptr());
    }
}

#[test]
fn small_faces_are_left_out_on_request() {
    let Some(data) = data() else { return };
    let frame = frame(&data, "intel_classroom.mp4", 0);
    let yunet = data.join("detect/yunet_n_dynamic.onnx");
    let all = detect(&mut of_model(&yunet).unwrap(), &frame);
    assert!(!all.is_empty());
    let mut large = actor(json!({ "model": yunet, "min_size": 40 })).unwrap();
    assert!(detect(&mut large, &frame).is_empty(), "{all:?}");
}

#[test]
fn a_model_folder_holds_the_detector() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let yunet = data.join("detect/yunet_n_dynamic.onnx");
    std::fs::copy(yunet, folder.path().join("model.onnx")).unwrap();
    let mut actor = of_model(folder.path()).unwrap();
    assert_eq!(detect(&mut actor, &frame(&data, SINGLE_FACE, 0)).len(), 1);
}

#[test]
fn a_classifier_is_refused_with_what_was_expected_and_found() {
    let Some(data) = data() else { return };
    let classifier = data.join("classify/faceapi_face_expression.onnx");
    let error = of_model(&classifier).unwrap_err();
    for part in ["YuNet", "UltraFace", "input[?,3,112,112]", "probs[?,7]"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn ultraface_refuses_a_size_limit_below_its_own() {
    let Some(data) = data() else { return };
    let model = data.join("detect/ultraface_version-RFB-320.onnx");
    assert!(actor(json!({ "model": model, "max_side": 320 })).is_ok());
    let error = actor(json!({ "model": model, "max_side": 319 })).err();
    assert!(error.expect("refused").contains("`max_side`"));
}
