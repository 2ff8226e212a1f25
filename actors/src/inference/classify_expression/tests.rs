//! Compares real models with a session that is run directly, and uses a one-node model for cases that the real ones do
//! not cover.

use std::path::Path;

use fermata_engine::testing::{ActorDriver, Emission, capture, input, setup};
use fermata_files::sha256_of_file;
use fermata_onnx::{Session, TensorIn};
use fermata_vision::card::{CARD_FILE, Interpolation, ONNX_FILE, SAFETENSORS_FILE};
use fermata_vision::face::{Crop, Probabilities};
use fermata_vision::pool::Pooled;
use fermata_vision::{Frame, Preprocessor, Rect};
use opencv::core::{Mat, Size};
use opencv::imgproc;
use opencv::prelude::*;

use super::*;
use crate::payload::VideoFrame;
use crate::skipped;

const CANONICAL: &str = "[angry, disgust, fear, happy, sad, surprise, neutral]";

/// Returns a card without its `sha256`.
fn card(input: &str, interpolation: &str, scaling: &str, output: &str) -> String {
    format!(
        "input: {{{input}}}
interpolation: {interpolation}
scaling: {scaling}
output: {{{output}}}
licence: MIT
source: a test
"
    )
}

fn mini_xception() -> String {
    card(
        "name: input, size: 64, layout: nchw, colour: gray",
        "area",
        "[{divide: 255}, {multiply: 2}, {subtract: 1}]",
        &format!("name: probs, kind: probabilities, classes: {CANONICAL}"),
    )
}

fn face_api() -> String {
    card(
        "name: input, size: 112, layout: nchw, colour: rgb",
        "linear",
        "[]",
        "name: probs, kind: probabilities, classes: [neutral, happy, sad, angry, fear, disgust, surprise]",
    )
}

/// Returns a card for inputs of 7 × 1 gray pixels, whose values are the logits.
fn pixels_as_logits() -> String {
    card(
        "name: x, size: [7, 1], layout: nchw, colour: gray",
        "nearest",
        "[]",
        &format!("name: y, kind: logits, classes: {CANONICAL}"),
    )
}

/// Creates a model folder with these weights and this card.
fn folder(card: &str, weights: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(ONNX_FILE), weights).unwrap();
    let sum = sha256_of_file(&folder.path().join(ONNX_FILE)).unwrap();
    let card = format!("{card}sha256: {sum}\n");
    std::fs::write(folder.path().join(CARD_FILE), card).unwrap();
    folder
}

fn data(file: &str) -> Option<PathBuf> {
    Some(skipped::data()?.join(file))
}

/// Returns the real models, each with its file and its card.
fn real() -> Option<[tempfile::TempDir; 2]> {
    let xception = data("classify/fer2013_mini_XCEPTION.102-0.66.onnx")?;
    let face_api_file = data("classify/faceapi_face_expression.onnx")?;
    Some([
        folder(&mini_xception(), &std::fs::read(xception).unwrap()),
        folder(&face_api(), &std::fs::read(face_api_file).unwrap()),
    ])
}

fn settings(model: &Path) -> ClassifyExpressionSettings {
    ClassifyExpressionSettings {
        model: model.to_owned(),
        precision: fermata_onnx::Precision::F32,
        device: Device::Cpu,
        threads: NonZeroUsize::MIN,
    }
}

fn create(model: &Path) -> Result<ActorDriver<ClassifyExpression>, ActorError> {
    ActorDriver::create(settings(model), setup())
}

fn face(crop: Option<Vec<f32>>) -> Face {
    let crop = crop.map(|values| Crop {
        values: Arc::new(Pooled::from_vec(values)),
    });
    Face {
        crop,
        ..Face::default()
    }
}

/// Returns one packet for each list of faces, with sequence numbers from 0.
fn packets(lists: Vec<Vec<Face>>) -> Vec<Input> {
    let frame = Frame::from_bgr(1, 1, vec![0; 3]);
    let packet = |(sequence, faces)| {
        let video = VideoFrame::of(frame.clone());
        input(capture(sequence), Faces::found(video, faces))
    };
    (0..).zip(lists).map(packet).collect()
}

/// Returns the outputs, in order, as (sequence, faces).
fn classify(
    actor: &mut ActorDriver<ClassifyExpression>,
    lists: Vec<Vec<Face>>,
) -> Vec<(u64, Vec<Face>)> {
    let outcome = actor.process_batch(packets(lists)).unwrap();
    let of_packet = |emission: Emission| {
        let faces = emission.payload::<Faces>().faces.clone();
        (emission.envelope.sequence, faces)
    };
    outcome.emitted.into_iter().map(of_packet).collect()
}

fn logits_face(logits: [f32; EXPRESSIONS]) -> Face {
    face(Some(logits.to_vec()))
}

/// Returns a face that the model classifies as this expression.
fn sure(expression: Expression) -> Face {
    let mut logits = [0.0; EXPRESSIONS];
    logits[expression.index()] = 9.0;
    logits_face(logits)
}

/// Returns an ONNX model of one node, `Flatten`, from `x` with the sides of `input` to `y` [batch, 7]: just enough of
/// the protobuf encoding. A side of 0 is dynamic.
fn flatten_model(input: [u8; 4]) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let len = u8::try_from(bytes.len()).unwrap();
        assert!(len < 128, "lengths of two bytes are not encoded");
        [&[number << 3 | 2, len], bytes].concat()
    }
    fn number(field: u8, value: u8) -> Vec<u8> {
        vec![field << 3, value]
    }
    fn tensor(name: &str, sides: &[u8]) -> Vec<u8> {
        let side = |&side: &u8| match side {
            0 => field(1, &field(2, b"open")),
            side => field(1, &number(1, side)),
        };
        let shape: Vec<u8> = sides.iter().flat_map(side).collect();
        let tensor = [number(1, 1), field(2, &shape)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    }
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Flatten")].concat();
    let graph = [
        field(1, &node),
        field(2, b"g"),
        field(11, &tensor("x", &input)),
        field(12, &tensor("y", &[input[0], 7])),
    ]
    .concat();
    let opset = [field(1, b""), number(2, 13)].concat();
    [number(1, 8), field(7, &graph), field(8, &opset)].concat()
}

#[test]
fn faces_of_many_packets_get_their_own_answers() {
    let folder = folder(&pixels_as_logits(), &flatten_model([0, 1, 1, 7]));
    let mut actor = create(folder.path()).unwrap();
    use Expression::{Fear, Happy, Neutral};
    let lists = vec![
        vec![sure(Happy), face(None), sure(Fear)],
        vec![],
        vec![face(None)],
        vec![sure(Neutral)],
    ];
    let told = classify(&mut actor, lists);
    let labels: Vec<_> = told
        .iter()
        .map(|(sequence, faces)| (*sequence, faces.iter().map(|f| f.raw_label).collect()))
        .collect::<Vec<(u64, Vec<_>)>>();
    let expected = vec![
        (0, vec![Some(Happy), None, Some(Fear)]),
        (1, vec![]),
        (2, vec![None]),
        (3, vec![Some(Neutral)]),
    ];
    assert_eq!(labels, expected);
    let happy = told[0].1[0].probabilities.unwrap()[Happy.index()];
    let odds = 9.0_f32.exp();
    assert!((happy - odds / (odds + 6.0)).abs() < 1e-6);
    assert!(told[0].1[1].probabilities.is_none());
    assert_eq!((actor.actor.classified, actor.actor.without_crop), (3, 2));
}

#[test]
fn a_model_with_a_fixed_batch_is_run_as_often_as_its_faces_need() {
    let faces = || -> Vec<Face> {
        let turn = Expression::ALL.into_iter().cycle().take(70);
        turn.map(sure).collect()
    };
    let of = |batch: u8| {
        let folder = folder(&pixels_as_logits(), &flatten_model([batch, 1, 1, 7]));
        let mut actor = create(folder.path()).unwrap();
        let told = classify(&mut actor, vec![faces(), vec![], faces()]);
        let all = told.into_iter().flat_map(|(_, faces)| faces);
        all.map(|face| face.raw_label.unwrap()).collect::<Vec<_>>()
    };
    let open = of(0);
    let expected: Vec<_> = Expression::ALL.into_iter().cycle().take(70).collect();
    assert_eq!(open[..70], expected);
    assert_eq!(open[70..], expected);
    assert_eq!(of(1), open);
    assert_eq!(of(3), open);
}

#[test]
fn a_face_that_makes_the_model_say_nan_fails_its_packet_only() {
    let folder = folder(&pixels_as_logits(), &flatten_model([0, 1, 1, 7]));
    let mut actor = create(folder.path()).unwrap();
    let broken = logits_face([f32::NAN; EXPRESSIONS]);
    let strange = face(Some(vec![0.0; 8]));
    let lists = vec![
        vec![sure(Expression::Sad)],
        vec![sure(Expression::Sad), broken],
        vec![strange],
        vec![sure(Expression::Happy)],
    ];
    let told = classify(&mut actor, lists);
    let sequences: Vec<_> = told.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, [0, 3]);
    assert_eq!(told[1].1[0].raw_label, Some(Expression::Happy));
}

#[test]
fn a_model_that_is_not_what_its_card_says_is_refused_with_both() {
    let message = |card: &str, input: [u8; 4]| {
        let folder = folder(card, &flatten_model(input));
        let error = create(folder.path()).err().map(|error| error.to_string());
        error.expect("a contradiction was accepted")
    };
    let error = message(&pixels_as_logits(), [0, 1, 7, 1]);
    assert!(error.contains("card contradicts the model"), "{error}");
    assert!(error.contains("x[N,1,1,7] F32"), "{error}");
    assert!(error.contains("x[?,1,7,1] F32"), "{error}");

    let error = message(
        &pixels_as_logits().replace("name: x", "name: data"),
        [0, 1, 1, 7],
    );
    assert!(
        error.contains("input data[") && error.contains("input x["),
        "{error}"
    );
    let error = message(
        &pixels_as_logits().replace("name: y", "name: probs"),
        [0, 1, 1, 7],
    );
    assert!(
        error.contains("output probs[") && error.contains("output y["),
        "{error}"
    );
    let error = message(&pixels_as_logits().replace("gray", "rgb"), [0, 1, 1, 7]);
    assert!(error.contains("x[N,3,1,7]"), "{error}");
    let error = message(&pixels_as_logits().replace("nchw", "nhwc"), [0, 1, 1, 7]);
    assert!(error.contains("x[N,1,7,1]"), "{error}");
}

#[test]
fn parameters_without_a_graph_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join(SAFETENSORS_FILE);
    std::fs::write(&weights, "").unwrap();
    let sum = sha256_of_file(&weights).unwrap();
    let card = format!(
        "architecture: resnet18\n{}sha256: {sum}\n",
        pixels_as_logits()
    );
    std::fs::write(folder.path().join(CARD_FILE), card).unwrap();
    let error = ClassifyExpression::check(&settings(folder.path())).unwrap_err();
    assert!(
        error.to_string().contains("export it to model.onnx"),
        "{error}"
    );
}

/// Returns pictures of faces of this class, from the noisy web images.
fn pictures(class: &str, count: usize) -> Vec<Mat> {
    let folder = data("fer/muxspace").unwrap().join(class);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let pool = fermata_vision::FramePool::new();
    let read = |path: &PathBuf| {
        let frame = fermata_vision::image_file::read(path, &pool).unwrap();
        frame.mat().unwrap().try_clone().unwrap()
    };
    paths.iter().take(count).map(read).collect()
}

fn frame(picture: &Mat) -> Frame {
    let bytes = picture.data_bytes().unwrap().to_vec();
    Frame::from_bgr(picture.cols() as usize, picture.rows() as usize, bytes)
}

/// Returns crops of whole pictures, made according to the card in the folder.
fn crops(model: &Path, pictures: &[Mat]) -> Vec<Face> {
    let card = ModelCard::load(model).unwrap().card;
    let mut preprocessor = Preprocessor::new(&card).unwrap();
    let crop = |picture| {
        let mut values = vec![0.0; preprocessor.len()];
        let frame = frame(picture);
        let rect = Rect {
            x: 0.0,
            y: 0.0,
            w: frame.width() as f32,
            h: frame.height() as f32,
        };
        preprocessor.run(&frame, &rect, None, &mut values).unwrap();
        face(Some(values))
    };
    pictures.iter().map(crop).collect()
}

fn answers(model: &Path, lists: Vec<Vec<Face>>) -> Vec<Probabilities> {
    let mut actor = create(model).unwrap();
    let told = classify(&mut actor, lists);
    let faces = told.into_iter().flat_map(|(_, faces)| faces);
    faces.map(|face| face.probabilities.unwrap()).collect()
}

fn small(picture: &Mat, side: i32, interpolation: Interpolation) -> Mat {
    let method = match interpolation {
        Interpolation::Area => imgproc::INTER_AREA,
        _ => imgproc::INTER_LINEAR,
    };
    let mut small = Mat::default();
    imgproc::resize(picture, &mut small, Size::new(side, side), 0.0, 0.0, method).unwrap();
    small
}

/// Runs mini-XCEPTION directly, with its preprocessing written out.
fn direct_xception(session: &mut Session, picture: &Mat) -> Vec<f32> {
    let mut gray = Mat::default();
    imgproc::cvt_color_def(picture, &mut gray, imgproc::COLOR_BGR2GRAY).unwrap();
    let gray = small(&gray, 64, Interpolation::Area);
    let bytes = gray.data_bytes().unwrap().iter();
    let values: Vec<f32> = bytes
        .map(|&value| f32::from(value) / 255.0 * 2.0 - 1.0)
        .collect();
    direct(session, &[1, 1, 64, 64], &values)
}

/// Runs face-api directly, with its preprocessing written out; the result is in the canonical order.
fn direct_face_api(session: &mut Session, picture: &Mat) -> Vec<f32> {
    let picture = small(picture, 112, Interpolation::Linear);
    let bytes = picture.data_bytes().unwrap();
    let values: Vec<f32> = [2, 1, 0]
        .into_iter()
        .flat_map(|channel| bytes.iter().skip(channel).step_by(3))
        .map(|&value| f32::from(value))
        .collect();
    let said = direct(session, &[1, 3, 112, 112], &values);
    [3, 5, 4, 1, 2, 6, 0].map(|at| said[at]).to_vec()
}

fn direct(session: &mut Session, shape: &[usize], values: &[f32]) -> Vec<f32> {
    let outputs = session.run([TensorIn { shape, values }]).unwrap();
    outputs.get(0).unwrap().values.to_vec()
}

#[test]
fn real_models_say_what_they_say_when_run_directly() {
    let Some(models) = real() else { return };
    let pictures: Vec<_> = ["happy", "surprise", "sad"]
        .iter()
        .flat_map(|class| pictures(class, 4))
        .collect();
    let ask: [fn(&mut Session, &Mat) -> Vec<f32>; 2] = [direct_xception, direct_face_api];
    for (model, ask) in models.iter().zip(ask) {
        let told = answers(model.path(), vec![crops(model.path(), &pictures)]);
        let onnx = model.path().join(ONNX_FILE);
        let mut session = Session::load(onnx, &SessionSpec::default()).unwrap();
        for (told, picture) in told.iter().zip(&pictures) {
            let directly = ask(&mut session, picture);
            for (a, b) in told.iter().zip(&directly) {
                assert!((a - b).abs() < 1e-3, "{told:?} is not {directly:?}");
            }
        }
    }
}

#[test]
fn sixteen_faces_at_once_are_told_the_same_as_one_by_one() {
    let Some(models) = real() else { return };
    let mut pictures = pictures("happy", 8);
    pictures.extend(self::pictures("angry", 8));
    for model in &models {
        let faces = crops(model.path(), &pictures);
        assert_eq!(faces.len(), 16);
        let together = answers(model.path(), vec![faces.clone()]);
        let each = faces.into_iter().map(|face| vec![face]);
        let mut one_by_one = Vec::new();
        for list in each {
            one_by_one.extend(answers(model.path(), vec![list]));
        }
        for (a, b) in together.iter().flatten().zip(one_by_one.iter().flatten()) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
    }
}

#[test]
fn real_models_recognise_most_smiles() {
    let Some(models) = real() else { return };
    for model in &models {
        let pictures = pictures("happy", 40);
        let told = answers(model.path(), vec![crops(model.path(), &pictures)]);
        let labels = told.iter().map(Expression::most_probable);
        let right = labels.filter(|&label| label == Expression::Happy).count();
        assert!(right * 3 > 40 * 2, "{right} of 40");
    }
}
