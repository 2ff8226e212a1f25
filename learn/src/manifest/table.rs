//! The manifest file: its columns, its rows, and the checks of each line.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fermata_files::{MOST_TABLE, MOST_TEXT, YamlError};
use fermata_vision::Expression;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::row_hash::RowHash;
use crate::table_lines::{LineNumbers, as_wide, reader};

/// Columns of a manifest, in order.
pub const COLUMNS: [&str; 8] = [
    "image", "label", "source", "split", "group", "sha256", "width", "height",
];

/// Source name of drawn pictures, as opposed to photographs: all drawn faces are alike, so two of them count as one
/// picture only if they have the same bytes.
pub const DRAWN: &str = "synthetic";

/// Split that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Used for training.
    Train,
    /// Used for selection: checkpoints, temperatures.
    Validation,
    /// Used for reported results.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = [Self::Train, Self::Validation, Self::Test].into_iter();
        let found = all.find(|split| split.to_string() == name);
        found.ok_or_else(|| format!("unknown split `{name}`; there are train, validation, test"))
    }
}

/// One labelled image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Path as written: relative to the manifest's folder.
    pub image: PathBuf,
    /// Expression shown.
    pub label: Expression,
    /// Name of the collection that the image comes from.
    pub source: String,
    /// Split of the row.
    pub split: Split,
    /// Group of the image. Images of one group (near-duplicates, one person) are never in two splits.
    pub group: String,
    /// Hash of the file.
    pub sha256: RowHash,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Row {
    /// Returns whether the picture is drawn: see [`DRAWN`].
    pub fn is_drawn(&self) -> bool {
        self.source == DRAWN
    }
}

/// Manifest whose lines have all been checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Folder that image paths are relative to.
    pub folder: PathBuf,
    /// Rows in the order of the file.
    pub rows: Vec<Row>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Why a manifest cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file that cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reason given by the system.
        reason: std::io::Error,
    },
    /// Unexpected columns.
    #[error("the manifest {} has the columns {found}; expected {}", path.display(), COLUMNS.join(","))]
    Columns {
        /// The file.
        path: PathBuf,
        /// Columns of the file.
        found: String,
    },
    /// Invalid lines; the first of them are shown.
    #[error("{} has {count} wrong lines:\n{}", path.display(), shown.join("\n"))]
    Lines {
        /// The file.
        path: PathBuf,
        /// Number of invalid lines.
        count: usize,
        /// The first twenty as `line 7: …`.
        shown: Vec<String>,
    },
    /// A manifest without rows.
    #[error("the manifest {} has no rows", .0.display())]
    Empty(PathBuf),
    /// A recipe whose tables leave no row.
    #[error("nothing is left for a manifest: all {0} rows of the recipe were removed")]
    NothingLeft(usize),
    /// A recipe or mapping that cannot be parsed.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A recipe or mapping that is inconsistent.
    #[error("{} cannot be understood: {reason}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A recipe that labels the same files under two policies.
    #[error(
        "{count} images have labels under two policies, `{}` and `{}`: the first is {}; one picture has one label, so make a manifest for each policy",
        policies[0], policies[1], image.display()
    )]
    TwoPolicies {
        /// Number of such images.
        count: usize,
        /// First of these images.
        image: PathBuf,
        /// Names of the two policies.
        policies: [String; 2],
    },
    /// A predictions file that cannot be used for the recipe's rows.
    #[error("{}: {reason}", path.display())]
    Predictions {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A row without the prediction that its confidence needs.
    #[error(
        "there is no prediction for {}, so the confidence of its label is unknown",
        .0.display()
    )]
    NotPredicted(PathBuf),
    /// Images of a recipe that cannot be read.
    #[error("{count} images cannot be read:\n{}", shown.join("\n"))]
    Images {
        /// Number of such images.
        count: usize,
        /// The first twenty.
        shown: Vec<String>,
    },
}

/// Most problems shown.
pub(super) const SHOWN: usize = 20;

impl Manifest {
    /// Reads a manifest and checks all its lines.
    ///
    /// # Errors
    /// See [`ManifestError`]: all invalid lines are counted, including those with an image listed before or a group
    /// that is in another split.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let unreadable = |reason| ManifestError::File {
            path: path.to_owned(),
            reason,
        };
        let text = fermata_files::read_text(path, MOST_TABLE).map_err(unreadable)?;
        let sha256 = fermata_files::sha256(text.as_bytes());
        let mut reader = reader(&text);
        let header: Vec<String> = reader.headers().map_or(Vec::new(), |header| {
            header.iter().map(str::to_owned).collect()
        });
        if header != COLUMNS {
            return Err(ManifestError::Columns {
                path: path.to_owned(),
                found: header.join(","),
            });
        }
        let mut numbers = LineNumbers::of(&text);
        let (mut rows, mut lines, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    wrong.push((line, error.to_string()));
                    continue;
                }
            };
            let line = numbers.of_record(&record);
            match row(&record) {
                Ok(row) => {
                    rows.push(row);
                    lines.push(line);
                }
                Err(reason) => wrong.push((line, format!("line {line}: {reason}"))),
            }
        }
        drop(text);
        wrong.extend(contradictions(&rows, &lines));
        wrong.sort_by_key(|&(line, _)| line);
        let wrong = wrong.into_iter().map(|(_, reason)| reason).collect();
        refuse_lines(path, wrong)?;
        if rows.is_empty() {
            return Err(ManifestError::Empty(path.to_owned()));
        }
        Ok(Self {
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            rows,
            sha256,
        })
    }

    /// Returns a manifest of valid rows, for a folder.
    pub fn of(folder: PathBuf, rows: Vec<Row>) -> Self {
        let mut manifest = Self {
            folder,
            rows,
            sha256: String::new(),
        };
        manifest.sha256 = format!("{:x}", Sha256::digest(manifest.to_csv()));
        manifest
    }

    /// Returns the text of the manifest file.
    pub fn to_csv(&self) -> Vec<u8> {
        let mut table = csv::Writer::from_writer(Vec::new());
        let header = table.write_record(COLUMNS);
        let rows = self.rows.iter().try_for_each(|row| {
            let (width, height) = (row.width.to_string(), row.height.to_string());
            let image = row.image.to_string_lossy();
            let split = row.split.to_string();
            table.write_record([
                &image,
                row.label.name(),
                &row.source,
                &split,
                &row.group,
                &row.sha256.to_string(),
                &width,
                &height,
            ])
        });
        header.and(rows).expect("writing to memory cannot fail");
        table.into_inner().expect("writing to memory cannot fail")
    }

    /// Returns the number of rows by source, label and split.
    pub fn counts(&self) -> Counts {
        counts(&self.rows)
    }

    /// Returns the rows of a split.
    pub fn split(&self, split: Split) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.split == split)
    }
}

/// Finds rows that contradict earlier rows: an image that is listed twice, a group in two splits. Returns line and
/// message of each.
fn contradictions(rows: &[Row], lines: &[u64]) -> Vec<(u64, String)> {
    let mut wrong = Vec::new();
    let mut line_of: HashMap<&Path, u64> = HashMap::with_capacity(rows.len());
    let mut split_of: HashMap<&str, (Split, u64)> = HashMap::new();
    for (row, &line) in rows.iter().zip(lines) {
        if let Some(first) = line_of.insert(&row.image, line) {
            let image = row.image.display();
            wrong.push((
                line,
                format!("line {line}: `{image}` is in line {first} already"),
            ));
        }
        let (split, first) = *split_of.entry(&row.group).or_insert((row.split, line));
        if split != row.split {
            let group = &row.group;
            wrong.push((
                line,
                format!("line {line}: the group `{group}` is in another split in line {first}"),
            ));
        }
    }
    wrong
}

pub(super) fn refuse_lines(path: &Path, mut wrong: Vec<String>) -> Result<(), ManifestError> {
    if wrong.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(SHOWN);
    Err(ManifestError::Lines {
        path: path.to_owned(),
        count,
        shown: wrong,
    })
}

pub(super) fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T, ManifestError> {
    let text = fermata_files::read_text(path, MOST_TEXT).map_err(|reason| ManifestError::File {
        path: path.to_owned(),
        reason,
    })?;
    Ok(fermata_files::from_yaml(&text, path)?)
}

/// Number of rows by source, label and split.
pub type Counts = BTreeMap<String, BTreeMap<Expression, BTreeMap<Split, usize>>>;

pub(super) fn counts(rows: &[Row]) -> Counts {
    let mut counts = Counts::new();
    for row in rows {
        let of_source = counts.entry(row.source.clone()).or_default();
        *of_source
            .entry(row.label)
            .or_default()
            .entry(row.split)
            .or_default() += 1;
    }
    counts
}

fn row(record: &csv::StringRecord) -> Result<Row, String> {
    as_wide(record, COLUMNS.len())?;
    let text = |column: usize| match &record[column] {
        "" => Err(format!("`{}` is empty", COLUMNS[column])),
        text => Ok(text),
    };
    let pixels = |column: usize| {
        let number = text(column)?
            .parse()
            .ok()
            .filter(|&pixels: &u32| pixels > 0);
        number.ok_or_else(|| {
            format!(
                "`{}` is `{}`; expected a number of pixels",
                COLUMNS[column], &record[column]
            )
        })
    };
    let digits = text(5)?;
    // One spelling of a row, so that manifests can be compared as text.
    let sha256 = digits.parse().ok();
    let sha256 = sha256.filter(|hash: &RowHash| hash.to_string() == digits);
    let sha256 = sha256.ok_or_else(|| {
        format!("`sha256` is `{digits}`; expected 64 hexadecimal digits in lower case")
    })?;
    Ok(Row {
        image: PathBuf::from(text(0)?),
        label: text(1)?.parse()?,
        source: text(2)?.to_owned(),
        split: text(3)?.parse()?,
        group: text(4)?.to_owned(),
        sha256,
        width: pixels(6)?,
        height: pixels(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(lines: &[String]) -> Result<Manifest, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.csv");
        let text = format!("{}\n{}", COLUMNS.join(","), lines.join("\n"));
        std::fs::write(&path, text).unwrap();
        Manifest::read(&path)
    }

    #[test]
    fn rows_are_read_with_their_splits() {
        let lines = [
            format!("a/1.png,happy,fer,train,g1,{DIGEST},48,48"),
            format!("\"b, c.png\",sad,fer,test,g2,{DIGEST},350,340"),
        ];
        let manifest = read(&lines).unwrap();
        assert_eq!(manifest.rows.len(), 2);
        let test: Vec<&Row> = manifest.split(Split::Test).collect();
        assert_eq!(test[0].image, Path::new("b, c.png"));
        assert_eq!(
            (test[0].label, test[0].width, test[0].height),
            (Expression::Sad, 350, 340)
        );
        assert_eq!(manifest.split(Split::Validation).count(), 0);
    }

    #[test]
    fn every_wrong_line_is_named() {
        let lines = [
            format!("1.png,happy,fer,train,g1,{DIGEST},48,48"),
            format!("2.png,content,fer,train,g1,{DIGEST},48,48"),
            format!("3.png,happy,fer,training,g1,{DIGEST},48,48"),
            format!("4.png,happy,fer,train,g1,{},48,48", &DIGEST[1..]),
            format!("5.png,happy,fer,train,g1,{DIGEST},0,48"),
            format!("1.png,happy,fer,train,g1,{DIGEST},48,48"),
            format!("7.png,happy,fer,test,g1,{DIGEST},48,48"),
            format!("8.png,happy,fer,train,,{DIGEST},48,48"),
            "9.png,happy".to_owned(),
        ];
        let error = read(&lines).unwrap_err().to_string();
        for words in [
            "8 wrong lines",
            "line 3: unknown expression `content`",
            "line 4: unknown split `training`; there are train, validation, test",
            "line 5: `sha256` is",
            "line 6: `width` is `0`; expected a number of pixels",
            "line 7: `1.png` is in line 2 already",
            "line 8: the group `g1` is in another split in line 2",
            "line 9: `group` is empty",
            "line 10: 2 columns; expected 8",
        ] {
            assert!(error.contains(words), "`{words}` is not in:\n{error}");
        }
    }

    #[test]
    fn wrong_lines_have_an_editors_numbers_also_where_they_end_in_crlf() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.csv");
        let good = format!("1.png,happy,fer,train,g1,{DIGEST},48,48");
        let wrong = good.replace("1.png", "2.png").replace("happy", "glad");
        let doubled = good.replace("g1", "g2");
        let text = [COLUMNS.join(","), good, wrong, doubled].join("\r\n");
        std::fs::write(&path, text).unwrap();
        let error = Manifest::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 3: unknown expression `glad`"),
            "{error}"
        );
        assert!(
            error.contains("line 4: `1.png` is in line 2 already"),
            "{error}"
        );
    }

    #[test]
    fn other_columns_and_no_rows_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.csv");
        std::fs::write(&path, "image,label\n").unwrap();
        let error = Manifest::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("has the columns image,label; expected image,label,source,"),
            "{error}"
        );
        assert!(read(&[]).unwrap_err().to_string().contains("has no rows"));
        let error = Manifest::read(&folder.path().join("none.csv"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot read "), "{error}");
    }
}
