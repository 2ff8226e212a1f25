//! Regions of a frame that must stay hidden: faces, doubtful detections, and places where a face was or is expected.
//! When in doubt, more is hidden.

use std::time::Duration;

use fermata_engine::Envelope;
use fermata_vision::blur::{Blur, blur, blur_all};
use fermata_vision::{Face, FrameMut, Rect};

use crate::payload::Faces;
use crate::stream_time::StreamTime;

/// What is hidden in a frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Hidden {
    /// The whole frame: the positions of its faces are unknown.
    Frame,
    /// These boxes, including margins; they may extend beyond the frame.
    Boxes(Vec<Rect>),
}

/// A face of a frame, and the region hidden for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundFace {
    tracklet: Option<u64>,
    rect: Rect,
}

impl Hidden {
    /// Also hides where the `later` frame shows faces that are not among the faces `here` of this frame.
    pub(crate) fn add_later(&mut self, here: &[FoundFace], later: &[FoundFace]) {
        let Self::Boxes(boxes) = self else {
            return;
        };
        let is_here = |face: &&FoundFace| {
            face.tracklet.is_some() && here.iter().any(|own| own.tracklet == face.tracklet)
        };
        let unknown = later.iter().filter(|face| !is_here(face));
        boxes.extend(unknown.map(|face| face.rect));
    }
}

/// Hides the regions in the frame.
///
/// # Errors
/// Returns errors of OpenCV.
pub(crate) fn hide(frame: &mut FrameMut, hidden: &Hidden, how: Blur) -> opencv::Result<()> {
    match hidden {
        Hidden::Frame => blur_all(frame, how),
        Hidden::Boxes(boxes) => boxes.iter().try_for_each(|rect| blur(frame, rect, how)),
    }
}

/// Default margin on each side of a box, as a fraction of its size.
pub(crate) const MARGIN: f32 = 0.3;
/// Default time for which a place stays hidden.
pub(crate) const HOLD: Duration = Duration::from_millis(500);

/// State of a stream.
#[derive(Debug)]
pub(crate) struct Hiding {
    /// Margin on each side of a box, as a fraction of its size.
    margin: f32,
    /// How long a place stays hidden.
    hold: Duration,
    time: StreamTime,
    now: Duration,
    seen: Vec<Seen>,
}

/// Where a face was last seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    tracklet: Option<u64>,
    rect: Rect,
    at: Duration,
}

impl Hiding {
    pub(crate) fn new(margin: f32, hold: Duration) -> Self {
        Self {
            margin,
            hold,
            time: StreamTime::default(),
            now: Duration::ZERO,
            seen: Vec::new(),
        }
    }

    /// Returns the faces of a frame, including doubtful ones, with their margins.
    pub(crate) fn found(&self, faces: &Faces) -> Vec<FoundFace> {
        let all = faces.faces.iter().chain(&faces.doubtful);
        all.map(|face| FoundFace {
            tracklet: face.tracklet,
            rect: self.with_margin(face.rect),
        })
        .collect()
    }

    fn with_margin(&self, rect: Rect) -> Rect {
        rect.scaled(1.0 + 2.0 * self.margin)
    }

    /// Returns what is hidden in the next frame of the stream.
    pub(crate) fn pass(&mut self, envelope: &Envelope, faces: &Faces) -> Hidden {
        match self.time.pass(envelope) {
            Some(dt) => self.now = self.now.saturating_add(dt),
            None => {
                self.now = Duration::ZERO;
                self.seen.clear();
            }
        }
        if !faces.known {
            return Hidden::Frame;
        }
        let present = |tracklet: Option<u64>| {
            tracklet.is_some() && faces.faces.iter().any(|face| face.tracklet == tracklet)
        };
        // A face that moves on uncovers its old place; one that vanished, or that is not tracked, does not yet.
        let (now, hold) = (self.now, self.hold);
        self.seen
            .retain(|seen| !present(seen.tracklet) && now.saturating_sub(seen.at) <= hold);
        let sees = |face: &Face| Seen {
            tracklet: face.tracklet,
            rect: face.rect,
            at: now,
        };
        self.seen.extend(faces.faces.iter().map(sees));
        self.seen.extend(faces.doubtful.iter().map(sees));
        let boxes = self.seen.iter().map(|seen| seen.rect);
        let boxes = boxes.chain(faces.lost.iter().copied());
        Hidden::Boxes(boxes.map(|rect| self.with_margin(rect)).collect())
    }
}

#[cfg(test)]
mod tests {
    use fermata_engine::Capture;
    use fermata_engine::testing::{ActorDriver, capture, input};
    use fermata_vision::Frame;

    use super::*;
    use crate::payload::VideoFrame;
    use crate::temporal::track_faces::TrackFaces;

    fn at(x: f32) -> Rect {
        Rect {
            x,
            y: 0.0,
            w: 10.0,
            h: 10.0,
        }
    }

    fn face(tracklet: Option<u64>, x: f32) -> Face {
        Face {
            rect: at(x),
            tracklet,
            ..Face::default()
        }
    }

    fn frame(faces: Vec<Face>) -> Faces {
        Faces::found(VideoFrame::of(Frame::from_bgr(1, 1, vec![0; 3])), faces)
    }

    /// Returns the left edges of the hidden regions, without a margin.
    fn hidden(hiding: &mut Hiding, ms: i64, segment: u32, faces: &Faces) -> Vec<f32> {
        let capture = Capture {
            segment,
            pts_ns: ms * 1_000_000,
            ..capture(0)
        };
        let envelope = input(capture, faces.clone()).envelope;
        match hiding.pass(&envelope, faces) {
            Hidden::Frame => vec![f32::INFINITY],
            Hidden::Boxes(boxes) => boxes.iter().map(|rect| rect.x).collect(),
        }
    }

    fn hiding() -> Hiding {
        Hiding::new(0.0, Duration::from_millis(100))
    }

    #[test]
    fn a_vanished_face_stays_hidden_for_a_while_and_a_moving_one_leaves_no_trail() {
        let mut state = hiding();
        let one = Some(1);
        assert_eq!(
            hidden(&mut state, 0, 0, &frame(vec![face(one, 5.0)])),
            [5.0]
        );
        assert_eq!(
            hidden(&mut state, 40, 0, &frame(vec![face(one, 9.0)])),
            [9.0]
        );
        assert_eq!(hidden(&mut state, 140, 0, &frame(vec![])), [9.0]);
        assert!(hidden(&mut state, 141, 0, &frame(vec![])).is_empty());
    }

    #[test]
    fn doubt_lost_faces_and_faces_that_nobody_follows_are_hidden_too() {
        let mut state = hiding();
        let faces = Faces {
            doubtful: vec![face(None, 20.0)],
            lost: vec![at(40.0)],
            ..frame(vec![face(None, 1.0)])
        };
        assert_eq!(hidden(&mut state, 0, 0, &faces), [1.0, 20.0, 40.0]);
        // Where lost faces are expected is up to the tracker; the others stay.
        assert_eq!(hidden(&mut state, 50, 0, &frame(vec![])), [1.0, 20.0]);
    }

    #[test]
    fn what_a_tracker_takes_for_background_is_hidden() {
        let settings = serde_json::json!({"high": 0.7, "low": 0.3});
        let mut tracker = ActorDriver::<TrackFaces>::new(settings).unwrap();
        // Enough to continue a track, too little for that, no number, and a face.
        let scores = [0.65, 0.1, f32::NAN, 0.9];
        let faces = (1_u8..).zip(scores).map(|(place, score)| Face {
            score: Some(score),
            ..face(None, 20.0 * f32::from(place))
        });
        let found = input(capture(0), frame(faces.collect()));
        let tracked = tracker.process(found).unwrap().only::<Faces>();
        assert_eq!((tracked.faces.len(), tracked.doubtful.len()), (1, 3));
        let boxes = hidden(&mut hiding(), 0, 0, &tracked);
        assert_eq!(boxes, [80.0, 20.0, 40.0, 60.0]);
    }

    #[test]
    fn a_frame_of_which_nobody_knows_is_hidden_whole_and_forgets_nothing() {
        let mut state = hiding();
        let unknown = Faces::not_looked_at(VideoFrame::of(Frame::from_bgr(1, 1, vec![0; 3])));
        assert_eq!(hidden(&mut state, 0, 0, &unknown), [f32::INFINITY]);
        hidden(&mut state, 40, 0, &frame(vec![face(Some(1), 5.0)]));
        assert_eq!(hidden(&mut state, 80, 0, &unknown), [f32::INFINITY]);
        assert_eq!(hidden(&mut state, 120, 0, &frame(vec![])), [5.0]);
        assert!(
            hidden(&mut state, 130, 1, &frame(vec![])).is_empty(),
            "a new segment"
        );
    }

    #[test]
    fn the_margin_is_a_share_of_the_box() {
        let mut state = Hiding::new(0.3, Duration::ZERO);
        let boxes = hidden(&mut state, 0, 0, &frame(vec![face(Some(1), 5.0)]));
        assert!((boxes[0] - 2.0).abs() < 1e-5, "{boxes:?}");
    }
}
