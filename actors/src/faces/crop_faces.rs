//! Cuts faces out of their frame and prepares them for the model that classifies them. The model card defines how, and
//! `fermata_vision::preprocess` does it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup};
use fermata_vision::card::CARD_FILE;
use fermata_vision::face::Crop;
use fermata_vision::pool::Pool;
use fermata_vision::preprocess::{FaceError, PreprocessError};
use fermata_vision::{Face, Frame, ModelCard, Preprocessor};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::Faces;

/// Crops and preprocesses each face for a model. Takes `Faces`, emits `Faces`, each face with its `crop`; stateless
/// between packets.
///
/// A face that cannot be cropped (entirely outside the frame, zero area, no landmarks although the card aligns by them)
/// passes without a crop, so that sinks still see it. Such faces are counted by cause and logged: the first of each
/// cause when it occurs, the totals at the end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CropFacesSettings {
    /// Folder of the model that the faces are for, with its `card.yaml`: the same as the classifier's.
    pub model: PathBuf,
}

/// See `CropFacesSettings`.
pub struct CropFaces {
    node: String,
    preprocessor: Preprocessor,
    pool: Pool<f32>,
    refused: BTreeMap<FaceError, u64>,
}

impl Actor for CropFaces {
    const NAME: &'static str = "crop_faces";
    type Settings = CropFacesSettings;

    fn ports(_: &CropFacesSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .output::<Faces>("out")
            .stateless()
    }

    fn check(settings: &CropFacesSettings) -> Result<(), ActorError> {
        ModelCard::read(&settings.model)?;
        Ok(())
    }

    fn reads(settings: &CropFacesSettings) -> Vec<PathBuf> {
        vec![settings.model.join(CARD_FILE)]
    }

    fn create(settings: CropFacesSettings, setup: &Setup) -> Result<Self, ActorError> {
        // The classifier checks, once, that the weights match the card.
        let card = ModelCard::read(&settings.model)?;
        Ok(Self {
            node: setup.node.clone(),
            preprocessor: Preprocessor::new(&card)?,
            pool: Pool::new(),
            refused: BTreeMap::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let mut faces = Arc::unwrap_or_clone(input.take::<Faces>());
        let Faces {
            video, faces: list, ..
        } = &mut faces;
        for face in list {
            face.crop = self.crop(&video.frame, face)?;
        }
        out.emit(input.envelope, faces);
        Ok(())
    }

    fn finish(&mut self, _: End) -> Result<(), ActorError> {
        for (cause, faces) in &self.refused {
            tracing::warn!(node = %self.node, faces, "faces without a crop: {cause}");
        }
        Ok(())
    }
}

impl CropFaces {
    /// Returns `None` for a face that cannot be cropped; fails for any other reason.
    fn crop(&mut self, frame: &Frame, face: &Face) -> Result<Option<Crop>, PreprocessError> {
        let mut values = self.pool.take(self.preprocessor.len());
        let landmarks = face.landmarks.as_ref();
        match self
            .preprocessor
            .run(frame, &face.rect, landmarks, &mut values)
        {
            Ok(()) => Ok(Some(Crop {
                values: Arc::new(values),
            })),
            Err(PreprocessError::Face(cause)) => {
                self.count(cause, face);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn count(&mut self, cause: FaceError, face: &Face) {
        let faces = self.refused.entry(cause).or_default();
        *faces += 1;
        if *faces == 1 {
            let rect = face.rect;
            tracing::warn!(node = %self.node, ?rect, "a face has no crop: {cause}; further ones are counted");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fermata_engine::testing::{ActorDriver, setup};
    use fermata_files::sha256_of_file;
    use fermata_vision::Rect;
    use fermata_vision::card::ONNX_FILE;

    use super::*;
    use crate::payload::VideoFrame;

    /// Writes a model folder whose weights are never run; inputs are 2 × 1 gray.
    fn model(folder: &Path) -> PathBuf {
        std::fs::write(folder.join(ONNX_FILE), "weights").unwrap();
        let sum = sha256_of_file(&folder.join(ONNX_FILE)).unwrap();
        let card = format!(
            "input: {{name: x, size: [2, 1], layout: nchw, colour: gray}}
interpolation: area
scaling: []
output: {{name: y, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
licence: none
source: a test
sha256: {sum}
"
        );
        std::fs::write(folder.join(CARD_FILE), card).unwrap();
        folder.to_owned()
    }

    fn of(faces: Vec<Face>) -> Faces {
        let pixels = (0..4 * 2).flat_map(|value: u8| [value * 10; 3]).collect();
        Faces::found(VideoFrame::of(Frame::from_bgr(4, 2, pixels)), faces)
    }

    fn face(x: f32, w: f32) -> Face {
        let rect = Rect {
            x,
            y: 0.0,
            w,
            h: 2.0,
        };
        Face {
            rect,
            ..Face::default()
        }
    }

    fn cropped(actor: &mut ActorDriver<CropFaces>, faces: Vec<Face>) -> Vec<Face> {
        let outcome = actor.feed(of(faces)).unwrap();
        outcome.only::<Faces>().faces.clone()
    }

    fn actor(folder: &Path) -> ActorDriver<CropFaces> {
        let settings = CropFacesSettings {
            model: model(folder),
        };
        ActorDriver::create(settings, setup()).unwrap()
    }

    #[test]
    fn every_face_gets_the_crop_that_the_card_describes() {
        let folder = tempfile::tempdir().unwrap();
        let mut actor = actor(folder.path());
        let faces = cropped(&mut actor, vec![face(0.0, 4.0), face(2.0, 2.0)]);
        let crop = |at: usize| faces[at].crop.as_ref().unwrap().values.to_vec();
        assert_eq!(crop(0), [25.0, 45.0]);
        // 2 × 2 pixels grow to 4 × 2 to match the aspect ratio of the input; the frame's last column is repeated.
        assert_eq!(crop(1), [35.0, 50.0]);
        assert!(cropped(&mut actor, Vec::new()).is_empty());
    }

    #[test]
    fn a_face_outside_of_the_frame_goes_on_without_a_crop_and_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut actor = actor(folder.path());
        let list = vec![
            face(9.0, 4.0),
            face(0.0, 4.0),
            face(0.0, 0.0),
            face(-9.0, 4.0),
        ];
        let faces = cropped(&mut actor, list);
        let crops: Vec<_> = faces.iter().map(|face| face.crop.is_some()).collect();
        assert_eq!(crops, [false, true, false, false]);
        assert_eq!(actor.actor.refused[&FaceError::OutsideFrame], 2);
        assert_eq!(actor.actor.refused[&FaceError::NoArea], 1);
    }

    #[test]
    fn a_stale_crop_does_not_survive() {
        let folder = tempfile::tempdir().unwrap();
        let mut actor = actor(folder.path());
        let mut stale = cropped(&mut actor, vec![face(0.0, 4.0)]).remove(0);
        stale.rect.x = 50.0;
        assert!(cropped(&mut actor, vec![stale])[0].crop.is_none());
    }

    #[test]
    fn a_folder_without_a_card_is_refused_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        let settings = CropFacesSettings {
            model: folder.path().to_owned(),
        };
        let error = CropFaces::check(&settings).unwrap_err().to_string();
        assert!(error.contains(CARD_FILE), "{error}");
    }
}
