//! The inputs of a row's views, made once for all models that use it.

use std::path::Path;
use std::sync::Arc;

use fermata_engine::testing::ActorDriver;
use fermata_jobs::infer_logits::InferLogits;
use fermata_jobs::load_views::LoadViews;
use fermata_jobs::payload::{ManifestRow, Purpose, Scored, Viewed, Wanted, WantedRow};
use fermata_jobs::preparation::Preparation;
use fermata_learn::augmentation::Augmentation;
use fermata_learn::manifest::Manifest;
use fermata_vision::{FramePool, ModelCard, Preprocessor, image_file};
use serde_json::json;

use crate::pictures::set;
use crate::teachers::{libtorch, onnx_runtime};

fn wanted(manifest: &Arc<Manifest>, row: usize) -> Wanted {
    Wanted::Row(WantedRow {
        row: ManifestRow::new(manifest, row).unwrap(),
        purpose: Purpose::Unit,
    })
}

fn viewed(models: &[&Path], wanted: Wanted) -> Arc<Viewed> {
    let settings = json!({"models": models, "views": 3, "seed": 5});
    let mut actor = ActorDriver::<LoadViews>::new(settings).unwrap();
    actor.feed(wanted).unwrap().only::<Viewed>()
}

#[test]
fn models_with_alike_cards_share_inputs_and_each_gets_what_its_card_says() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let manifest = Arc::new(Manifest::read(&set(folder.path(), 9)).unwrap());
    libtorch(&at("gray"), 1, 1.0, json!({}));
    libtorch(&at("alike"), 2, 4.0, json!({}));
    onnx_runtime(&at("colour"), 3, &json!({}));
    let models = [at("gray"), at("alike"), at("colour")];
    let models: Vec<&Path> = models.iter().map(|folder| &**folder).collect();
    let made = viewed(&models, wanted(&manifest, 8));
    let inputs = made.inputs.as_ref().unwrap();
    assert_eq!(inputs.len(), 2, "of three models");

    let row = &manifest.rows[8];
    let pool = FramePool::new();
    let picture = image_file::read(&manifest.folder.join(&row.image), &pool).unwrap();
    for (inputs, model) in inputs.iter().zip(["gray", "colour"]) {
        let card = ModelCard::load(at(model)).unwrap().card;
        assert_eq!(*inputs.preparation, Preparation::of(&card));
        let mut preprocessor = Preprocessor::new(&card).unwrap();
        let mut expected = vec![0.0; card.input.len()];
        assert_eq!(inputs.values.len(), 3 * expected.len());
        for (view, found) in inputs.values.chunks(expected.len()).enumerate() {
            let hash = row.sha256;
            let variation = Augmentation::default().view(5, view as u32, &hash);
            let picture = match &variation {
                None => picture.clone(),
                Some(variation) => variation.apply(&picture, &pool).unwrap(),
            };
            preprocessor.run_whole(&picture, &mut expected).unwrap();
            if let Some(variation) = &variation {
                variation.erase(&mut expected, &card.input);
            }
            assert_eq!(found, expected, "{model}, view {view}");
        }
    }
}

#[test]
fn a_model_whose_inputs_were_not_made_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let manifest = Arc::new(Manifest::read(&set(folder.path(), 3)).unwrap());
    libtorch(&at("gray"), 1, 1.0, json!({}));
    onnx_runtime(&at("colour"), 3, &json!({}));
    let settings = json!({"model": at("colour")});
    let mut colour = ActorDriver::<InferLogits>::new(settings).unwrap();
    let for_gray = viewed(&[&at("gray")], wanted(&manifest, 1));
    let error = colour.feed(Viewed::clone(&for_gray)).unwrap_err();
    let error = format!("{error:?}");
    assert!(
        error.contains("colour: `models` of load_views must name its folder too"),
        "{error}"
    );
    let for_both = viewed(&[&at("gray"), &at("colour")], wanted(&manifest, 1));
    let scored = colour.feed(Viewed::clone(&for_both)).unwrap();
    assert_eq!(
        scored.only::<Scored>().logits.as_ref().unwrap().len(),
        3 * 7
    );
}

#[test]
fn a_row_without_a_picture_goes_on_with_the_reason_and_an_epochs_end_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let gray = folder.path().join("gray");
    let manifest = Arc::new(Manifest::read(&set(folder.path(), 3)).unwrap());
    libtorch(&gray, 1, 1.0, json!({}));
    std::fs::remove_file(folder.path().join("001.png")).unwrap();
    let viewed = viewed(&[&gray], wanted(&manifest, 1));
    assert!(
        viewed
            .inputs
            .as_ref()
            .unwrap_err()
            .reason
            .contains("No such file")
    );
    let mut infer = ActorDriver::<InferLogits>::new(json!({"model": gray})).unwrap();
    let scored = infer.feed(Viewed::clone(&viewed)).unwrap().only::<Scored>();
    assert!(
        scored
            .logits
            .as_ref()
            .unwrap_err()
            .reason
            .contains("No such file")
    );

    let mut views = ActorDriver::<LoadViews>::new(json!({"models": [gray]})).unwrap();
    assert!(views.feed(Wanted::EpochEnd { epoch: 1 }).is_err());
    let none = ActorDriver::<LoadViews>::new(json!({"models": []}));
    let error = none.map(drop).unwrap_err();
    assert!(
        format!("{error:?}").contains("models is empty"),
        "{error:?}"
    );
}
