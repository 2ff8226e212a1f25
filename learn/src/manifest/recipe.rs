//! A manifest made of raw sources: their tables are mapped, their images looked at, and what would spoil a training is left out with its reason.
//! Owns what goes and why.
//!
//! One picture (scaled, compressed again, mirrored) is one group. Of a group, the same bytes are kept once; a group with two labels goes whole; a group that
//! lies in two splits keeps its rows in test, else validation, and loses the others, so that nothing is tested that was learnt. Groups
//! without a split are drawn, each whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::mapping::Mapping;
use super::pictures::{Looking, Watch, look_at};
use super::{Counts, Manifest, ManifestError, Row, Split};
use crate::keyed_random::KeyedRandom;
use crate::picture_hash::same_pictures;

/// What a manifest is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The sources' tables. Paths are relative to the recipe.
    pub parts: Vec<Part>,
    /// How rows are split that have no split. Default: a tenth each for validation and test, seed 0.
    #[serde(default)]
    pub draw: Draw,
    /// What happens to rows that are one picture. Default: `remove`.
    #[serde(default)]
    pub duplicates: Duplicates,
}

/// What happens to rows that are one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// They go where they would spoil a training: see this module.
    #[default]
    Remove,
    /// All rows stay, in the splits that the sources give them: a benchmark as everybody has it, with its leaks and its contradictions. Such a
    /// manifest does not pass the gate ([`super::Validation`]) if it has any.
    Keep,
}

/// A table of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The mapping's file.
    pub mapping: PathBuf,
    /// The table.
    pub table: PathBuf,
    /// Folder of the images.
    pub images: PathBuf,
    /// Split of all its rows. Default: what the mapping says, else drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

/// Shares of splits that are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Draw {
    /// Of the draw.
    pub seed: u64,
    /// Share of the groups for validation.
    pub validation: f64,
    /// Share of the groups for test.
    pub test: f64,
}

impl Default for Draw {
    fn default() -> Self {
        Self {
            seed: 0,
            validation: 0.1,
            test: 0.1,
        }
    }
}

/// Distinguishes these random numbers from others of the same seed.
const PURPOSE: u64 = 0x4472_6177;

/// Why a row is not in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The label policy leaves it out.
    Policy,
    /// Its bytes are there already.
    SameBytes,
    /// Its picture is there with another label.
    TwoLabels,
    /// Its picture is in a split that must not see it.
    OtherSplit,
}

/// A row that is not in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// The image, as the manifest would have named it.
    pub image: String,
    /// Its source.
    pub source: String,
    /// Why.
    pub reason: Reason,
    /// The row that is kept in its place, or that contradicts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<String>,
}

/// `clean_report.json`: what went, and why. The same sources give the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanReport {
    /// Label policies by source.
    pub policies: BTreeMap<String, BTreeSet<String>>,
    /// Rows of all tables.
    pub rows_in: usize,
    /// Rows of the manifest.
    pub rows_out: usize,
    /// How many went for each reason.
    pub removed_by_reason: BTreeMap<Reason, usize>,
    /// Rows of the manifest by source, label and split.
    pub counts: Counts,
    /// All that went.
    pub removed: Vec<Removed>,
}

/// A row on its way into the manifest.
struct Candidate {
    row: Row,
    split: Option<Split>,
    group: usize,
    removed: Option<(Reason, Option<usize>)>,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// It cannot be read, or is no recipe.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let recipe: Self = super::read_yaml(path)?;
        let Draw {
            validation, test, ..
        } = recipe.draw;
        let are_shares = [validation, test, validation + test]
            .iter()
            .all(|share| (0.0..1.0).contains(share));
        if recipe.parts.is_empty() || !are_shares {
            let reason =
                "expected parts, and shares of 0 to below 1 that leave rows to train".to_owned();
            return Err(ManifestError::Yaml {
                path: path.to_owned(),
                reason,
            });
        }
        Ok(recipe)
    }

    /// Makes the manifest for a folder. `at` is the folder of the recipe. Nothing is written.
    ///
    /// # Errors
    /// A table or mapping is wrong, or images cannot be read: all of them.
    pub fn make(&self, at: &Path, folder: &Path) -> Result<(Manifest, CleanReport), ManifestError> {
        self.make_watched(at, folder, &|_| {})
    }

    /// The same, and says how far it has come.
    ///
    /// # Errors
    /// See [`Recipe::make`].
    pub fn make_watched(
        &self,
        at: &Path,
        folder: &Path,
        watch: Watch<'_>,
    ) -> Result<(Manifest, CleanReport), ManifestError> {
        let mut gathered = Gathered::default();
        for part in &self.parts {
            gathered.add(part, at, folder)?;
        }
        refuse_two_policies(&gathered.paths, &gathered.policy_of, &gathered.paths)?;
        let mut candidates = gathered.candidates;
        look(&mut candidates, &gathered.paths, watch)?;
        // The same file may lie in two folders.
        let of_source =
            |candidate: &Candidate| (candidate.row.source.clone(), candidate.row.sha256.clone());
        let files: Vec<_> = candidates.iter().map(of_source).collect();
        refuse_two_policies(&files, &gathered.policy_of, &gathered.paths)?;
        self.clean(&mut candidates);
        let mut removed = gathered.left_out;
        for candidate in &candidates {
            if let Some((reason, because_of)) = candidate.removed {
                removed.push(Removed {
                    image: candidate.name(),
                    source: candidate.row.source.clone(),
                    reason,
                    because_of: because_of.map(|place: usize| candidates[place].name()),
                });
            }
        }
        let kept = candidates
            .iter()
            .filter(|candidate| candidate.removed.is_none());
        let rows: Vec<Row> = kept.map(|candidate| candidate.row.clone()).collect();
        if rows.is_empty() {
            return Err(ManifestError::Empty(folder.join("manifest.csv")));
        }
        let mut removed_by_reason = BTreeMap::new();
        for removed in &removed {
            *removed_by_reason.entry(removed.reason).or_default() += 1;
        }
        let report = CleanReport {
            policies: gathered.policies,
            rows_in: gathered.rows,
            rows_out: rows.len(),
            removed_by_reason,
            counts: super::counts(&rows),
            removed,
        };
        Ok((Manifest::of(folder.to_owned(), rows), report))
    }

    /// Marks what goes, and settles split and group of what stays.
    fn clean(&self, candidates: &mut [Candidate]) {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, candidate) in candidates.iter().enumerate() {
            groups.entry(candidate.group).or_default().push(place);
        }
        for places in groups.values() {
            if self.duplicates == Duplicates::Keep {
                self.keep(candidates, places);
                continue;
            }
            let first_other = |label| {
                places
                    .iter()
                    .copied()
                    .find(|&place| candidates[place].row.label != label)
            };
            let others: Vec<Option<usize>> = places
                .iter()
                .map(|&place| first_other(candidates[place].row.label))
                .collect();
            if others.iter().any(Option::is_some) {
                for (&place, other) in places.iter().zip(others) {
                    candidates[place].removed = Some((Reason::TwoLabels, other));
                }
                continue;
            }
            let smallest = places
                .iter()
                .map(|&place| candidates[place].row.sha256.clone())
                .min();
            let smallest = smallest.expect("a group has rows");
            // What is tested is kept rather than what is learnt.
            let split = places
                .iter()
                .filter_map(|&place| candidates[place].split)
                .max();
            let split = split.unwrap_or_else(|| self.drawn(&smallest));
            let in_split = |place: usize| candidates[place].split.is_none_or(|own| own == split);
            let keeper = places.iter().copied().find(|&place| in_split(place));
            let gone: Vec<usize> = places
                .iter()
                .copied()
                .filter(|&place| !in_split(place))
                .collect();
            for place in gone {
                candidates[place].removed = Some((Reason::OtherSplit, keeper));
            }
            let mut bytes: BTreeMap<String, usize> = BTreeMap::new();
            for &place in places {
                let candidate = &mut candidates[place];
                candidate.row.split = split;
                candidate.row.group.clone_from(&smallest);
                if candidate.removed.is_none() {
                    let first = *bytes.entry(candidate.row.sha256.clone()).or_insert(place);
                    if first != place {
                        candidate.removed = Some((Reason::SameBytes, Some(first)));
                    }
                }
            }
        }
    }

    /// Settles split and group of rows that are one picture and all stay. Those of each split are a group.
    fn keep(&self, candidates: &mut [Candidate], places: &[usize]) {
        let mut smallest: BTreeMap<Split, String> = BTreeMap::new();
        for &place in places {
            let row = &mut candidates[place].row;
            let drawn = || self.drawn(&row.sha256);
            row.split = candidates[place].split.unwrap_or_else(drawn);
            let row = &candidates[place].row;
            let of_split = smallest
                .entry(row.split)
                .or_insert_with(|| row.sha256.clone());
            if row.sha256 < *of_split {
                of_split.clone_from(&row.sha256);
            }
        }
        for &place in places {
            let row = &mut candidates[place].row;
            row.group = format!("{}-{}", row.split, smallest[&row.split]);
        }
    }

    /// The split of a group: a function of its content and the seed.
    fn drawn(&self, sha256: &str) -> Split {
        let share = KeyedRandom::named(self.draw.seed ^ PURPOSE, sha256).unit();
        if share < self.draw.test {
            Split::Test
        } else if share < self.draw.test + self.draw.validation {
            Split::Validation
        } else {
            Split::Train
        }
    }
}

/// The rows of all tables, mapped.
#[derive(Default)]
struct Gathered {
    /// Of all tables.
    rows: usize,
    policies: BTreeMap<String, BTreeSet<String>>,
    candidates: Vec<Candidate>,
    /// The candidates' files.
    paths: Vec<PathBuf>,
    /// The policy of each.
    policy_of: Vec<String>,
    /// By their policies.
    left_out: Vec<Removed>,
}

impl Gathered {
    fn add(&mut self, part: &Part, at: &Path, folder: &Path) -> Result<(), ManifestError> {
        let mapping = Mapping::read(&at.join(&part.mapping))?;
        let policies = self.policies.entry(mapping.source.clone()).or_default();
        policies.insert(mapping.policy.clone());
        let images = at.join(&part.images);
        let images = images
            .canonicalize()
            .map_err(|reason| ManifestError::File {
                path: images,
                reason,
            })?;
        for mapped in mapping.rows(&at.join(&part.table))? {
            self.rows += 1;
            let path = images.join(&mapped.image);
            let image = path.strip_prefix(folder).unwrap_or(&path).to_owned();
            let source = mapping.source.clone();
            let Some(label) = mapped.label else {
                self.left_out.push(Removed {
                    image: image.display().to_string(),
                    source,
                    reason: Reason::Policy,
                    because_of: None,
                });
                continue;
            };
            self.paths.push(path);
            self.policy_of.push(mapping.policy.clone());
            self.candidates.push(Candidate {
                row: Row {
                    image,
                    label,
                    source,
                    split: Split::Train,
                    group: String::new(),
                    sha256: String::new(),
                    width: 0,
                    height: 0,
                },
                split: part.split.or(mapped.split),
                group: 0,
                removed: None,
            });
        }
        Ok(())
    }
}

/// Labels of one file under two policies contradict each other or are one row twice: no clean-up can tell which is meant.
fn refuse_two_policies<T: std::hash::Hash + Eq>(
    files: &[T],
    policies: &[String],
    paths: &[PathBuf],
) -> Result<(), ManifestError> {
    let mut first_of: HashMap<&T, usize> = HashMap::new();
    let (mut count, mut example) = (0, None);
    for (place, file) in files.iter().enumerate() {
        let first = *first_of.entry(file).or_insert(place);
        if policies[first] != policies[place] {
            count += 1;
            example.get_or_insert((first, place));
        }
    }
    let Some((first, place)) = example else {
        return Ok(());
    };
    Err(ManifestError::TwoPolicies {
        count,
        image: paths[place].clone(),
        policies: [first, place].map(|place| policies[place].clone()),
    })
}

impl Candidate {
    fn name(&self) -> String {
        self.row.image.display().to_string()
    }
}

/// Fills in what the files hold, and which rows are one picture.
fn look(
    candidates: &mut [Candidate],
    paths: &[PathBuf],
    watch: Watch<'_>,
) -> Result<(), ManifestError> {
    let (mut fingerprints, mut wrong) = (Vec::new(), Vec::new());
    let answers = look_at(paths, watch);
    for ((candidate, path), answer) in candidates.iter_mut().zip(paths).zip(answers) {
        match answer {
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
            Ok(picture) => {
                candidate.row.sha256 = picture.sha256;
                candidate.row.width = picture.width;
                candidate.row.height = picture.height;
                fingerprints.push(picture.fingerprint);
            }
        }
    }
    if !wrong.is_empty() {
        let count = wrong.len();
        wrong.truncate(super::SHOWN);
        return Err(ManifestError::Images {
            count,
            shown: wrong,
        });
    }
    for (place, candidate) in candidates.iter_mut().enumerate() {
        candidate.group = place;
    }
    let groups = same_pictures(&fingerprints, &|searching| {
        watch(Looking::Comparing(searching));
    });
    for group in groups {
        for &place in &group {
            candidates[place].group = group[0];
        }
    }
    Ok(())
}
