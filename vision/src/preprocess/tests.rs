//! Inputs compared with values computed by hand and with direct calls of OpenCV, and properties that hold for every
//! face.

use std::path::Path;

use opencv::core;
use proptest::prelude::*;

use super::*;
use crate::card::{Aspect, ModelCard};
use crate::face::Point;

/// Returns a card with this input and further lines; values stay 0..255 unless `more` scales them.
fn card(input: &str, interpolation: &str, scaling: &str, more: &str) -> ModelCard {
    let text = format!(
        "input: {{name: x, {input}}}
interpolation: {interpolation}
scaling: {scaling}
output: {{name: y, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
licence: none
source: a test
sha256: {}
{more}
",
        "0".repeat(64)
    );
    ModelCard::parse(&text, Path::new("card.yaml")).unwrap()
}

fn rect(x: f32, y: f32, w: f32, h: f32) -> Rect {
    Rect { x, y, w, h }
}

fn run(card: &ModelCard, frame: &Frame, rect: &Rect) -> Result<Vec<f32>, PreprocessError> {
    let mut preprocessor = Preprocessor::new(card)?;
    let mut out = vec![f32::NAN; preprocessor.len()];
    preprocessor.run(frame, rect, None, &mut out)?;
    Ok(out)
}

/// Returns a picture whose pixels differ from their neighbours in all channels.
fn pattern(width: usize, height: usize) -> Frame {
    let pixels = (0..width * height * 3).map(|at| (at * 37 + at / 11 * 5) as u8);
    Frame::from_bgr(width, height, pixels.collect())
}

fn gray(width: usize, height: usize, values: &[u8]) -> Frame {
    let pixels = values.iter().flat_map(|&value| [value; 3]).collect();
    Frame::from_bgr(width, height, pixels)
}

#[test]
fn colour_and_layout_are_the_models_own() {
    let frame = Frame::from_bgr(2, 1, vec![1, 2, 3, 4, 5, 6]);
    let whole = rect(0.0, 0.0, 2.0, 1.0);
    let values = |input: &str| {
        let input = format!("size: [2, 1], {input}");
        run(&card(&input, "nearest", "[]", ""), &frame, &whole).unwrap()
    };
    assert_eq!(
        values("layout: nchw, colour: rgb"),
        [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]
    );
    assert_eq!(
        values("layout: nchw, colour: bgr"),
        [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    );
    assert_eq!(
        values("layout: nhwc, colour: rgb"),
        [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]
    );
    assert_eq!(
        values("layout: nhwc, colour: bgr"),
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    );
    // 0.114 + 2 · 0.587 + 3 · 0.299 = 2.185, and 5.185.
    assert_eq!(values("layout: nchw, colour: gray"), [2.0, 5.0]);
}

#[test]
fn scaling_steps_apply_in_their_order_and_by_channel() {
    let frame = Frame::from_bgr(1, 1, vec![0, 51, 255]);
    let whole = rect(0.0, 0.0, 1.0, 1.0);
    let values = |scaling: &str| {
        let card = card("size: 1, layout: nchw, colour: rgb", "nearest", scaling, "");
        run(&card, &frame, &whole).unwrap()
    };
    let mini_xception = "[{divide: 255}, {multiply: 2}, {subtract: 1}]";
    assert_eq!(values(mini_xception), [1.0, -0.6, -1.0]);
    assert_eq!(
        values("[{subtract: 1}, {multiply: 2}]"),
        [508.0, 100.0, -2.0]
    );
    let by_channel = "[{add: [1, 2, 3]}, {normalise: {mean: [0, 50, 1], std: [2, 1, 4]}}]";
    assert_eq!(values(by_channel), [128.0, 3.0, 0.5]);
}

#[test]
fn area_takes_the_mean_of_the_pixels_that_fall_on_one() {
    let frame = gray(4, 2, &[10, 20, 100, 200, 30, 40, 100, 200]);
    let card = card("size: [2, 1], layout: nchw, colour: gray", "area", "[]", "");
    let values = run(&card, &frame, &rect(0.0, 0.0, 4.0, 2.0)).unwrap();
    assert_eq!(values, [25.0, 150.0]);
}

#[test]
fn what_lies_beyond_the_frame_is_replicated_or_black() {
    let frame = gray(2, 2, &[1, 2, 3, 4]);
    let values = |border: &str| {
        let border = format!("crop: {{margin: 0.5, border: {border}}}");
        let card = card(
            "size: 4, layout: nchw, colour: gray",
            "linear",
            "[]",
            &border,
        );
        run(&card, &frame, &rect(0.0, 0.0, 2.0, 2.0)).unwrap()
    };
    let replicated = [
        1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0,
    ];
    assert_eq!(values("replicate"), replicated);
    let black = [
        0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    ];
    assert_eq!(values("zero"), black);
}

#[test]
fn a_face_that_is_nowhere_has_no_crop() {
    let frame = pattern(20, 10);
    let card = card("size: 4, layout: nchw, colour: rgb", "area", "[]", "");
    let error = |rect| match run(&card, &frame, &rect) {
        Err(PreprocessError::Face(error)) => error,
        other => panic!("not an error about the face: {other:?}"),
    };
    assert_eq!(error(rect(20.0, 0.0, 5.0, 5.0)), FaceError::OutsideFrame);
    assert_eq!(error(rect(-5.0, 0.0, 5.0, 5.0)), FaceError::OutsideFrame);
    assert_eq!(error(rect(5.0, 11.0, 5.0, 5.0)), FaceError::OutsideFrame);
    assert_eq!(error(rect(5.0, 5.0, 0.0, 5.0)), FaceError::NoArea);
    assert_eq!(error(rect(5.0, 5.0, 5.0, -1.0)), FaceError::NoArea);
    assert_eq!(error(rect(f32::NAN, 5.0, 5.0, 5.0)), FaceError::NoArea);
    assert_eq!(error(rect(f32::MAX, 5.0, f32::MAX, 5.0)), FaceError::NoArea);
    assert_eq!(error(rect(0.0, 0.0, 81.0, 5.0)), FaceError::TooLarge);
    assert_eq!(error(rect(0.0, 0.0, 1e30, 5.0)), FaceError::TooLarge);
    assert!(run(&card, &frame, &rect(19.4, 9.4, 5.0, 5.0)).is_ok());
}

#[test]
fn a_buffer_of_another_length_is_refused() {
    let card = card("size: 4, layout: nchw, colour: rgb", "area", "[]", "");
    let mut preprocessor = Preprocessor::new(&card).unwrap();
    let mut out = [0.0; 16];
    let error = preprocessor.run(&pattern(8, 8), &rect(0.0, 0.0, 8.0, 8.0), None, &mut out);
    assert!(matches!(
        error,
        Err(PreprocessError::BufferLength {
            given: 16,
            expected: 48
        })
    ));
}

/// Returns the landmarks of the ArcFace template, in a frame of 112 × 112.
fn template_landmarks() -> Landmarks {
    let points = [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ];
    points.map(|[x, y]| Point { x, y })
}

fn aligned(interpolation: &str, frame: &Frame, landmarks: &Landmarks) -> Vec<f32> {
    let input = "size: 112, layout: nhwc, colour: bgr";
    let card = card(input, interpolation, "[]", "crop: {alignment: landmarks}");
    let mut preprocessor = Preprocessor::new(&card).unwrap();
    let mut out = vec![f32::NAN; preprocessor.len()];
    let rect = rect(0.0, 0.0, 50.0, 50.0);
    let done = preprocessor.run(frame, &rect, Some(landmarks), &mut out);
    done.unwrap();
    out
}

#[test]
fn a_face_that_stands_like_the_template_is_taken_as_it_is() {
    let frame = pattern(112, 112);
    let pixels: Vec<f32> = frame.bgr().iter().copied().map(f32::from).collect();
    for interpolation in ["nearest", "linear", "area"] {
        let values = aligned(interpolation, &frame, &template_landmarks());
        let differing = values
            .iter()
            .zip(&pixels)
            .filter(|(a, b)| (*a - *b).abs() > 1.0);
        assert_eq!(differing.count(), 0, "{interpolation}");
    }
}

#[test]
fn a_face_that_lies_on_its_side_is_turned_upright() {
    let frame = pattern(112, 112);
    let upright = aligned("linear", &frame, &template_landmarks());
    // Picture and landmarks are rotated by a quarter turn: (x, y) → (111 − y, x).
    let mut turned = vec![0; frame.bgr().len()];
    for (at, pixel) in frame.bgr().chunks_exact(3).enumerate() {
        let (x, y) = (at % 112, at / 112);
        let to = (x * 112 + 111 - y) * 3;
        turned[to..to + 3].copy_from_slice(pixel);
    }
    let turned = Frame::from_bgr(112, 112, turned);
    let landmarks = template_landmarks().map(|Point { x, y }| Point { x: 111.0 - y, y: x });
    let again = aligned("linear", &turned, &landmarks);
    let differing = upright
        .iter()
        .zip(&again)
        .filter(|(a, b)| (*a - *b).abs() > 1.0);
    assert_eq!(differing.count(), 0);
}

#[test]
fn a_large_aligned_face_is_averaged_not_sampled() {
    // Twice the template's size, black and white columns: the mean of each pair is gray.
    let columns: Vec<u8> = (0..224 * 224).map(|at| (at % 2 * 254) as u8).collect();
    let landmarks = template_landmarks().map(|Point { x, y }| Point {
        x: x * 2.0 + 0.5,
        y: y * 2.0 + 0.5,
    });
    let values = aligned("area", &gray(224, 224, &columns), &landmarks);
    let gray = values.iter().filter(|value| (**value - 127.0).abs() <= 2.0);
    assert_eq!(gray.count(), values.len());
}

#[test]
fn a_card_that_aligns_says_what_happens_to_a_face_without_landmarks() {
    let input = "size: 4, layout: nchw, colour: rgb";
    let frame = pattern(20, 20);
    let whole = rect(3.0, 4.0, 10.0, 9.0);
    let strict = card(input, "area", "[]", "crop: {alignment: landmarks}");
    let error = run(&strict, &frame, &whole).unwrap_err();
    assert!(matches!(
        error,
        PreprocessError::Face(FaceError::NoLandmarks)
    ));
    let lenient = card(input, "area", "[]", "crop: {alignment: landmarks_or_box}");
    let boxed = card(input, "area", "[]", "");
    let expected = run(&boxed, &frame, &whole).unwrap();
    assert_eq!(run(&lenient, &frame, &whole).unwrap(), expected);
}

#[test]
fn landmarks_outside_of_the_frame_are_no_crop() {
    let frame = pattern(30, 30);
    let input = "size: 4, layout: nchw, colour: rgb";
    let card = card(input, "area", "[]", "crop: {alignment: landmarks}");
    let mut preprocessor = Preprocessor::new(&card).unwrap();
    let mut out = vec![0.0; preprocessor.len()];
    let landmarks = template_landmarks();
    let error = preprocessor.run(
        &frame,
        &rect(0.0, 0.0, 9.0, 9.0),
        Some(&landmarks),
        &mut out,
    );
    assert!(matches!(
        error,
        Err(PreprocessError::Face(FaceError::OutsideFrame))
    ));
}

/// Calls OpenCV's CLAHE directly on a gray picture.
fn clahe(source: &Mat) -> Mat {
    let mut clahe = imgproc::create_clahe(2.0, core::Size::new(4, 4)).unwrap();
    let mut equalised = Mat::default();
    clahe.apply(source, &mut equalised).unwrap();
    equalised
}

fn resized(source: &Mat) -> Mat {
    let mut small = Mat::default();
    let size = core::Size::new(16, 16);
    imgproc::resize(source, &mut small, size, 0.0, 0.0, imgproc::INTER_AREA).unwrap();
    small
}

fn converted(source: &Mat, code: i32) -> Mat {
    let mut to = Mat::default();
    imgproc::cvt_color_def(source, &mut to, code).unwrap();
    to
}

fn bytes(mat: &Mat) -> Vec<f32> {
    let bytes = mat.data_bytes().unwrap();
    bytes.iter().copied().map(f32::from).collect()
}

#[test]
fn a_gray_picture_is_equalised_before_or_after_the_resize() {
    let frame = pattern(40, 40);
    let source = converted(
        &frame.mat().unwrap().clone_pointee(),
        imgproc::COLOR_BGR2GRAY,
    );
    let values = |at: &str| {
        let more = format!("clahe: {{clip: 2, tiles: 4, on: gray, at: {at}}}");
        let card = card("size: 16, layout: nchw, colour: gray", "area", "[]", &more);
        run(&card, &frame, &rect(0.0, 0.0, 40.0, 40.0)).unwrap()
    };
    assert_eq!(values("crop"), bytes(&resized(&clahe(&source))));
    assert_eq!(values("input"), bytes(&clahe(&resized(&source))));
    assert_ne!(values("crop"), values("input"));
}

#[test]
fn the_lightness_of_a_colour_picture_is_equalised_and_its_colours_stay() {
    let frame = pattern(40, 40);
    let more = "clahe: {clip: 2, tiles: 4, on: l, at: crop}";
    let card = card("size: 16, layout: nhwc, colour: bgr", "area", "[]", more);
    let values = run(&card, &frame, &rect(0.0, 0.0, 40.0, 40.0)).unwrap();
    let mut lab = converted(
        &frame.mat().unwrap().clone_pointee(),
        imgproc::COLOR_BGR2Lab,
    );
    let mut lightness = Mat::default();
    core::extract_channel(&lab, &mut lightness, 0).unwrap();
    core::insert_channel(&clahe(&lightness), &mut lab, 0).unwrap();
    assert_eq!(
        values,
        bytes(&resized(&converted(&lab, imgproc::COLOR_Lab2BGR)))
    );
}

#[test]
fn a_whole_picture_has_no_margin() {
    let frame = gray(2, 1, &[7, 9]);
    let more = "crop: {margin: 0.5, alignment: landmarks}";
    let card = card(
        "size: [2, 1], layout: nchw, colour: gray",
        "area",
        "[]",
        more,
    );
    let mut preprocessor = Preprocessor::new(&card).unwrap();
    let mut out = [0.0; 2];
    preprocessor.run_whole(&frame, &mut out).unwrap();
    assert_eq!(out, [7.0, 9.0]);
    let nothing = Frame::from_bgr(0, 0, Vec::new());
    let error = preprocessor.run_whole(&nothing, &mut out).unwrap_err();
    assert!(matches!(error, PreprocessError::Face(FaceError::NoArea)));
}

#[test]
fn opencv_paints_on_the_canvas_and_not_on_memory_of_its_own() {
    let frame = pattern(9, 7);
    let mut canvas = Canvas::default();
    let mut painted = canvas.paint(core::Size::new(9, 7), 1).unwrap();
    let place = painted.data();
    imgproc::cvt_color_def(&frame.mat().unwrap(), &mut painted, imgproc::COLOR_BGR2GRAY).unwrap();
    assert_eq!(painted.data(), place);
}

/// Generates any card that a property should hold for.
fn cards() -> impl Strategy<Value = ModelCard> {
    let sides = (1_usize..40, 1_usize..40);
    let colour = prop::sample::select(vec![("rgb", "l"), ("bgr", "l"), ("gray", "gray")]);
    let interpolation =
        prop::sample::select(vec!["nearest", "linear", "cubic", "area", "lanczos4"]);
    let aspect = prop::sample::select(vec!["keep", "stretch"]);
    let stage = prop::sample::select(vec![None, Some("crop"), Some("input")]);
    (sides, colour, interpolation, aspect, stage, -0.4..1.0_f64).prop_map(
        |((width, height), (colour, on), interpolation, aspect, stage, margin)| {
            let clahe = stage.map_or(String::new(), |at| {
                format!("clahe: {{clip: 2, tiles: [3, 5], on: {on}, at: {at}}}")
            });
            let input = format!("size: [{width}, {height}], layout: nchw, colour: {colour}");
            let more = format!("crop: {{margin: {margin}, aspect: {aspect}}}\n{clahe}");
            card(&input, interpolation, "[]", &more)
        },
    )
}

fn boxes() -> impl Strategy<Value = Rect> {
    (
        -60.0..90.0_f32,
        -60.0..90.0_f32,
        0.0..120.0_f32,
        0.0..120.0_f32,
    )
        .prop_map(|(x, y, w, h)| rect(x, y, w, h))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_face_gives_pixels_or_an_error_about_the_face(card in cards(), rect in boxes()) {
        match run(&card, &pattern(37, 23), &rect) {
            Ok(values) => prop_assert!(values.iter().all(|value| (0.0..=255.0).contains(value))),
            Err(PreprocessError::Face(_)) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn a_face_does_not_depend_on_those_before_it(
        card in cards(), rects in prop::collection::vec(boxes(), 1..6)
    ) {
        let frame = pattern(37, 23);
        let mut preprocessor = Preprocessor::new(&card).unwrap();
        let mut out = vec![f32::NAN; preprocessor.len()];
        for rect in rects {
            let warm = preprocessor.run(&frame, &rect, None, &mut out);
            match (warm, run(&card, &frame, &rect)) {
                (Ok(()), Ok(cold)) => prop_assert_eq!(&out, &cold),
                (warm, cold) => prop_assert!(warm.is_err() && cold.is_err()),
            }
        }
    }

    #[test]
    fn both_layouts_hold_the_same_values(card in cards(), rect in boxes()) {
        let frame = pattern(37, 23);
        let mut other = card.clone();
        other.input.layout = crate::card::Layout::Nhwc;
        let (Ok(nchw), Ok(nhwc)) = (run(&card, &frame, &rect), run(&other, &frame, &rect)) else {
            return Ok(());
        };
        let channels = card.input.colour.channels();
        let pixels = nchw.len() / channels;
        for (at, value) in nhwc.iter().enumerate() {
            prop_assert_eq!(*value, nchw[at % channels * pixels + at / channels]);
        }
    }

    #[test]
    fn a_crop_moves_with_its_face(
        card in cards(), x in 0..8_u8, y in 0..8_u8, w in 1..12_u8, h in 1..12_u8
    ) {
        let input = card.input.size;
        let sides = [input.width as f64, input.height as f64];
        let stretch = if card.crop.aspect == Aspect::Keep {
            (sides[0] / sides[1]).max(sides[1] / sides[0])
        } else {
            1.0
        };
        let reach = f64::from(w.max(h)) * (1.0 + 2.0 * card.crop.margin) * stretch;
        prop_assume!(reach < 70.0);
        // The same picture inside two frames; the crops extend beyond neither.
        let small = pattern(20, 20);
        let place = |left: usize, top: usize| {
            let mut pixels = vec![90; 100 * 100 * 3];
            for (row, line) in small.bgr().chunks_exact(20 * 3).enumerate() {
                let at = ((top + row) * 100 + left) * 3;
                pixels[at..at + line.len()].copy_from_slice(line);
            }
            Frame::from_bgr(100, 100, pixels)
        };
        let face = rect(f32::from(x), f32::from(y), f32::from(w), f32::from(h));
        let moved = |by_x: f32, by_y: f32| rect(face.x + by_x, face.y + by_y, face.w, face.h);
        let (Ok(one), Ok(two)) = (
            run(&card, &place(40, 40), &moved(40.0, 40.0)),
            run(&card, &place(43, 38), &moved(43.0, 38.0)),
        ) else {
            return Ok(());
        };
        prop_assert_eq!(one, two);
    }
}
