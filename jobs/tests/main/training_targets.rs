//! Trainings on softlabels and votes, which are joined by the hashes of images.

use std::fs;
use std::path::{Path, PathBuf};

use fermata_learn::manifest::{Manifest, Split};
use fermata_learn::softlabels::{Alignment, ExportedRow, Scores, write};
use fermata_learn::training::RunFolder;
use fermata_vision::Expression;

use crate::trainings::{Besides, Running, assert_same, create_besides, in_memory, set, spec};

const VIEWS: usize = 3;

/// Writes softlabels of a slightly uncertain teacher, in another order than the manifest's.
fn softlabels(folder: &Path, manifest: &Path, seed: u64) -> PathBuf {
    let manifest = Manifest::read(manifest).unwrap();
    let alignment = Alignment {
        classes: Expression::ALL.to_vec(),
        manifest_sha256: manifest.sha256.clone(),
        split: Some(Split::Train),
        views: VIEWS as u32,
        seed,
        augmentation: spec("epochs: 1").augmentation,
        teachers: Vec::new(),
    };
    let rows = manifest.rows.iter().rev();
    let exported: Vec<ExportedRow> = rows
        .filter(|row| row.split == Split::Train)
        .map(|row| {
            let mut logits = vec![0.0; VIEWS * 7];
            for (view, logits) in logits.chunks_mut(7).enumerate() {
                logits[row.label.index()] = 3.0 + view as f32;
                logits[(row.label.index() + 1) % 7] = 1.0;
            }
            ExportedRow {
                sha256: row.sha256,
                image: row.image.display().to_string(),
                label: row.label,
                split: row.split,
                scores: Ok(Scores {
                    logits,
                    teachers: Vec::new(),
                    seen: Vec::new(),
                }),
            }
        })
        .collect();
    fs::create_dir_all(folder).unwrap();
    write(folder, &alignment, || exported.iter().cloned().map(Ok)).unwrap();
    folder.to_owned()
}

const OBJECTIVES: [&str; 5] = [
    "{distillation: {plain: {temperature: 2, alpha: 0.5}}}",
    "{distillation: {decoupled: {temperature: 2, alpha: 0.5, beta: 4, form: report}}}",
    "{distillation: {correlation: {temperature: 4}}}",
    "{negative: {of_doubted: {weight: 0.5}}}",
    "{soft_targets: true, distillation: {plain: {temperature: 2, alpha: 0.5, standardised: true}}}",
];

/// Writes votes, seven of ten for the label.
fn votes(folder: &Path, manifest: &Path) -> PathBuf {
    let manifest = Manifest::read(manifest).unwrap();
    let names = Expression::ALL.map(|class| class.to_string());
    let mut text = format!("sha256,{}\n", names.join(","));
    for row in manifest.rows.iter().rev() {
        let votes = (0..7).map(|class| match (class + 7 - row.label.index()) % 7 {
            0 => ",7",
            1 => ",3",
            _ => ",0",
        });
        text += &format!("{}{}\n", row.sha256, votes.collect::<String>());
    }
    let path = folder.join("votes.csv");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_graph_trains_students_as_the_bare_trainer_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: String| folder.path().join(name);
    let manifest = set(folder.path(), [6, 2]);
    for (number, objective) in OBJECTIVES.iter().enumerate() {
        let besides = Besides {
            softlabels: Some(softlabels(&at("soft".to_owned()), &manifest, 77)),
            votes: (number == 4).then(|| votes(folder.path(), &manifest)),
        };
        let settings = spec(&format!("epochs: 4\nobjective: {objective}\n"));
        let [graph, memory] = ["graph", "memory"].map(|name| at(format!("{name}{number}")));
        let begun = create_besides(&graph, &manifest, settings.clone(), &besides).unwrap();
        // The student sees the views that the teachers saw.
        let views = begun.config().training.views;
        assert_eq!((views.count, views.seed), (Some(3), Some(77)));
        create_besides(&memory, &manifest, settings, &besides).unwrap();
        let report = Running::start(&graph, "train_student.yaml", &[]).wait();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        in_memory(&memory);
        assert_same(&graph, &memory);
    }
    let provenance = |name: &str| {
        let file = at(name.to_owned()).join(RunFolder::CHECKPOINTS[1]);
        let file = fermata_learn::weights::TensorFile::read(&file).unwrap();
        file.provenance.unwrap()["softlabels_alignment_sha256"].clone()
    };
    assert!(provenance("graph0").is_string());
}

#[test]
fn softlabels_and_votes_that_do_not_fit_are_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [3, 1]);
    let soft = softlabels(&folder.path().join("soft"), &manifest, 77);
    let voted = votes(folder.path(), &manifest);
    let out = folder.path().join("run");
    let distilled = format!("epochs: 1\nobjective: {}\n", OBJECTIVES[0]);
    #[track_caller]
    fn refused(
        out: &Path,
        manifest: &Path,
        settings: &str,
        given: [Option<&Path>; 2],
        words: &str,
    ) {
        let [softlabels, votes] = given.map(|path| path.map(Path::to_owned));
        let begun = create_besides(
            out,
            manifest,
            spec(settings),
            &Besides { softlabels, votes },
        );
        let error = begun.unwrap_err().to_string();
        assert!(error.contains(words), "`{words}` is not in: {error}");
        assert!(!out.exists());
    }
    let soft_only = [Some(&*soft), None];
    refused(
        &out,
        &manifest,
        "epochs: 1\n",
        soft_only,
        "no distillation that learns from them",
    );
    refused(&out, &manifest, &distilled, [None, None], "name softlabels");
    refused(
        &out,
        &manifest,
        "epochs: 1\n",
        [None, Some(&voted)],
        "no soft_targets that learn",
    );
    let soft_targets = "epochs: 1\nobjective: {soft_targets: true}\n";
    refused(&out, &manifest, soft_targets, [None, None], "name votes");
    let views = format!("{distilled}views: {{count: 8, seed: 1}}\n");
    refused(
        &out,
        &manifest,
        &views,
        soft_only,
        "views.count is 8, and the softlabels have 3",
    );
    let erased = format!("{distilled}augmentation: {{erase: 0.9}}\n");
    refused(&out, &manifest, &erased, soft_only, "augmentation.erase");

    let text = fs::read_to_string(&voted).unwrap();
    let (first, _) = text.rsplit_once('\n').unwrap().0.rsplit_once('\n').unwrap();
    fs::write(&voted, first).unwrap();
    refused(
        &out,
        &manifest,
        soft_targets,
        [None, Some(&voted)],
        "1 training rows have no votes",
    );

    // A picture that has changed since the softlabels were written.
    let path = folder.path().join("1.png");
    image::GrayImage::new(32, 32).save(&path).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    let line = text.lines().nth(1).unwrap();
    let old = line.split(',').nth(5).unwrap();
    let new = fermata_files::sha256_of_file(&path).unwrap();
    fs::write(&manifest, text.replace(old, &new)).unwrap();
    refused(&out, &manifest, &distilled, soft_only, "1.png");
}

#[test]
fn softlabels_that_were_made_anew_stop_a_training_that_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = set(folder.path(), [3, 1]);
    let at = folder.path().join("soft");
    let besides = Besides {
        softlabels: Some(softlabels(&at, &manifest, 77)),
        votes: None,
    };
    let settings = spec(&format!("epochs: 1\nobjective: {}\n", OBJECTIVES[0]));
    let out = folder.path().join("run");
    let begun = create_besides(&out, &manifest, settings, &besides).unwrap();
    assert!(begun.config().softlabels().unwrap().is_some());
    softlabels(&at, &manifest, 78);
    let error = begun.config().softlabels().unwrap_err().to_string();
    assert!(
        error.contains("were made anew since the run began: ")
            && error.contains(" in those that it began with, "),
        "{error}"
    );
    assert!(!error.contains("the sha256 of their alignment"), "{error}");
}
