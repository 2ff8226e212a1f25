//! Detects the faces of a frame; the kind of detector follows from the model file. Tracking, and the frames that the
//! detector skips, are left to `track_faces`.

use std::io::ErrorKind;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_files::MOST_NUMBERS;
use fermata_vision::{Face, Frame};
use schemars::JsonSchema;
use serde::Deserialize;

use super::haar::{self, Haar};
pub use super::haar::{DEFAULT as HAAR_DEFAULT, NAME as HAAR, is_cascade};
use super::nms::{self, Candidate};
use super::pixels;
use super::ultraface::{self, Ultraface};
use super::yunet::{self, Yunet};
use crate::payload::{Faces, VideoFrame};
use fermata_onnx::{Device, Precision, PrecisionError, Session, SessionSpec};

/// Detects faces. Takes `VideoFrame`, emits `Faces` sorted by descending score; stateless between packets, so it may
/// have `replicas`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectFacesSettings {
    /// The detector: a YuNet or UltraFace as an `.onnx` file or as a folder with `model.onnx`, a Haar cascade as an
    /// `.xml` file, or `haar` for the frontal face cascade of Debian's `opencv-data`. Default: `haar`.
    #[serde(default = "haar_cascade")]
    pub model: PathBuf,
    /// Runs the detector only on packets whose sequence number is a multiple of this; the others pass without faces and
    /// are marked as skipped. Default: 1.
    #[serde(default = "one_packet")]
    pub every: NonZeroU64,
    /// Device that the model runs on: `cpu`, `openvino` (the processor, through OpenVINO; `make setup-openvino`),
    /// `cuda` or `cuda:N`. A device that is not available is an error. Default: `cpu`.
    #[serde(default)]
    pub device: Device,
    /// Number format of the model: `f32`, or `bf16` with `device: openvino` if the processor has it. Default: `f32`.
    #[serde(default)]
    pub precision: Precision,
    /// Threads within an operator of the model; for more throughput prefer `replicas`. Default: 1.
    #[serde(default = "one_thread")]
    pub threads: NonZeroUsize,
    /// Minimum score of a face, 0..1. Scores of different detectors are not comparable. Default: 0.6 for YuNet, 0.7 for
    /// UltraFace, 0.5 for a cascade (four windows that agree).
    #[serde(default)]
    pub min_score: Option<f32>,
    /// Minimum score of a doubtful detection, 0..1, which is passed on separately from the faces: `track_faces`
    /// continues tracks with it, and blurring hides it. Default: half of `min_score`.
    #[serde(default)]
    pub doubtful_score: Option<f32>,
    /// Non-maximum suppression: of boxes that overlap by more than this IoU, 0..1, the best is kept. Default: 0.3.
    #[serde(default)]
    pub nms_iou: Option<f32>,
    /// Faces whose shorter side is below this many pixels of the frame are left out. Default: 0 for networks, 24 for a
    /// cascade (a larger value makes it much faster).
    #[serde(default)]
    pub min_size: Option<f32>,
    /// Detects on a downscaled copy whose longer side has at most this many pixels: faster, but misses small faces.
    /// Boxes are still in pixels of the frame. YuNet splits faces larger than about 500 pixels into several. UltraFace
    /// has a fixed input size and rejects values below it. Default: the frame's own size.
    #[serde(default)]
    pub max_side: Option<NonZeroUsize>,
}

fn haar_cascade() -> PathBuf {
    PathBuf::from(HAAR)
}

fn one_packet() -> NonZeroU64 {
    NonZeroU64::MIN
}

fn one_thread() -> NonZeroUsize {
    NonZeroUsize::MIN
}

/// Why a detector cannot be set up or fails.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DetectFacesError {
    /// `model` names a file that cannot be read.
    #[error("cannot read the face detector {}: {reason}{hint}", path.display())]
    Unreadable {
        path: PathBuf,
        reason: std::io::Error,
        hint: &'static str,
    },
    /// `model` names a file of another type.
    #[error(
        "{} is not a face detector: `model` is an .onnx file, a folder with model.onnx, an .xml file with a Haar cascade, or `haar`",
        path.display()
    )]
    UnknownFile { path: PathBuf },
    /// An ONNX model that is neither YuNet nor UltraFace.
    #[error(
        "model {} is not a known face detector; expected {} or {}; found {found}",
        path.display(), yunet::EXPECTED, ultraface::EXPECTED
    )]
    UnknownModel { path: PathBuf, found: String },
    /// A mistake in the model, or an attempt to exhaust memory.
    #[error("model {} has the unsupported detector input size {width} × {height}", path.display())]
    InputSize {
        path: PathBuf,
        width: usize,
        height: usize,
    },
    /// A number out of range.
    #[error("`{setting}` is {value}, but must be {range}")]
    Range {
        setting: &'static str,
        value: f32,
        range: &'static str,
    },
    /// A setting that this detector does not support.
    #[error("`{setting}` cannot be used with {detector}: {reason}")]
    Unsupported {
        setting: &'static str,
        detector: &'static str,
        reason: &'static str,
    },
    /// A number format that the device does not support.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// A frame without pixels.
    #[error("the frame is empty ({width} × {height} pixels)")]
    EmptyFrame { width: usize, height: usize },
    /// NaN or infinity in a box or score.
    #[error(
        "the detector computed a box or score that is not a number; the model file may be damaged"
    )]
    NoNumber,
}

/// The file that `model` refers to.
#[derive(Debug, PartialEq, Eq)]
enum ModelFile {
    Onnx(PathBuf),
    Cascade(PathBuf),
}

impl ModelFile {
    fn of(model: &Path) -> Result<Self, DetectFacesError> {
        if model == Path::new(HAAR) {
            return Ok(Self::Cascade(haar::DEFAULT.into()));
        }
        if model.is_dir() {
            return Ok(Self::Onnx(model.join("model.onnx")));
        }
        match model.extension().and_then(|extension| extension.to_str()) {
            Some("onnx") => Ok(Self::Onnx(model.to_owned())),
            Some("xml") => Ok(Self::Cascade(model.to_owned())),
            // A path that does not exist is reported as missing: perhaps a folder was meant.
            _ => match std::fs::metadata(model) {
                Ok(_) => Err(DetectFacesError::UnknownFile {
                    path: model.to_owned(),
                }),
                Err(reason) => Err(unreadable(model, reason)),
            },
        }
    }

    fn readable(&self) -> Result<(), DetectFacesError> {
        let (Self::Onnx(path) | Self::Cascade(path)) = self;
        match fermata_files::open(path, MOST_NUMBERS) {
            Ok(_) => Ok(()),
            Err(reason) if reason.kind() == ErrorKind::IsADirectory => {
                Err(DetectFacesError::UnknownFile { path: path.clone() })
            }
            Err(reason) => Err(unreadable(path, reason)),
        }
    }
}

fn unreadable(path: &Path, reason: std::io::Error) -> DetectFacesError {
    let hint = if path == Path::new(haar::DEFAULT) {
        "; install the package opencv-data, or name a cascade file"
    } else {
        ""
    };
    DetectFacesError::Unreadable {
        path: path.to_owned(),
        reason,
        hint,
    }
}

impl DetectFacesSettings {
    /// Returns the model file after checking that the settings are compatible with it.
    fn model_file(&self) -> Result<ModelFile, DetectFacesError> {
        let share = |setting, value: Option<f32>| match value {
            Some(value) if !(0.0..=1.0).contains(&value) => Err(DetectFacesError::Range {
                setting,
                value,
                range: "between 0 and 1",
            }),
            _ => Ok(()),
        };
        share("min_score", self.min_score)?;
        share("doubtful_score", self.doubtful_score)?;
        share("nms_iou", self.nms_iou)?;
        if let Some(value) = self.min_size.filter(|size| !(0.0..1e6).contains(size)) {
            return Err(DetectFacesError::Range {
                setting: "min_size",
                value,
                range: "a number of pixels, 0 or more",
            });
        }
        let file = ModelFile::of(&self.model)?;
        let cascade = matches!(file, ModelFile::Cascade(_));
        let unsupported = |setting, reason| DetectFacesError::Unsupported {
            setting,
            detector: "a Haar cascade",
            reason,
        };
        if cascade && self.device != Device::Cpu {
            return Err(unsupported("device", "it runs on the processor only"));
        }
        if cascade && self.precision != Precision::F32 {
            return Err(unsupported("precision", "it is not a neural network"));
        }
        if cascade && self.threads.get() != 1 {
            return Err(unsupported(
                "threads",
                "it runs on one thread; use `replicas`",
            ));
        }
        self.device.computes_in(self.precision)?;
        Ok(file)
    }
}

enum Detector {
    Yunet(Box<Yunet>),
    Ultraface(Box<Ultraface>),
    Haar(Box<Haar>),
}

impl Detector {
    fn load(settings: &DetectFacesSettings) -> Result<Self, ActorError> {
        let file = settings.model_file()?;
        file.readable()?;
        let max_side = settings.max_side.map(NonZeroUsize::get);
        let path = match file {
            ModelFile::Onnx(path) => path,
            ModelFile::Cascade(path) => {
                let min_size = settings.min_size.unwrap_or(HAAR_MIN_SIZE);
                let haar = Haar::load(&path, max_side, min_size)?;
                return Ok(Self::Haar(Box::new(haar)));
            }
        };
        let spec = SessionSpec {
            device: settings.device,
            precision: settings.precision,
            threads: settings.threads.get(),
        };
        let session = Session::load(&path, &spec)?;
        if let Some((width, height)) = pixels::unfit_size(session.inputs()) {
            let size = DetectFacesError::InputSize {
                path,
                width,
                height,
            };
            return Err(size.into());
        }
        if let Some(layout) = yunet::Layout::of(&session) {
            let yunet = Yunet::new(session, layout, max_side);
            return Ok(Self::Yunet(Box::new(yunet)));
        }
        if let Some(layout) = ultraface::Layout::of(&session) {
            let ultraface = Ultraface::new(session, layout)?;
            if max_side.is_some_and(|most| most < ultraface.longer_side()) {
                return Err(DetectFacesError::Unsupported {
                    setting: "max_side",
                    detector: "UltraFace",
                    reason: "its input has a fixed size, which is larger",
                }
                .into());
            }
            return Ok(Self::Ultraface(Box::new(ultraface)));
        }
        let found = describe(&session);
        Err(DetectFacesError::UnknownModel { path, found }.into())
    }

    fn default_min_score(&self) -> f32 {
        match self {
            Self::Yunet(_) => 0.6,
            Self::Ultraface(_) => 0.7,
            Self::Haar(_) => 0.5,
        }
    }

    fn detect(
        &mut self,
        frame: &Frame,
        min_score: f32,
        found: &mut Vec<Candidate>,
    ) -> Result<(), ActorError> {
        match self {
            Self::Yunet(yunet) => yunet.detect(frame, min_score, found),
            Self::Ultraface(ultraface) => ultraface.detect(frame, min_score, found),
            Self::Haar(haar) => haar.detect(frame, min_score, found),
        }
    }
}

const NMS_IOU: f32 = 0.3;
const HAAR_MIN_SIZE: f32 = 24.0;

fn describe(session: &Session) -> String {
    let list = |infos: &[_]| {
        let infos = infos.iter().map(ToString::to_string);
        infos.collect::<Vec<_>>().join(", ")
    };
    let (inputs, outputs) = (list(session.inputs()), list(session.outputs()));
    format!("inputs {inputs}; outputs {outputs}")
}

/// See `DetectFacesSettings`.
pub struct DetectFaces {
    detector: Detector,
    every: NonZeroU64,
    min_score: f32,
    doubtful_score: f32,
    nms_iou: f32,
    min_size: f32,
    candidates: Vec<Candidate>,
}

impl DetectFaces {
    /// Returns the faces of a frame and the doubtful detections, both by descending score.
    fn find(&mut self, frame: &Frame) -> Result<(Vec<Face>, Vec<Face>), ActorError> {
        let (width, height) = (frame.width(), frame.height());
        if width == 0 || height == 0 {
            return Err(DetectFacesError::EmptyFrame { width, height }.into());
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        let least = self.doubtful_score.min(self.min_score);
        self.detector.detect(frame, least, candidates)?;
        if !candidates.iter().all(Candidate::is_finite) {
            return Err(DetectFacesError::NoNumber.into());
        }
        candidates.retain(|candidate| candidate.rect.w.min(candidate.rect.h) >= self.min_size);
        nms::suppress(candidates, self.nms_iou);
        let faces = candidates.iter().map(|candidate| Face {
            rect: candidate.rect,
            landmarks: candidate.landmarks,
            score: Some(candidate.score),
            ..Face::default()
        });
        let is_sure = |face: &Face| face.score.is_some_and(|score| score >= self.min_score);
        Ok(faces.partition(is_sure))
    }
}

impl Actor for DetectFaces {
    const NAME: &'static str = "detect_faces";
    type Settings = DetectFacesSettings;

    fn ports(_: &DetectFacesSettings) -> Ports {
        let ports = Ports::new().input::<VideoFrame>("in");
        ports.output::<Faces>("out").stateless()
    }

    fn check(settings: &DetectFacesSettings) -> Result<(), ActorError> {
        Ok(settings.model_file()?.readable()?)
    }

    fn reads(settings: &DetectFacesSettings) -> Vec<PathBuf> {
        let (ModelFile::Onnx(path) | ModelFile::Cascade(path)) = match settings.model_file() {
            Ok(file) => file,
            Err(_) => return Vec::new(),
        };
        vec![path]
    }

    fn try_out(settings: &DetectFacesSettings) -> Result<(), ActorError> {
        Detector::load(settings)?;
        Ok(())
    }

    fn create(settings: DetectFacesSettings, _: &Setup) -> Result<Self, ActorError> {
        fermata_vision::opencv_threads::use_one_thread()?;
        let detector = Detector::load(&settings)?;
        let given = settings.min_score;
        let min_score = given.unwrap_or_else(|| detector.default_min_score());
        Ok(Self {
            min_score,
            doubtful_score: settings.doubtful_score.unwrap_or(min_score / 2.0),
            detector,
            every: settings.every,
            nms_iou: settings.nms_iou.unwrap_or(NMS_IOU),
            min_size: settings.min_size.unwrap_or(0.0),
            candidates: Vec::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let video = Arc::unwrap_or_clone(input.take::<VideoFrame>());
        let detected = input.envelope.sequence.is_multiple_of(self.every.get());
        let faces = if detected {
            let (faces, doubtful) = self.find(&video.frame)?;
            Faces {
                doubtful,
                ..Faces::found(video, faces)
            }
        } else {
            Faces::not_looked_at(video)
        };
        out.emit(input.envelope, faces);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(model: &str) -> DetectFacesSettings {
        DetectFacesSettings {
            model: model.into(),
            every: one_packet(),
            device: Device::Cpu,
            precision: Precision::F32,
            threads: one_thread(),
            min_score: None,
            doubtful_score: None,
            nms_iou: None,
            min_size: None,
            max_side: None,
        }
    }

    fn refusal(settings: &DetectFacesSettings) -> String {
        let error = DetectFaces::check(settings).expect_err("refused");
        error.to_string()
    }

    #[test]
    fn a_missing_model_is_found_before_anything_starts() {
        for model in ["nowhere/yunet.onnx", "nowhere/cascade.xml", "nowhere"] {
            let message = refusal(&settings(model));
            assert!(message.contains(model), "{message}");
        }
        let empty = tempfile::tempdir().unwrap();
        let message = refusal(&settings(empty.path().to_str().unwrap()));
        assert!(message.contains("model.onnx"), "{message}");
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let file = tempfile::NamedTempFile::with_suffix(".txt").unwrap();
        let message = refusal(&settings(file.path().to_str().unwrap()));
        assert!(message.contains(".onnx") && message.contains("`haar`"));
    }

    #[test]
    fn the_missing_default_cascade_names_its_package() {
        let reason = std::io::Error::from(std::io::ErrorKind::NotFound);
        let message = unreadable(Path::new(haar::DEFAULT), reason).to_string();
        assert!(message.contains("opencv-data"), "{message}");
    }

    #[test]
    fn numbers_out_of_range_and_what_a_cascade_cannot_do_are_refused() {
        let mut wrong = settings("haar");
        wrong.min_score = Some(1.5);
        assert!(refusal(&wrong).contains("`min_score` is 1.5"));
        wrong.min_score = None;
        wrong.nms_iou = Some(f32::NAN);
        assert!(refusal(&wrong).contains("`nms_iou`"));
        wrong.nms_iou = None;
        wrong.min_size = Some(-1.0);
        assert!(refusal(&wrong).contains("`min_size`"));
        wrong.min_size = None;
        wrong.device = Device::Cuda(0);
        assert!(refusal(&wrong).contains("`device`"));
        wrong.device = Device::Cpu;
        wrong.precision = Precision::Bf16;
        assert!(refusal(&wrong).contains("`precision`"));
        wrong.model = concat!(env!("CARGO_MANIFEST_DIR"), "/detector.onnx").into();
        assert!(refusal(&wrong).contains("`device: openvino`"));
        wrong.model = haar_cascade();
        wrong.precision = Precision::F32;
        wrong.threads = NonZeroUsize::new(2).unwrap();
        assert!(refusal(&wrong).contains("`replicas`"));
    }

    #[test]
    fn ports_do_not_look_for_the_model() {
        let ports = DetectFaces::ports(&settings("nowhere/yunet.onnx"));
        assert!(ports.stateless);
        assert_eq!((ports.inputs.len(), ports.outputs.len()), (1, 1));
    }
}
