//! Video of drawn people, for demonstrations, tests and benchmarks without a camera or recordings of real people.
//! Detectors recognise the drawn faces as faces; their identities, positions and expressions are known (`GroundTruth`).
//!
//! A frame is a function of the settings and its time: every machine draws the same bytes. The drawing is in
//! `synthetic_faces/`: `scene` (who is where, when), `looks` (persons and expressions), `portrait` (drawing one
//! person), `paint` (soft shapes), `numbers` (reproducible numbers). `truth_file` writes the ground truth to a table.

mod looks;
mod numbers;
mod paint;
mod person;
mod portrait;
mod scene;
#[cfg(test)]
mod tests;
mod truth_file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::units::HumanDuration;
use fermata_engine::{ActorError, Captured, Next, Ports, Setup, Source};
use fermata_vision::FramePool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::VideoFrame;
use scene::{Scene, SceneSpec};
use truth_file::TruthFile;

/// Draws people who move their heads, blink and change their expressions. Emits `VideoFrame` with the ground truth.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyntheticFacesSettings {
    /// Columns of a frame, 64 to 4096. Default: 640.
    #[serde(default = "default_width")]
    pub width: usize,
    /// Rows of a frame, 64 to 4096. Default: 480.
    #[serde(default = "default_height")]
    pub height: usize,
    /// Frames per second: frame number n gets the time stamp n / fps. Default: 25.
    #[serde(default = "default_fps")]
    pub fps: f64,
    /// Number of frames; without it the source never ends.
    #[serde(default)]
    pub count: Option<u64>,
    /// Number of people, 1 to 4. Default: 1.
    #[serde(default = "default_faces")]
    pub faces: usize,
    /// Sources with different seeds show different people in different rooms. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// Whether two people's paths cross: one passes behind the other every four seconds; needs `faces: 2`. Default:
    /// false.
    #[serde(default)]
    pub crossing: bool,
    /// Time from one expression to the next; the change takes half a second around that moment, or a third of the time
    /// if that is less. Default: 2s.
    #[serde(default = "default_expression_every")]
    pub expression_every: HumanDuration,
    /// Sensor noise: the largest change of a pixel's channel, 0 to 64. Default: 0.
    #[serde(default)]
    pub noise: u8,
    /// A CSV file with the ground truth of every frame (who is where with which expression), including frames that
    /// later nodes drop or in which nothing is found: `stream,sequence,pts_ms,face,x,y,w,h,label`, one row per face. It
    /// is `PATH.part` until the stream ends. `fermata kpi` reads `truth.csv` and `NAME.truth.csv` in a run's folder.
    /// Default: none.
    #[serde(default)]
    pub truth: Option<PathBuf>,
}

fn default_width() -> usize {
    640
}

fn default_height() -> usize {
    480
}

fn default_fps() -> f64 {
    25.0
}

fn default_faces() -> usize {
    1
}

fn default_expression_every() -> HumanDuration {
    HumanDuration(Duration::from_secs(2))
}

/// Invalid settings of the drawn video.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SyntheticFacesError {
    /// A number is out of its range.
    #[error("`{setting}` is {value}, but must be {range}")]
    Range {
        setting: &'static str,
        value: String,
        range: &'static str,
    },
    /// `crossing` is set, but there are not two people.
    #[error("`crossing` needs two people, but `faces` is {faces}; set `faces: 2`")]
    Crossing { faces: usize },
    /// `truth` does not name a file.
    #[error("`truth` is `{}`, but must name a file", path.display())]
    Truth { path: PathBuf },
}

impl SyntheticFacesSettings {
    fn problem(&self) -> Option<SyntheticFacesError> {
        let side = "64 to 4096 pixels";
        let every = self.expression_every;
        let checks = [
            (
                "width",
                self.width.to_string(),
                side,
                (64..=4096).contains(&self.width),
            ),
            (
                "height",
                self.height.to_string(),
                side,
                (64..=4096).contains(&self.height),
            ),
            (
                "fps",
                self.fps.to_string(),
                "above 0 and at most 1000",
                self.fps > 0.0 && self.fps <= 1000.0,
            ),
            (
                "faces",
                self.faces.to_string(),
                "1 to 4",
                (1..=4).contains(&self.faces),
            ),
            ("noise", self.noise.to_string(), "0 to 64", self.noise <= 64),
            (
                "expression_every",
                every.to_string(),
                "10ms or more",
                every.0 >= Duration::from_millis(10),
            ),
        ];
        let wrong = checks.into_iter().find(|(.., fine)| !fine);
        if let Some((setting, value, range, _)) = wrong {
            return Some(SyntheticFacesError::Range {
                setting,
                value,
                range,
            });
        }
        let faces = self.faces;
        if self.crossing && faces != 2 {
            return Some(SyntheticFacesError::Crossing { faces });
        }
        let path = self.truth.as_ref();
        let path = path.filter(|path| path.file_name().is_none() || path.is_dir())?;
        Some(SyntheticFacesError::Truth { path: path.clone() })
    }

    fn spec(&self) -> SceneSpec {
        SceneSpec {
            width: self.width,
            height: self.height,
            faces: self.faces,
            seed: self.seed,
            crossing: self.crossing,
            every_ns: u64::try_from(self.expression_every.0.as_nanos()).unwrap_or(u64::MAX),
            noise: self.noise,
        }
    }
}

/// The drawn video outside a graph: the pictures that the source emits, and those at any other time.
pub struct DrawnVideo {
    scene: Scene,
    settings: SyntheticFacesSettings,
    pool: FramePool,
}

impl DrawnVideo {
    /// Creates the video with these settings; `fps` and `count` are ignored.
    ///
    /// # Errors
    /// If the settings are invalid; see [`SyntheticFacesError`].
    pub fn new(settings: SyntheticFacesSettings) -> Result<Self, SyntheticFacesError> {
        match settings.problem() {
            Some(problem) => Err(problem),
            None => Ok(Self {
                scene: Scene::new(settings.spec()),
                settings,
                pool: FramePool::new(),
            }),
        }
    }

    /// Returns the picture at this time stamp, with its ground truth.
    pub fn at(&mut self, pts_ns: u64) -> VideoFrame {
        let mut frame = self.pool.take(self.settings.width, self.settings.height);
        let truth = self.scene.draw(&mut frame, pts_ns);
        VideoFrame {
            frame: frame.freeze(),
            truth: Some(Arc::new(truth)),
            file: None,
        }
    }
}

/// The source of drawn people; see `SyntheticFacesSettings`.
pub struct SyntheticFaces {
    setup: Setup,
    video: DrawnVideo,
    drawn: u64,
    truth: Option<TruthFile>,
}

impl Source for SyntheticFaces {
    const NAME: &'static str = "synthetic_faces";
    type Settings = SyntheticFacesSettings;

    fn ports(settings: &SyntheticFacesSettings) -> Ports {
        let ports = Ports::new().output::<VideoFrame>("out");
        match &settings.truth {
            Some(path) => ports.writes(path).irreplaceable(),
            None => ports,
        }
    }

    fn check(settings: &SyntheticFacesSettings) -> Result<(), ActorError> {
        settings
            .problem()
            .map_or(Ok(()), |problem| Err(problem.into()))
    }

    fn create(settings: SyntheticFacesSettings, setup: &Setup) -> Result<Self, ActorError> {
        let stream = setup.stream.as_ref();
        // A source outside any stream is a stream of its own, named after its node.
        let stream = stream.map_or(setup.node.as_str(), |stream| &stream.name);
        let path = settings.truth.clone();
        let video = DrawnVideo::new(settings)?;
        let truth = path.map(|path| TruthFile::create(&path, stream, setup));
        Ok(Self {
            truth: truth.transpose()?,
            video,
            setup: setup.clone(),
            drawn: 0,
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        let number = self.drawn;
        let SyntheticFacesSettings { count, fps, .. } = self.video.settings;
        if count.is_some_and(|count| number >= count) || self.setup.cancelled() {
            if let Some(truth) = self.truth.take() {
                truth.finish()?;
            }
            return Ok(Next::End);
        }
        self.drawn += 1;
        let pts_ns = (number as f64 * 1e9 / fps).round();
        let video = self.video.at(pts_ns as u64);
        if let (Some(file), Some(truth)) = (&mut self.truth, &video.truth) {
            file.frame(number, pts_ns as i64, truth)?;
        }
        Ok(Next::Packet(Captured::new(Arc::new(video), pts_ns as i64)))
    }
}
