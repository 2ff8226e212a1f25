//! The tracks of one stream: when they begin, which detection continues which, when they are lost and when they end.
//! Independent of packets and clocks; the caller passes the elapsed time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fermata_vision::face::Landmarks;
use fermata_vision::{Face, Point, Rect};

use super::assignment::assign;
use super::motion::Motion;
use crate::payload::Faces;

/// More boxes than any detector returns for a frame: tracklets are numbered by frame and position.
const MOST_FACES: u64 = 1 << 20;

/// Thresholds of the tracker; see the settings of the same names in [`super::TrackFacesSettings`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) iou: f32,
    pub(super) search: f32,
    pub(super) high: f32,
    pub(super) low: f32,
    pub(super) max_lost: Duration,
    pub(super) min_hits: u32,
}

/// A tracked face.
#[derive(Debug)]
struct Track {
    /// Assigned once it has been detected often enough.
    id: Option<u64>,
    /// Unique among the tracks of a stream, even across a restart.
    tracklet: u64,
    /// Number of detections so far.
    hits: u32,
    motion: Motion,
    /// Box and landmarks of the latest detection.
    seen: (Rect, Option<Landmarks>),
    /// Time since the latest detection.
    unseen: Duration,
    /// Not found where it was expected: kept to be found again, but not emitted.
    lost: bool,
}

/// The tracks of one stream.
#[derive(Debug)]
pub(super) struct Tracker {
    rules: Rules,
    tracks: Vec<Track>,
    /// The id assigned last; it outlives the tracker.
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

    /// Ends all tracks. Ids continue from where they were.
    pub(super) fn clear(&mut self) {
        self.tracks.clear();
    }

    /// Advances all tracks by `dt`, and ends those that have gone undetected for too long.
    pub(super) fn advance(&mut self, dt: Duration) {
        for track in &mut self.tracks {
            track.motion.advance(dt.as_secs_f64());
            track.unseen = track.unseen.saturating_add(dt);
        }
        let most = self.rules.max_lost;
        self.tracks.retain(|track| track.unseen <= most);
    }

    /// Processes the detections of the frame with this sequence number. Faces that belong to a track are kept, in the
    /// detector's order and otherwise unchanged, and so are doubtful detections that continue a track. All others are
    /// doubtful, even if the detector was sure: whatever may be a face must be hidden where faces are blurred.
    pub(super) fn detect(&mut self, sequence: u64, found: &mut Faces) {
        let sure = found.faces.len();
        let mut faces = std::mem::take(&mut found.faces);
        faces.append(&mut found.doubtful);
        let owners = self.match_up(&faces, sure);
        self.settle(&faces, &owners, sequence);
        for (index, (mut face, owner)) in faces.into_iter().zip(owners).enumerate() {
            (face.track, face.tracklet) = (None, None);
            match owner {
                Owner::Track(index) => {
                    (face.track, face.tracklet) = self.identify(index);
                    found.faces.push(face);
                }
                Owner::Untrackable if index < sure => found.faces.push(face),
                _ => found.doubtful.push(face),
            }
        }
        // Only now, because owners are positions in the list.
        self.tracks
            .retain(|track| track.id.is_some() || !track.lost);
        found.lost = self.lost();
    }

    /// Adds the predicted boxes of the faces in a frame that the detector skipped.
    pub(super) fn predict(&mut self, frame: &mut Faces) {
        let picture = &frame.video.frame;
        let (width, height) = (picture.width() as f32, picture.height() as f32);
        for track in self.tracks.iter_mut().filter(|track| !track.lost) {
            let rect = track.motion.rect();
            if !is_inside(&rect, width, height) {
                track.lost = true;
                continue;
            }
            let (seen, landmarks) = &track.seen;
            frame.faces.push(Face {
                rect,
                landmarks: landmarks.map(|landmarks| carry_along(landmarks, seen, &rect)),
                track: track.id,
                tracklet: Some(track.tracklet),
                ..Face::default()
            });
        }
        let order = |face: &Face| (face.track.is_none(), face.track, face.tracklet);
        frame.faces.sort_by_key(order);
        frame.lost = self.lost();
    }

    /// Returns where the lost faces are expected.
    fn lost(&self) -> Vec<Rect> {
        let lost = self.tracks.iter().filter(|track| track.lost);
        lost.map(|track| track.motion.rect())
            .filter(is_box)
            .collect()
    }

    /// Finds the track of each face; faces that continue none but may start one get a new track. The first `sure` faces
    /// are those that the detector is sure of.
    fn match_up(&mut self, faces: &[Face], sure: usize) -> Vec<Owner> {
        let mut owners: Vec<Owner> = faces
            .iter()
            .enumerate()
            .map(|(index, face)| self.rules.first_owner(face, index < sure))
            .collect();
        let mut free = vec![true; self.tracks.len()];
        // As in ByteTrack: good detections first, to all tracks that have an id, then the doubtful ones (blurred or
        // half hidden faces) to those that were present a moment ago; tracks without an id take the good detections
        // that remain. In between, lost tracks are searched in a wider area: a face that comes out from behind another
        // is not quite where its last boxes, of half a face, predict it.
        let search = self.rules.search;
        let rounds: [(Owner, Eligible, f32); 4] = [
            (Owner::High, |track| track.id.is_some(), 0.0),
            (Owner::Low, |track| track.id.is_some() && !track.lost, 0.0),
            (Owner::High, |track| track.id.is_some(), search),
            (Owner::High, |track| track.id.is_none(), 0.0),
        ];
        for (wanted, eligible, search) in rounds {
            let tracks: Vec<usize> = (0..self.tracks.len())
                .filter(|&index| free[index] && eligible(&self.tracks[index]))
                .collect();
            let candidates: Vec<usize> = (0..faces.len())
                .filter(|&index| owners[index] == wanted)
                .collect();
            let predicted: Vec<Rect> = tracks
                .iter()
                .map(|&index| self.tracks[index].motion.rect().scaled(1.0 + 2.0 * search))
                .collect();
            let detected: Vec<Rect> = candidates
                .iter()
                .map(|&index| faces[index].rect.scaled(1.0 + 2.0 * search))
                .collect();
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
    fn settle(&mut self, faces: &[Face], owners: &[Owner], sequence: u64) {
        for track in &mut self.tracks {
            track.lost = true;
        }
        for (place, (face, owner)) in faces.iter().zip(owners).enumerate() {
            let &Owner::Track(index) = owner else {
                continue;
            };
            match self.tracks.get_mut(index) {
                Some(track) => track.hit(face),
                None => {
                    let tracklet = sequence * MOST_FACES + place as u64;
                    self.tracks.push(Track::starting_with(face, tracklet));
                }
            }
        }
        for track in self.tracks.iter_mut().filter(|track| track.lost) {
            track.motion.hold_size();
        }
    }

    /// Returns the id of a track that has just been detected, once it has been detected often enough, and its tracklet.
    fn identify(&mut self, index: usize) -> (Option<u64>, Option<u64>) {
        let track = &mut self.tracks[index];
        if track.id.is_none() && track.hits >= self.rules.min_hits {
            track.id = Some(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        }
        (track.id, Some(track.tracklet))
    }
}

/// Condition for a track to take part in a round of matching.
type Eligible = fn(&Track) -> bool;

/// Owner of a detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// None yet; may start a track.
    High,
    /// None yet; can only continue a track.
    Low,
    /// None: scored too low to be a face.
    Nobody,
    /// Not a box that can be tracked.
    Untrackable,
    /// The track at this position, or where it will be once the new tracks have been added.
    Track(usize),
}

impl Rules {
    fn first_owner(&self, face: &Face, sure: bool) -> Owner {
        let score = face.score.unwrap_or(1.0);
        if !is_box(&face.rect) {
            Owner::Untrackable
        } else if sure && score >= self.high {
            Owner::High
        } else if score >= self.low {
            Owner::Low
        } else {
            Owner::Nobody
        }
    }
}

impl Track {
    fn starting_with(face: &Face, tracklet: u64) -> Self {
        Self {
            id: None,
            tracklet,
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

/// Returns whether all values are finite and the box has an area.
fn is_box(rect: &Rect) -> bool {
    let finite = [rect.x, rect.y, rect.w, rect.h]
        .iter()
        .all(|value| value.is_finite());
    let area = rect.area();
    finite && rect.w > 0.0 && rect.h > 0.0 && area > 0.0 && area.is_finite()
}

/// Returns whether a predicted box is valid, and its centre lies in the frame.
fn is_inside(rect: &Rect, width: f32, height: f32) -> bool {
    let center = rect.center();
    is_box(rect) && (0.0..width).contains(&center.x) && (0.0..height).contains(&center.y)
}

/// Moves and scales landmarks with their box.
fn carry_along(landmarks: Landmarks, from: &Rect, to: &Rect) -> Landmarks {
    landmarks.map(|point| Point {
        x: to.x + (point.x - from.x) * (to.w / from.w),
        y: to.y + (point.y - from.y) * (to.h / from.h),
    })
}
