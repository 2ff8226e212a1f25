//! The lives of a part of a site as recorded in its run folder: which there were, and how much their sources had
//! captured. A life that was killed leaves no report; the book of the site uses this record instead. Owns when
//! `lives.json` is written; its contents are defined in `lives_file`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use fermata_engine::report::LifeReport;
use fermata_engine::statistics::Snapshot;

use crate::lives_file::{Noted, PartNote, earlier};
use crate::run_folder::LIVES;

/// Time between two notes.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// The lives of a part; the last is this process.
pub(crate) struct Lives {
    path: PathBuf,
    noted: Noted,
    own_streams: Vec<String>,
    last: Instant,
    has_failed: bool,
}

impl Lives {
    /// Returns whether a folder belongs to an earlier life of a part of this run.
    pub(crate) fn are_in(folder: &Path, run: &str) -> bool {
        earlier(folder, run).is_some()
    }

    /// Returns when the first life of a part of this run in a folder began.
    pub(crate) fn since(folder: &Path, run: &str) -> Option<SystemTime> {
        let since_unix_ms = earlier(folder, run)?.since_unix_ms;
        (since_unix_ms > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(since_unix_ms))
    }

    /// Records the beginning of a life in its folder.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn begin(
        folder: &Path,
        run: &str,
        incarnation: u64,
        part: PartNote,
        own_streams: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut noted = earlier(folder, run).unwrap_or_else(|| Noted {
            run: run.to_owned(),
            since_unix_ms: unix_ms(),
            part: None,
            lives: Vec::new(),
        });
        noted.part = Some(part);
        noted.lives.push(LifeReport {
            incarnation,
            captured: BTreeMap::new(),
        });
        let lives = Self {
            path: folder.join(LIVES),
            noted,
            own_streams,
            last: Instant::now(),
            has_failed: false,
        };
        lives.write()?;
        Ok(lives)
    }

    /// Records how much has been captured, at most once a second.
    pub(crate) fn note(&mut self, snapshot: &Snapshot) {
        if self.last.elapsed() < NOTE_EVERY {
            return;
        }
        self.last = Instant::now();
        let streams = snapshot.streams.iter();
        let own = streams.filter(|stream| self.own_streams.contains(&stream.name));
        let captured: BTreeMap<String, u64> = own
            .map(|stream| (stream.name.clone(), stream.captured))
            .collect();
        let Some(life) = self.noted.lives.last_mut() else {
            return;
        };
        if life.captured == captured {
            return;
        }
        life.captured = captured;
        if let Err(error) = self.write()
            && !std::mem::replace(&mut self.has_failed, true)
        {
            tracing::warn!(
                "cannot record how much this part has captured; it would be unknown if the part were killed: {error:#}"
            );
        }
    }

    /// Returns the lives before this one.
    pub(crate) fn killed(&self) -> Vec<LifeReport> {
        let lives = self.noted.lives.split_last();
        lives.map_or_else(Vec::new, |(_, earlier)| earlier.to_vec())
    }

    fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&self.noted).context("lives are JSON")?;
        Ok(fermata_files::write(&self.path, &text)?)
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use fermata_engine::statistics::StreamNow;

    use super::*;

    #[test]
    fn a_life_knows_of_those_before_it_in_the_same_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert!(!Lives::are_in(folder, "r"));
        let begin = |incarnation| {
            let part = PartNote {
                machine: "gate".to_owned(),
                site: "shop".to_owned(),
                edges: Vec::new(),
                has_sinks: false,
            };
            let own = vec!["door".to_owned()];
            Lives::begin(folder, "r", incarnation, part, own).expect("a life")
        };
        let mut first = begin(1);
        assert!(first.killed().is_empty());
        let stream = |name: &str, captured| StreamNow {
            name: name.to_owned(),
            captured,
            ..StreamNow::default()
        };
        let snapshot = Snapshot {
            streams: vec![stream("door", 7), stream("other", 9)],
            ..Snapshot::default()
        };
        first.last -= NOTE_EVERY;
        first.note(&snapshot);
        let second = begin(2);
        let expected = LifeReport {
            incarnation: 1,
            captured: [("door".to_owned(), 7)].into(),
        };
        assert_eq!(second.killed(), [expected]);
        assert!(Lives::are_in(folder, "r") && !Lives::are_in(folder, "s"));
        let since = Lives::since(folder, "r").expect("a time");
        assert!(since <= SystemTime::now() && Lives::since(folder, "s").is_none());
    }
}
