//! The folder of a training: invalid settings are rejected before it is created, and a training is resumed only with
//! its own data. Whole trainings are in the jobs' tests.

use std::fs;
use std::path::Path;

use fermata_learn::folds::{Fold, Learnt};
use fermata_learn::manifest::{Manifest, Split};
use fermata_learn::network::{Head, Network};
use fermata_learn::training::{RunConfig, RunFolder, TrainingError, TrainingSpec};
use fermata_learn::weights::TensorFile;
use fermata_vision::ModelCard;
use fermata_vision::card::Colour;
use tch::Device;

use crate::pictures::{card, set};

fn spec(more: &str) -> TrainingSpec {
    let yaml = format!("architecture: resnet18\nbatch: 16\nseed: 5\n{more}");
    serde_saphyr::from_str(&yaml).unwrap()
}

fn create(
    folder: &Path,
    manifest: &Path,
    card: ModelCard,
    spec: TrainingSpec,
) -> Result<RunFolder, TrainingError> {
    let config = RunConfig::begin(manifest, None, None, None, spec)?;
    RunFolder::create(folder, config, card, Device::Cpu)
}

#[test]
fn what_cannot_be_trained_is_refused_and_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [3, 1, 0]);
    let out = folder.path().join("run");
    let refused = |manifest: &Path, card: ModelCard, more: &str, words: &[&str]| {
        let error = create(&out, manifest, card, spec(more))
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
    refused(
        &manifest,
        card(),
        distilled,
        &["need a teacher's logits", "name softlabels"],
    );
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
    let mut eight = card();
    eight.output.ignored = vec![7];
    refused(
        &manifest,
        eight,
        "epochs: 1\n",
        &["a class besides the seven"],
    );
    refused(
        &manifest,
        card(),
        "epochs: 1\nthreads: 2000\n",
        &["threads is 2000; expected 1 to 1024"],
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
    // The rows of one class are missing.
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
fn a_training_is_taken_up_only_with_its_own_data_and_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [3, 1, 0]);
    let out = folder.path().join("run");
    create(&out, &manifest, card(), spec("epochs: 2\n")).unwrap();
    let take_up = || {
        let folder = RunFolder::open(&out)?;
        let manifest = Manifest::read(&folder.config().manifest)?;
        let rows = folder.config().rows(&manifest)?;
        folder.trainer(&rows, Device::Cpu)
    };
    let refused = |words: &str| {
        let error = take_up().err().unwrap().to_string();
        assert!(error.contains(words), "`{words}` is not in: {error}");
    };
    let again = create(&out, &manifest, card(), spec("epochs: 2\n"));
    let error = again.unwrap_err().to_string();
    assert!(
        error.contains("it is there already") && error.contains("fermata resume"),
        "{error}"
    );
    let error = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it is not a training's folder"), "{error}");

    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("1.png,angry", "1.png,sad")).unwrap();
    refused("has changed since the run began");
    fs::write(&manifest, text).unwrap();

    let config = fs::read_to_string(out.join("config.yaml")).unwrap();
    fs::write(
        out.join("config.yaml"),
        config.replace("resnet18", "convnext_tiny"),
    )
    .unwrap();
    refused("the checkpoint is not of this training: it is a checkpoint of resnet18");
    fs::write(out.join("config.yaml"), format!("{config}colour: blue\n")).unwrap();
    refused("colour");
    fs::write(out.join("config.yaml"), config).unwrap();

    let checkpoint = out.join("checkpoints/last.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    refused("is not a complete safetensors file");
    fs::write(&checkpoint, bytes).unwrap();
    assert!(take_up().is_ok());
}

#[test]
fn a_fold_is_left_out_of_the_training_rows_and_the_weights_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), [6, 2, 0]);
    let manifest = Manifest::read(&path).unwrap();
    let fold = Fold { fold: 1, folds: 2 };
    let config = RunConfig::begin(&path, None, None, Some(fold), spec("epochs: 2\n")).unwrap();
    let rows = config.rows(&manifest).unwrap();
    let is_trained = |index: usize| rows.train.contains(&index);
    for (index, row) in manifest.rows.iter().enumerate() {
        assert_eq!(
            is_trained(index),
            row.split == Split::Train && !fold.has(row)
        );
    }
    assert_eq!(rows.validation.len(), 14);
    let out = folder.path().join("run");
    RunFolder::create(&out, config.clone(), card(), Device::Cpu).unwrap();
    assert_eq!(*RunFolder::open(&out).unwrap().config(), config);
    let checkpoint = TensorFile::read(&out.join(RunFolder::CHECKPOINTS[0])).unwrap();
    let provenance = checkpoint.provenance.unwrap();
    assert_eq!(provenance["without_fold"]["fold"], 1);
    assert_eq!(provenance["manifest_sha256"], manifest.sha256);
}

#[test]
fn weights_that_a_training_begins_with_are_told_by_their_hash_and_what_they_had_learnt() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), [6, 2, 0]);
    let manifest = Manifest::read(&path).unwrap();
    let before = folder.path().join("before");
    create(&before, &path, card(), spec("epochs: 1\n")).unwrap();
    let weights = before.join(RunFolder::CHECKPOINTS[0]);
    let network = folder.path().join("initial.safetensors");
    let file = TensorFile::read(&weights).unwrap();
    let provenance = file.provenance.clone();
    let architecture = "resnet18".parse().unwrap();
    let head = Head::Linear { classes: 7 };
    Network::new(architecture, head, 1, Device::Cpu)
        .save(&network, provenance)
        .unwrap();
    let initial = format!(
        "epochs: 1\ninitial: {{weights: {}, head: file}}\n",
        network.display()
    );
    let fold = Fold { fold: 0, folds: 2 };
    let config = RunConfig::begin(&path, None, None, Some(fold), spec(&initial)).unwrap();
    let out = folder.path().join("run");
    RunFolder::create(&out, config, card(), Device::Cpu).unwrap();
    let checkpoint = TensorFile::read(&out.join(RunFolder::CHECKPOINTS[0])).unwrap();
    let provenance = checkpoint.provenance.unwrap();
    let bytes = fs::read(&network).unwrap();
    assert_eq!(
        provenance["training"]["initial"]["sha256"],
        fermata_files::sha256(&bytes)
    );
    let place = folder.path().display().to_string();
    assert!(!provenance.to_string().contains(&place), "{provenance}");
    // It left out the fold, but its initial weights had not.
    let learnt = Learnt::of(&provenance).unwrap();
    for row in manifest.split(Split::Train) {
        assert_eq!(learnt.saw(row, &manifest.sha256), Some(true));
    }

    // They are read only once: a training can be resumed after they have been moved or changed.
    let rows = |folder: &RunFolder| folder.config().rows(&manifest).unwrap();
    let taken_up = |folder: &RunFolder| folder.trainer(&rows(folder), Device::Cpu);
    let run = RunFolder::open(&out).unwrap();
    let begun = taken_up(&run).unwrap().checkpoint();
    fs::remove_file(&network).unwrap();
    run.extend(1, &rows(&run)).unwrap();
    let again = taken_up(&run).unwrap().checkpoint();
    assert_eq!(begun.tensors.len(), again.tensors.len());
    for (name, tensor) in &begun.tensors {
        assert_eq!(tensor, &again.tensors[name], "{name}");
    }

    // Weights without provenance may have seen every row, unless the settings say that they are foreign.
    Network::new(architecture, head, 1, Device::Cpu)
        .save(&network, None)
        .unwrap();
    let foreign = initial.replace("head: file", "head: file, foreign: true");
    for (name, settings, saw) in [("unsaid", initial, None), ("foreign", foreign, Some(false))] {
        let config = RunConfig::begin(&path, None, None, Some(fold), spec(&settings)).unwrap();
        let out = folder.path().join(name);
        RunFolder::create(&out, config, card(), Device::Cpu).unwrap();
        let checkpoint = TensorFile::read(&out.join(RunFolder::CHECKPOINTS[0])).unwrap();
        let learnt = Learnt::of(&checkpoint.provenance.unwrap()).unwrap();
        let validation = manifest.split(Split::Validation);
        let left_out = manifest.split(Split::Train).filter(|row| fold.has(row));
        for row in validation.chain(left_out) {
            assert_eq!(learnt.saw(row, &manifest.sha256), saw, "{name}");
        }
    }
}

#[test]
fn epochs_that_are_asked_for_are_kept_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), [3, 1, 0]);
    let out = folder.path().join("run");
    let begun = create(&out, &path, card(), spec("epochs: 2\n")).unwrap();
    let rows = begun
        .config()
        .rows(&Manifest::read(&path).unwrap())
        .unwrap();
    let error = begun.extend(0, &rows).unwrap_err().to_string();
    assert!(error.contains("nothing left to do"), "{error}");
    // As left by the training's first end.
    let metrics = out.join("metrics.json");
    fs::write(&metrics, "{}").unwrap();
    begun.extend(0, &rows).unwrap_err();
    assert!(metrics.exists());
    begun.extend(5, &rows).unwrap();
    assert!(!metrics.exists(), "these are not of the epochs to come");
    let progress = RunFolder::open(&out).unwrap().progress().unwrap();
    assert_eq!((progress.epoch, progress.end), (0, 5));
    assert!(!begun.is_complete().unwrap());
}
