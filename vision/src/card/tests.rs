//! Cards as people write them, valid and invalid.

use super::*;

const GOOD: &str = "\
input: {name: input, size: 64, layout: nchw, colour: gray}
crop: {margin: 0.1}
interpolation: area
scaling:
  - divide: 255
  - multiply: 2
  - subtract: [1.0]
output:
  name: probs
  kind: probabilities
  classes: [angry, disgust, fear, happy, sad, surprise, neutral]
licence: MIT
source: https://example.org/model
sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
";

fn parse(text: &str) -> Result<ModelCard, CardError> {
    ModelCard::parse(text, Path::new("models/x/card.yaml"))
}

/// Returns the error message for the valid card with `from` replaced by `to`.
fn message(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    parse(&GOOD.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn a_card_is_read_with_its_defaults() {
    let card = parse(GOOD).unwrap();
    assert_eq!(card.input.size, Size::square(64));
    assert_eq!(card.input.shape(), [1, 64, 64]);
    assert_eq!(card.scaling[0], ScalingStep::Divide(Factors(vec![255.0])));
    assert_eq!(card.crop.margin, 0.1);
    assert_eq!(card.crop.aspect, Aspect::Keep);
    assert_eq!(card.crop.alignment, Alignment::None);
    assert_eq!(card.crop.border, Border::Replicate);
    assert_eq!((card.clahe, card.temperature), (None, 1.0));
}

#[test]
fn everything_a_card_can_say_survives_being_written_and_read() {
    let mut card = parse(GOOD).unwrap();
    card.architecture = Some("mobilenetv3_large_100".to_owned());
    card.input.size = Size {
        width: 96,
        height: 112,
    };
    card.input.colour = Colour::Rgb;
    card.input.layout = Layout::Nhwc;
    assert_eq!(card.input.shape(), [112, 96, 3]);
    card.clahe = Some(ClaheSpec {
        clip: 2.0,
        tiles: Size::square(8),
        on: ClaheChannel::L,
        at: ClaheStage::Crop,
    });
    card.crop.alignment = Alignment::LandmarksOrBox;
    card.scaling.push(ScalingStep::Normalise(Normalisation {
        mean: Factors(vec![0.485, 0.456, 0.406]),
        std: Factors(vec![0.229, 0.224, 0.225]),
    }));
    card.temperature = 1.7;
    assert_eq!(parse(&card.to_yaml()).unwrap(), card);
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let message = message("crop: {margin: 0.1}", "crop: {margins: 0.1}");
    assert!(message.contains("margins"), "{message}");
    assert!(message.contains("2:8"), "{message}");
    assert!(message.contains("models/x/card.yaml"), "{message}");
}

#[test]
fn a_duplicate_key_is_refused() {
    let message = message("licence: MIT", "licence: MIT\nlicence: GPL");
    assert!(message.contains("licence"), "{message}");
}

#[test]
fn a_missing_key_is_named() {
    let message = message("interpolation: area\n", "");
    assert!(message.contains("interpolation"), "{message}");
}

#[test]
fn a_class_that_is_not_canonical_is_refused_with_its_place() {
    let message = message("[angry, disgust", "[anger, disgust");
    assert!(message.contains("anger"), "{message}");
    assert!(message.contains("11:13"), "{message}");
}

#[test]
fn classes_that_are_no_permutation_are_refused() {
    let message = message("sad, surprise", "sad, sad");
    assert!(message.contains("sad 2 times"), "{message}");
    assert!(message.contains("lacks surprise"), "{message}");
}

#[test]
fn three_factors_for_a_gray_input_are_a_contradiction() {
    let message = message("[1.0]", "[1, 2, 3]");
    assert!(message.contains("`scaling[2].subtract`"), "{message}");
    assert!(message.contains("3 values"), "{message}");
}

#[test]
fn all_contradictions_are_reported_at_once() {
    let text = GOOD
        .replace("size: 64", "size: [0, 64]")
        .replace("divide: 255", "divide: 0")
        .replace("margin: 0.1", "margin: 20")
        .replace("sha256: e3", "sha256: xx")
        .replace(
            "licence: MIT",
            "licence: ' '\ntemperature: 0\nclahe: {clip: 0, tiles: 0, on: l, at: crop}",
        );
    let Err(CardError::Contradictions { problems, .. }) = parse(&text) else {
        panic!("a card full of contradictions was accepted");
    };
    for part in [
        "`input.size`",
        "divides by 0",
        "`crop.margin`",
        "`sha256`",
        "`licence`",
        "`temperature`",
        "`clahe.clip`",
        "`clahe.tiles`",
        "`clahe.on: l`",
    ] {
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{part} is missing in {problems:#?}"
        );
    }
}

#[test]
fn sizes_are_one_or_two_whole_numbers() {
    let size = |text: &str| parse(&GOOD.replace("size: 64", &format!("size: {text}")));
    let wanted = Size {
        width: 64,
        height: 48,
    };
    assert_eq!(size("[64, 48]").unwrap().input.size, wanted);
    for wrong in ["[64]", "[64, 48, 3]", "-1", "1.5", "big"] {
        let message = size(wrong).unwrap_err().to_string();
        assert!(message.contains("1:2"), "{wrong}: {message}");
    }
}

#[test]
fn a_folder_is_loaded_when_its_weights_are_those_of_the_card() {
    let folder = tempfile::tempdir().unwrap();
    let error = ModelCard::load(folder.path()).unwrap_err();
    assert!(matches!(error, CardError::Read { .. }), "{error}");

    std::fs::write(folder.path().join(CARD_FILE), GOOD).unwrap();
    let error = ModelCard::load(folder.path()).unwrap_err();
    assert!(matches!(error, CardError::Weights { .. }), "{error}");
    assert!(error.to_string().contains("model.onnx"), "{error}");

    let weights = folder.path().join(ONNX_FILE);
    std::fs::write(&weights, "").unwrap();
    let model = ModelCard::load(folder.path()).unwrap();
    assert_eq!(
        model.weights,
        Weights::Onnx {
            path: weights.clone()
        }
    );

    std::fs::write(&weights, "other").unwrap();
    let error = ModelCard::load(folder.path()).unwrap_err();
    assert!(matches!(error, CardError::Sha256 { .. }), "{error}");
}

#[test]
fn a_card_without_weights_has_no_sha256_and_a_models_folder_needs_it() {
    let (card, _) = GOOD.split_once("sha256").unwrap();
    let read = parse(card).unwrap();
    assert_eq!(read.sha256, None);
    assert!(!read.to_yaml().contains("sha256"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(CARD_FILE), card).unwrap();
    std::fs::write(folder.path().join(ONNX_FILE), "").unwrap();
    let error = ModelCard::load(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("has no `sha256`") && error.contains("theirs is e3b0c44298fc"),
        "{error}"
    );
    assert!(parse(&format!("{card}sha256: ''\n")).is_err());
}

#[test]
fn an_architecture_asks_for_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let card = format!("architecture: resnet18\n{GOOD}");
    std::fs::write(folder.path().join(CARD_FILE), card).unwrap();
    std::fs::write(folder.path().join(ONNX_FILE), "").unwrap();
    let error = ModelCard::load(folder.path()).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    let path = folder.path().join(SAFETENSORS_FILE);
    std::fs::write(&path, "").unwrap();
    let architecture = "resnet18".to_owned();
    let weights = ModelCard::load(folder.path()).unwrap().weights;
    assert_eq!(weights, Weights::Safetensors { path, architecture });
}
