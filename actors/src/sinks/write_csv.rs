//! Writes every face of every frame into one table, or into a sequence of segments.
//!
//! Owns the lifecycle of the files and their errors; `row` owns columns and number formats; `earlier` decides what is
//! kept of a table whose writer was killed.

mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fermata_engine::{
    Actor, ActorError, Clock, ClockMode, End, Envelope, FileBook, How, Input, Outputs, Ports, Setup,
};
use fermata_files::{RecordFile, SyncGroup, Synced};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finished::note_finished;
use crate::payload::Faces;
use crate::sinks::earlier::{self, Form, GoesOn};
use crate::sinks::segments::{self, SegmentLimit, Segments};
use row::{HEADER, Rows};

/// Writes a CSV file with one row for each face, and one row with empty face cells for a frame without faces, so that
/// every frame that arrived is in it. The columns are
/// `stream,segment,sequence,pts_ms,track,x,y,w,h,score,raw_label,label,p_angry,p_disgust,p_fear,p_happy,p_sad,p_surprise,p_neutral,truth,true_face,latency_ms,file`.
///
/// `x`, `y`, `w` and `h` are pixels with 2 decimals, `score` has 4. `raw_label` is the classifier's label, `label` and
/// the `p_` columns (6 decimals) are the smoothed results; without `smooth_labels` the `p_` columns are the
/// classifier's own. `track` is empty while the tracker is not yet sure. `truth` is the expression drawn by a synthetic
/// source, `true_face` the person drawn (as in its `truth.csv`): boxes and drawn faces are matched one to one, greatest
/// overlap first, down to an IoU of 0.5. `file` is the name of an image. `pts_ms` and `latency_ms` have 3 decimals;
/// latency is the time from capture to this row, and empty under the clock `asap`, where it is meaningless. A cell is
/// empty if its value is not known.
///
/// Rows are in the order in which frames arrive. They go to `PATH.part`, which is renamed when everything has arrived,
/// replacing any file of that name. The rows of a frame are in the file once the frame has been processed: a run that
/// is stopped, killed or out of disk space leaves `PATH.part` with all rows until then. A frame whose rows cannot be
/// written fails; the next one is tried again, and the file stays a `.part`. If part of a site was killed and is
/// started again with the same `--out`, the table, even a finished one, continues after the last row that the other
/// machines know to be written; a table that cannot continue (with rows of streams of this machine) is kept beside the
/// new one. May be shared by streams, or run with `each: stream` and a separate path for each.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteCsvSettings {
    /// The file, in an existing folder.
    pub path: PathBuf,
    /// Begin a new file after this time of a stream (`10m`) or at this size (`500MiB`): `NAME.0001.csv`,
    /// `NAME.0002.csv` and so on, each with a header; existing files are not replaced. Default: one file.
    #[serde(default)]
    pub segment: Option<SegmentLimit>,
    /// Number of complete segments to keep; the oldest beyond it are removed. Default: all are kept.
    #[serde(default)]
    pub keep: Option<u32>,
}

/// See `WriteCsvSettings`.
pub struct WriteCsv {
    /// `None` once everything is finished, or if a segment could not be begun.
    file: Option<Table>,
    segments: Segments,
    /// Why an earlier file is incomplete.
    failed: Option<String>,
    settings: WriteCsvSettings,
    setup: Setup,
    /// Elapsed time of each stream, in nanoseconds.
    times: BTreeMap<u32, Elapsed>,
    /// `None` where latency is meaningless.
    clock: Option<Clock>,
}

const FORM: Form<'static> = Form::Table(&HEADER);

/// A file being written.
struct Table {
    rows: Rows<RecordFile>,
    path: PathBuf,
    book: FileBook,
    _synced: Option<Synced>,
    /// Number of rows in it.
    count: u64,
    /// Number of frames whose rows are missing, and why.
    missing: Option<(u64, String)>,
}

/// Time of a stream covered by the current file. Steps back (a camera that restarts its clock) count as zero.
#[derive(Default)]
struct Elapsed {
    last_ns: Option<i64>,
    in_file_ns: i64,
}

impl Actor for WriteCsv {
    const NAME: &'static str = "write_csv";
    type Settings = WriteCsvSettings;

    fn ports(settings: &WriteCsvSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .writes(&settings.path)
            .irreplaceable()
            .confirms_flushes()
    }

    fn check(settings: &WriteCsvSettings) -> Result<(), ActorError> {
        let path = &settings.path;
        if path.file_name().is_none() || path.is_dir() {
            return Err(format!("path is `{}`, but must name a file", path.display()).into());
        }
        segments::check(settings.segment, settings.keep)
    }

    fn create(settings: WriteCsvSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let mut actor = Self {
            file: None,
            segments: Segments::new(&settings.path, settings.segment, settings.keep)
                .going_on(setup)?,
            failed: None,
            settings,
            setup: setup.clone(),
            times: BTreeMap::new(),
            clock: (setup.clock_mode != ClockMode::Asap).then(|| setup.clock.clone()),
        };
        if let Some(life) = actor.segments.life() {
            if actor.segments.are_many() {
                earlier::cut_segments(&actor.segments.finished(), &life, FORM)?;
            } else {
                earlier::take_up(&actor.settings.path, &life, FORM)?;
            }
        }
        actor.begin()?;
        Ok(actor)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let envelope = &input.envelope;
        self.next_segment_if_due(envelope)?;
        let clock = self.clock.as_ref();
        let latency_ns = clock.map(|clock| clock.now_ns().saturating_sub(envelope.captured_ns));
        let path = self.settings.path.display();
        let Some(table) = &mut self.file else {
            return Err(format!("`{path}` is finished").into());
        };
        let count = faces.faces.len().max(1) as u64;
        table.book.give(count);
        let written = table.rows.frame(envelope, &faces, latency_ns);
        if let Err(error) = written.and_then(|()| Ok(table.rows.flush()?)) {
            let (frames, reason) = table.missing.get_or_insert((0, error.to_string()));
            *frames += 1;
            let part = table.rows.file().part().display();
            let before = match table.count {
                0 => "",
                _ => "; earlier rows are in it",
            };
            return Err(format!("cannot write to `{part}`: {reason}{before}").into());
        }
        table.book.hold(count);
        table.count += count;
        out.confirm_flushed(&envelope.stream, envelope.sequence.saturating_add(1));
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        self.complete(end.how != How::Stopped)?;
        match self.failed.take() {
            Some(reason) => Err(reason.into()),
            None => Ok(()),
        }
    }
}

impl WriteCsv {
    /// Continues the table of an earlier life of this part, if there is one.
    fn go_on(&mut self, path: &Path) -> Result<bool, ActorError> {
        let Some(life) = self.segments.life() else {
            return Ok(false);
        };
        let Some(GoesOn { file, rows }) = earlier::go_on(path, &life, FORM)? else {
            return Ok(false);
        };
        let mut table = self.table(file, path)?;
        table.book.give(rows);
        table.book.hold(rows);
        table.count = rows;
        self.file = Some(table);
        Ok(true)
    }

    fn table(&self, file: RecordFile, path: &Path) -> Result<Table, ActorError> {
        let group = self.setup.service::<SyncGroup>();
        let synced = group.map(|group| group.add(file.part())).transpose()?;
        Ok(Table {
            book: self.setup.file(file.part(), "rows"),
            rows: Rows::new(file),
            path: path.to_owned(),
            _synced: synced,
            count: 0,
            missing: None,
        })
    }

    /// Begins the next file.
    fn begin(&mut self) -> Result<(), ActorError> {
        let path = self.segments.next();
        if self.go_on(&path)? {
            return Ok(());
        }
        let mut table = self.table(RecordFile::create(&path)?, &path)?;
        let begun = table.rows.header();
        if let Err(error) = begun.and_then(|()| Ok(table.rows.flush()?)) {
            let part = table.rows.file().part().display();
            let error = format!("cannot write to `{part}`: {error}");
            // It is empty, so it is not kept.
            table.book.removed();
            return Err(error.into());
        }
        self.file = Some(table);
        Ok(())
    }

    /// Begins the next file if the current one is full.
    fn next_segment_if_due(&mut self, envelope: &Envelope) -> Result<(), ActorError> {
        if !self.segments.are_many() {
            return Ok(());
        }
        let time = self.times.entry(envelope.stream.id).or_default();
        let last_ns = time.last_ns.replace(envelope.pts_ns);
        let step_ns = last_ns.map_or(0, |last_ns| envelope.pts_ns.saturating_sub(last_ns));
        time.in_file_ns = time.in_file_ns.saturating_add(step_ns.max(0));
        let elapsed = Duration::from_nanos(time.in_file_ns.unsigned_abs());
        let length = self.file.as_ref().map(|table| table.rows.file().length());
        if length.is_some_and(|length| !self.segments.is_full(elapsed, length)) {
            return Ok(());
        }
        for time in self.times.values_mut() {
            time.in_file_ns = 0;
        }
        if let Err(error) = self.complete(true) {
            tracing::error!(node = %self.setup.node, "{error}");
            self.failed.get_or_insert_with(|| error.to_string());
        }
        self.begin()
    }

    /// Renames the current file to its final name if it contains all rows that were given to it.
    fn complete(&mut self, is_all: bool) -> Result<(), ActorError> {
        let Some(table) = self.file.take() else {
            return Ok(());
        };
        let Table {
            rows,
            path,
            book,
            count,
            missing,
            // Dropped at the end, so that a file which is not renamed is synced once more.
            _synced,
        } = table;
        let file = rows.into_inner()?;
        if let Some((frames, reason)) = missing {
            self.segments.taken();
            let part = file.part().display();
            return Err(
                format!("rows of {frames} frames are missing in `{part}`: {reason}").into(),
            );
        }
        if is_all {
            self.segments.taken();
            note_finished(file.finish(), &book, &path)?;
            self.segments.completed(path, book);
        } else if count == 0 {
            file.remove()?;
            book.removed();
        }
        Ok(())
    }
}
