//! The tracks of one stream: when they begin, which detection continues which, when they are lost and when they end.
//! Knows no packets and no clock; the caller says how much time went by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fermata_vision::face::Landmarks;
use fermata_vision::{Face, Point, Rect};

use super::assignment::assign;
use super::motion::Motion;

/// What decides about tracks; see the settings of the same names in [`super::TrackFacesSettings`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) iou: f32,
    pub(super) high: f32,
    pub(super) low: f32,
    pub(super) max_lost: Duration,
    pub(super) min_hits: u32,
}

/// A face that is followed.
#[derive(Debug)]
struct Track {
    /// Given when the track is first put out.
    id: Option<u64>,
    /// Detections so far.
    hits: u32,
    motion: Motion,
    /// The box and the landmarks of the latest detection.
    seen: (Rect, Option<Landmarks>),
    /// Time since the latest detection.
    unseen: Duration,
    /// Not found where it was expected: kept to be found again, but not put out.
    lost: bool,
}

/// The tracks of one stream.
#[derive(Debug)]
pub(super) struct Tracker {
    rules: Rules,
    tracks: Vec<Track>,
    /// The id that was given out last; it outlives the tracker.
    last_id: Arc<AtomicU64>,
}

impl Tracker {
    pub(super) fn new(rules: Rules, last_id: Arc<AtomicU64>) -> Self {
        Self {
            rules,
            tracks: Vec::new(),
            last_id,
        }
    }

    /// Ends all tracks. Ids go on from where they were.
    pub(super) fn clear(&mut self) {
        self.tracks.clear();
    }

    /// Moves all tracks on by `dt`, and ends those that have been unseen for too long.
    pub(super) fn advance(&mut self, dt: Duration) {
        for track in &mut self.tracks {
            track.motion.advance(dt.as_secs_f64());
            track.unseen = track.unseen.saturating_add(dt);
        }
        let most = self.rules.max_lost;
        self.tracks.retain(|track| track.unseen <= most);
    }

    /// Takes the detector's faces of the present frame in and returns those that belong to a track, in the detector's order,
    /// otherwise as they came.
    pub(super) fn detect(&mut self, mut faces: Vec<Face>) -> Vec<Face> {
        let owners = self.match_up(&faces);
        self.settle(&faces, &owners);
        let mut order = owners.into_iter();
        faces.retain_mut(|face| match order.next() {
            Some(Owner::Track(index)) => {
                face.track = self.identify(index);
                face.track.is_some()
            }
            Some(Owner::Untrackable) => {
                face.track = None;
                true
            }
            _ => false,
        });
        // Only now, because the owners are positions in the list.
        self.tracks
            .retain(|track| track.id.is_some() || !track.lost);
        faces
    }

    /// The boxes of the faces that are thought to be in the present frame, at which the detector did not look.
    pub(super) fn predict(&mut self, width: f32, height: f32) -> Vec<Face> {
        let mut faces = Vec::new();
        for track in &mut self.tracks {
            if track.lost || track.id.is_none() {
                continue;
            }
            let rect = track.motion.rect();
            if !is_inside(&rect, width, height) {
                track.lost = true;
                continue;
            }
            let (seen, landmarks) = &track.seen;
            faces.push(Face {
                rect,
                landmarks: landmarks.map(|landmarks| carry_along(landmarks, seen, &rect)),
                track: track.id,
                ..Face::default()
            });
        }
        faces.sort_by_key(|face| face.track);
        faces
    }

    /// Finds the track of each face; faces that continue none but may start one get a new track.
    fn match_up(&mut self, faces: &[Face]) -> Vec<Owner> {
        let mut owners: Vec<Owner> = faces
            .iter()
            .map(|face| self.rules.first_owner(face))
            .collect();
        let mut free = vec![true; self.tracks.len()];
        // As in ByteTrack: good detections first, to all tracks that have an id, then the doubtful ones (blurred or half hidden
        // faces) to those that were there a moment ago; tracks without an id take good detections that nobody wanted.
        let rounds: [(Owner, Eligible); 3] = [
            (Owner::High, |track| track.id.is_some()),
            (Owner::Low, |track| track.id.is_some() && !track.lost),
            (Owner::High, |track| track.id.is_none()),
        ];
        for (wanted, eligible) in rounds {
            let tracks: Vec<usize> = (0..self.tracks.len())
                .filter(|&index| free[index] && eligible(&self.tracks[index]))
                .collect();
            let candidates: Vec<usize> = (0..faces.len())
                .filter(|&index| owners[index] == wanted)
                .collect();
            let predicted: Vec<Rect> = tracks
                .iter()
                .map(|&index| self.tracks[index].motion.rect())
                .collect();
            let detected: Vec<Rect> = candidates.iter().map(|&index| faces[index].rect).collect();
            for (row, column) in assign(&predicted, &detected, self.rules.iou) {
                owners[candidates[column]] = Owner::Track(tracks[row]);
                free[tracks[row]] = false;
            }
        }
        let starting = owners.iter_mut().filter(|owner| **owner == Owner::High);
        for (offset, owner) in starting.enumerate() {
            *owner = Owner::Track(free.len() + offset);
        }
        owners
    }

    /// Updates the tracks that got a detection, begins new ones, and marks the others as lost.
    fn settle(&mut self, faces: &[Face], owners: &[Owner]) {
        for track in &mut self.tracks {
            track.lost = true;
        }
        for (face, owner) in faces.iter().zip(owners) {
            let &Owner::Track(index) = owner else {
                continue;
            };
            match self.tracks.get_mut(index) {
                Some(track) => track.hit(face),
                None => self.tracks.push(Track::starting_with(face)),
            }
        }
        for track in self.tracks.iter_mut().filter(|track| track.lost) {
            track.motion.hold_size();
        }
    }

    /// The id of a track that has just been seen, once it has been seen often enough.
    fn identify(&mut self, index: usize) -> Option<u64> {
        let track = &mut self.tracks[index];
        if track.id.is_none() && track.hits >= self.rules.min_hits {
            track.id = Some(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        }
        track.id
    }
}

/// Which tracks take part in a round of matching.
type Eligible = fn(&Track) -> bool;

/// Whom a detection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Nobody yet; may start a track.
    High,
    /// Nobody yet; can only continue a track.
    Low,
    /// Nobody: scored too low to be a face.
    Nobody,
    /// Not a box that can be followed.
    Untrackable,
    /// The track at this position, or where it will be once the new tracks have been added.
    Track(usize),
}

impl Rules {
    fn first_owner(&self, face: &Face) -> Owner {
        let score = face.score.unwrap_or(1.0);
        if !is_box(&face.rect) {
            Owner::Untrackable
        } else if score >= self.high {
            Owner::High
        } else if score >= self.low {
            Owner::Low
        } else {
            Owner::Nobody
        }
    }
}

impl Track {
    fn starting_with(face: &Face) -> Self {
        Self {
            id: None,
            hits: 1,
            motion: Motion::starting_at(&face.rect),
            seen: (face.rect, face.landmarks),
            unseen: Duration::ZERO,
            lost: false,
        }
    }

    fn hit(&mut self, face: &Face) {
        self.hits = self.hits.saturating_add(1);
        self.motion.correct(&face.rect);
        self.seen = (face.rect, face.landmarks);
        self.unseen = Duration::ZERO;
        self.lost = false;
    }
}

/// Whether all is finite and there is an area.
fn is_box(rect: &Rect) -> bool {
    let finite = [rect.x, rect.y, rect.w, rect.h]
        .iter()
        .all(|value| value.is_finite());
    let area = rect.area();
    finite && rect.w > 0.0 && rect.h > 0.0 && area > 0.0 && area.is_finite()
}

/// Whether a predicted box is one, and its centre lies in the frame.
fn is_inside(rect: &Rect, width: f32, height: f32) -> bool {
    let center = rect.center();
    is_box(rect) && (0.0..width).contains(&center.x) && (0.0..height).contains(&center.y)
}

/// Moves landmarks as their box moved and grew.
fn carry_along(landmarks: Landmarks, from: &Rect, to: &Rect) -> Landmarks {
    landmarks.map(|point| Point {
        x: to.x + (point.x - from.x) * (to.w / from.w),
        y: to.y + (point.y - from.y) * (to.h / from.h),
    })
}
