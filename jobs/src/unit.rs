//! A unit of work: some rows of a manifest that are computed, committed and replayed as a whole. Owns its form as a
//! stream's URI.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use fermata_learn::manifest::{Manifest, Split};

/// Rows of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its number among the units of the job, from 0.
    pub number: usize,
    /// The number of units in the job.
    pub units: usize,
    /// Positions among the rows of [`Unit::split`], in the manifest's order, from 0.
    pub rows: Range<usize>,
    /// The split whose rows the job uses; none: all rows.
    pub split: Option<Split>,
    /// SHA-256 of the manifest when the unit was made.
    pub manifest_sha256: String,
    /// The manifest.
    pub manifest: PathBuf,
}

/// Returns the indices of a manifest's rows in a split, or of all rows.
pub fn rows_of(manifest: &Manifest, split: Option<Split>) -> impl Iterator<Item = usize> {
    let rows = manifest.rows.iter().enumerate();
    rows.filter(move |(_, row)| split.is_none_or(|split| row.split == split))
        .map(|(index, _)| index)
}

impl Unit {
    /// Returns the indices of its rows in the manifest.
    ///
    /// # Errors
    /// Fails if the manifest is not the one from which the unit was made, or has too few rows.
    pub fn indices(&self, manifest: &Manifest) -> Result<Vec<usize>, String> {
        if manifest.sha256 != self.manifest_sha256 {
            return Err(format!(
                "the manifest {} has sha256 {}, but the job began with {}: it has been changed meanwhile; start a new job",
                self.manifest.display(),
                manifest.sha256,
                self.manifest_sha256
            ));
        }
        let indices: Vec<usize> = rows_of(manifest, self.split)
            .skip(self.rows.start)
            .take(self.rows.len())
            .collect();
        if indices.len() == self.rows.len() {
            Ok(indices)
        } else {
            Err(format!(
                "the manifest {} has no rows {}-{}",
                self.manifest.display(),
                self.rows.start,
                self.rows.end
            ))
        }
    }
}

/// `7/55:3584-4096:train:SHA256:manifest.csv`; `all` in place of a split for all rows.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.rows;
        write!(f, "{}/{}:{start}-{end}:", self.number, self.units)?;
        match self.split {
            None => write!(f, "all")?,
            Some(split) => write!(f, "{split}")?,
        }
        write!(f, ":{}:{}", self.manifest_sha256, self.manifest.display())
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a unit: expected NUMBER/COUNT:FIRST-END:SPLIT:SHA256:MANIFEST, as manifest_units writes it"
            )
        };
        let parts: Vec<&str> = text.splitn(5, ':').collect();
        let [number, rows, split, sha256, manifest] = parts[..] else {
            return Err(wrong());
        };
        let count = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let (start, end) = rows.split_once('-').ok_or_else(wrong)?;
        let rows = count(start)?..count(end)?;
        let (number, units) = number.split_once('/').ok_or_else(wrong)?;
        let (number, units) = (count(number)?, count(units)?);
        if rows.is_empty() || number >= units {
            return Err(wrong());
        }
        Ok(Self {
            number,
            units,
            rows,
            split: match split {
                "all" => None,
                split => Some(split.parse()?),
            },
            manifest_sha256: sha256.to_owned(),
            manifest: PathBuf::from(manifest),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_unit_is_read_as_it_was_written(
            number in 0usize..1000,
            more in 1usize..1000,
            start in 0usize..1_000_000,
            len in 1usize..10_000,
            split in prop::option::of(prop::sample::select(vec![Split::Train, Split::Validation, Split::Test])),
            manifest in "[a-z /:.]{1,20}",
        ) {
            let unit = Unit {
                number,
                units: number + more,
                rows: start..start + len,
                split,
                manifest_sha256: "ab".repeat(32),
                manifest: manifest.into(),
            };
            prop_assert_eq!(unit.to_string().parse(), Ok(unit));
        }
    }

    #[test]
    fn what_is_no_unit_is_refused() {
        for text in [
            "",
            "m.csv",
            "1/2:2-2:all:x:m",
            "1/2:5-2:all:x:m",
            "1/2:0-2:none:x:m",
            "a/2:0-2:all:x:m",
            "2/2:0-2:all:x:m",
            "1:0-2:all:x:m",
        ] {
            assert!(text.parse::<Unit>().is_err(), "{text}");
        }
    }
}
