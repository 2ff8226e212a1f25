//! The configuration of a training as stored in `config.yaml`: its rows, its settings, and what it learns from besides
//! labels. Checks that these fit together, both when a training begins and when it is resumed.

use std::path::{Path, PathBuf};

use fermata_vision::Expression;
use fermata_vision::card::{Layout, ModelCard, OutputKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TrainingError;
use super::plan::TrainingRows;
use super::spec::TrainingSpec;
use crate::folds::Fold;
use crate::manifest::{Manifest, Row};
use crate::softlabels::{Alignment, Expected, Softlabels, differences};
use crate::votes::Votes;
use crate::weights::{TensorFile, WeightsError};

/// The contents of `config.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Manifest that lists the rows.
    pub manifest: PathBuf,
    /// SHA-256 of the manifest when the run began.
    pub manifest_sha256: String,
    /// Fold whose training rows are left out, so that the model can later predict them as unseen rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_fold: Option<Fold>,
    /// Initial weights, unless new ones are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<InitialUsed>,
    /// The teachers' softlabels of the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softlabels: Option<SoftlabelsUsed>,
    /// The annotators' votes on the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<VotesUsed>,
    /// Settings of the training.
    pub training: TrainingSpec,
}

/// Initial weights of a training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialUsed {
    /// SHA-256 of the file when the run began.
    pub sha256: String,
    /// What the weights were trained on, if the file says so.
    pub provenance: Option<Value>,
}

impl InitialUsed {
    fn read(path: &Path) -> Result<Self, TrainingError> {
        let file = TensorFile::read(path)?;
        let sha256 = fermata_files::sha256_of_file(path);
        let sha256 = sha256.map_err(|error| WeightsError::File {
            doing: "read",
            path: error.path,
            reason: error.reason,
        })?;
        Ok(Self {
            sha256,
            provenance: file.provenance,
        })
    }
}

/// Softlabels that a training learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftlabelsUsed {
    /// Folder of the softlabels.
    pub folder: PathBuf,
    /// Hash of their alignment when the run began.
    pub alignment_sha256: String,
    /// The alignment itself, so that differences can be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alignment: Option<Alignment>,
}

/// Votes that a training learns from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VotesUsed {
    /// The file, see [`Votes`].
    pub file: PathBuf,
    /// SHA-256 of the file when the run began.
    pub sha256: String,
}

/// Most images named in an error.
const SHOWN: usize = 5;

impl RunConfig {
    /// Returns the configuration of a new training, after reading manifest, softlabels and votes. Where there are
    /// softlabels, their views are used.
    ///
    /// # Errors
    /// See [`TrainingError`]: something cannot be read or does not fit the settings.
    pub fn begin(
        manifest: &Path,
        softlabels: Option<&Path>,
        votes: Option<&Path>,
        without_fold: Option<Fold>,
        mut training: TrainingSpec,
    ) -> Result<Self, TrainingError> {
        let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let softlabels = softlabels.map(|folder| {
            let found = Softlabels::open(folder)?;
            let alignment = found.alignment();
            take_views(&mut training, alignment.views, alignment.seed)?;
            Ok::<_, TrainingError>(SoftlabelsUsed {
                folder: absolute(folder),
                alignment_sha256: found.alignment_sha256().to_owned(),
                alignment: Some(found.alignment().clone()),
            })
        });
        let votes = votes.map(|file| {
            let found = read_votes(file)?;
            Ok::<_, TrainingError>(VotesUsed {
                file: absolute(file),
                sha256: found.sha256().to_owned(),
            })
        });
        let initial = training.initial.as_ref();
        let initial = initial.map(|initial| InitialUsed::read(&initial.weights));
        let manifest = absolute(manifest);
        Ok(Self {
            manifest_sha256: Manifest::read(&manifest)?.sha256,
            manifest,
            without_fold,
            initial: initial.transpose()?,
            softlabels: softlabels.transpose()?,
            votes: votes.transpose()?,
            training,
        })
    }

    /// Returns the rows of the training.
    ///
    /// # Errors
    /// The manifest is not the one with which the training began, or it has too few rows.
    pub fn rows(&self, manifest: &Manifest) -> Result<TrainingRows, TrainingError> {
        if manifest.sha256 != self.manifest_sha256 {
            return Err(TrainingError::OtherManifest {
                path: self.manifest.clone(),
                expected: self.manifest_sha256.clone(),
                found: manifest.sha256.clone(),
            });
        }
        TrainingRows::of(manifest, self.without_fold)
    }

    /// Checks that card, objective, softlabels and votes fit together and that every row has all its targets.
    ///
    /// # Errors
    /// See [`TrainingError`].
    pub fn check(
        &self,
        card: &ModelCard,
        manifest: &Manifest,
        rows: &TrainingRows,
    ) -> Result<(), TrainingError> {
        let input = &card.input;
        let architecture = self.training.architecture;
        let channels = architecture.channels();
        if input.layout != Layout::Nchw || input.colour.channels() as i64 != channels {
            return Err(TrainingError::Card(format!(
                "its input is not nchw with {channels} channels, which {architecture} takes"
            )));
        }
        if card.output.kind != OutputKind::Logits || card.output.classes != Expression::ALL {
            return Err(TrainingError::Card(
                "its output is not logits in the canonical class order".to_owned(),
            ));
        }
        if !card.output.ignored.is_empty() {
            return Err(TrainingError::Card(
                "its output has a class besides the seven, which trained networks do not have"
                    .to_owned(),
            ));
        }
        let objective = &self.training.objective;
        let problem = match (&self.softlabels, &self.votes) {
            (None, _) if objective.needs_teacher() => Some(
                "objective.distillation and negative.of_doubted need a teacher's logits for each row: name softlabels",
            ),
            (Some(_), _) if !objective.needs_teacher() => Some(
                "there are softlabels, but the objective has no distillation that learns from them",
            ),
            (_, None) if objective.soft_targets => {
                Some("objective.soft_targets needs a distribution for each row: name votes")
            }
            (_, Some(_)) if !objective.soft_targets => {
                Some("there are votes, but the objective has no soft_targets that learn from them")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(TrainingError::Spec(vec![problem.to_owned()]));
        }
        let of_training: Vec<&Row> = rows.train.iter().map(|&row| &manifest.rows[row]).collect();
        if let Some(softlabels) = self.softlabels()? {
            softlabels.check(&Expected {
                rows: &of_training,
                card,
                augmentation: &self.training.augmentation,
                seed: Some(self.training.view_seed()),
            })?;
        }
        match self.votes()? {
            None => Ok(()),
            Some(votes) => self.check_votes(&votes, &of_training),
        }
    }

    fn check_votes(&self, votes: &Votes, rows: &[&Row]) -> Result<(), TrainingError> {
        let has = |row: &&&Row| votes.shares(&row.sha256).is_some();
        let missing: Vec<_> = rows.iter().filter(|row| !has(row)).collect();
        let Some(used) = self.votes.as_ref().filter(|_| !missing.is_empty()) else {
            return Ok(());
        };
        let shown = missing.iter().take(SHOWN);
        let shown: Vec<_> = shown.map(|row| row.image.display().to_string()).collect();
        Err(TrainingError::Votes {
            path: used.file.clone(),
            reason: format!(
                "{} training rows have no votes: {}{}",
                missing.len(),
                shown.join(", "),
                if missing.len() > SHOWN { ", …" } else { "" }
            ),
        })
    }

    /// Returns the softlabels with which the training began, if there are any.
    ///
    /// # Errors
    /// They cannot be read or have changed.
    pub fn softlabels(&self) -> Result<Option<Softlabels>, TrainingError> {
        let Some(used) = &self.softlabels else {
            return Ok(None);
        };
        let found = Softlabels::open(&used.folder)?;
        if found.alignment_sha256() == used.alignment_sha256 {
            return Ok(Some(found));
        }
        let now = found.alignment().to_value();
        let differences = match &used.alignment {
            Some(begun) => differences(
                ("those that it began with", &begun.to_value()),
                ("those that are there now", &now),
            ),
            None => vec![format!(
                "the sha256 of their alignment is {}, and was {}",
                found.alignment_sha256(),
                used.alignment_sha256
            )],
        };
        Err(TrainingError::OtherSoftlabels {
            folder: used.folder.clone(),
            differences,
        })
    }

    /// Returns the votes with which the training began, if there are any.
    ///
    /// # Errors
    /// They cannot be read or have changed.
    pub fn votes(&self) -> Result<Option<Votes>, TrainingError> {
        let Some(used) = &self.votes else {
            return Ok(None);
        };
        let found = read_votes(&used.file)?;
        if found.sha256() == used.sha256 {
            return Ok(Some(found));
        }
        Err(TrainingError::Votes {
            path: used.file.clone(),
            reason: format!(
                "they have changed since the run began: their sha256 is {}, and was {}",
                found.sha256(),
                used.sha256
            ),
        })
    }
}

fn read_votes(file: &Path) -> Result<Votes, TrainingError> {
    Votes::read(file).map_err(|reason| TrainingError::Votes {
        path: file.to_owned(),
        reason,
    })
}

/// Takes over the softlabels' views, so that a student sees the same pictures as its teachers.
fn take_views(training: &mut TrainingSpec, count: u32, seed: u64) -> Result<(), TrainingError> {
    let mut problems = Vec::new();
    if let Some(other) = training.views.count.filter(|&other| other != count) {
        problems.push(format!(
            "views.count is {other}, and the softlabels have {count}"
        ));
    }
    if let Some(other) = training.views.seed.filter(|&other| other != seed) {
        problems.push(format!("views.seed is {other}, and the softlabels' {seed}"));
    }
    if !problems.is_empty() {
        return Err(TrainingError::Spec(problems));
    }
    training.views.count = Some(count);
    training.views.seed = Some(seed);
    Ok(())
}
