//! The sequence of files that a sink writes: when one is full, what the next is called, and how many are kept. Pure
//! except for the removal of old ones. Without a limit there is one file, and a second one only after a failure.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs;
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
    /// Complete segments, which may be removed later.
    complete: VecDeque<(PathBuf, FileBook)>,
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

    /// Takes into account that an earlier life of the part may have left files.
    pub(crate) fn going_on(self, setup: &Setup) -> Self {
        let life = setup.service::<Life>().filter(|life| life.number > 1);
        Self { life, ..self }
    }

    /// Returns the life of this part of a site, if an earlier one was killed.
    pub(crate) fn life(&self) -> Option<Arc<Life>> {
        self.life.clone()
    }

    /// Returns the finished segments, from the first on.
    pub(crate) fn finished(&self) -> Vec<PathBuf> {
        let numbered = (1..u32::MAX).map(|number| self.numbered(number));
        numbered.take_while(|path| path.exists()).collect()
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
        self.complete.push_back((path, book));
        while self.complete.len() > keep as usize {
            let Some((oldest, book)) = self.complete.pop_front() else {
                return;
            };
            match fs::remove_file(&oldest) {
                Ok(()) => book.removed(),
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
    use fermata_files::{PartFile, Unfinished};

    use super::*;

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
    fn keep_needs_segments() {
        let limit = Some(SegmentLimit::Size(1));
        assert!(check(limit, Some(1)).is_ok() && check(None, None).is_ok());
        assert!(check(None, Some(1)).is_err() && check(limit, Some(0)).is_err());
    }
}
