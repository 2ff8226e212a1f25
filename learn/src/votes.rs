//! Annotators' votes as distributions over the classes, joined to rows by the hashes of their images. Owns the file
//! that holds them: CSV with the columns `sha256,angry,disgust,fear,happy,sad,surprise,neutral`, each value a number of
//! votes.

use std::collections::HashMap;
use std::path::Path;

use fermata_files::MOST_TABLE;
use fermata_vision::Expression;
use fermata_vision::face::EXPRESSIONS;

use crate::row_hash::RowHash;
use crate::table_lines::{LineNumbers, as_wide, reader};

/// Votes in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Votes {
    rows: HashMap<RowHash, [f32; EXPRESSIONS]>,
    sha256: String,
}

/// Most invalid lines named in an error.
const SHOWN: usize = 5;

/// Name of the first column.
const HASH: &str = "sha256";

impl Votes {
    /// Reads votes from a file.
    ///
    /// # Errors
    /// A message: the file cannot be read, has other columns, or has invalid lines; names the first of them.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fermata_files::read_text(path, MOST_TABLE).map_err(|error| error.to_string())?;
        let mut reader = reader(&text);
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        let classes = Expression::ALL.map(|class| class.to_string());
        let expected = [HASH].into_iter().chain(classes.iter().map(String::as_str));
        if !header.iter().eq(expected) {
            return Err(format!(
                "its columns are {}; expected {HASH},{}",
                header.iter().collect::<Vec<_>>().join(","),
                classes.join(",")
            ));
        }
        let (mut rows, mut wrong) = (HashMap::new(), Vec::new());
        let mut lines = LineNumbers::of(&text);
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            let line = lines.of_record(&record);
            match parsed(&record) {
                Err(reason) => wrong.push(format!("line {line}: {reason}")),
                Ok((hash, shares)) => {
                    if rows
                        .insert(hash, shares)
                        .is_some_and(|before| before != shares)
                    {
                        wrong.push(format!("line {line}: other votes for one image"));
                    }
                }
            }
        }
        if wrong.is_empty() {
            let sha256 = fermata_files::sha256(text.as_bytes());
            return Ok(Self { rows, sha256 });
        }
        let count = wrong.len();
        wrong.truncate(SHOWN);
        Err(format!("{count} wrong lines: {}", wrong.join("; ")))
    }

    /// Returns the share of each class in an image's votes, in the canonical order; `None` if there are no votes for
    /// it.
    pub fn shares(&self, sha256: &RowHash) -> Option<&[f32; EXPRESSIONS]> {
        self.rows.get(sha256)
    }

    /// Returns the SHA-256 of the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

fn parsed(record: &csv::StringRecord) -> Result<(RowHash, [f32; EXPRESSIONS]), String> {
    as_wide(record, 1 + EXPRESSIONS)?;
    let hash = record[0]
        .parse()
        .map_err(|_| "the first column is not a sha256")?;
    let mut votes = [0f64; EXPRESSIONS];
    for (votes, text) in votes.iter_mut().zip(record.iter().skip(1)) {
        let number = text.trim().parse::<f64>().ok();
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        *votes = number.ok_or_else(|| format!("`{text}` is not a number of votes"))?;
    }
    let sum: f64 = votes.iter().sum();
    if sum > 0.0 {
        Ok((hash, votes.map(|votes| (votes / sum) as f32)))
    } else {
        Err("no votes for any of the seven expressions".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Result<Votes, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("sha256,angry,disgust,fear,happy,sad,surprise,neutral\n{lines}");
        std::fs::write(file.path(), text).unwrap();
        Votes::read(file.path())
    }

    #[test]
    fn votes_become_shares() {
        let hash = "ab".repeat(32);
        let votes = read(&format!("{hash},0,0,3,0,0,5,0\n")).unwrap();
        let shares = votes.shares(&hash.parse().unwrap()).unwrap();
        assert_eq!(shares[..], [0.0, 0.0, 0.375, 0.0, 0.0, 0.625, 0.0]);
        assert_eq!(votes.shares(&RowHash::default()), None);
    }

    #[test]
    fn what_are_no_votes_is_named() {
        let hash = "ab".repeat(32);
        let error = |lines: &str| read(lines).unwrap_err();
        let found = error(&format!(
            "x,1,0,0,0,0,0,0\n{hash},0,0,0,0,0,0,0\n{hash},-1,0,0,0,0,0,0\n"
        ));
        for words in [
            "3 wrong lines",
            "line 2: the first column",
            "line 3: no votes",
            "line 4: `-1`",
        ] {
            assert!(found.contains(words), "`{words}` is not in: {found}");
        }
        let twice = format!("{hash},1,0,0,0,0,0,0\n{hash},0,1,0,0,0,0,0\n");
        assert!(error(&twice).contains("line 3: other votes for one image"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sha256,happy\n").unwrap();
        assert!(
            Votes::read(file.path())
                .unwrap_err()
                .contains("its columns are sha256,happy")
        );
    }
}
