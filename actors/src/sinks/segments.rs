//! The sequence of files that a sink writes: when one is full, what the next is called, and how many are kept. Pure
//! except for the search for those of an earlier life and the removal of old ones. Without a limit there is one file,
//! and a second one only after a failure.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::units::{HumanBytes, HumanDuration};
use fermata_engine::{ActorError, FileBook, Life, Setup};
use fermata_files::{is_being_written, part_path};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// When a file is full and the next one begins: after a time of the stream (`10m`) or at a size (`500MiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentLimit {
    /// This duration, by the stream's own time stamps.
    Time(Duration),
    /// This number of bytes; the frame that reaches it is still included.
    Size(u64),
}

const EXPECTED: &str = "a duration such as `10m` or a size such as `500MiB`";

impl FromStr for SegmentLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = match (text.parse(), text.parse()) {
            (Ok(HumanDuration(time)), _) if !time.is_zero() => Some(Self::Time(time)),
            (_, Ok(HumanBytes(bytes))) if bytes > 0 => Some(Self::Size(bytes)),
            _ => None,
        };
        limit.ok_or_else(|| format!("`{text}` is not {EXPECTED}"))
    }
}

impl fmt::Display for SegmentLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => HumanDuration(*time).fmt(f),
            Self::Size(bytes) => HumanBytes(*bytes).fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for SegmentLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for SegmentLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for SegmentLimit {
    fn schema_name() -> Cow<'static, str> {
        "SegmentLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9.]+ *[A-Za-zµ]+$", "description": EXPECTED})
    }
}

/// Checks the segment settings of a sink.
pub(crate) fn check(limit: Option<SegmentLimit>, keep: Option<u32>) -> Result<(), ActorError> {
    match (limit, keep) {
        (None, Some(_)) => Err("keep limits the number of segments, but there is no `segment`: add one, such as `segment: 10m`".into()),
        (_, Some(0)) => Err("keep is 0, but must be at least 1".into()),
        _ => Ok(()),
    }
}

/// Names, limits and removal of a sink's segments.
pub(crate) struct Segments {
    path: PathBuf,
    limit: Option<SegmentLimit>,
    keep: Option<u32>,
    /// Life of this part of a site, if an earlier one was killed.
    life: Option<Arc<Life>>,
    /// Number of the last file that was kept, and of the next one.
    number: u32,
    next: u32,
    /// Complete segments, which may be removed later: those of an earlier life first, which have no book in this run.
    complete: VecDeque<(PathBuf, Option<FileBook>)>,
}

impl Segments {
    pub(crate) fn new(path: &Path, limit: Option<SegmentLimit>, keep: Option<u32>) -> Self {
        Self {
            path: path.to_owned(),
            limit,
            keep,
            life: None,
            number: 0,
            next: 0,
            complete: VecDeque::new(),
        }
    }

    /// Takes into account that an earlier life of the part may have left files: its finished segments are complete ones,
    /// and numbers continue at its last unfinished segment or after its last finished one. Lower numbers may be free
    /// because `keep` removed their segments.
    ///
    /// # Errors
    /// Fails if the folder cannot be read.
    pub(crate) fn going_on(mut self, setup: &Setup) -> Result<Self, ActorError> {
        self.life = setup.service::<Life>().filter(|life| life.number > 1);
        if self.are_many()
            && let Some(life) = self.life()
        {
            let folder = match self.path.parent() {
                Some(folder) if folder != Path::new("") => folder.to_owned(),
                _ => PathBuf::from("."),
            };
            self.find_earlier(&folder, &life).map_err(|error| {
                let folder = folder.display();
                format!("cannot list `{folder}` to find the segments of the killed part: {error}")
            })?;
        }
        Ok(self)
    }

    fn find_earlier(&mut self, folder: &Path, life: &Life) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // The first file cannot be created either, and that error says so.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut finished = BTreeMap::new();
        for entry in entries {
            let name = entry?.file_name();
            let Some(number) = self.number_in(&name) else {
                continue;
            };
            let path = self.numbered(number);
            let part = part_path(&path);
            let is = |file: &Path| file.file_name() == Some(&*name) && file.is_file();
            if is(&path) && life.wrote(&path).unwrap_or(true) {
                self.number = self.number.max(number);
                finished.insert(number, path);
            } else if is(&part) && life.wrote(&part).unwrap_or(true) {
                self.number = self.number.max(number.saturating_sub(1));
            }
        }
        // Segments of other runs must not be removed.
        let finished = finished.into_values();
        let own = finished.filter(|path| life.wrote(path) == Some(true));
        self.complete.extend(own.map(|path| (path, None)));
        Ok(())
    }

    /// Returns the number in the name of a segment, finished or not; other names may have one too.
    fn number_in(&self, name: &OsStr) -> Option<u32> {
        let stem = self.path.file_stem()?.as_encoded_bytes();
        let rest = name.as_encoded_bytes().strip_prefix(stem)?;
        let digits = rest
            .strip_prefix(b".")?
            .split(|byte| *byte == b'.')
            .next()?;
        let number = std::str::from_utf8(digits).ok()?.parse::<u32>().ok()?;
        (number > 0).then_some(number)
    }

    /// Returns the life of this part of a site, if an earlier one was killed.
    pub(crate) fn life(&self) -> Option<Arc<Life>> {
        self.life.clone()
    }

    /// Returns the segments that an earlier life finished and `keep` has not removed, from first to last.
    pub(crate) fn finished(&self) -> Vec<PathBuf> {
        let earlier = self.complete.iter().filter(|(_, book)| book.is_none());
        earlier.map(|(path, _)| path.clone()).collect()
    }

    /// Returns whether there may be more than one file.
    pub(crate) fn are_many(&self) -> bool {
        self.limit.is_some()
    }

    /// Returns the path of the next file: the first of `NAME.0001.EXTENSION` and so on that neither exists nor is being
    /// written, since it may be a file that the run reads, or another stream's. Without a limit, the first file is the
    /// path itself, unless an earlier life of this part has finished that one.
    pub(crate) fn next(&mut self) -> PathBuf {
        self.next = self.number.saturating_add(1);
        if self.limit.is_none() && self.number == 0 {
            if !self.is_finished() {
                return self.path.clone();
            }
            self.next = 2;
        }
        let is_taken = |path: PathBuf| path.exists() || is_being_written(&path);
        while is_taken(self.numbered(self.next)) && self.next < u32::MAX {
            self.next += 1;
        }
        self.numbered(self.next)
    }

    /// Returns whether an earlier life finished the single file, as far as is known.
    fn is_finished(&self) -> bool {
        let wrote = |life: &Arc<Life>| life.wrote(&self.path).unwrap_or(true);
        self.life.as_ref().is_some_and(wrote) && !part_path(&self.path).exists()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let stem = self.path.file_stem().unwrap_or_default();
        let mut name = stem.to_owned();
        name.push(format!(".{number:04}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// Marks the number of the next file as used, whether the file was renamed or stays a `.part`.
    pub(crate) fn taken(&mut self) {
        self.number = self.next;
    }

    /// Returns whether a file of this duration and size is full.
    pub(crate) fn is_full(&self, time: Duration, bytes: u64) -> bool {
        match self.limit {
            None => false,
            Some(SegmentLimit::Time(limit)) => time >= limit,
            Some(SegmentLimit::Size(limit)) => bytes >= limit,
        }
    }

    /// Registers a file that got its final name, and removes the oldest complete ones beyond `keep`.
    pub(crate) fn completed(&mut self, path: PathBuf, book: FileBook) {
        let Some(keep) = self.keep else {
            return;
        };
        self.complete.push_back((path, Some(book)));
        while self.complete.len() > keep as usize {
            let Some((oldest, book)) = self.complete.pop_front() else {
                return;
            };
            match fs::remove_file(&oldest) {
                Ok(()) => {
                    if let Some(book) = book {
                        book.removed();
                    }
                }
                Err(error) => {
                    let path = oldest.display();
                    tracing::warn!("the old segment `{path}` cannot be removed: {error}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use fermata_engine::Services;
    use fermata_engine::testing::setup;
    use fermata_files::{PartFile, Unfinished};

    use super::*;

    /// Returns the segments of `faces.csv` for the second life of a part whose first life began at `since`.
    fn of_second_life(folder: &Path, since: SystemTime) -> Segments {
        let life = Life {
            number: 2,
            since: Some(since),
            ..Life::default()
        };
        let setup = setup().with_services(Services::new().with(Arc::new(life)));
        let limit = Some(SegmentLimit::Size(1));
        let segments = Segments::new(&folder.join("faces.csv"), limit, Some(3));
        segments.going_on(&setup).unwrap()
    }

    #[test]
    fn a_limit_is_a_time_or_a_size() {
        let read = |text: &str| text.parse::<SegmentLimit>();
        assert_eq!(
            read("10m"),
            Ok(SegmentLimit::Time(Duration::from_secs(600)))
        );
        assert_eq!(read("500MiB"), Ok(SegmentLimit::Size(500 << 20)));
        for text in ["10m", "90s", "500MiB"] {
            assert_eq!(read(&read(text).unwrap().to_string()), read(text));
        }
        for wrong in ["", "0s", "0MiB", "m", "10 parsecs", "-1s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn segments_are_numbered_before_the_extension() {
        let limit = Some(SegmentLimit::Size(1));
        let mut segments = Segments::new(Path::new("a/b.c.mp4"), limit, None);
        assert_eq!(segments.next(), Path::new("a/b.c.0001.mp4"));
        // A file that was not kept leaves no gap.
        assert_eq!(segments.next(), Path::new("a/b.c.0001.mp4"));
        segments.taken();
        assert_eq!(segments.next(), Path::new("a/b.c.0002.mp4"));
        let mut one = Segments::new(Path::new("a/b.c.mp4"), None, None);
        assert_eq!(one.next(), Path::new("a/b.c.mp4"));
        one.taken();
        assert_eq!(one.next(), Path::new("a/b.c.0002.mp4"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.0001.mp4"), "of an earlier run").unwrap();
        let of_another = folder.path().join("b.0003.mp4");
        let _of_another = PartFile::create(&of_another, Unfinished::Kept).unwrap();
        let mut spared = Segments::new(&folder.path().join("b.mp4"), limit, None);
        assert_eq!(spared.next(), folder.path().join("b.0002.mp4"));
        spared.taken();
        assert_eq!(spared.next(), folder.path().join("b.0004.mp4"));
        assert!(!one.is_full(Duration::MAX, u64::MAX));
    }

    #[test]
    fn numbers_go_on_from_the_highest_of_an_earlier_life_although_low_ones_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let since = SystemTime::now();
        let path = |name: &str| folder.path().join(name);
        for other in [
            "faces.csv",
            "faces.12.csv",
            "faces.0000.csv",
            "faces.0009.txt",
            "faces.0009.csv.2.part",
            "faces.old.csv",
            "places.0010.csv",
        ] {
            fs::write(path(other), "").unwrap();
        }
        let mut none = of_second_life(folder.path(), since);
        assert_eq!(
            (none.finished(), none.next()),
            (vec![], path("faces.0001.csv"))
        );
        let finished = ["faces.0003.csv", "faces.0004.csv", "faces.0005.csv"].map(path);
        for name in &finished {
            fs::write(name, "").unwrap();
        }
        let mut behind = of_second_life(folder.path(), since);
        assert_eq!(behind.next(), path("faces.0006.csv"));
        // It had been killed while it wrote this one, and an even earlier one had failed.
        for part in ["faces.0002.csv.part", "faces.0007.csv.part"] {
            fs::write(path(part), "").unwrap();
        }
        let mut within = of_second_life(folder.path(), since);
        assert_eq!(within.finished(), finished);
        assert_eq!(within.next(), path("faces.0007.csv"));
        within.taken();
        assert_eq!(within.next(), path("faces.0008.csv"));
    }

    #[test]
    fn segments_of_an_earlier_life_count_towards_keep_and_those_of_other_runs_stay() {
        let folder = tempfile::tempdir().unwrap();
        let since = SystemTime::now();
        let path = |number: u32| folder.path().join(format!("faces.{number:04}.csv"));
        let complete = |segments: &mut Segments| {
            let next = segments.next();
            fs::write(&next, "").unwrap();
            segments.taken();
            segments.completed(next.clone(), setup().file(&next, "rows"));
        };
        let left = || {
            (1..9)
                .filter(|number| path(*number).exists())
                .collect::<Vec<_>>()
        };
        for number in 3..=5 {
            fs::write(path(number), "").unwrap();
        }
        // For a run that begins in a minute, they are another run's.
        let mut later = of_second_life(folder.path(), since + Duration::from_secs(60));
        complete(&mut later);
        assert_eq!(left(), [1, 3, 4, 5]);
        fs::remove_file(path(1)).unwrap();
        let mut segments = of_second_life(folder.path(), since);
        complete(&mut segments);
        assert_eq!(left(), [4, 5, 6]);
        complete(&mut segments);
        assert_eq!(left(), [5, 6, 7]);
    }

    #[test]
    fn keep_needs_segments() {
        let limit = Some(SegmentLimit::Size(1));
        assert!(check(limit, Some(1)).is_ok() && check(None, None).is_ok());
        assert!(check(None, Some(1)).is_err() && check(limit, Some(0)).is_err());
    }
}
