//! Mapping of a source's own table to labels: a small YAML file per source and label policy. Owns the rules and their
//! possible results; the order of classes is never guessed.

use std::collections::BTreeMap;
use std::path::Path;

use fermata_files::MOST_TABLE;
use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

use super::table::{ManifestError, Split};
use crate::table_lines::{self, LineNumbers};

/// How a source's table is read under one label policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Name of the collection, for the manifest's column `source`.
    pub source: String,
    /// Name of the label policy, for reports.
    pub policy: String,
    /// Separator of the columns. Default: a comma.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Whether the first line holds the column names. Without it they are `0`, `1`, …. Default: true.
    #[serde(default = "yes")]
    pub header: bool,
    /// Path of a row's image within the source's folder. `{COLUMN}` is replaced by a column's value, `{COLUMN:stem}` by
    /// the value without its file extension.
    pub image: String,
    /// How a row gets its label.
    pub label: LabelRule,
    /// How a row gets its split. Default: the recipe's, or a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitRule>,
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

/// How a row gets its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum LabelRule {
    /// The value of one column.
    Column {
        /// Name of the column.
        name: String,
        /// Values of the column and their expressions.
        values: BTreeMap<String, Expression>,
        /// Values that are left out on purpose; empty cells are always left out.
        #[serde(default)]
        left_out: Vec<String>,
    },
    /// A strict majority of votes: the label with more than half of all votes. Columns hold numbers of votes.
    StrictMajority {
        /// Columns with the votes for each expression; those of one expression are added.
        votes: BTreeMap<String, Expression>,
        /// Columns whose votes count in the total but are for no expression.
        #[serde(default)]
        others: Vec<String>,
    },
    /// The largest share of a distribution; without a label if several are equal. Columns hold the shares.
    Largest {
        /// Columns with the share of each expression; those of one expression are added.
        shares: BTreeMap<String, Expression>,
    },
}

/// How a row gets its split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum SplitRule {
    /// The value of one column.
    Column {
        /// Name of the column.
        name: String,
        /// Values of the column and their splits.
        values: BTreeMap<String, Split>,
    },
    /// The prefix of the image's path; of several that match, the longest counts.
    Prefix(BTreeMap<String, Split>),
}

/// Row of a table after mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mapped {
    pub(super) image: String,
    /// Label, or `None` if the policy leaves the row out.
    pub(super) label: Option<Expression>,
    /// Split, or `None` if the mapping does not set it.
    pub(super) split: Option<Split>,
    /// Confidence, or `None` if it was not asked for.
    pub(super) confidence: Option<f64>,
}

/// Values of a line by column.
struct Line<'a> {
    columns: &'a [String],
    record: &'a csv::StringRecord,
}

fn no_column(column: &str, columns: &[String]) -> String {
    format!(
        "there is no column `{column}`; there are {}",
        columns.join(", ")
    )
}

impl Line<'_> {
    fn value(&self, column: &str) -> Result<&str, String> {
        let place = self.columns.iter().position(|name| name == column);
        let Some(place) = place else {
            return Err(no_column(column, self.columns));
        };
        let value = self.record.get(place).map(str::trim);
        value.ok_or_else(|| {
            format!(
                "there are {} of {} cells, and none for `{column}`",
                self.record.len(),
                self.columns.len()
            )
        })
    }

    fn number(&self, column: &str) -> Result<f64, String> {
        let text = self.value(column)?;
        let number = text
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| format!("`{column}` is `{text}`; expected a number of at least 0"))
    }
}

impl Mapping {
    /// Reads a mapping from a file.
    ///
    /// # Errors
    /// It cannot be read or is not a mapping.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let mapping: Self = super::table::read_yaml(path)?;
        let delimiter = mapping.delimiter;
        if delimiter.is_ascii() && !['"', '\n', '\r'].contains(&delimiter) {
            return Ok(mapping);
        }
        Err(ManifestError::Settings {
            path: path.to_owned(),
            reason: format!(
                "delimiter: {delimiter:?} cannot separate columns; expected an ASCII character other than a quote or a line end"
            ),
        })
    }

    /// Returns all rows of a table, in order, with the confidence of their labels if a column holds it.
    ///
    /// # Errors
    /// The table cannot be read or has invalid lines; reports all of them.
    pub(super) fn rows(
        &self,
        path: &Path,
        confidence: Option<&str>,
    ) -> Result<Vec<Mapped>, ManifestError> {
        let text =
            fermata_files::read_text(path, MOST_TABLE).map_err(|reason| ManifestError::File {
                path: path.to_owned(),
                reason,
            })?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(u8::try_from(self.delimiter).unwrap_or(b','))
            .has_headers(self.header)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut columns: Vec<String> = Vec::new();
        if self.header {
            let read = table_lines::columns(&mut reader);
            match read {
                Ok(read) => {
                    columns = read;
                    self.refuse_missing(path, &columns, confidence)?;
                }
                Err(reason) => super::table::refuse_lines(path, vec![reason])?,
            }
        }
        let mut lines = LineNumbers::of(&text);
        let (mut rows, mut wrong) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    wrong.push(error.to_string());
                    continue;
                }
            };
            if !self.header {
                columns = (0..record.len()).map(|column| column.to_string()).collect();
            }
            let line = lines.of_record(&record);
            let row = Line {
                columns: &columns,
                record: &record,
            };
            match self.row(&row, confidence) {
                Ok(row) => rows.push(row),
                Err(reason) => wrong.push(format!("line {line}: {reason}")),
            }
        }
        super::table::refuse_lines(path, wrong)?;
        Ok(rows)
    }

    /// Reports a column that is missing in the header once, and not for each line.
    fn refuse_missing(
        &self,
        path: &Path,
        columns: &[String],
        confidence: Option<&str>,
    ) -> Result<(), ManifestError> {
        let of_split = match &self.split {
            Some(SplitRule::Column { name, .. }) => Some(name.as_str()),
            Some(SplitRule::Prefix(_)) | None => None,
        };
        // Names between `{` and `}`; a `{` without `}` is reported when the lines are read.
        let of_image = self.image.split('{').skip(1);
        let of_image = of_image.filter_map(|part| part.split_once('}'));
        let of_image = of_image.map(|(name, _)| name.strip_suffix(":stem").unwrap_or(name));
        let of_label = self.label.columns().into_iter().map(String::as_str);
        let mut needed = of_image.chain(of_label).chain(of_split).chain(confidence);
        let Some(missing) = needed.find(|needed| !columns.iter().any(|name| name == needed)) else {
            return Ok(());
        };
        let mut reason = no_column(missing, columns);
        if columns.len() == 1 {
            reason += &format!(" (`delimiter` of the mapping is {:?})", self.delimiter);
        }
        super::table::refuse_lines(path, vec![reason])
    }

    fn row(&self, line: &Line<'_>, confidence: Option<&str>) -> Result<Mapped, String> {
        let image = self.image_path(line)?;
        let split = match &self.split {
            None => None,
            Some(SplitRule::Column { name, values }) => {
                let value = line.value(name)?;
                let split = values.get(value).copied();
                Some(split.ok_or_else(|| {
                    format!("`{name}` is `{value}`, which the mapping does not know")
                })?)
            }
            Some(SplitRule::Prefix(prefixes)) => {
                // Both `val` and `val_test` may be given.
                let split = prefixes
                    .iter()
                    .filter(|(prefix, _)| image.starts_with(prefix.as_str()))
                    .max_by_key(|(prefix, _)| prefix.len());
                Some(
                    *split
                        .ok_or_else(|| {
                            format!("`{image}` begins with none of the mapping's prefixes")
                        })?
                        .1,
                )
            }
        };
        Ok(Mapped {
            label: self.label.of(line)?,
            image,
            split,
            confidence: confidence.map(|column| line.number(column)).transpose()?,
        })
    }

    fn image_path(&self, line: &Line<'_>) -> Result<String, String> {
        let mut path = String::new();
        let mut rest = self.image.as_str();
        while let Some((before, from)) = rest.split_once('{') {
            let (column, after) = from
                .split_once('}')
                .ok_or("`image` of the mapping has a `{` without `}`")?;
            path += before;
            let value = match column.strip_suffix(":stem") {
                None => line.value(column)?,
                Some(column) => {
                    let value = line.value(column)?;
                    value.rsplit_once('.').map_or(value, |(stem, _)| stem)
                }
            };
            path += value;
            rest = after;
        }
        path += rest;
        if path.is_empty() {
            Err("the image's path is empty".to_owned())
        } else {
            Ok(path)
        }
    }
}

impl LabelRule {
    fn columns(&self) -> Vec<&String> {
        match self {
            Self::Column { name, .. } => vec![name],
            Self::StrictMajority { votes, others } => votes.keys().chain(others).collect(),
            Self::Largest { shares } => shares.keys().collect(),
        }
    }

    /// Returns the label of a line, or `None` if the policy leaves it out.
    fn of(&self, line: &Line<'_>) -> Result<Option<Expression>, String> {
        match self {
            Self::Column {
                name,
                values,
                left_out,
            } => {
                let value = line.value(name)?;
                if value.is_empty() || left_out.iter().any(|out| out == value) {
                    return Ok(None);
                }
                let label = values.get(value).copied();
                label.map(Some).ok_or_else(|| {
                    format!("`{name}` is `{value}`, which the mapping does not know")
                })
            }
            Self::StrictMajority { votes, others } => {
                let mut all = 0.0;
                for column in votes.keys().chain(others) {
                    all += line.number(column)?;
                }
                let mut sums = sums(votes, line)?.into_iter();
                let most = sums.find(|&(_, sum)| 2.0 * sum > all);
                Ok(most.map(|(label, _)| label))
            }
            Self::Largest { shares } => {
                let sums = sums(shares, line)?;
                let largest = sums.values().copied().fold(0.0, f64::max);
                // Sums are rounded: 0.1 and 0.2 are not exactly 0.3.
                let least = largest * (1.0 - shares.len() as f64 * f64::EPSILON);
                let mut best = sums.into_iter().filter(|&(_, sum)| sum >= least);
                match (best.next(), best.next()) {
                    (Some((label, _)), None) => Ok(Some(label)),
                    _ => Ok(None),
                }
            }
        }
    }
}

/// Returns the sum of each expression's columns, since a source may divide an expression into several.
fn sums(
    columns: &BTreeMap<String, Expression>,
    line: &Line<'_>,
) -> Result<BTreeMap<Expression, f64>, String> {
    let mut sums = BTreeMap::new();
    for (column, &label) in columns {
        *sums.entry(label).or_insert(0.0) += line.number(column)?;
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a table with a mapping that has these additional lines.
    fn mapped(more: &str, table: &str) -> Result<Vec<Mapped>, String> {
        mapped_by("column: {name: label, values: {sad: sad}}", more, table)
    }

    /// Reads a table with a mapping that has this label rule and these additional lines.
    fn mapped_by(rule: &str, more: &str, table: &str) -> Result<Vec<Mapped>, String> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let text =
            format!("source: web\npolicy: words\nimage: '{{image}}'\nlabel: {{{rule}}}\n{more}\n");
        std::fs::write(at("mapping.yaml"), text).unwrap();
        std::fs::write(at("table.csv"), table).unwrap();
        let mapping = Mapping::read(&at("mapping.yaml"));
        let rows = mapping.and_then(|mapping| mapping.rows(&at("table.csv"), None));
        rows.map_err(|error| error.to_string())
    }

    #[test]
    fn of_prefixes_the_longest_counts() {
        let split = "split: {prefix: {train: train, val: validation, val_test: test}}";
        let table = "image,label\nval_test/a.png,sad\nval/b.png,sad\ntrain/c.png,sad\n";
        let rows = mapped(split, table).unwrap();
        let splits: Vec<Option<Split>> = rows.iter().map(|row| row.split).collect();
        let expected = [Split::Test, Split::Validation, Split::Train].map(Some);
        assert_eq!(splits, expected);
    }

    #[test]
    fn columns_of_one_expression_count_together() {
        let shares =
            "largest: {shares: {happiness: happy, amusement: happy, sadness: sad, fear: fear}}";
        let votes = "strict_majority: {votes: {anger: angry, contempt: angry, neutral: neutral}, others: [unknown]}";
        for (rule, cells, expected) in [
            (shares, "0.3,0.3,0.4,0", Some(Expression::Happy)),
            (shares, "0.2,0.1,0.4,0.3", Some(Expression::Sad)),
            // As decimal fractions these are equal.
            (shares, "0.1,0.2,0.3,0.3", None),
            (shares, "0,0,0,0", None),
            (votes, "3,3,4,0", Some(Expression::Angry)),
            (votes, "3,3,4,2", None),
            (votes, "1,1,3,0", Some(Expression::Neutral)),
        ] {
            let columns = if rule == shares {
                "happiness,amusement,sadness,fear"
            } else {
                "anger,contempt,neutral,unknown"
            };
            let table = format!("image,{columns}\na.png,{cells}\n");
            let rows = mapped_by(rule, "", &table).unwrap();
            assert_eq!(rows[0].label, expected, "{rule}: {cells}");
        }
    }

    #[test]
    fn what_cannot_stand_between_columns_is_refused() {
        for wrong in ["；", "é", "\\n", "\\\""] {
            let error = mapped(&format!("delimiter: \"{wrong}\""), "image,label\n").unwrap_err();
            assert!(error.contains("cannot separate columns"), "{error}");
        }
        assert_eq!(
            mapped("delimiter: ;", "image;label\na.png;sad\n")
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn what_no_line_can_have_is_told_once() {
        let error = mapped("", "image;label\na.png;sad\nb.png;sad\n").unwrap_err();
        let told =
            "there is no column `image`; there are image;label (`delimiter` of the mapping is ',')";
        assert_eq!(error.matches(told).count(), 1, "{error}");
        for table in [
            "file,label\na.png,sad\nb.png,sad\n",
            "image,mood\na.png,sad\nb.png,sad\n",
        ] {
            let error = mapped("", table).unwrap_err();
            assert_eq!(error.matches("there is no column").count(), 1, "{error}");
        }
        let error = mapped("", "image,label\na.png,sad\nb.png\n").unwrap_err();
        assert!(error.contains("line 3: there are 1 of 2 cells"), "{error}");
    }
}
