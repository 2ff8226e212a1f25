//! Codecs of frames and faces for edges to other machines: protobuf messages, with raw or JPEG-compressed pixels.
//!
//! Owns their formats. Decoding arbitrary bytes does not panic, and takes no more memory than the size that they
//! declare.

use std::sync::Arc;

use fermata_engine::codec::Codec;
use fermata_engine::{ActorError, Codecs};
use fermata_vision::face::{Crop, Probabilities};
use fermata_vision::image_file::MOST_PIXELS;
use fermata_vision::pool::Pooled;
use fermata_vision::{
    Expression, Face, Frame, FramePool, GroundTruth, Point, Rect, TrueFace, jpeg,
};
use prost::Message;

use crate::payload::{Faces, VideoFrame};

/// Registers the codecs of this crate's payloads.
pub(crate) fn register(codecs: &mut Codecs) {
    codecs.register::<VideoFrameV1>();
    codecs.register::<FacesV1>();
}

/// `video_frame`, version 1.
struct VideoFrameV1;

/// `faces`, version 1.
struct FacesV1;

impl Codec for VideoFrameV1 {
    type Payload = VideoFrame;
    const NAME: &'static str = "video_frame";
    const VERSION: u32 = 1;

    fn encode(video: &VideoFrame, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        Ok(VideoMessage::of(video, None)?.encode(bytes)?)
    }

    fn encode_smaller(
        video: &VideoFrame,
        quality: u8,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ActorError> {
        Ok(VideoMessage::of(video, Some(quality))?.encode(bytes)?)
    }

    fn decode(bytes: &[u8]) -> Result<VideoFrame, ActorError> {
        VideoMessage::decode(bytes)?.read()
    }
}

impl Codec for FacesV1 {
    type Payload = Faces;
    const NAME: &'static str = "faces";
    const VERSION: u32 = 1;

    fn encode(faces: &Faces, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        Ok(FacesMessage::of(faces, None)?.encode(bytes)?)
    }

    fn encode_smaller(faces: &Faces, quality: u8, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        Ok(FacesMessage::of(faces, Some(quality))?.encode(bytes)?)
    }

    fn decode(bytes: &[u8]) -> Result<Faces, ActorError> {
        FacesMessage::decode(bytes)?.read()
    }
}

#[derive(Clone, PartialEq, Message)]
struct VideoMessage {
    #[prost(uint32, tag = "1")]
    width: u32,
    #[prost(uint32, tag = "2")]
    height: u32,
    #[prost(bool, tag = "3")]
    is_jpeg: bool,
    #[prost(bytes = "vec", tag = "4")]
    pixels: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    truth: Option<TruthMessage>,
    #[prost(string, optional, tag = "6")]
    file: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TruthMessage {
    #[prost(message, repeated, tag = "1")]
    faces: Vec<TrueFaceMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct TrueFaceMessage {
    #[prost(uint32, tag = "1")]
    identity: u32,
    #[prost(message, optional, tag = "2")]
    rect: Option<RectMessage>,
    #[prost(uint32, tag = "3")]
    expression: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct RectMessage {
    #[prost(float, tag = "1")]
    x: f32,
    #[prost(float, tag = "2")]
    y: f32,
    #[prost(float, tag = "3")]
    w: f32,
    #[prost(float, tag = "4")]
    h: f32,
}

#[derive(Clone, PartialEq, Message)]
struct FacesMessage {
    #[prost(message, optional, tag = "1")]
    video: Option<VideoMessage>,
    #[prost(message, repeated, tag = "2")]
    faces: Vec<FaceMessage>,
    #[prost(bool, tag = "3")]
    detected: bool,
    #[prost(message, repeated, tag = "4")]
    doubtful: Vec<FaceMessage>,
    #[prost(message, repeated, tag = "5")]
    lost: Vec<RectMessage>,
    #[prost(bool, tag = "6")]
    known: bool,
}

/// An empty list stands for a missing value.
#[derive(Clone, PartialEq, Message)]
struct FaceMessage {
    #[prost(message, optional, tag = "1")]
    rect: Option<RectMessage>,
    #[prost(float, repeated, tag = "2")]
    landmarks: Vec<f32>,
    #[prost(float, optional, tag = "3")]
    score: Option<f32>,
    #[prost(uint64, optional, tag = "4")]
    track: Option<u64>,
    #[prost(float, repeated, tag = "5")]
    crop: Vec<f32>,
    #[prost(float, repeated, tag = "6")]
    probabilities: Vec<f32>,
    #[prost(uint32, optional, tag = "7")]
    raw_label: Option<u32>,
    #[prost(float, repeated, tag = "8")]
    smoothed: Vec<f32>,
    #[prost(uint32, optional, tag = "9")]
    label: Option<u32>,
    #[prost(uint64, optional, tag = "10")]
    tracklet: Option<u64>,
}

impl VideoMessage {
    fn of(video: &VideoFrame, quality: Option<u8>) -> Result<Self, ActorError> {
        let frame = &video.frame;
        let pixels = match quality {
            Some(quality) => jpeg::encode(frame, quality)?,
            None => frame.bgr().to_vec(),
        };
        let of_face = |face: &TrueFace| TrueFaceMessage {
            identity: face.identity,
            rect: Some(face.rect.into()),
            expression: face.expression as u32,
        };
        let of_truth = |truth: &Arc<GroundTruth>| TruthMessage {
            faces: truth.faces.iter().map(of_face).collect(),
        };
        Ok(Self {
            width: u32::try_from(frame.width())?,
            height: u32::try_from(frame.height())?,
            is_jpeg: quality.is_some(),
            pixels,
            truth: video.truth.as_ref().map(of_truth),
            file: video.file.as_deref().map(str::to_owned),
        })
    }

    fn read(self) -> Result<VideoFrame, ActorError> {
        let (width, height) = (usize::try_from(self.width)?, usize::try_from(self.height)?);
        let pixels = width.checked_mul(height);
        // Larger than any source produces unless it is asked to.
        let pixels = pixels.filter(|pixels| (1..=MOST_PIXELS as usize).contains(pixels));
        let pixels = pixels.ok_or("the picture is empty or too large")?;
        let frame = if self.is_jpeg {
            jpeg::decode(&self.pixels, (width, height), &FramePool::new())?
        } else if self.pixels.len() == 3 * pixels {
            Frame::from_bgr(width, height, self.pixels)
        } else {
            return Err("the number of pixels does not match the size of the picture".into());
        };
        let truth = self.truth.map(|truth| {
            let faces = truth.faces.into_iter().map(TrueFaceMessage::read);
            let faces = faces.collect::<Result<_, ActorError>>()?;
            Ok::<_, ActorError>(Arc::new(GroundTruth { faces }))
        });
        Ok(VideoFrame {
            frame,
            truth: truth.transpose()?,
            file: self.file.map(Arc::from),
        })
    }
}

impl TrueFaceMessage {
    fn read(self) -> Result<TrueFace, ActorError> {
        Ok(TrueFace {
            identity: self.identity,
            rect: self.rect.unwrap_or_default().into(),
            expression: expression(self.expression)?,
        })
    }
}

impl FacesMessage {
    fn of(faces: &Faces, quality: Option<u8>) -> Result<Self, ActorError> {
        Ok(Self {
            video: Some(VideoMessage::of(&faces.video, quality)?),
            faces: faces.faces.iter().map(FaceMessage::of).collect(),
            detected: faces.detected,
            doubtful: faces.doubtful.iter().map(FaceMessage::of).collect(),
            lost: faces.lost.iter().map(|&rect| rect.into()).collect(),
            known: faces.known,
        })
    }

    fn read(self) -> Result<Faces, ActorError> {
        let read = |faces: Vec<FaceMessage>| {
            let faces = faces.into_iter().map(FaceMessage::read);
            faces.collect::<Result<Vec<Face>, ActorError>>()
        };
        Ok(Faces {
            video: self.video.ok_or("faces without a frame")?.read()?,
            faces: read(self.faces)?,
            doubtful: read(self.doubtful)?,
            lost: self.lost.into_iter().map(Rect::from).collect(),
            detected: self.detected,
            known: self.known,
        })
    }
}

impl FaceMessage {
    fn of(face: &Face) -> Self {
        let list = |values: Option<Probabilities>| values.map_or_else(Vec::new, Vec::from);
        let landmarks = face.landmarks.iter().flatten();
        Self {
            rect: Some(face.rect.into()),
            landmarks: landmarks.flat_map(|point| [point.x, point.y]).collect(),
            score: face.score,
            track: face.track,
            tracklet: face.tracklet,
            crop: face
                .crop
                .as_ref()
                .map_or_else(Vec::new, |crop| crop.values.to_vec()),
            probabilities: list(face.probabilities),
            raw_label: face.raw_label.map(|label| label as u32),
            smoothed: list(face.smoothed),
            label: face.label.map(|label| label as u32),
        }
    }

    fn read(self) -> Result<Face, ActorError> {
        let landmarks = match &self.landmarks[..] {
            [] => None,
            values if values.len() == 10 => {
                let point = |number: usize| Point {
                    x: values[2 * number],
                    y: values[2 * number + 1],
                };
                Some(std::array::from_fn(point))
            }
            values => return Err(format!("{} numbers for five landmarks", values.len()).into()),
        };
        let crop = (!self.crop.is_empty()).then(|| Crop {
            values: Arc::new(Pooled::from_vec(self.crop)),
        });
        Ok(Face {
            rect: self.rect.unwrap_or_default().into(),
            landmarks,
            score: self.score,
            track: self.track,
            tracklet: self.tracklet,
            crop,
            probabilities: probabilities(self.probabilities)?,
            raw_label: self.raw_label.map(expression).transpose()?,
            smoothed: probabilities(self.smoothed)?,
            label: self.label.map(expression).transpose()?,
        })
    }
}

fn probabilities(values: Vec<f32>) -> Result<Option<Probabilities>, ActorError> {
    if values.is_empty() {
        return Ok(None);
    }
    let values = Probabilities::try_from(values);
    let values = values.map_err(|values| format!("{} probabilities", values.len()))?;
    Ok(Some(values))
}

fn expression(index: u32) -> Result<Expression, ActorError> {
    let found = Expression::ALL.get(usize::try_from(index)?).copied();
    found.ok_or_else(|| format!("no expression has the number {index}").into())
}

impl From<Rect> for RectMessage {
    fn from(Rect { x, y, w, h }: Rect) -> Self {
        Self { x, y, w, h }
    }
}

impl From<RectMessage> for Rect {
    fn from(RectMessage { x, y, w, h }: RectMessage) -> Self {
        Self { x, y, w, h }
    }
}

#[cfg(test)]
mod tests {
    use fermata_engine::packet::downcast;
    use proptest::prelude::*;

    use super::*;

    fn codecs() -> Codecs {
        let mut codecs = Codecs::default();
        register(&mut codecs);
        codecs
    }

    fn video() -> VideoFrame {
        let face = TrueFace {
            identity: 3,
            rect: rect(),
            expression: Expression::Sad,
        };
        VideoFrame {
            frame: Frame::from_bgr(4, 2, (0..24).collect()),
            truth: Some(Arc::new(GroundTruth { faces: vec![face] })),
            file: Some("a.png".into()),
        }
    }

    fn rect() -> Rect {
        Rect {
            x: -1.5,
            y: 2.0,
            w: 30.25,
            h: 40.0,
        }
    }

    fn faces() -> Faces {
        let known = Face {
            rect: rect(),
            landmarks: Some(std::array::from_fn(|number| Point {
                x: number as f32,
                y: 0.5,
            })),
            score: Some(0.75),
            track: Some(u64::MAX),
            tracklet: Some(7),
            crop: Some(Crop {
                values: Arc::new(Pooled::from_vec(vec![0.5, -1.0])),
            }),
            probabilities: Some([0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]),
            raw_label: Some(Expression::Angry),
            smoothed: Some([0.0; 7]),
            label: Some(Expression::Neutral),
        };
        Faces {
            video: video(),
            faces: vec![known.clone(), Face::default()],
            doubtful: vec![known],
            lost: vec![rect()],
            detected: true,
            known: true,
        }
    }

    fn bytes_of_faces() -> Vec<u8> {
        let mut bytes = Vec::new();
        let form = codecs().encode(&faces(), &mut bytes).unwrap();
        assert_eq!((form.name, form.version), ("faces", 1));
        bytes
    }

    #[test]
    fn frames_and_faces_come_back_as_they_were() {
        let back = codecs().decode("faces", 1, &bytes_of_faces()).unwrap();
        let back = downcast::<Faces>(back).ok().unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", faces()));
        let mut bytes = Vec::new();
        codecs().encode(&video(), &mut bytes).unwrap();
        let back = codecs().decode("video_frame", 1, &bytes).unwrap();
        let back = downcast::<VideoFrame>(back).ok().unwrap();
        assert_eq!(back.frame.bgr(), video().frame.bgr());
    }

    #[test]
    fn a_quality_makes_frames_smaller_and_keeps_all_else() {
        let plain = Faces {
            video: VideoFrame::of(Frame::from_bgr(64, 64, vec![90; 3 * 64 * 64])),
            ..faces()
        };
        let mut bytes = Vec::new();
        codecs().encode_smaller(&plain, 80, &mut bytes).unwrap();
        assert!(bytes.len() < 3000, "{}", bytes.len());
        let back = codecs().decode("faces", 1, &bytes).unwrap();
        let back = downcast::<Faces>(back).ok().unwrap();
        assert_eq!(format!("{:?}", back.faces), format!("{:?}", plain.faces));
        let off = back
            .video
            .frame
            .bgr()
            .iter()
            .map(|&value| value.abs_diff(90));
        assert!(off.max() <= Some(2));
    }

    #[test]
    fn pictures_that_cannot_be_are_refused() {
        let picture = |width, height, pixels: usize, is_jpeg| VideoMessage {
            width,
            height,
            is_jpeg,
            pixels: vec![0; pixels],
            truth: None,
            file: None,
        };
        for wrong in [
            picture(2, 2, 11, false),
            picture(0, 5, 0, false),
            picture(u32::MAX, u32::MAX, 3, false),
            picture(100_000, 100_000, 3, true),
            picture(2, 2, 12, true),
        ] {
            assert!(wrong.clone().read().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_that_were_cut_or_changed_are_read_or_refused(place in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = bytes_of_faces();
            let place = place.index(bytes.len());
            let _ = codecs().decode("faces", 1, &bytes[..place]);
            bytes[place] ^= 1 << bit;
            let _ = codecs().decode("faces", 1, &bytes);
        }
    }
}
