//! Assigns overlapping slices to as few tracks as possible: slices on one track must nest, but waits in a queue do not.

use std::collections::BTreeSet;

/// The tracks of one name. Slices must be added in the order of their ends.
#[derive(Default)]
pub(crate) struct Slots {
    /// End of the last slice on each track, and the track.
    ends: BTreeSet<(u64, u64)>,
}

impl Slots {
    /// Returns a track that has been free since `begin_ns`; if there is none, a new one, numbered by `new_track`.
    pub(crate) fn track(
        &mut self,
        begin_ns: u64,
        end_ns: u64,
        new_track: impl FnOnce() -> u64,
    ) -> u64 {
        // Choose the track that has been free for the shortest time, so that others stay free for slices that began
        // earlier.
        let free = self
            .ends
            .range(..=(begin_ns, u64::MAX))
            .next_back()
            .copied();
        let track = match free {
            Some(slot) => {
                self.ends.remove(&slot);
                slot.1
            }
            None => new_track(),
        };
        self.ends.insert((end_ns, track));
        track
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_on_a_track_never_overlap_and_tracks_are_used_again() {
        let mut slots = Slots::default();
        let mut tracks = 0;
        let mut placed: Vec<(u64, u64, u64)> = Vec::new();
        // A queue of three: each packet waits for the duration of three calls.
        for end in 3..100 {
            let track = slots.track(end - 3, end, || {
                tracks += 1;
                tracks
            });
            placed.push((track, end - 3, end));
        }
        assert_eq!(tracks, 3);
        for (index, (track, begin, _)) in placed.iter().enumerate() {
            let before = placed[..index].iter().rev().find(|other| other.0 == *track);
            assert!(before.is_none_or(|(_, _, end)| end <= begin));
        }
    }
}
