//! Manifests made from raw sources, and their validation.

use std::fs;
use std::path::{Path, PathBuf};

use fermata_learn::manifest::{
    CleanReport, Manifest, Problem, Reason, Recipe, Removed, Split, Validation,
};
use image::GrayImage;
use image::imageops::flip_horizontal;

use crate::pictures::{blobs, brighter, write};

/// Folder of a source: images, a table and a mapping.
struct Source {
    folder: tempfile::TempDir,
    table: String,
}

/// Mapping of words to labels; `split` may be empty.
const MAPPING: &str = "source: web
policy: words
image: '{image}'
label:
  column: {name: label, values: {happy: happy, sad: sad, fear: fear}, left_out: [contempt]}
split:
  column: {name: split, values: {train: train, val: validation, test: test}}
";

impl Source {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            table: "image,label,split\n".to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn row(&mut self, image: &str, picture: &GrayImage, label: &str, split: &str) {
        picture.save(self.path(image)).unwrap();
        self.table += &format!("{image},{label},{split}\n");
    }

    fn make_with(&self, mapping: &str, more: &str) -> Result<(Manifest, CleanReport), String> {
        fs::write(self.path("table.csv"), &self.table).unwrap();
        fs::write(self.path("mapping.yaml"), mapping).unwrap();
        let recipe = format!("parts: [{{mapping: mapping.yaml, table: table.csv, images: .{more}");
        fs::write(self.path("recipe.yaml"), recipe).unwrap();
        let recipe = Recipe::read(&self.path("recipe.yaml")).map_err(|error| error.to_string())?;
        recipe
            .make(&self.path(""), &self.path(""))
            .map_err(|error| error.to_string())
    }

    fn make(&self) -> (Manifest, CleanReport) {
        self.make_with(MAPPING, "}]").unwrap()
    }

    /// Writes the manifest and reads it again.
    fn written(&self, manifest: &Manifest) -> Manifest {
        fs::write(self.path("manifest.csv"), manifest.to_csv()).unwrap();
        let read = Manifest::read(&self.path("manifest.csv")).unwrap();
        assert_eq!(
            (&read.rows, &read.sha256),
            (&manifest.rows, &manifest.sha256)
        );
        read
    }
}

#[test]
fn what_would_spoil_a_training_is_left_out_and_said() {
    let mut source = Source::new();
    let (a, b, c, d) = (blobs(1, 48), blobs(2, 48), blobs(3, 48), blobs(4, 48));
    source.row("a.png", &a, "happy", "train");
    source.row("a_again.png", &a, "happy", "train");
    source.row("b_train.png", &flip_horizontal(&b), "sad", "train");
    source.row("b_test.png", &b, "sad", "test");
    source.row("b_val.png", &blobs(2, 96), "sad", "val");
    source.row("c.png", &c, "happy", "train");
    source.row("c_darker.png", &brighter(&c), "sad", "train");
    source.row("d.png", &d, "contempt", "train");
    source.row("e.png", &blobs(5, 48), "fear", "val");
    source.row("e_brighter.png", &brighter(&blobs(5, 48)), "fear", "val");

    let (manifest, report) = source.make();
    let kept: Vec<String> = manifest
        .rows
        .iter()
        .map(|row| row.image.display().to_string())
        .collect();
    assert_eq!(kept, ["a.png", "b_test.png", "e.png", "e_brighter.png"]);
    let removed = |reason: Reason| {
        let found = report
            .removed
            .iter()
            .filter(|removed| removed.reason == reason);
        found
            .map(|removed| (removed.image.as_str(), removed.because_of.as_deref()))
            .collect::<Vec<_>>()
    };
    assert_eq!(removed(Reason::Policy), [("d.png", None)]);
    assert_eq!(removed(Reason::SameBytes), [("a_again.png", Some("a.png"))]);
    assert_eq!(
        removed(Reason::OtherSplit),
        [
            ("b_train.png", Some("b_test.png")),
            ("b_val.png", Some("b_test.png"))
        ]
    );
    assert_eq!(
        removed(Reason::TwoLabels),
        [
            ("c.png", Some("c_darker.png")),
            ("c_darker.png", Some("c.png"))
        ]
    );
    assert_eq!(report.rows_in, report.rows_out + report.removed.len());
    assert_eq!(
        report.removed_by_reason.values().sum::<usize>(),
        report.removed.len()
    );

    let written = source.written(&manifest);
    assert_eq!(written.rows[2].group, written.rows[3].group);
    let validation = Validation::of(&source.path("manifest.csv"), None).unwrap();
    assert!(validation.passes(), "{validation:?}");
    assert_eq!((validation.rows, validation.images_checked), (4, 4));
}

#[test]
fn two_label_policies_for_one_file_are_refused() {
    let mut source = Source::new();
    source.row("a.png", &blobs(1, 48), "happy", "train");
    source.row("b.png", &blobs(2, 48), "sad", "test");
    fs::copy(source.path("a.png"), source.path("copy.png")).unwrap();
    fs::write(
        source.path("votes.csv"),
        "image,label,split\na.png,happy,train\n",
    )
    .unwrap();
    fs::write(
        source.path("copied.csv"),
        "image,label,split\ncopy.png,happy,train\n",
    )
    .unwrap();
    let other = MAPPING.replace("policy: words", "policy: votes");
    fs::write(source.path("other.yaml"), &other).unwrap();
    fs::write(
        source.path("scraped.yaml"),
        other.replace("source: web", "source: other"),
    )
    .unwrap();
    let with = |mapping: &str, table: &str| {
        let more = format!("}}, {{mapping: {mapping}, table: {table}, images: .}}]\n");
        source.make_with(MAPPING, &more)
    };
    let error = with("other.yaml", "votes.csv").unwrap_err();
    assert!(
        error.contains("1 images have labels under two policies, `words` and `votes`"),
        "{error}"
    );
    // The same bytes in another folder.
    assert!(
        with("other.yaml", "copied.csv")
            .unwrap_err()
            .contains("copy.png")
    );
    // Under another source's name the same file is still one file; a copy is a duplicate, and reported.
    assert!(with("scraped.yaml", "votes.csv").is_err());
    let (_, report) = with("scraped.yaml", "copied.csv").unwrap();
    assert_eq!(report.removed_by_reason[&Reason::SameBytes], 1);
    // The same table twice has one policy.
    assert!(with("mapping.yaml", "votes.csv").is_ok());
}

#[test]
fn a_benchmark_as_everybody_has_it_keeps_all_rows_and_does_not_pass_the_gate() {
    let mut source = Source::new();
    let (a, b) = (blobs(1, 48), blobs(2, 48));
    source.row("a.png", &a, "happy", "train");
    source.row("a_again.png", &a, "sad", "train");
    source.row("a_test.png", &flip_horizontal(&a), "happy", "test");
    source.row("b.png", &b, "fear", "val");
    source.row("c.png", &blobs(3, 48), "contempt", "val");
    let (manifest, report) = source.make_with(MAPPING, "}]\nduplicates: keep\n").unwrap();
    let written = source.written(&manifest);
    assert_eq!(written.rows.len(), 4);
    assert_eq!((report.rows_in, report.removed.len()), (5, 1));
    assert_eq!(written.rows[0].group, written.rows[1].group);
    assert_ne!(written.rows[0].group, written.rows[2].group);
    let found = Validation::of(&source.path("manifest.csv"), None).unwrap();
    assert_eq!(found.problems[&Problem::DuplicateRow], 1);
    assert_eq!(found.problems[&Problem::TwoSplits], 1);
    assert_eq!(found.problems[&Problem::TwoLabels], 1);
}

#[test]
fn rows_that_are_measured_and_show_a_learnt_picture_go_where_that_is_asked_for() {
    let mut source = Source::new();
    let (a, b, c) = (blobs(1, 48), blobs(2, 48), blobs(3, 48));
    source.row("a.png", &a, "happy", "train");
    source.row("a_again.png", &a, "sad", "train");
    source.row("a_test.png", &flip_horizontal(&a), "happy", "test");
    source.row("b.png", &b, "fear", "train");
    source.row("b_val.png", &b, "sad", "val");
    // Duplicates that are in no train row stay, in one split and in two.
    source.row("c_val.png", &c, "happy", "val");
    source.row("c_test.png", &flip_horizontal(&c), "sad", "test");
    source.row("c_test_again.png", &c, "sad", "test");
    let made = source.make_with(MAPPING, "}]\nduplicates: keep_unseen\n");
    let (manifest, report) = made.unwrap();
    let images = manifest.rows.iter().map(|row| row.image.to_str().unwrap());
    assert_eq!(
        images.collect::<Vec<_>>(),
        [
            "a.png",
            "a_again.png",
            "b.png",
            "c_val.png",
            "c_test.png",
            "c_test_again.png"
        ]
    );
    let gone = |removed: &Removed| {
        let because_of = removed.because_of.clone().unwrap();
        (removed.image.clone(), removed.reason, because_of)
    };
    let expected = [("a_test.png", "a.png"), ("b_val.png", "b.png")]
        .map(|(gone, twin)| (gone.to_owned(), Reason::OtherSplit, twin.to_owned()));
    assert_eq!(
        report.removed.iter().map(gone).collect::<Vec<_>>(),
        expected
    );
    source.written(&manifest);
}

#[test]
fn rows_without_a_split_are_drawn_with_their_group() {
    let mut source = Source::new();
    for seed in 0..60 {
        source.row(&format!("{seed}.png"), &blobs(seed, 40), "happy", "");
        source.row(
            &format!("{seed}_mirrored.png"),
            &flip_horizontal(&blobs(seed, 40)),
            "happy",
            "",
        );
    }
    let mapping = MAPPING.split("split:").next().unwrap();
    let make = |draw: &str| {
        source
            .make_with(mapping, &format!("}}]\ndraw: {draw}"))
            .unwrap()
            .0
    };
    let manifest = make("{seed: 1, validation: 0.25, test: 0.25}");
    assert_eq!(manifest.rows.len(), 120);
    for pair in manifest.rows.chunks(2) {
        assert_eq!(
            (pair[0].split, &pair[0].group),
            (pair[1].split, &pair[1].group)
        );
    }
    let train = manifest.split(Split::Train).count();
    // 30 of 60 pairs, within four standard deviations.
    assert!((28..=92).contains(&train), "{train}");
    assert_eq!(
        manifest.rows,
        make("{seed: 1, validation: 0.25, test: 0.25}").rows
    );
    assert_ne!(
        manifest.rows,
        make("{seed: 2, validation: 0.25, test: 0.25}").rows
    );
    assert!(
        make("{validation: 0, test: 0}")
            .rows
            .iter()
            .all(|row| row.split == Split::Train)
    );
    source.written(&manifest);
}

/// Shipped mapping, lines of its source, and the expected rows.
type Shipped<'a> = (
    &'a str,
    &'a str,
    &'a [(&'a str, &'a str, Option<Split>)],
    usize,
);

#[test]
fn the_shipped_mappings_read_their_sources() {
    const TRAIN: Option<Split> = Some(Split::Train);
    const TEST: Option<Split> = Some(Split::Test);
    let cases: [Shipped<'_>; 8] = [
        (
            "fer2013",
            "image,fer2013_label\na.png,3\nb.png,disgust\nc.png,\n",
            &[("a.png", "happy", None), ("b.png", "disgust", None)],
            1,
        ),
        (
            "ferplus",
            // More than half; exactly half; another word has the majority.
            "image,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\na.png,1,0,0,0,6,0,0,3,0,0\nb.png,5,5,0,0,0,0,0,0,0,0\nc.png,1,0,0,0,0,0,0,0,9,0\n",
            &[("a.png", "angry", None)],
            2,
        ),
        (
            "expw",
            "a.jpg 0 1 2 3 4 0.9 6\na.jpg 1 1 2 3 4 0.9 0\n",
            &[("a_0.jpg", "neutral", None), ("a_1.jpg", "angry", None)],
            0,
        ),
        (
            "rafdb_basic",
            "train_1.jpg 1\ntest_2.jpg 7\n",
            &[
                ("train_1_aligned.jpg", "surprise", TRAIN),
                ("test_2_aligned.jpg", "neutral", TEST),
            ],
            0,
        ),
        (
            "rafdb_compound",
            "train_1.jpg 4\ntest_2.jpg 11\n",
            &[
                ("train_1_aligned.jpg", "angry", TRAIN),
                ("test_2_aligned.jpg", "surprise", TEST),
            ],
            0,
        ),
        (
            "rafml",
            "a.jpg 0.1 0.2 0.3 0.1 0.2 0.1\nb.jpg 0.4 0.4 0.2 0 0 0\n",
            &[("a_aligned.jpg", "disgust", None)],
            1,
        ),
        (
            "affectnet",
            "subDirectory_filePath,face_x,expression\na.jpg,1,5\nb.jpg,1,7\nc.jpg,1,6\n",
            &[("a.jpg", "disgust", None), ("c.jpg", "angry", None)],
            1,
        ),
        (
            "muxspace",
            "image,label7,width\na.png,fear,3\n",
            &[("a.png", "fear", None)],
            0,
        ),
    ];
    let labels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/labels");
    assert_eq!(fs::read_dir(&labels).unwrap().count(), cases.len());
    for (name, table, expected, left_out) in cases {
        let mut source = Source::new();
        source.table = table.to_owned();
        for (seed, (image, ..)) in expected.iter().enumerate() {
            blobs(seed as u64, 40).save(source.path(image)).unwrap();
        }
        let mapping = fs::read_to_string(labels.join(format!("{name}.yaml"))).unwrap();
        let (manifest, report) = source
            .make_with(&mapping, "}]\ndraw: {validation: 0, test: 0}")
            .unwrap();
        let found: Vec<_> = manifest
            .rows
            .iter()
            .map(|row| (row.image.to_str().unwrap(), row.label.name(), row.split))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(image, label, split)| (*image, *label, split.unwrap_or(Split::Train)))
            .collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(report.removed.len(), left_out, "{name}");
    }
}

#[test]
fn wrong_sources_are_refused_with_all_that_is_wrong() {
    let mut source = Source::new();
    source.row("a.png", &blobs(1, 40), "happy", "train");
    source.table += "b.png,bored,train\nc.png,sad,later\nd.png\n";
    let refused = |source: &Source, mapping: &str, more: &str, words: &[&str]| {
        let error = source.make_with(mapping, more).err().unwrap();
        for word in words {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
    };
    refused(
        &source,
        MAPPING,
        "}]",
        &[
            "table.csv has 3 wrong lines",
            "line 3: `label` is `bored`",
            "line 4: `split` is `later`",
            "line 5: there are 1 of 3 cells, and none for `split`",
        ],
    );
    source.table = "image,label,split\na.png,happy,train\nnone.png,sad,test\n".to_owned();
    refused(
        &source,
        MAPPING,
        "}]",
        &["1 images cannot be read", "none.png: No such file"],
    );
    refused(
        &source,
        &MAPPING.replace("name: label", "name: emotion"),
        "}]",
        &["no column `emotion`; there are image, label, split"],
    );
    refused(
        &source,
        &MAPPING.replace("happy: happy", "happy: joy"),
        "}]",
        &["mapping.yaml:", "`joy` is unknown here"],
    );
    refused(
        &source,
        MAPPING,
        "}]\ncolour: red",
        &["recipe.yaml:", "`colour` is unknown here"],
    );
    refused(
        &source,
        MAPPING,
        "}]\ndraw: {validation: 0.5, test: 0.5}",
        &["leave rows to train"],
    );
}

#[test]
fn a_manifest_that_must_not_be_used_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut text = "image,label,source,split,group,sha256,width,height\n".to_owned();
    let mut add = |name: &str, picture: &GrayImage, class: usize, split: &str| {
        text += &write(folder.path(), name, picture, class, split);
    };
    add("good.png", &blobs(1, 40), 3, "train");
    add("twin.png", &blobs(2, 40), 3, "train");
    add("twin_again.png", &blobs(2, 40), 3, "train");
    add("mirrored.png", &flip_horizontal(&blobs(1, 40)), 3, "test");
    add("other_label.png", &blobs(1, 80), 4, "train");
    add("gone.png", &blobs(5, 40), 0, "train");
    add("cut.png", &blobs(6, 40), 0, "train");
    add("changed.png", &blobs(7, 40), 0, "train");
    fs::write(at("manifest.csv"), &text).unwrap();
    fs::remove_file(at("gone.png")).unwrap();
    let cut = fs::read(at("cut.png")).unwrap();
    fs::write(at("cut.png"), &cut[..cut.len() / 2]).unwrap();
    blobs(8, 40).save(at("changed.png")).unwrap();

    let found = Validation::of(&at("manifest.csv"), None).unwrap();
    let problems: Vec<(Problem, usize)> = found.problems.clone().into_iter().collect();
    assert_eq!(
        problems,
        [
            (Problem::Missing, 1),
            (Problem::Undecodable, 1),
            (Problem::Stale, 1),
            (Problem::DuplicateRow, 1),
            (Problem::TwoSplits, 1),
            (Problem::TwoLabels, 1)
        ]
    );
    assert_eq!(
        found.examples[&Problem::TwoSplits],
        ["mirrored.png (test) is good.png (train)"]
    );
    assert_eq!(
        found.examples[&Problem::TwoLabels],
        ["other_label.png (sad) is good.png (happy)"]
    );
    assert!(!found.passes());
    let sampled = Validation::of(&at("manifest.csv"), Some(3)).unwrap();
    assert_eq!((sampled.rows, sampled.images_checked), (8, 3));

    fs::write(
        at("manifest.csv"),
        text.replace("good.png,happy", "good.png,glad"),
    )
    .unwrap();
    let found = Validation::of(&at("manifest.csv"), None).unwrap();
    assert_eq!(found.problems[&Problem::WrongLine], 1);
    assert!(found.examples[&Problem::WrongLine][0].contains("unknown expression `glad`"));
    fs::write(at("manifest.csv"), "a,b\n").unwrap();
    assert!(Validation::of(&at("manifest.csv"), None).is_err());
}
