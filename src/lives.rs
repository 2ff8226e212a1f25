//! The lives of a part of a site as recorded in its run folder: which there were, and how much their sources had
//! captured. A life that was killed leaves no report; the book of the site uses this record instead. Owns when
//! `lives.json` is written; its contents are defined in `lives_file`.

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

    /// Records the beginning of a life in its folder, whose sources capture these streams of the graph file.
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
            captured: own_streams.into_iter().map(|name| (name, 0)).collect(),
        });
        let lives = Self {
            path: folder.join(LIVES),
            noted,
            last: Instant::now(),
            has_failed: false,
        };
        lives.write()?;
        Ok(lives)
    }

    /// Records how much has been captured of each stream whose source is here, at most once a second. A stream that has
    /// been closed is in no snapshot any more and keeps its last count. Units of work are not recorded: they come and
    /// go by the thousand.
    pub(crate) fn note(&mut self, snapshot: &Snapshot) {
        if snapshot.has_units || self.last.elapsed() < NOTE_EVERY {
            return;
        }
        self.last = Instant::now();
        let Some(life) = self.noted.lives.last_mut() else {
            return;
        };
        let streams = snapshot.streams.iter();
        let own = streams.filter(|stream| stream.edge.is_none());
        let mut has_changed = false;
        for stream in own {
            let known = life.captured.insert(stream.name.clone(), stream.captured);
            has_changed |= known != Some(stream.captured);
        }
        if !has_changed {
            return;
        }
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
    use crate::lives_file::report_of_killed;

    fn stream(name: &str, captured: u64) -> StreamNow {
        StreamNow {
            name: name.to_owned(),
            captured,
            ..StreamNow::default()
        }
    }

    fn arriving(name: &str, captured: u64) -> StreamNow {
        StreamNow {
            edge: Some("camera-server".to_owned()),
            ..stream(name, captured)
        }
    }

    /// Notes these streams as if a second had passed.
    fn note(lives: &mut Lives, streams: Vec<StreamNow>) {
        lives.last -= NOTE_EVERY;
        lives.note(&Snapshot {
            streams,
            ..Snapshot::default()
        });
    }

    fn begin(folder: &Path, incarnation: u64) -> Lives {
        let part = PartNote {
            machine: "gate".to_owned(),
            site: "shop".to_owned(),
            edges: Vec::new(),
            has_sinks: false,
        };
        let own = vec!["door".to_owned()];
        Lives::begin(folder, "r", incarnation, part, own).expect("a life")
    }

    #[test]
    fn a_life_knows_of_those_before_it_in_the_same_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert!(!Lives::are_in(folder, "r"));
        let mut first = begin(folder, 1);
        assert!(first.killed().is_empty());
        note(&mut first, vec![stream("door", 7), arriving("other", 9)]);
        let second = begin(folder, 2);
        let expected = LifeReport {
            incarnation: 1,
            captured: [("door".to_owned(), 7)].into(),
        };
        assert_eq!(second.killed(), [expected]);
        assert!(Lives::are_in(folder, "r") && !Lives::are_in(folder, "s"));
        let since = Lives::since(folder, "r").expect("a time");
        assert!(since <= SystemTime::now() && Lives::since(folder, "s").is_none());
    }

    #[test]
    fn streams_that_have_ended_or_were_added_stay_recorded() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let recorded = || {
            let report = report_of_killed(folder).expect("a record");
            let captured = report.site.expect("a site").killed.remove(0).captured;
            assert!(report.streams.keys().eq(captured.keys()));
            captured.into_iter().collect::<Vec<(String, u64)>>()
        };
        let counts = |of: &[(&str, u64)]| -> Vec<(String, u64)> {
            let counts = of.iter();
            counts
                .map(|&(name, count)| (name.to_owned(), count))
                .collect()
        };
        let mut life = begin(folder, 1);
        assert_eq!(recorded(), counts(&[("door", 0)]), "killed at once");
        note(&mut life, vec![stream("door", 7), stream("yard", 2)]);
        // `door` has ended and is reopened; `yard` was added on the page.
        note(&mut life, vec![stream("yard", 5), stream("door.2", 1)]);
        note(&mut life, vec![arriving("hall", 9)]);
        let expected = [("door", 7), ("door.2", 1), ("yard", 5)];
        assert_eq!(recorded(), counts(&expected));
    }

    #[test]
    fn units_of_work_are_not_recorded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut life = begin(folder.path(), 1);
        life.last -= NOTE_EVERY;
        life.note(&Snapshot {
            streams: vec![stream("0-99", 3)],
            has_units: true,
            ..Snapshot::default()
        });
        let captured = &life.noted.lives[0].captured;
        assert!(captured.keys().eq(["door"]), "{captured:?}");
    }
}
