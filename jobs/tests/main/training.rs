//! Trainings as graphs: they learn, they equal the bare trainer, and an interrupted one gives the same weights as an
//! uninterrupted one.

use std::fs;

use fermata_engine::testing::{ActorDriver, SourceDriver, setup};
use fermata_files::PartFolder;
use fermata_jobs::load_images::LoadImages;
use fermata_jobs::payload::{Loaded, Prepared, Wanted};
use fermata_jobs::prepare_inputs::{PrepareInputs, PrepareInputsSettings};
use fermata_jobs::train_model::{TrainModel, TrainModelSettings};
use fermata_jobs::training_rows::{TrainingRows, TrainingRowsSettings};
use fermata_learn::evaluation::Evaluation;
use fermata_learn::manifest::Manifest;
use fermata_learn::training::RunFolder;
use fermata_learn::weights::TensorFile;
use fermata_vision::ModelCard;
use serde_json::json;

use crate::trainings::{EVERYTHING, Running, assert_same, create, in_memory, run, set, spec};

#[test]
fn the_graph_trains_what_the_bare_trainer_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Steps per epoch: 70 rows in batches of 16.
    let manifest = set(folder.path(), [10, 3]);
    for name in ["memory", "graph", "readers"] {
        create(&at(name), &manifest, spec(EVERYTHING));
    }
    in_memory(&at("memory"));
    let report = run(&at("graph"), &[]);
    assert_same(&at("graph"), &at("memory"));
    // 3 epochs of 70 rows, an end, and 21 validation rows each.
    assert_eq!(report.nodes["train"].processed, 3 * 92);
    run(
        &at("readers"),
        &["nodes.images.replicas=5", "nodes.inputs.replicas=1"],
    );
    assert_same(&at("readers"), &at("memory"));
}

#[test]
fn a_training_that_was_ended_early_gives_the_weights_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // 140 rows and 42 validation rows in each of three epochs.
    let manifest = set(folder.path(), [20, 6]);
    create(&at("whole"), &manifest, spec(EVERYTHING));
    run(&at("whole"), &[]);

    // Twice within an epoch, after the first epoch, and in the validation of another; each time with other readers.
    create(&at("parts"), &manifest, spec(EVERYTHING));
    let mut stopped = Vec::new();
    for (round, rows) in [18, 17, 150, 150].into_iter().enumerate() {
        let readers = format!("nodes.images.replicas={}", round + 1);
        let few = ["nodes.train.queue.capacity=2", &readers];
        let running = Running::start(&at("parts"), "train_teacher.yaml", &few);
        let running = running.until(|status| status.rows >= rows);
        let report = running.expect("it has more to do").drain();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        let progress = RunFolder::open(&at("parts")).unwrap().progress().unwrap();
        assert!(!progress.is_done());
        stopped.push((progress.epoch, progress.step));
    }
    assert!(
        stopped.is_sorted() && stopped[0] < stopped[3],
        "{stopped:?}"
    );
    run(&at("parts"), &["nodes.images.replicas=4"]);
    assert_same(&at("parts"), &at("whole"));
    let log = fs::read_to_string(at("parts").join("training.log")).unwrap();
    assert_eq!(log.matches("interrupted").count(), 4, "{log}");
    assert_eq!(log.matches("continues at epoch").count(), 5, "{log}");
}

#[test]
fn a_network_learns_and_its_best_epoch_becomes_a_model_folder() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [24, 6]);
    let out = folder.path().join("run");
    let settings = "epochs: 10
learning_rate: {base: 3e-3, least: 0, warm_up_epochs: 1}
augmentation: {rotate_degrees: 0, erase: 0}
";
    create(&out, &manifest, spec(settings));
    let running = Running::start(&out, "train_teacher.yaml", &[]);
    let status = running.status();
    assert!(running.wait().faults.is_empty());

    let progress = RunFolder::open(&out).unwrap().progress().unwrap();
    let history = &progress.history;
    assert!(
        history[9].train_loss < 0.6 * history[0].train_loss,
        "{history:?}"
    );
    let status = status.now().unwrap();
    assert_eq!((status.epoch, status.rows), (10, status.rows_planned));
    assert_eq!(status.last.as_ref(), history.last());

    let metrics = fs::read_to_string(out.join("metrics.json")).unwrap();
    let metrics: Evaluation = serde_json::from_str(&metrics).unwrap();
    assert_eq!(metrics.rows, 42);
    let best = progress.best.unwrap();
    assert_eq!(metrics.raw.metrics.macro_f1, best.value);
    assert!(best.value > 0.7, "{best:?}");
    // A temperature is not evaluated on the rows that it was fitted on.
    assert!(metrics.scaled.is_none());

    let model = ModelCard::load(out.join("model")).unwrap();
    let architecture = model.card.architecture.as_deref();
    assert_eq!(architecture, Some("small_resnet18_w8_s2_c1"));
    let weights = TensorFile::read(model.weights.path()).unwrap();
    let provenance = weights.provenance.unwrap();
    assert_eq!(provenance["epoch"], best.epoch);
    assert_eq!(provenance["training"]["batch"], 16);
    let history = fs::read_to_string(out.join("history.csv")).unwrap();
    assert_eq!(history.lines().count(), 11);
    assert!(
        history.starts_with("epoch,rows,rate,train_loss,accuracy,macro_f1,nll,ece,is_best\n0,168,"),
        "{history}"
    );
    let curve = fs::read_to_string(out.join("curve.svg")).unwrap();
    assert_eq!(curve.matches("<polyline").count(), 4);
}

#[test]
fn a_training_stops_early_and_goes_on_when_asked_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [4, 1]);
    let out = folder.path().join("run");
    // At this learning rate nothing improves.
    let training = spec("epochs: 50\nlearning_rate: {base: 1e-12, least: 0}\npatience: 2\n");
    let begun = create(&out, &manifest, training);
    let report = run(&out, &[]);
    let epochs = begun.progress().unwrap().epoch;
    assert!(epochs < 10, "{epochs}");
    assert!(report.nodes["train"].finished > 0, "what was on the way");
    assert!(begun.is_complete().unwrap() && out.join("model/card.yaml").is_file());

    let rows = begun
        .config()
        .rows(&Manifest::read(&manifest).unwrap())
        .unwrap();
    begun.extend(1, &rows).unwrap();
    assert!(!begun.is_complete().unwrap());
    run(&out, &[]);
    assert_eq!(begun.progress().unwrap().epoch, epochs + 1);
    let history = fs::read_to_string(out.join("history.csv")).unwrap();
    assert_eq!(history.lines().count() as u32, epochs + 2);
}

#[test]
fn more_epochs_whose_results_were_not_written_are_not_complete() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [4, 1]);
    let out = folder.path().join("run");
    let begun = create(&out, &manifest, spec("epochs: 1\n"));
    run(&out, &[]);
    assert!(begun.is_complete().unwrap());
    let rows = begun
        .config()
        .rows(&Manifest::read(&manifest).unwrap())
        .unwrap();
    begun.extend(3, &rows).unwrap();
    // Another writer has the model's folder, so that it cannot be replaced.
    let other = PartFolder::create(&out.join("model")).unwrap();
    let report = Running::start(&out, "train_teacher.yaml", &[]).wait();
    assert!(!report.faults.is_empty());
    assert!(begun.progress().unwrap().is_done());
    assert!(!begun.is_complete().unwrap());
    drop(other);
    run(&out, &[]);
    assert!(begun.is_complete().unwrap());
}

#[test]
fn a_best_epoch_that_is_ahead_of_the_checkpoint_is_made_again_before_there_are_more() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [4, 1]);
    let out = folder.path().join("run");
    let begun = create(&out, &manifest, spec("epochs: 1\n"));
    // As left by a kill between the best weights and the checkpoint.
    let checkpoint = out.join(RunFolder::CHECKPOINTS[0]);
    let before = fs::read(&checkpoint).unwrap();
    run(&out, &[]);
    let after = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, before).unwrap();
    fs::remove_file(out.join("metrics.json")).unwrap();
    let rows = begun
        .config()
        .rows(&Manifest::read(&manifest).unwrap())
        .unwrap();
    let error = begun.extend(3, &rows).unwrap_err().to_string();
    assert!(error.contains("ahead of the last checkpoint"), "{error}");
    run(&out, &[]);
    assert!(fs::read(&checkpoint).unwrap() == after);
    begun.extend(3, &rows).unwrap();
}

#[test]
fn ten_more_epochs_are_ten() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [2, 1]);
    let out = folder.path().join("run");
    let begun = create(&out, &manifest, spec("epochs: 19\n"));
    run(&out, &[]);
    let rows = begun
        .config()
        .rows(&Manifest::read(&manifest).unwrap())
        .unwrap();
    begun.extend(10, &rows).unwrap();
    let report = run(&out, &[]);
    assert_eq!(report.nodes["train"].processed, 10 * (14 + 1 + 7));
    let progress = begun.progress().unwrap();
    assert_eq!((progress.epoch, progress.history.len()), (29, 29));
}

#[test]
fn a_training_that_was_killed_while_it_wrote_its_results_writes_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let manifest = set(folder.path(), [4, 1]);
    for name in ["whole", "killed"] {
        create(&at(name), &manifest, spec("epochs: 1\n"));
        run(&at(name), &[]);
    }
    // The kill came between the last checkpoint and the history.
    for file in ["metrics.json", "history.csv"] {
        fs::remove_file(at("killed").join(file)).unwrap();
    }
    fs::remove_dir_all(at("killed").join("model")).unwrap();
    assert!(
        !RunFolder::open(&at("killed"))
            .unwrap()
            .is_complete()
            .unwrap()
    );
    run(&at("killed"), &[]);
    assert_same(&at("killed"), &at("whole"));
}

#[test]
fn an_epoch_whose_results_cannot_be_written_ends_again_when_the_training_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let manifest = set(folder.path(), [4, 1]);
    // The epoch that cannot end is the last one, or another follows.
    for epochs in [1, 2] {
        let settings = format!("epochs: {epochs}\n");
        let whole = at(&format!("whole-{epochs}"));
        create(&whole, &manifest, spec(&settings));
        run(&whole, &[]);
        let files = [
            "checkpoints/best.safetensors",
            "predictions_validation.npz",
            "history.csv",
        ];
        for (number, file) in files.into_iter().enumerate() {
            let out = at(&format!("blocked-{epochs}-{number}"));
            let begun = create(&out, &manifest, spec(&settings));
            // A folder cannot be replaced by a file.
            fs::create_dir(out.join(file)).unwrap();
            let report = Running::start(&out, "train_teacher.yaml", &[]).wait();
            let faults = format!("{:?}", report.faults);
            assert!(faults.contains(file), "{faults}");
            // The two steps of 28 rows are kept, and nothing claims that the epoch is over.
            let progress = begun.progress().unwrap();
            assert_eq!((progress.epoch, progress.step), (0, 2), "{file}");
            assert!(progress.best.is_none() && progress.history.is_empty());
            assert!(!out.join("metrics.json").exists() && !out.join("model").exists());

            fs::remove_dir(out.join(file)).unwrap();
            run(&out, &[]);
            assert_same(&out, &whole);
            assert!(begun.is_complete().unwrap());
        }
    }
}

#[test]
fn a_folder_of_a_version_that_predicted_at_the_end_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [4, 1]);
    let out = folder.path().join("run");
    create(&out, &manifest, spec("epochs: 2\n"));
    run(&out, &[]);
    for file in ["metrics.json", "predictions_validation.npz", "curve.svg"] {
        fs::remove_file(out.join(file)).unwrap();
    }
    fs::remove_dir_all(out.join("model")).unwrap();
    run(&out, &[]);
    assert_eq!(
        ModelCard::load(out.join("model")).unwrap().card.temperature,
        1.0
    );
    let log = fs::read_to_string(out.join("training.log")).unwrap();
    assert!(
        log.contains("the model has no temperature yet; see `fermata calibrate`"),
        "{log}"
    );
    assert!(RunFolder::open(&out).unwrap().is_complete().unwrap());
}

#[test]
fn an_image_that_is_gone_ends_the_training_and_what_was_trained_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [12, 1]);
    let out = folder.path().join("run");
    let begun = create(&out, &manifest, spec("epochs: 2\n"));
    // The last row of the first epoch.
    let rows = begun
        .config()
        .rows(&Manifest::read(&manifest).unwrap())
        .unwrap();
    let steps = begun.config().training.epoch(&rows.labels, 0);
    let last = rows.train[steps.last().unwrap().last().unwrap().0];
    let image = folder.path().join(format!("{}.png", last + 1));
    let bytes = fs::read(&image).unwrap();
    fs::remove_file(&image).unwrap();
    let report = Running::start(&out, "train_teacher.yaml", &[]).wait();
    let fault = &report.faults[0];
    assert_eq!(fault.node.as_deref(), Some("train"));
    let name = format!("{}.png: ", last + 1);
    assert!(fault.message.contains(&name), "{fault:?}");
    // 84 rows are five whole steps of 16 and one of 4.
    let progress = begun.progress().unwrap();
    assert_eq!((progress.epoch, progress.step), (0, 5));
    fs::write(&image, bytes).unwrap();
    run(&out, &[]);
    let whole = folder.path().join("whole");
    create(&whole, &manifest, spec("epochs: 2\n"));
    run(&whole, &[]);
    assert_same(&out, &whole);
}

/// Returns the first `count` packets for `train_model`.
fn prepared(training: &std::path::Path, count: usize) -> Vec<Prepared> {
    let services = || setup().with_services(fermata_jobs::services());
    let settings = TrainingRowsSettings {
        training: training.to_owned(),
    };
    let rows = SourceDriver::<TrainingRows>::create(settings, services()).unwrap();
    let mut images = ActorDriver::<LoadImages>::new(json!({})).unwrap();
    let settings = PrepareInputsSettings {
        training: training.to_owned(),
    };
    let mut inputs = ActorDriver::<PrepareInputs>::create(settings, services()).unwrap();
    let mut prepare = |wanted: &Wanted| {
        let loaded = images.feed(wanted.clone()).unwrap().only::<Loaded>();
        let outcome = inputs.feed((*loaded).clone()).unwrap();
        (*outcome.only::<Prepared>()).clone()
    };
    rows.take(count)
        .map(|packet| prepare(&packet.unwrap().take::<Wanted>()))
        .collect()
}

#[test]
fn a_row_that_was_lost_on_the_way_is_not_trained_without() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [6, 1]);
    let out = folder.path().join("run");
    let begun = create(&out, &manifest, spec("epochs: 1\n"));
    let packets = prepared(&out, 20);
    let settings = TrainModelSettings {
        training: out.clone(),
        device: "cpu".to_owned(),
    };
    let services = setup().with_services(fermata_jobs::services());
    let mut train = ActorDriver::<TrainModel>::create(settings, services).unwrap();
    for (place, packet) in packets.into_iter().enumerate() {
        let fed = match place {
            17 => continue,
            _ => train.feed(packet),
        };
        match place {
            ..=17 => assert!(fed.unwrap().emitted.is_empty()),
            18 => {
                let error = fed.unwrap_err().to_string();
                assert!(error.contains("a row was lost on the way"), "{error}");
            }
            _ => {
                let error = fed.unwrap_err().to_string();
                assert!(
                    error.contains("an earlier error has ended the training"),
                    "{error}"
                );
            }
        }
    }
    train
        .finish(fermata_engine::End::of(fermata_engine::How::Drained))
        .unwrap();
    // One whole step, and no partial one.
    let progress = begun.progress().unwrap();
    assert_eq!((progress.step, progress.rows), (1, 16));
}

#[test]
fn a_folder_that_is_no_trainings_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = fermata_engine::Registry::builtin();
    fermata_jobs::register(&mut registry);
    let options = fermata_engine::LoadOptions::new(folder.path());
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphs/train_teacher.yaml");
    let graph = fermata_engine::Graph::load(&file, &registry, &options).unwrap();
    let problems = graph.check(&registry).unwrap_err();
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        all.iter()
            .any(|one| one.contains("it is not a training's folder")),
        "{all:?}"
    );
}
