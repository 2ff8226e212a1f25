//! Trainings from their folder: they learn, and one that was interrupted gives the weights of one that was not.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use fermata_learn::dataset::Dataset;
use fermata_learn::evaluation::Evaluation;
use fermata_learn::manifest::{Manifest, Split};
use fermata_learn::network::Network;
use fermata_learn::npz::Npz;
use fermata_learn::training::{Event, Outcome, TrainingError, TrainingRun, TrainingSpec};
use fermata_learn::weights::{HeadOf, TensorFile};
use fermata_vision::ModelCard;
use fermata_vision::card::Colour;
use tch::Device;

use crate::pictures::{card, set};

fn spec(more: &str) -> TrainingSpec {
    let yaml = format!("architecture: resnet18\nbatch: 16\nseed: 5\n{more}");
    serde_saphyr::from_str(&yaml).unwrap()
}

pub(crate) fn create(
    folder: &Path,
    manifest: &Path,
    spec: TrainingSpec,
) -> Result<TrainingRun, TrainingError> {
    TrainingRun::create(folder, manifest, card(), spec, Device::Cpu)
}

pub(crate) fn to_the_end(run: &mut TrainingRun) -> Outcome {
    run.train(&mut |_| ControlFlow::Continue(())).unwrap()
}

/// The files whose bytes two runs share if they are the same training.
pub(crate) fn results(folder: &Path) -> Vec<Vec<u8>> {
    let files = [
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "model/model.safetensors",
        "model/card.yaml",
        "history.csv",
        "metrics.json",
        "predictions_validation.npz",
    ];
    files
        .map(|file| fs::read(folder.join(file)).unwrap())
        .to_vec()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Everything that has a state: momentum, average, augmentation, drawn rows, clipping, warm-up.
const EVERYTHING: &str = "epochs: 3
sampling: balanced
rule: {sgd: {momentum: 0.9, nesterov: true}}
learning_rate: {base: 0.02, least: 0.001, warm_up_epochs: 1}
average_decay: 0.9
dropout: 0.3
clip_norm: 1
checkpoint_every: 2
head: {arcface: {scale: 16, margin: 0.3, warm_up: 1, ramp: 1}}
objective: {label_smoothing: 0.1, negative: {added: {weight: 0.1}}}
";

#[test]
fn an_interrupted_training_gives_the_weights_of_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let manifest = set(folder.path(), [10, 2, 1]);
    // Steps of an epoch: 70 rows by 16.
    let mut whole = create(&at("whole"), &manifest, spec(EVERYTHING)).unwrap();
    let outcome = to_the_end(&mut whole);
    assert!(
        matches!(
            outcome,
            Outcome::Complete {
                stopped_early: false,
                ..
            }
        ),
        "{outcome:?}"
    );

    // Asked to stop within the second epoch, and again within the third.
    let mut run = create(&at("asked"), &manifest, spec(EVERYTHING)).unwrap();
    for stop in [(1, 2), (2, 4)] {
        let stopped = run.train(&mut |event| match event {
            Event::Step(_, progress) if (progress.epoch, progress.step) == stop => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(stopped.unwrap(), Outcome::Interrupted);
        run = TrainingRun::resume(&at("asked"), None, Device::Cpu).unwrap();
        assert_eq!((run.progress().epoch, run.progress().step), stop);
    }
    to_the_end(&mut run);

    // Killed, a step behind a checkpoint: what is on the disk then is all there is.
    let mut run = create(&at("running"), &manifest, spec(EVERYTHING)).unwrap();
    let killed = at("killed");
    to_the_end_with(&mut run, |progress_epoch, step| {
        if (progress_epoch, step) == (1, 3) {
            copy(&at("running"), &killed);
        }
    });
    let mut run = TrainingRun::resume(&killed, None, Device::Cpu).unwrap();
    assert_eq!((run.progress().epoch, run.progress().step), (1, 2));
    to_the_end(&mut run);

    let expected = results(&at("whole"));
    assert!(results(&at("asked")) == expected, "asked to stop");
    assert!(results(&killed) == expected, "killed");
    assert!(results(&at("running")) == expected, "again");
}

fn to_the_end_with(run: &mut TrainingRun, mut at_step: impl FnMut(u32, u64)) {
    let outcome = run.train(&mut |event| {
        if let Event::Step(_, progress) = event {
            at_step(progress.epoch, progress.step);
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome.unwrap(), Outcome::Complete { .. }));
}

#[test]
fn a_network_learns_and_its_best_epoch_becomes_a_model_folder() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [24, 4, 4]);
    let out = folder.path().join("run");
    let mut run = create(
        &out,
        &manifest,
        spec(
            "epochs: 8\nlearning_rate: {base: 1e-3}\naugmentation: {rotate_degrees: 0, erase: 0}\n",
        ),
    )
    .unwrap();
    let Outcome::Complete { best, .. } = to_the_end(&mut run) else {
        panic!()
    };
    let history = &run.progress().history;
    assert!(
        history[7].train_loss < 0.5 * history[0].train_loss,
        "{history:?}"
    );

    let metrics = fs::read_to_string(out.join("metrics.json")).unwrap();
    let metrics: Evaluation = serde_json::from_str(&metrics).unwrap();
    assert_eq!(metrics.rows, 28);
    assert!(
        metrics.raw.metrics.accuracy > 0.8,
        "{:?}",
        metrics.raw.metrics
    );
    let (scaled, fit) = (metrics.scaled.unwrap(), metrics.temperature.unwrap());
    assert_eq!(scaled.metrics.accuracy, metrics.raw.metrics.accuracy);
    assert_eq!(metrics.source.unwrap()["split"], "test");

    let model = ModelCard::load(out.join("model")).unwrap();
    assert_eq!(model.card.architecture.as_deref(), Some("resnet18"));
    let expected = if fit.bound_hit { 1.0 } else { fit.value };
    assert_eq!(model.card.temperature, expected);
    let weights = TensorFile::read(model.weights.path()).unwrap();
    let provenance = weights.provenance.unwrap();
    assert_eq!(provenance["epoch"], best.epoch);
    assert_eq!(provenance["training"]["batch"], 16);
    let history = fs::read_to_string(out.join("history.csv")).unwrap();
    assert_eq!(history.lines().count(), 9);
    assert!(
        history.starts_with("epoch,rows,rate,train_loss,accuracy,macro_f1,nll,ece,is_best\n0,168,"),
        "{history}"
    );
}

#[test]
fn a_network_with_one_channel_is_trained_and_becomes_a_model_folder() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [24, 3, 2]);
    let out = folder.path().join("run");
    let mut gray = card();
    gray.input.colour = Colour::Gray;
    let training: TrainingSpec = serde_saphyr::from_str(
        "architecture: small_resnet18_w8_s2_c1
epochs: 10
batch: 16
seed: 5
dropout: 0.1
augmentation: {rotate_degrees: 0, contrast: 0.25, erase: 0.1, erase_side: [0.125, 0.25]}
learning_rate: {base: 3e-3, least: 0, warm_up_epochs: 1}
",
    )
    .unwrap();
    let mut run = TrainingRun::create(&out, &manifest, gray, training, Device::Cpu).unwrap();
    to_the_end(&mut run);
    let history = &run.progress().history;
    assert!(
        history[9].train_loss < 0.8 * history[0].train_loss,
        "{history:?}"
    );

    let model = ModelCard::load(out.join("model")).unwrap();
    assert_eq!(model.card.input.colour, Colour::Gray);
    let file = TensorFile::read(model.weights.path()).unwrap();
    let architecture = file.architectures()[0];
    assert_eq!(model.card.architecture, Some(architecture.to_string()));
    let head = file.head(architecture, 1.0).unwrap();
    let mut network = Network::new(architecture, head, 0, Device::Cpu);
    network.load(model.weights.path(), HeadOf::File).unwrap();
    let manifest = Manifest::read(&manifest).unwrap();
    let test = Dataset::new(&manifest, Split::Test, &model.card).unwrap();
    let mut input = vec![0.0; 32 * 32];
    test.reader().unwrap().read(0, None, &mut input).unwrap();
    let logits = network.logits(&input, [1, 32, 32]).unwrap();
    let mut predicted = Npz::open(&out.join("predictions_test.npz")).unwrap();
    let predicted = predicted.floats("logits").unwrap().values;
    // In a batch of one instead of several.
    for (one, other) in logits.iter().zip(predicted) {
        assert!((one - other).abs() < 1e-4, "{one} {other}");
    }
}

#[test]
fn a_training_stops_early_and_goes_on_when_asked_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [4, 1, 0]);
    let out = folder.path().join("run");
    // At this rate nothing gets better.
    let training = spec("epochs: 50\nlearning_rate: {base: 1e-12, least: 0}\npatience: 2\n");
    let mut run = create(&out, &manifest, training).unwrap();
    let outcome = to_the_end(&mut run);
    assert!(
        matches!(
            outcome,
            Outcome::Complete {
                stopped_early: true,
                ..
            }
        ),
        "{outcome:?}"
    );
    let epochs = run.progress().epoch;
    assert!(epochs < 10, "{epochs}");
    // Without test rows the validation rows are measured, without a temperature of their own.
    let metrics: Evaluation =
        serde_json::from_str(&fs::read_to_string(out.join("metrics.json")).unwrap()).unwrap();
    assert!(metrics.rows == 7 && metrics.scaled.is_none());

    let error = TrainingRun::resume(&out, None, Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&format!(
            "complete after {epochs} epochs: there is nothing left to do"
        )),
        "{error}"
    );
    let error = TrainingRun::resume(&out, Some(0), Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("nothing left to do"), "{error}");
    let mut run = TrainingRun::resume(&out, Some(1), Device::Cpu).unwrap();
    to_the_end(&mut run);
    assert_eq!(run.progress().epoch, epochs + 1);
    let history = fs::read_to_string(out.join("history.csv")).unwrap();
    assert_eq!(history.lines().count() as u32, epochs + 2);
}

#[test]
fn a_run_that_begins_writes_its_checkpoint_once() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [4, 1, 0]);
    let out = folder.path().join("run");
    let checkpoint = out.join("checkpoints/last.safetensors");
    // A file that is written again is another file.
    let file = || fs::metadata(&checkpoint).unwrap().ino();
    let mut run = create(&out, &manifest, spec("epochs: 2\n")).unwrap();
    let created = file();
    let mut at_first_step = 0;
    run.train(&mut |event| {
        if matches!(event, Event::Step(..)) {
            at_first_step = file();
        }
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(at_first_step, created);
    drop(run);

    // Epochs that are asked for are kept at once.
    let mut run = TrainingRun::resume(&out, Some(3), Device::Cpu).unwrap();
    let mut kept = None;
    run.train(&mut |_| {
        let read = TensorFile::read(&checkpoint).unwrap();
        kept = read
            .provenance
            .map(|found| found["progress"]["end"].clone());
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(kept, Some(3.into()));
}

#[test]
fn a_run_that_was_killed_while_it_wrote_its_results_writes_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [4, 1, 0]);
    let out = folder.path().join("run");
    to_the_end(&mut create(&out, &manifest, spec("epochs: 1\n")).unwrap());
    let expected = results(&out);
    fs::remove_file(out.join("metrics.json")).unwrap();
    fs::remove_dir_all(out.join("model")).unwrap();
    to_the_end(&mut TrainingRun::resume(&out, None, Device::Cpu).unwrap());
    assert!(results(&out) == expected);
}

#[test]
fn what_cannot_be_trained_is_refused_and_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [3, 1, 0]);
    let out = folder.path().join("run");
    let refused = |manifest: &Path, card: ModelCard, more: &str, words: &[&str]| {
        let error = TrainingRun::create(&out, manifest, card, spec(more), Device::Cpu)
            .err()
            .unwrap()
            .to_string();
        for word in words {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
        assert!(!out.exists());
    };
    refused(
        &manifest,
        card(),
        "epochs: 0\nclip_norm: 0\naugmentation: {flip: 2}\nobjective: {label_smoothing: 1}\nlearning_rate: {base: -1}\n",
        &[
            "epochs is 0",
            "clip_norm is 0",
            "augmentation.flip is 2",
            "objective.label_smoothing is 1",
            "learning_rate.base is -1",
        ],
    );
    let distilled = "epochs: 1\nobjective: {distillation: {plain: {temperature: 2, alpha: 0.5}}}\n";
    refused(&manifest, card(), distilled, &["needs a teacher's logits"]);
    let mut gray = card();
    gray.input.colour = Colour::Gray;
    refused(
        &manifest,
        gray,
        "epochs: 1\n",
        &["3 channels, which resnet18 takes"],
    );
    refused(
        Path::new("none.csv"),
        card(),
        "epochs: 1\n",
        &["cannot read none.csv"],
    );
    refused(
        &manifest,
        card(),
        "epochs: 1\ninitial: {weights: none.safetensors, head: file}\n",
        &["cannot read none.safetensors"],
    );
    let few = folder.path().join("few.csv");
    let text = fs::read_to_string(&manifest)
        .unwrap()
        .replace(",validation,", ",train,");
    fs::write(&few, text).unwrap();
    refused(
        &few,
        card(),
        "epochs: 1\n",
        &["no rows of the split validation"],
    );
    // Rows of one class are missing.
    let text = fs::read_to_string(&manifest).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.contains(",fear,"))
        .map(|line| format!("{line}\n"));
    fs::write(&few, lines.collect::<String>()).unwrap();
    refused(
        &few,
        card(),
        "epochs: 1\nobjective: {class_weights: balanced}\n",
        &["class 2 has no training rows"],
    );
}

#[test]
fn a_run_is_resumed_only_with_its_own_data_and_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [3, 1, 0]);
    let out = folder.path().join("run");
    drop(create(&out, &manifest, spec("epochs: 2\n")).unwrap());
    let refused = |words: &str| {
        let error = TrainingRun::resume(&out, None, Device::Cpu)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(words), "`{words}` is not in: {error}");
    };
    let error = create(&out, &manifest, spec("epochs: 2\n"))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("it is there already"), "{error}");

    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("1.png,angry", "1.png,sad")).unwrap();
    refused("has changed since the run began");
    fs::write(&manifest, text).unwrap();

    let config = fs::read_to_string(out.join("config.yaml")).unwrap();
    fs::write(
        out.join("config.yaml"),
        config
            .replace("average_decay", "x")
            .replace("resnet18", "convnext_tiny"),
    )
    .unwrap();
    refused("the checkpoint is not of this training: it is a checkpoint of resnet18");
    fs::write(out.join("config.yaml"), format!("{config}colour: blue\n")).unwrap();
    refused("colour");
    fs::write(out.join("config.yaml"), config).unwrap();

    let checkpoint = out.join("checkpoints/last.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    refused("is no whole safetensors file");
    fs::write(&checkpoint, bytes).unwrap();

    // An image that is gone ends a training, and what was trained is kept.
    fs::remove_file(folder.path().join("3.png")).unwrap();
    let mut run = TrainingRun::resume(&out, None, Device::Cpu).unwrap();
    let error = run
        .train(&mut |_| ControlFlow::Continue(()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("1 images cannot be read:\n3.png: "),
        "{error}"
    );
    assert!(TrainingRun::resume(&out, None, Device::Cpu).is_ok());
}
