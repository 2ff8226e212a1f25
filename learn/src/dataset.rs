//! A manifest's images as a model's inputs. Owns reading a row: its bytes against the manifest's hash, the picture, its variation in
//! training, and the preprocessing that the model's card describes. Batches read ahead on threads are [`crate::loader`]'s.

use std::path::PathBuf;

use fermata_vision::card::{InputSpec, ModelCard};
use fermata_vision::image_file::{self, ImageFileError, ImageLimits};
use fermata_vision::preprocess::PreprocessError;
use fermata_vision::{FramePool, Preprocessor};
use sha2::{Digest, Sha256};

use crate::augmentation::Variation;
use crate::manifest::{Manifest, Row, Split};

/// The rows of one split, for one model.
#[derive(Clone, Debug)]
pub struct Dataset {
    folder: PathBuf,
    rows: Vec<Row>,
    card: ModelCard,
}

/// A manifest has no rows of a split.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest has no rows of the split {0}")]
pub struct NoRows(pub Split);

/// An image that is no input.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", image.display())]
pub struct RowError {
    /// As the manifest names it.
    pub image: PathBuf,
    /// What is wrong with it.
    pub reason: RowProblem,
}

/// All rows that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{} images cannot be read:\n{}", .0.len(), first_of(.0))]
pub struct RowErrors(pub Vec<RowError>);

/// Rows that are shown.
const SHOWN: usize = 20;

fn first_of(errors: &[RowError]) -> String {
    let mut lines: Vec<String> = errors.iter().take(SHOWN).map(ToString::to_string).collect();
    if errors.len() > SHOWN {
        lines.push("…".to_owned());
    }
    lines.join("\n")
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum RowProblem {
    /// Not there, or no image.
    #[error(transparent)]
    File(#[from] ImageFileError),
    /// Other bytes than the manifest was made from.
    #[error("its sha256 is {0}, not the manifest's: one of the two is out of date")]
    Stale(String),
    /// Another size than the manifest's.
    #[error("it is {0} x {1} pixels, and the manifest says {2} x {3}")]
    Size(usize, usize, u32, u32),
    /// No input can be made of it.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// OpenCV itself.
    #[error("OpenCV failed: {0}")]
    OpenCv(#[from] opencv::Error),
}

impl Dataset {
    /// The rows of a split, preprocessed as this card says.
    ///
    /// # Errors
    /// There are none.
    pub fn new(manifest: &Manifest, split: Split, card: &ModelCard) -> Result<Self, NoRows> {
        let rows: Vec<Row> = manifest.split(split).cloned().collect();
        if rows.is_empty() {
            return Err(NoRows(split));
        }
        Ok(Self {
            folder: manifest.folder.clone(),
            rows,
            card: card.clone(),
        })
    }

    /// Its rows, in the manifest's order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Number of rows, at least 1.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Labels in the canonical class order, from 0.
    pub fn labels(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.label.index()).collect()
    }

    /// What a row becomes.
    pub fn input(&self) -> &InputSpec {
        &self.card.input
    }

    /// What reads rows; each thread has its own.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn reader(&self) -> Result<Reader<'_>, PreprocessError> {
        Ok(Reader {
            dataset: self,
            preprocessor: Preprocessor::new(&self.card)?,
            pool: FramePool::new(),
        })
    }
}

/// Reads rows of a dataset.
#[derive(Debug)]
pub struct Reader<'a> {
    dataset: &'a Dataset,
    preprocessor: Preprocessor,
    pool: FramePool,
}

impl Reader<'_> {
    /// Writes the input of a row into `out`, of [`InputSpec::len`] values.
    ///
    /// # Errors
    /// See [`RowProblem`]; `out` is arbitrary then.
    ///
    /// # Panics
    /// There is no such row.
    pub fn read(
        &mut self,
        row: usize,
        variation: Option<&Variation>,
        out: &mut [f32],
    ) -> Result<(), RowError> {
        let found = &self.dataset.rows[row];
        self.read_row(found, variation, out)
            .map_err(|reason| RowError {
                image: found.image.clone(),
                reason,
            })
    }

    fn read_row(
        &mut self,
        row: &Row,
        variation: Option<&Variation>,
        out: &mut [f32],
    ) -> Result<(), RowProblem> {
        let path = self.dataset.folder.join(&row.image);
        let bytes = image_file::read_bytes(&path, &ImageLimits::default())?;
        let actual = format!("{:x}", Sha256::digest(&bytes));
        if actual != row.sha256 {
            return Err(RowProblem::Stale(actual));
        }
        let picture = image_file::decode(&bytes, &self.pool)?;
        let (width, height) = (picture.width(), picture.height());
        if [width, height] != [row.width as usize, row.height as usize] {
            return Err(RowProblem::Size(width, height, row.width, row.height));
        }
        match variation {
            None => self.preprocessor.run_whole(&picture, out)?,
            Some(variation) => {
                let varied = variation.apply(&picture, &self.pool)?;
                self.preprocessor.run_whole(&varied, out)?;
                variation.erase(out, &self.dataset.card.input);
            }
        }
        Ok(())
    }
}
