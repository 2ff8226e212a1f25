//! The gate before a training: checks that a manifest's files exist and have the listed contents, and that no picture
//! is in two splits or has two labels. Owns the kinds of problems; `manifest_validation.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use fermata_vision::image_file::ImageFileError;
use serde::{Deserialize, Serialize};

use super::pictures::{Picture, Watch, look_at, one_picture};
use super::table::{Counts, Manifest, ManifestError, Row, SHOWN, Split, counts};
use crate::keyed_random::KeyedRandom;
use crate::row_hash::RowHash;

/// Problem of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// An invalid line, such as a bad label or a missing column.
    WrongLine,
    /// A file that does not exist or cannot be read.
    Missing,
    /// A file that is not an image, or is damaged.
    Undecodable,
    /// A file whose bytes or size differ from the manifest.
    Stale,
    /// The same bytes in two rows of one split.
    DuplicateRow,
    /// The same picture in two splits.
    TwoSplits,
    /// The same picture with two labels.
    TwoLabels,
}

/// Result of a validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of images checked.
    pub images_checked: usize,
    /// Number of drawn images ([`super::DRAWN`]), which are compared only by their bytes.
    #[serde(default)]
    pub drawn: usize,
    /// Number of rows by source, label and split.
    pub counts: Counts,
    /// Number of rows with each problem.
    pub problems: BTreeMap<Problem, usize>,
    /// First rows with each problem.
    pub examples: BTreeMap<Problem, Vec<String>>,
}

/// Row whose image was read.
type Seen<'a> = (&'a Row, Arc<Picture>);

impl Validation {
    /// Returns whether the manifest may be used.
    pub fn passes(&self) -> bool {
        self.problems.is_empty()
    }

    fn add(&mut self, problem: Problem, example: String) {
        *self.problems.entry(problem).or_default() += 1;
        let examples = self.examples.entry(problem).or_default();
        if examples.len() < SHOWN {
            examples.push(example);
        }
    }

    /// Validates a manifest and its images: all of them, or a sample of this many, drawn with a fixed seed.
    ///
    /// # Errors
    /// The manifest cannot be read or has other columns. Problems with its rows are not errors of this function.
    pub fn of(path: &Path, sample: Option<usize>) -> Result<Self, ManifestError> {
        Self::watched(path, sample, &|_| {})
    }

    /// Validates as [`Validation::of`] does, and calls `watch` with the progress.
    ///
    /// # Errors
    /// See [`Validation::of`].
    pub fn watched(
        path: &Path,
        sample: Option<usize>,
        watch: Watch<'_>,
    ) -> Result<Self, ManifestError> {
        let (manifest, wrong) = match Manifest::read(path) {
            Ok(manifest) => (Some(manifest), None),
            Err(ManifestError::Lines { count, shown, .. }) => (None, Some((count, shown))),
            Err(error) => return Err(error),
        };
        let sha256 = fermata_files::sha256_of_file(path);
        let mut found = Self {
            manifest_sha256: sha256.map_err(|error| ManifestError::File {
                path: path.to_owned(),
                reason: error.reason,
            })?,
            rows: 0,
            images_checked: 0,
            drawn: 0,
            counts: BTreeMap::new(),
            problems: BTreeMap::new(),
            examples: BTreeMap::new(),
        };
        if let Some((count, shown)) = wrong {
            found.problems.insert(Problem::WrongLine, count);
            found.examples.insert(Problem::WrongLine, shown);
        }
        if let Some(manifest) = manifest {
            found.rows = manifest.rows.len();
            found.counts = counts(&manifest.rows);
            found.look_at(&manifest, sample, watch);
        }
        Ok(found)
    }

    fn look_at(&mut self, manifest: &Manifest, sample: Option<usize>, watch: Watch<'_>) {
        let mut rows: Vec<&Row> = manifest.rows.iter().collect();
        if let Some(sample) = sample {
            let mut places: Vec<usize> = (0..rows.len()).collect();
            KeyedRandom::new(&[0]).shuffle(&mut places);
            places.truncate(sample);
            places.sort_unstable();
            rows = places
                .into_iter()
                .map(|place| &manifest.rows[place])
                .collect();
        }
        self.images_checked = rows.len();
        self.drawn = rows.iter().filter(|row| row.is_drawn()).count();
        let path = |place: usize| manifest.folder.join(&rows[place].image);
        let answers = look_at(rows.len(), path, watch);
        let mut seen: Vec<Seen<'_>> = Vec::with_capacity(rows.len());
        for (row, answer) in rows.iter().copied().zip(answers) {
            let image = row.image.display();
            match answer {
                Err(error) => {
                    let problem = match *error {
                        ImageFileError::Unreadable(_) => Problem::Missing,
                        _ => Problem::Undecodable,
                    };
                    self.add(problem, format!("{image}: {error}"));
                }
                Ok(picture) => {
                    if picture.hash != row.sha256 {
                        self.add(
                            Problem::Stale,
                            format!("{image}: its sha256 is {}", picture.hash),
                        );
                    } else if (picture.width, picture.height) != (row.width, row.height) {
                        self.add(
                            Problem::Stale,
                            format!(
                                "{image}: it is {} x {} pixels",
                                picture.width, picture.height
                            ),
                        );
                    }
                    seen.push((row, picture));
                }
            }
        }
        let groups = one_picture(&seen, |(row, picture)| (row.is_drawn(), picture), watch);
        self.compare(&seen, &groups);
    }

    /// Adds the problems between rows, where each group shows one picture.
    fn compare(&mut self, seen: &[Seen<'_>], groups: &[Vec<usize>]) {
        let mut first_with: HashMap<(&RowHash, Split), &Row> = HashMap::new();
        for (row, picture) in seen {
            let first = *first_with.entry((&picture.hash, row.split)).or_insert(row);
            if first.image != row.image {
                self.add(
                    Problem::DuplicateRow,
                    format!("{} is {}", row.image.display(), first.image.display()),
                );
            }
        }
        for group in groups {
            let first = seen[group[0]].0;
            for &place in &group[1..] {
                let row = seen[place].0;
                let (one, other) = (row.image.display(), first.image.display());
                if row.split != first.split {
                    self.add(
                        Problem::TwoSplits,
                        format!("{one} ({}) is {other} ({})", row.split, first.split),
                    );
                }
                if row.label != first.label {
                    self.add(
                        Problem::TwoLabels,
                        format!("{one} ({}) is {other} ({})", row.label, first.label),
                    );
                }
            }
        }
    }
}
