//! Writes what is known of every face of every frame into one table.
//!
//! Owns the file's life and its errors; `row` owns columns and number formats.

mod row;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use fermata_engine::{Actor, ActorError, Clock, ClockMode, End, How, Input, Outputs, Ports, Setup};
use fermata_files::{PartFile, Unfinished};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::Faces;
use row::Rows;

/// Writes a CSV file with one row for each face, and for a frame without a face one row whose face cells are empty, so that
/// every frame that arrived is there. The columns are
/// `stream,segment,sequence,pts_ms,track,x,y,w,h,score,raw_label,label,p_angry,p_disgust,p_fear,p_happy,p_sad,p_surprise,p_neutral,truth,true_face,latency_ms,file`.
///
/// `x`, `y`, `w` and `h` are pixels with 2 decimals, `score` has 4. `raw_label` is the classifier's word, `label` and the `p_`
/// columns (6 decimals) are what smoothing made of it; without `smooth_labels` the `p_` columns are the classifier's own. `track` is empty
/// while the tracker is not yet sure. `truth` is what a synthetic source drew, `true_face` whom (as in its `truth.csv`): boxes and drawn faces
/// are matched one to one, those that overlap most first, down to an IoU of 0.5. `file` is the name of an image. `pts_ms` and `latency_ms` have 3 decimals; latency is the time from
/// capture to this row, and empty under the clock `asap`, where it means nothing. A cell is empty where a value is not known.
///
/// Rows come in the order in which frames arrive. The rows go to `PATH.part`, which gets its name when everything has arrived:
/// a run that is stopped or killed leaves no file that looks whole. A file of the same name is replaced then. After a failed
/// write (a full disk) every further frame fails, and the file does not get its name. May be shared by streams or stand in
/// a node with `each: stream` and a path of its own for each.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteCsvSettings {
    /// The file, in a folder that exists.
    pub path: PathBuf,
}

/// See [`WriteCsvSettings`].
pub struct WriteCsv {
    /// Gone once a write has failed, or when the file is finished.
    rows: Option<Rows<PartFile>>,
    /// Why the file was given up: half a row may be in it.
    broken: Option<String>,
    path: PathBuf,
    /// None where latency means nothing.
    clock: Option<Clock>,
}

impl Actor for WriteCsv {
    const NAME: &'static str = "write_csv";
    type Settings = WriteCsvSettings;

    fn ports(settings: &WriteCsvSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .writes(&settings.path)
            .irreplaceable()
    }

    fn check(settings: &WriteCsvSettings) -> Result<(), ActorError> {
        let path = &settings.path;
        if path.file_name().is_none() || path.is_dir() {
            return Err(format!("path is `{}`, but must name a file", path.display()).into());
        }
        Ok(())
    }

    fn create(settings: WriteCsvSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let file = PartFile::create(&settings.path, Unfinished::Removed)?;
        let mut actor = Self {
            rows: Some(Rows::new(file)),
            broken: None,
            path: settings.path,
            clock: (setup.clock_mode != ClockMode::Asap).then(|| setup.clock.clone()),
        };
        actor.write(|rows| rows.header())?;
        Ok(actor)
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let envelope = &input.envelope;
        let clock = self.clock.as_ref();
        let latency_ns = clock.map(|clock| clock.now_ns().saturating_sub(envelope.captured_ns));
        self.write(|rows| rows.frame(envelope, &faces, latency_ns))
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        if end.how == How::Stopped {
            return Ok(());
        }
        let rows = self.rows.take().ok_or_else(|| self.gave_up())?;
        let file = rows.into_inner().map_err(|error| self.failed(&error))?;
        file.finish()?;
        Ok(())
    }
}

impl WriteCsv {
    /// Writes, unless a write has failed before.
    fn write(
        &mut self,
        write: impl FnOnce(&mut Rows<PartFile>) -> csv::Result<()>,
    ) -> Result<(), ActorError> {
        let Some(rows) = &mut self.rows else {
            return Err(self.gave_up());
        };
        if let Err(error) = write(rows) {
            self.rows = None;
            self.broken = Some(error.to_string());
            return Err(self.failed(&error));
        }
        Ok(())
    }

    fn failed(&self, error: &csv::Error) -> ActorError {
        let path = self.path.display();
        format!("cannot write `{path}`: {error}; the incomplete file is removed").into()
    }

    fn gave_up(&self) -> ActorError {
        let path = self.path.display();
        let reason = self.broken.as_deref().unwrap_or("it is finished");
        format!("`{path}` was given up after an earlier write failed: {reason}").into()
    }
}
