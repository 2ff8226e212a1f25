//! The gate before a training: a manifest whose files are there, and are what it says, and are not one picture in two
//! splits or with two labels. Owns what is a problem; `manifest_validation.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use fermata_vision::image_file::ImageFileError;
use serde::{Deserialize, Serialize};

use super::pictures::{Picture, Watch, look_at, one_picture};
use super::table::{Counts, Manifest, ManifestError, Row, SHOWN, Split, counts};
use crate::keyed_random::KeyedRandom;
use crate::row_hash::RowHash;

/// What is wrong with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A line that is no row: a bad label, a missing column.
    WrongLine,
    /// There is no such file, or it cannot be read.
    Missing,
    /// It is no image, or damaged.
    Undecodable,
    /// Its bytes or its size are not the manifest's.
    Stale,
    /// The same bytes in two rows of one split.
    DuplicateRow,
    /// The same picture in two splits.
    TwoSplits,
    /// The same picture with two labels.
    TwoLabels,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Hash of the manifest.
    pub manifest_sha256: String,
    /// Its rows.
    pub rows: usize,
    /// Images that were looked at.
    pub images_checked: usize,
    /// Images that are drawn ([`super::DRAWN`]): compared by their bytes only.
    #[serde(default)]
    pub drawn: usize,
    /// Rows by source, label and split.
    pub counts: Counts,
    /// How many rows have each problem.
    pub problems: BTreeMap<Problem, usize>,
    /// The first rows with each.
    pub examples: BTreeMap<Problem, Vec<String>>,
}

/// A row whose image was looked at.
type Seen<'a> = (&'a Row, Arc<Picture>);

impl Validation {
    /// Whether the manifest may be used.
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

    /// Looks at a manifest and its images: at all, or at a sample of this many, drawn by a fixed seed.
    ///
    /// # Errors
    /// The manifest cannot be read, or has other columns. What is wrong with its rows is no error of this function.
    pub fn of(path: &Path, sample: Option<usize>) -> Result<Self, ManifestError> {
        Self::watched(path, sample, &|_| {})
    }

    /// The same, and says how far it has come.
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

    /// What is wrong among rows, of which each group is one picture.
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
