//! How many frames of a recording are missing where it is damaged. A container goes on behind a damaged place without a word
//! of what was in it; the time stamps show it, but only where there is damage: elsewhere a gap is the recording's own.

/// Frames after a sign of damage in which a gap is taken for its effect: a decoder holds back up to sixteen.
const NEAR: u32 = 32;

/// Frames after a gap by which a sign of damage may come: a decoder notices when it misses what a later frame refers to.
const LATE: u32 = 8;

/// A longer gap is no damage, whatever is near: recordings were put together, or a clock was set. Nanoseconds.
const MOST_NS: i64 = 60_000_000_000;

/// Distances of frames from which the usual one is told.
const RECENT: usize = 9;

/// Watches the time stamps of a recording.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    last_ns: Option<i64>,
    /// The last distances, nanoseconds; the oldest is overwritten.
    distances: [i64; RECENT],
    seen: usize,
    near: u32,
    /// Frames that a gap took for which there is no sign so far, and how many came since; and those for which one has come.
    unexplained: u64,
    since: u32,
    explained: u64,
    /// Frames that were counted as lost already since the last one that came.
    counted: u64,
}

impl Damage {
    /// Something is wrong at this place of the recording.
    pub(crate) fn sign(&mut self) {
        self.near = NEAR;
        self.explained += std::mem::take(&mut self.unexplained);
    }

    /// A frame was counted as lost when it was met.
    pub(crate) fn counted(&mut self) {
        self.counted += 1;
        self.sign();
    }

    /// A frame came at this time; says how many are missing before it that nobody has counted.
    pub(crate) fn frame(&mut self, pts_ns: i64) -> u64 {
        let usual_ns = self.usual_distance();
        let distance_ns = self.last_ns.map(|last| pts_ns.saturating_sub(last));
        self.last_ns = Some(pts_ns);
        let counted = std::mem::take(&mut self.counted);
        let is_near = self.near > 0;
        self.near = self.near.saturating_sub(1);
        self.since += 1;
        if self.since > LATE {
            self.unexplained = 0;
        }
        let explained = std::mem::take(&mut self.explained);
        let is_within = |distance: &i64| (1..=MOST_NS).contains(distance);
        let Some(distance_ns) = distance_ns.filter(is_within) else {
            return explained;
        };
        let frames = usual_ns.map_or(1.0, |usual_ns| distance_ns as f64 / usual_ns as f64);
        let missing = (frames.round() as u64).saturating_sub(1 + counted);
        if missing > 0 && is_near {
            return explained + missing;
        }
        self.distances[self.seen % RECENT] = distance_ns;
        self.seen += 1;
        if missing > 0 {
            self.unexplained += missing;
            self.since = 0;
        }
        explained
    }

    /// The median of the last distances.
    fn usual_distance(&self) -> Option<i64> {
        let mut known = self.distances[..self.seen.min(RECENT)].to_vec();
        known.sort_unstable();
        known.get(known.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regular(damage: &mut Damage, frames: std::ops::Range<i64>) -> u64 {
        frames.map(|n| damage.frame(n * 40_000_000)).sum()
    }

    #[test]
    fn a_gap_counts_where_there_is_damage_and_nowhere_else() {
        let mut damage = Damage::default();
        assert_eq!(regular(&mut damage, 0..20), 0);
        assert_eq!(regular(&mut damage, 30..50), 0, "its own gap");
        assert_eq!(regular(&mut damage, 55..60), 0, "not yet known");
        damage.sign();
        assert_eq!(regular(&mut damage, 60..100), 5, "noticed late");
        let mut damage = Damage::default();
        regular(&mut damage, 0..50);
        damage.sign();
        assert_eq!(regular(&mut damage, 50..52), 0, "the decoder holds back");
        assert_eq!(regular(&mut damage, 71..80), 19);
    }

    #[test]
    fn a_frame_that_was_counted_when_it_was_met_is_not_counted_again() {
        let mut damage = Damage::default();
        regular(&mut damage, 0..20);
        damage.counted();
        assert_eq!(regular(&mut damage, 21..30), 0);
        damage.counted();
        assert_eq!(regular(&mut damage, 33..40), 2);
    }

    #[test]
    fn a_rate_that_varies_has_a_usual_distance_too() {
        let mut damage = Damage::default();
        let mut at = 0;
        for distance in [33, 34, 33, 50, 33, 33, 34, 33] {
            at += distance;
            assert_eq!(damage.frame(at), 0);
        }
        damage.sign();
        assert_eq!(damage.frame(at + 132), 3);
        assert_eq!(damage.frame(at + 100), 0, "back in time");
    }
}
