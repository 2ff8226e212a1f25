//! The state of a job's units: an append-only file of JSON lines. Owns its lines, and ignores a line that a killed
//! process left incomplete.
//!
//! | line | written | by |
//! | --- | --- | --- |
//! | `job` | first; the subject of the job | the provider of units |
//! | `claim` | when a unit is started | the provider of units |
//! | `commit` | when its result is durable | the job's committing sink |
//! | `reopen` | when a job is resumed, for a unit with rows that could not be read | the provider of units |
//! | `done` | when the output of all units is durable and lacks no row | the job's committing sink |
//!
//! A unit with a `commit` and no later `reopen` is done; one with only claims is to be repeated. Provider and sink
//! append to the same file; each line is one write. A folder holds one job at a time, whose process holds the folder's
//! lock.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fermata_learn::manifest::Split;
use serde::{Deserialize, Serialize};

/// The default file name in a job's folder.
pub const FILE: &str = "ledger.jsonl";

/// Held while a line is appended: provider and sink, which are in one process, have the file open each for itself, and
/// neither may take the line that the other is writing for an incomplete one.
static APPENDING: Mutex<()> = Mutex::new(());

/// The subject of a job. A resumed job must have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Hash of the manifest.
    pub manifest_sha256: String,
    /// The split whose rows are used; none: all rows.
    pub split: Option<Split>,
    /// Number of rows.
    pub rows: usize,
    /// Number of rows per unit; the last one may have fewer.
    pub unit: usize,
}

impl Job {
    /// Returns the number of units.
    pub fn units(&self) -> usize {
        self.rows.div_ceil(self.unit.max(1))
    }
}

/// The result of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Number of the unit.
    pub unit: usize,
    /// Number of its rows.
    pub rows: usize,
    /// Number of its rows that could not be read.
    pub failed: usize,
    /// Hash of the file that holds the result.
    pub sha256: String,
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Line {
    /// See [`Job`].
    Job(Job),
    /// A unit is started.
    Claim {
        /// Its number.
        unit: usize,
        /// From 1, counted over all runs of the job.
        attempt: u32,
    },
    /// See [`Commit`].
    Commit(Commit),
    /// A unit with a result is to be repeated: rows that could not be read may be readable now.
    Reopen {
        /// Its number.
        unit: usize,
    },
    /// The job's output is complete.
    Done,
}

/// The state that results from the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The subject of the job, once written.
    pub job: Option<Job>,
    /// How often each unit was started.
    pub claims: BTreeMap<usize, u32>,
    /// Results by unit.
    pub commits: BTreeMap<usize, Commit>,
    /// Whether nothing is left to do.
    pub is_done: bool,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The system reported an error.
    #[error("cannot {doing} the ledger {}: {reason}", path.display())]
    File {
        /// The failed action.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// An invalid line before the last one: only the last line can be left incomplete.
    #[error("{}, line {line}: {reason}; the ledger is damaged or was changed: start a new job in another folder", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// A ledger, open for appending.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Number of bytes and lines read so far.
    read: (u64, usize),
    state: State,
}

impl Ledger {
    /// Opens or creates a ledger, and cuts off an incomplete last line: nobody else may have it open yet.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let mut ledger = Self::with(
            path,
            OpenOptions::new().read(true).append(true).create(true),
        )?;
        ledger.refresh()?;
        let cut = ledger.cut().and_then(|()| ledger.sync());
        cut.map_err(|reason| ledger.failed("write", reason))?;
        Ok(ledger)
    }

    /// Opens an existing ledger alongside the process that started it.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn join(path: &Path) -> Result<Self, LedgerError> {
        let mut ledger = Self::with(path, OpenOptions::new().read(true).append(true))?;
        ledger.refresh()?;
        Ok(ledger)
    }

    fn with(path: &Path, options: &OpenOptions) -> Result<Self, LedgerError> {
        let failed = |reason| LedgerError::File {
            doing: "open",
            path: path.to_owned(),
            reason,
        };
        let file = options.open(path).map_err(failed)?;
        // Reading a device might never end.
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            read: (0, 0),
            state: State::default(),
        })
    }

    /// Returns the state as of the last read.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Reads the lines appended since the last read.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn refresh(&mut self) -> Result<&State, LedgerError> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(self.read.0));
        read.and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(|reason| self.failed("read", reason))?;
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let is_last = lines.peek().is_none();
            match serde_json::from_slice(line) {
                Ok(parsed) if line.ends_with(b"\n") => {
                    self.state.apply(parsed);
                    self.read.0 += line.len() as u64;
                    self.read.1 += 1;
                }
                // An incomplete line of a killed process.
                _ if is_last => break,
                Ok(_) => unreachable!("only the last line has no end"),
                Err(error) => {
                    return Err(LedgerError::Line {
                        path: self.path.clone(),
                        line: self.read.1 + 1,
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(&self.state)
    }

    /// Appends a line and makes it durable. What an append that failed (on a full disk, say) left of its line is cut
    /// off.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn append(&mut self, line: &Line) -> Result<(), LedgerError> {
        let mut text = serde_json::to_vec(line).expect("numbers and names are JSON");
        text.push(b'\n');
        // After a panic too: what is in the file is looked at anew.
        let _appending = APPENDING.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh()?;
        let written = self.cut().and_then(|()| {
            self.file.write_all(&text)?;
            self.file.sync_data()
        });
        written.map_err(|reason| self.failed("write", reason))?;
        self.refresh().map(drop)
    }

    /// Cuts off what follows the last whole line.
    fn cut(&self) -> io::Result<()> {
        let whole = self.read.0;
        if self.file.metadata()?.len() > whole {
            self.file.set_len(whole)?;
        }
        Ok(())
    }

    /// Makes the file and its name durable.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    fn failed(&self, doing: &'static str, reason: io::Error) -> LedgerError {
        LedgerError::File {
            doing,
            path: self.path.clone(),
            reason,
        }
    }
}

impl State {
    fn apply(&mut self, line: Line) {
        match line {
            Line::Job(job) => self.job = Some(job),
            Line::Claim { unit, .. } => *self.claims.entry(unit).or_default() += 1,
            Line::Commit(commit) => {
                self.commits.insert(commit.unit, commit);
            }
            Line::Reopen { unit } => {
                self.commits.remove(&unit);
            }
            Line::Done => self.is_done = true,
        }
    }

    /// Returns the units whose result lacks some rows.
    pub fn units_with_failed_rows(&self) -> Vec<usize> {
        let commits = self.commits.values();
        let failed = commits.filter(|commit| commit.failed > 0);
        failed.map(|commit| commit.unit).collect()
    }

    /// Returns the units without a result, in order.
    pub fn open_units(&self) -> impl Iterator<Item = usize> {
        let units = self.job.as_ref().map_or(0, Job::units);
        (0..units).filter(|unit| !self.commits.contains_key(unit))
    }

    /// Returns the number of unreadable rows over all units with a result.
    pub fn failed_rows(&self) -> usize {
        self.commits.values().map(|commit| commit.failed).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Line {
        Line::Job(Job {
            manifest_sha256: "ab".to_owned(),
            split: Some(Split::Train),
            rows: 10,
            unit: 4,
        })
    }

    fn commit(unit: usize) -> Line {
        Line::Commit(Commit {
            unit,
            rows: 4,
            failed: 1,
            sha256: "cd".to_owned(),
        })
    }

    #[test]
    fn units_without_a_commit_are_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.state(), &State::default());
        let mut sink = Ledger::join(&path).unwrap();
        ledger.append(&job()).unwrap();
        ledger
            .append(&Line::Claim {
                unit: 1,
                attempt: 1,
            })
            .unwrap();
        sink.append(&commit(1)).unwrap();
        ledger
            .append(&Line::Claim {
                unit: 2,
                attempt: 1,
            })
            .unwrap();
        let open = |ledger: &Ledger| ledger.state().open_units().collect::<Vec<_>>();
        assert_eq!(open(&ledger), [0, 2]);
        drop((ledger, sink));
        let mut ledger = Ledger::open(&path).unwrap();
        assert_eq!(open(&ledger), [0, 2]);
        assert_eq!(
            (ledger.state().claims[&2], ledger.state().failed_rows()),
            (1, 1)
        );
        assert!(!ledger.state().is_done);
        assert_eq!(ledger.state().units_with_failed_rows(), [1]);
        ledger.append(&Line::Reopen { unit: 1 }).unwrap();
        assert_eq!(open(&ledger), [0, 1, 2]);
        assert_eq!(ledger.state().failed_rows(), 0);
        ledger.append(&commit(1)).unwrap();
        assert_eq!(open(&ledger), [0, 2]);
        ledger.append(&Line::Done).unwrap();
        assert!(Ledger::join(&path).unwrap().state().is_done);
    }

    #[test]
    fn a_half_last_line_is_cut_off_wherever_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.append(&job()).unwrap();
        let before = std::fs::metadata(&path).unwrap().len() as usize;
        ledger.append(&commit(0)).unwrap();
        drop(ledger);
        let whole = std::fs::read(&path).unwrap();
        for end in before..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let mut ledger = Ledger::open(&path).unwrap();
            assert!(ledger.state().commits.is_empty(), "{end}");
            ledger.append(&commit(2)).unwrap();
            drop(ledger);
            let ledger = Ledger::open(&path).unwrap();
            assert_eq!(ledger.state().open_units().collect::<Vec<_>>(), [0, 1]);
        }
    }

    #[test]
    fn what_a_failed_append_left_joins_no_later_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.append(&job()).unwrap();
        let mut sink = Ledger::join(&path).unwrap();
        let claim = serde_json::to_vec(&Line::Claim {
            unit: 0,
            attempt: 1,
        })
        .unwrap();
        for end in 1..=claim.len() {
            ledger.file.write_all(&claim[..end]).unwrap();
            sink.append(&commit(0)).unwrap();
            ledger.file.write_all(&claim[..end]).unwrap();
            ledger.append(&commit(1)).unwrap();
            for state in [ledger.refresh().unwrap(), sink.refresh().unwrap()] {
                assert_eq!(state.open_units().collect::<Vec<_>>(), [2]);
                assert!(state.claims.is_empty());
            }
        }
        let lines = std::fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 1 + 2 * claim.len());
        assert_eq!(Ledger::open(&path).unwrap().state(), sink.state());
    }

    #[test]
    fn provider_and_sink_that_append_at_once_cut_off_nothing_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        let mut sink = Ledger::join(&path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for unit in 0..100 {
                    ledger.append(&Line::Claim { unit, attempt: 1 }).unwrap();
                }
            });
            scope.spawn(|| {
                for unit in 0..100 {
                    sink.append(&commit(unit)).unwrap();
                }
            });
        });
        let state = sink.refresh().unwrap();
        assert_eq!((state.claims.len(), state.commits.len()), (100, 100));
    }

    #[test]
    fn a_wrong_line_before_others_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        Ledger::open(&path).unwrap().append(&job()).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"what\":\"claim\"}\n{\"what\":\"done\"}\n";
        std::fs::write(&path, text).unwrap();
        let error = Ledger::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("new job"),
            "{error}"
        );
    }
}
