//! Changes from frame to frame: tracks that begin, labels that change. Kept by stream, and forgotten when it ends.

use std::collections::{BTreeMap, HashMap};

use fermata_vision::{Expression, Face};
use serde::Serialize;

/// Maximum number of tracks remembered for a stream; beyond it the oldest are forgotten.
const MOST_TRACKS: usize = 1024;

/// A change of a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Change {
    /// A track appears for the first time.
    TrackBegan {
        track: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<Expression>,
    },
    /// A track has a different label than before; `from` is absent if it had none.
    LabelChanged {
        track: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Expression>,
        to: Expression,
    },
}

impl Change {
    pub(super) fn track(&self) -> u64 {
        match self {
            Self::TrackBegan { track, .. } | Self::LabelChanged { track, .. } => *track,
        }
    }
}

/// Latest label of each track, by stream.
#[derive(Default)]
pub(super) struct Changes {
    streams: HashMap<u32, BTreeMap<u64, Option<Expression>>>,
}

impl Changes {
    /// Returns the changes in the next frame of a stream. Faces without a track are ignored; an unknown label changes
    /// nothing.
    pub(super) fn of(&mut self, stream: u32, faces: &[Face]) -> Vec<Change> {
        let tracks = self.streams.entry(stream).or_default();
        let mut changes = Vec::new();
        for face in faces {
            let Some(track) = face.track else { continue };
            let label = face.label.or(face.raw_label);
            match tracks.get(&track) {
                None => {
                    tracks.insert(track, label);
                    changes.push(Change::TrackBegan { track, label });
                }
                Some(before) if label.is_some() && label != *before => {
                    let from = *before;
                    tracks.insert(track, label);
                    changes.extend(label.map(|to| Change::LabelChanged { track, from, to }));
                }
                Some(_) => {}
            }
        }
        while tracks.len() > MOST_TRACKS {
            tracks.pop_first();
        }
        changes
    }

    /// Forgets a stream that has ended.
    pub(super) fn forget(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fermata_vision::Rect;

    fn face(track: Option<u64>, label: Option<Expression>) -> Face {
        let rect = Rect {
            x: 0.0,
            y: 0.0,
            w: 8.0,
            h: 8.0,
        };
        Face {
            track,
            label,
            rect,
            ..Face::default()
        }
    }

    #[test]
    fn tracks_begin_once_and_only_known_labels_change() {
        use Expression::{Happy, Sad};
        let mut changes = Changes::default();
        let began = Change::TrackBegan {
            track: 1,
            label: None,
        };
        assert_eq!(changes.of(0, &[face(Some(1), None)]), [began]);
        let changed = |from, to| Change::LabelChanged { track: 1, from, to };
        assert_eq!(
            changes.of(0, &[face(Some(1), Some(Happy)), face(None, Some(Sad))]),
            [changed(None, Happy)]
        );
        assert!(changes.of(0, &[face(Some(1), Some(Happy))]).is_empty());
        assert!(changes.of(0, &[]).is_empty());
        assert!(changes.of(0, &[face(Some(1), None)]).is_empty());
        assert_eq!(
            changes.of(0, &[face(Some(1), Some(Sad))]),
            [changed(Some(Happy), Sad)]
        );
        // Another stream's track of the same number is a different face.
        assert_eq!(changes.of(1, &[face(Some(1), None)]).len(), 1);
        changes.forget(0);
        assert_eq!(changes.of(0, &[face(Some(1), None)]), [began]);
    }
}
