//! Candidate rows of a recipe: read from tables and manifests, with their images checked. Which of them are left out as
//! duplicates is decided in [`super::Recipe::make`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

use super::mapping::Mapping;
use super::pictures::{Picture, Watch, look_at, one_picture};
use super::recipe_spec::{Confidence, FromManifest, Keep, Part};
use super::table::{Manifest, ManifestError, Row, Split};
use crate::metrics::softmax;
use crate::predictions::Predictions;
use crate::relative_path::{relative, stepped};
use crate::row_hash::RowHash;

/// Why a row is not in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The label policy leaves it out.
    Policy,
    /// Its source is not among those that the recipe takes.
    Source,
    /// Its image is smaller than the recipe requires.
    Size,
    /// The confidence of its label is below the recipe's limit.
    Confidence,
    /// Another row has the same bytes.
    SameBytes,
    /// Another row shows the same picture with another label.
    TwoLabels,
    /// Another row shows the same picture in a split that takes precedence.
    OtherSplit,
}

/// Row that is not in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// Path of the image as the manifest would have it.
    pub image: String,
    /// Source of the row.
    pub source: String,
    /// Reason for the removal.
    pub reason: Reason,
    /// Row that is kept instead, or that contradicts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<String>,
}

/// Row that may become part of the manifest.
pub(super) struct Candidate {
    pub(super) row: Row,
    /// Split given by the source; if there is none, it is drawn.
    pub(super) split: Option<Split>,
    /// Index of the manifest that it was taken from, and its group there.
    pub(super) given_group: Option<(usize, String)>,
    /// Index of the first row that shows the same picture.
    pub(super) group: usize,
    /// Minimum of the image's shorter side, in pixels.
    pub(super) shorter_side: u32,
    pub(super) removed: Option<(Reason, Option<usize>)>,
}

/// Mapped rows of all tables and manifests.
#[derive(Default)]
pub(super) struct Gathered {
    /// Number of rows read.
    pub(super) rows: usize,
    pub(super) policies: BTreeMap<String, BTreeSet<String>>,
    pub(super) candidates: Vec<Candidate>,
    /// Files of the candidates.
    pub(super) paths: Vec<PathBuf>,
    /// Label policy of each candidate.
    pub(super) policy_of: Vec<String>,
    /// Rows that their label policy leaves out.
    pub(super) left_out: Vec<Removed>,
}

impl Gathered {
    /// Adds the rows of a table.
    pub(super) fn add(
        &mut self,
        part: &Part,
        at: &Path,
        folder: &Path,
    ) -> Result<(), ManifestError> {
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
        let column = match &part.keep.confidence {
            Some(Confidence::Column { name, .. }) => Some(name.as_str()),
            Some(Confidence::Predictions { .. }) => {
                return Err(ManifestError::Settings {
                    path: at.join(&part.table),
                    reason: "confidence from predictions works only for manifests: make a manifest of this table first, and list it under `manifests`".to_owned(),
                });
            }
            None => None,
        };
        for mapped in mapping.rows(&at.join(&part.table), column)? {
            self.rows += 1;
            let path = stepped(images.clone(), Path::new(&mapped.image));
            let image = relative(folder, &path);
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
            let removed = part.keep.refuses(&source, || Ok(mapped.confidence))?;
            self.paths.push(path);
            self.policy_of.push(mapping.policy.clone());
            self.candidates.push(Candidate {
                given_group: None,
                shorter_side: part.keep.shorter_side,
                row: Row {
                    image,
                    label,
                    source,
                    split: Split::Train,
                    group: String::new(),
                    sha256: RowHash::default(),
                    width: 0,
                    height: 0,
                },
                split: part.split.or(mapped.split),
                group: 0,
                removed: removed.map(|reason| (reason, None)),
            });
        }
        Ok(())
    }

    /// Adds the rows of a manifest, whose labels count as a policy of their own.
    pub(super) fn take(
        &mut self,
        number: usize,
        from: &FromManifest,
        at: &Path,
        folder: &Path,
    ) -> Result<(), ManifestError> {
        let path = at.join(&from.manifest);
        let manifest = Manifest::read(&path)?;
        let policy = from.manifest.display().to_string();
        let images = manifest.folder.canonicalize();
        let images = images.map_err(|reason| ManifestError::File {
            path: manifest.folder.clone(),
            reason,
        })?;
        let sure = Sure::read(&from.keep, at)?;
        for row in manifest.rows {
            self.rows += 1;
            let policies = self.policies.entry(row.source.clone()).or_default();
            policies.insert(policy.clone());
            let confidence = || sure.as_ref().map(|sure| sure.of(&row)).transpose();
            let removed = from.keep.refuses(&row.source, confidence)?;
            let path = stepped(images.clone(), &row.image);
            let image = relative(folder, &path);
            self.paths.push(path);
            self.policy_of.push(policy.clone());
            self.candidates.push(Candidate {
                split: Some(row.split),
                given_group: Some((number, row.group.clone())),
                shorter_side: from.keep.shorter_side,
                row: Row { image, ..row },
                group: 0,
                removed: removed.map(|reason| (reason, None)),
            });
        }
        Ok(())
    }
}

impl Keep {
    /// Returns why a row is rejected, as far as that is known without its image. Only a row of a source that is taken
    /// needs a confidence.
    fn refuses(
        &self,
        source: &str,
        confidence: impl FnOnce() -> Result<Option<f64>, ManifestError>,
    ) -> Result<Option<Reason>, ManifestError> {
        if !self.sources.is_empty() && !self.sources.iter().any(|kept| kept == source) {
            return Ok(Some(Reason::Source));
        }
        let least = match &self.confidence {
            None => return Ok(None),
            Some(
                Confidence::Column { at_least, .. } | Confidence::Predictions { at_least, .. },
            ) => *at_least,
        };
        let is_sure = confidence()?.is_some_and(|confidence| confidence >= least);
        Ok((!is_sure).then_some(Reason::Confidence))
    }
}

/// Predictions of models: for each image hash the sum of the probabilities of each class, and the number of files.
struct Sure(HashMap<RowHash, (Vec<f64>, f64)>);

impl Sure {
    fn read(keep: &Keep, at: &Path) -> Result<Option<Self>, ManifestError> {
        let Some(Confidence::Predictions { files, .. }) = &keep.confidence else {
            return Ok(None);
        };
        let classes = Expression::ALL.map(|label| label.name().to_owned());
        let mut sure = Self(HashMap::new());
        for file in files {
            let path = at.join(file);
            let wrong = |reason: String| ManifestError::Predictions {
                path: path.clone(),
                reason,
            };
            let read = Predictions::read(&path, &classes);
            let read = read.map_err(|error| wrong(error.to_string()))?;
            if read.classes() != classes {
                return Err(wrong(
                    "its classes must be the seven expressions in canonical order".to_owned(),
                ));
            }
            let hashes = read
                .hashes()
                .ok_or_else(|| wrong("it has no `sha256` of its rows' images".to_owned()))?;
            for (row, hash) in hashes.iter().enumerate() {
                let mean = sure.0.entry(*hash).or_default();
                mean.0.resize(classes.len(), 0.0);
                for (sum, p) in mean.0.iter_mut().zip(softmax(read.row(row))) {
                    *sum += p;
                }
                mean.1 += 1.0;
            }
        }
        Ok(Some(sure))
    }

    fn of(&self, row: &Row) -> Result<f64, ManifestError> {
        let found = self.0.get(&row.sha256);
        let class = Expression::ALL.iter().position(|&label| label == row.label);
        match (found, class) {
            (Some((sums, files)), Some(class)) => Ok(sums[class] / files),
            _ => Err(ManifestError::NotPredicted(row.image.clone())),
        }
    }
}

/// Returns the indices of the candidates that are not removed.
pub(super) fn remaining(candidates: &[Candidate]) -> impl Iterator<Item = usize> {
    (0..candidates.len()).filter(move |&place| candidates[place].removed.is_none())
}

/// Returns an error if a file has labels under two policies: they contradict each other or are one row twice, and no
/// clean-up can know which is meant. `files` are the indices of the candidates that count, and the file of each.
pub(super) fn refuse_two_policies<T: std::hash::Hash + Eq>(
    files: impl Iterator<Item = (usize, T)>,
    policies: &[String],
    paths: &[PathBuf],
) -> Result<(), ManifestError> {
    let mut first_of: HashMap<T, usize> = HashMap::new();
    let (mut count, mut example) = (0, None);
    for (place, file) in files {
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
    pub(super) fn name(&self) -> String {
        self.row.image.display().to_string()
    }
}

/// Fills in hash, size and picture group of each candidate from its file. Files of removed candidates are not read, and
/// need not exist.
pub(super) fn look(
    candidates: &mut [Candidate],
    paths: &[PathBuf],
    watch: Watch<'_>,
) -> Result<(), ManifestError> {
    let mut wrong = Vec::new();
    let mut pictures = Vec::new();
    let places: Vec<usize> = remaining(candidates).collect();
    let answers = look_at(places.len(), |file| paths[places[file]].clone(), watch);
    for (&place, answer) in places.iter().zip(answers) {
        let (candidate, path) = (&mut candidates[place], &paths[place]);
        match answer {
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
            Ok(picture) if is_stale(candidate, &picture) => wrong.push(format!(
                "{}: its sha256 is {}, not the manifest's",
                path.display(),
                picture.hash
            )),
            Ok(picture) => {
                candidate.row.sha256 = picture.hash;
                candidate.row.width = picture.width;
                candidate.row.height = picture.height;
                if picture.width.min(picture.height) < candidate.shorter_side {
                    candidate.removed = Some((Reason::Size, None));
                }
                pictures.push(picture);
            }
        }
    }
    if !wrong.is_empty() {
        let count = wrong.len();
        wrong.truncate(super::table::SHOWN);
        return Err(ManifestError::Images {
            count,
            shown: wrong,
        });
    }
    let of_place = places.iter().map(|&place| &candidates[place]);
    let seen: Vec<_> = of_place.zip(&pictures).collect();
    let groups = one_picture(
        &seen,
        |(candidate, picture)| (candidate.row.is_drawn(), picture),
        watch,
    );
    for (place, candidate) in candidates.iter_mut().enumerate() {
        candidate.group = place;
    }
    for group in groups {
        for &file in &group {
            candidates[places[file]].group = places[group[0]];
        }
    }
    Ok(())
}

/// Returns whether a file differs from the one that its manifest was made from.
fn is_stale(candidate: &Candidate, picture: &Picture) -> bool {
    candidate.given_group.is_some() && picture.hash != candidate.row.sha256
}
