//! Estimates how many frames of a recording are missing where it is damaged. A container skips a damaged place without
//! reporting what was in it. The time stamps reveal it, but only near damage: elsewhere, a gap belongs to the
//! recording.

/// Number of frames after a sign of damage within which a gap is attributed to it: a decoder holds back up to sixteen.
const NEAR: u32 = 32;

/// Number of frames after a gap within which a sign of damage still explains it: a decoder notices damage when a frame
/// that a later one refers to is missing.
const LATE: u32 = 8;

/// A longer gap is not damage, whatever is near: recordings were joined, or a clock was set. Nanoseconds.
const MOST_NS: i64 = 60_000_000_000;

/// A step back in time beyond this begins another recording. Nanoseconds.
const LATE_NS: i64 = 2_000_000_000;

/// Number of frame distances from which the usual one is estimated.
const RECENT: usize = 9;

/// Estimates missing frames from the time stamps of a recording.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    last_ns: Option<i64>,
    /// Ring buffer of the last distances, in nanoseconds.
    distances: [i64; RECENT],
    seen: usize,
    has_been_met: bool,
    near: u32,
    /// Frames missing in gaps without a sign of damage so far, the number of frames since, and the missing frames that
    /// a sign has since explained.
    unexplained: u64,
    since: u32,
    explained: u64,
    /// Nearby frames that were counted as undecodable without a known gap, and frames that were counted by gaps. A
    /// decoder reports an undecodable frame before it returns the frames around it or, with several threads,
    /// afterwards.
    met: u64,
    told: u64,
}

impl Damage {
    /// Records a sign of damage at this place of the recording.
    pub(crate) fn sign(&mut self) {
        self.has_been_met = true;
        self.near = NEAR;
        self.explained += std::mem::take(&mut self.unexplained);
    }

    /// Records that the recording ends, and that nothing tells whether it was cut here: if its frames have come at one
    /// distance so far, those absent at the end are missing.
    pub(crate) fn may_be_cut(&mut self) {
        let usual_ns = self.usual_distance().unwrap_or(0);
        let is_usual = |distance: &&i64| (**distance - usual_ns).abs() <= usual_ns / 50;
        let known = &self.distances[..self.seen.min(RECENT)];
        if known.iter().filter(is_usual).count() > RECENT / 2 {
            self.sign();
        }
    }

    /// Returns whether there has been any damage so far.
    pub(crate) fn has_been_met(&self) -> bool {
        self.has_been_met
    }

    /// Records an undecodable frame; returns whether it has not been counted by a gap.
    pub(crate) fn is_news(&mut self) -> bool {
        self.sign();
        if self.told > 0 {
            self.told -= 1;
            return false;
        }
        self.met += 1;
        true
    }

    /// Records that this many frames were counted which a decoder may still report as undecodable.
    pub(crate) fn told(&mut self, frames: u64) {
        if frames > 0 {
            self.sign();
            self.told += frames;
        }
    }

    /// Records the time of a frame; returns how many uncounted frames are missing before it.
    pub(crate) fn frame(&mut self, pts_ns: i64) -> u64 {
        let usual_ns = self.usual_distance();
        let distance_ns = self.last_ns.map(|last| pts_ns.saturating_sub(last));
        // After an error, a decoder may return frames out of order: late ones do not begin a gap.
        let is_late = distance_ns.is_some_and(|distance| (-LATE_NS..0).contains(&distance));
        if !is_late {
            self.last_ns = Some(pts_ns);
        }
        let is_near = self.near > 0;
        self.near = self.near.saturating_sub(1);
        if !is_near {
            (self.met, self.told) = (0, 0);
        }
        self.since += 1;
        if self.since > LATE {
            self.unexplained = 0;
        }
        let is_within = |distance: &i64| (1..=MOST_NS).contains(distance);
        if let Some(distance_ns) = distance_ns.filter(is_within) {
            let frames = usual_ns.map_or(1.0, |usual_ns| distance_ns as f64 / usual_ns as f64);
            let missing = (frames.round() as u64).saturating_sub(1);
            if missing == 0 || !is_near {
                self.distances[self.seen % RECENT] = distance_ns;
                self.seen += 1;
            }
            match (missing, is_near) {
                (0, _) => {}
                (_, true) => self.explained += missing,
                (_, false) => (self.unexplained, self.since) = (self.unexplained + missing, 0),
            }
        }
        let missing = std::mem::take(&mut self.explained);
        let known = missing.min(self.met);
        self.met -= known;
        self.told += missing - known;
        missing - known
    }

    /// Does the same for a frame whose time was derived from the pictures' own numbers: numbers that these skip are
    /// missing frames, whether there is damage near or not.
    pub(crate) fn numbered_frame(&mut self, pts_ns: i64) -> u64 {
        let missing = self.frame(pts_ns);
        let unexplained = std::mem::take(&mut self.unexplained);
        if unexplained > 0 {
            self.has_been_met = true;
        }
        missing + unexplained
    }

    /// Returns how many frames at the usual distance fill this time; 0 if that distance is unknown.
    pub(crate) fn frames_in(&self, ns: i64) -> u64 {
        let frames = self
            .usual_distance()
            .map(|usual_ns| ns as f64 / usual_ns as f64);
        frames.map_or(0, |frames| frames.round() as u64)
    }

    /// Returns the median of the last distances.
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
    fn numbers_leave_out_nothing_for_nothing() {
        let mut damage = Damage::default();
        let mut numbered = |frames: std::ops::Range<i64>| -> u64 {
            frames.map(|n| damage.numbered_frame(n * 40_000_000)).sum()
        };
        assert_eq!((numbered(0..20), numbered(30..50)), (0, 10));
        assert!(damage.has_been_met());
    }

    #[test]
    fn a_frame_that_was_counted_when_it_was_met_is_not_counted_again() {
        let mut damage = Damage::default();
        regular(&mut damage, 0..20);
        assert!(damage.is_news());
        assert_eq!(regular(&mut damage, 21..30), 0);
        assert!(damage.is_news());
        assert_eq!(regular(&mut damage, 33..40), 2);
        // The decoder returns what it holds back, and then the gap.
        let mut damage = Damage::default();
        regular(&mut damage, 0..40);
        assert!(damage.is_news() && damage.is_news());
        assert_eq!(regular(&mut damage, 40..44), 0);
        assert_eq!(regular(&mut damage, 47..50), 1);
    }

    #[test]
    fn a_frame_of_a_gap_that_was_counted_is_not_counted_again_when_it_is_met() {
        let mut damage = Damage::default();
        regular(&mut damage, 0..20);
        damage.sign();
        assert_eq!(regular(&mut damage, 22..24), 2);
        let news = [(); 3].map(|()| damage.is_news());
        assert_eq!(news, [false, false, true]);
        assert_eq!(regular(&mut damage, 25..70), 0);
        assert_eq!(regular(&mut damage, 71..72), 0, "no sign near");
        damage.sign();
        assert_eq!(regular(&mut damage, 72..74), 1);
    }

    #[test]
    fn what_lacks_at_the_end_is_missing_where_frames_came_regularly() {
        let mut damage = Damage::default();
        assert_eq!(
            regular(&mut damage, 0..20) + regular(&mut damage, 22..24),
            0
        );
        damage.may_be_cut();
        assert_eq!(regular(&mut damage, 26..27), 4);
        let mut damage = Damage::default();
        let times = [0, 33, 90, 100, 170, 190, 260, 270, 350, 365, 700];
        let missing: u64 = times.map(|ms| damage.frame(ms * 1_000_000)).iter().sum();
        damage.may_be_cut();
        assert_eq!(
            missing + damage.frame(1_000_000_000),
            0,
            "no usual distance"
        );
        assert!(!damage.has_been_met());
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
        assert_eq!(damage.frame(at + 165), 0, "on from the latest");
    }
}
