//! Flips beyond those that the truth requires, and true changes that a label never followed.

use std::collections::BTreeMap;

use super::faces::{FaceRow, Label};
use super::truth::{StreamTruth, TrueFace};

/// The true changes of a track, and how its label followed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrueChanges {
    /// Changes of the true label between the first and the last labelled row, over all frames, seen or not.
    pub(super) changes: u64,
    /// Changes after which the label did not become the new one before the next change or the end of the track.
    pub(super) not_followed: u64,
}

/// Counts the true changes of a track, from its rows in order, each with its matched true face. None if no row matches
/// a true face: the track then has no truth.
///
/// The true label of a track is that of the face it was last matched with (before the first match: the first one), so
/// that a track that jumps to another face is expected to take over that face's label.
pub(super) fn true_changes(
    rows: &[(&FaceRow, Option<&TrueFace>)],
    truth: &StreamTruth,
) -> Option<TrueChanges> {
    let first_face = rows.iter().find_map(|(_, face)| *face)?.face;
    let labelled = |row: &&(&FaceRow, Option<&TrueFace>)| row.0.label.is_some();
    let first = rows.iter().find(labelled)?.0.sequence;
    let last = rows.iter().rfind(labelled)?.0.sequence;
    let identities: BTreeMap<u64, u64> = rows
        .iter()
        .filter_map(|(row, face)| Some((row.sequence, face.as_ref()?.face)))
        .collect();
    let mut steps = Vec::<(u64, &Label)>::new();
    for (&sequence, frame) in truth.range(first..=last) {
        let identity = identities.range(..=sequence).next_back();
        let identity = identity.map_or(first_face, |(_, face)| *face);
        let Some(face) = frame.faces.iter().find(|face| face.face == identity) else {
            continue;
        };
        if steps.last().is_none_or(|(_, label)| *label != &face.label) {
            steps.push((sequence, &face.label));
        }
    }
    let mut changes = TrueChanges::default();
    for (index, (from, label)) in steps.iter().enumerate().skip(1) {
        let until = steps.get(index + 1).map_or(u64::MAX, |next| next.0);
        let follows = |(row, _): &(&FaceRow, _)| {
            (*from..until).contains(&row.sequence) && row.label.as_ref() == Some(label)
        };
        changes.changes += 1;
        changes.not_followed += u64::from(!rows.iter().any(follows));
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::super::truth::TrueFrame;
    use super::*;

    /// Makes a face from each text, which holds its label in each frame; a blank is a frame without the face.
    fn truth(faces: &[&str]) -> StreamTruth {
        let mut truth = StreamTruth::new();
        for (face, labels) in faces.iter().enumerate() {
            for (sequence, label) in labels.chars().enumerate() {
                let frame: &mut TrueFrame = truth.entry(sequence as u64).or_default();
                if label != ' ' {
                    frame.faces.push(TrueFace {
                        face: face as u64,
                        rect: [0.0; 4],
                        label: label.to_string().into(),
                    });
                }
            }
        }
        truth
    }

    /// Makes a row for each character that is not a blank; `matched` says which face it shows.
    fn of(labels: &str, matched: &str, truth: &StreamTruth) -> Option<(u64, u64)> {
        let rows: Vec<(FaceRow, Option<u64>)> = labels
            .chars()
            .zip(matched.chars())
            .enumerate()
            .filter(|(_, (label, _))| *label != ' ')
            .map(|(sequence, (label, face))| {
                let row = FaceRow {
                    sequence: sequence as u64,
                    label: Some(label.to_string().into()),
                    ..FaceRow::default()
                };
                (row, face.to_digit(10).map(u64::from))
            })
            .collect();
        let rows: Vec<(&FaceRow, Option<&TrueFace>)> = rows
            .iter()
            .map(|(row, face)| {
                let faces = &truth[&row.sequence].faces;
                (row, faces.iter().find(|known| Some(known.face) == *face))
            })
            .collect();
        true_changes(&rows, truth).map(|changes| (changes.changes, changes.not_followed))
    }

    #[test]
    fn changes_in_dropped_frames_are_changes() {
        let truth = truth(&["aabbaacc"]);
        assert_eq!(of("aabbaacc", "00000000", &truth), Some((3, 0)));
        assert_eq!(of("aa    cc", "00    00", &truth), Some((3, 2)));
        assert_eq!(of("aabb    ", "0000    ", &truth), Some((1, 0)));
        assert_eq!(of("aaaaaaaa", "00000000", &truth), Some((3, 2)));
    }

    #[test]
    fn a_track_that_jumps_takes_over_the_other_faces_truth() {
        let truth = truth(&["aaaa", "bbbb"]);
        assert_eq!(of("aabb", "0011", &truth), Some((1, 0)));
        // Unmatched rows stay with the previous face; before the first match, with the first one.
        assert_eq!(of("aabb", "-0-1", &truth), Some((1, 0)));
        assert_eq!(of("aabb", "----", &truth), None);
    }

    #[test]
    fn a_face_that_is_away_changes_nothing() {
        assert_eq!(of("aaaa", "0--0", &truth(&["a  a"])), Some((0, 0)));
    }
}
