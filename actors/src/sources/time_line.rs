//! Times of a stream's frames: their time stamps, checked against each other and, for live streams, against arrival.
//! Pure arithmetic; the source logs warnings and begins segments.

/// A step back of at most this may be a stumble of a single frame, which keeps its time stamp.
const STUMBLE_NS: i64 = 1_000_000_000;

/// A step back of at most this is disorder among a few frames, which is kept however many there are.
const DISORDER_NS: i64 = 160_000_000;

/// A live stream's time stamps may be this much ahead of arrival, or behind it for a while.
const JUMP_NS: i64 = 3_000_000_000;

/// Time stamps that stay behind arrival for longer than this will not catch up.
const LAG_NS: i64 = 5_000_000_000;

/// Time constant with which drift between the clocks is followed.
const FOLLOW_NS: f64 = 60e9;

/// Assumed distance between frames where none is known yet: 25 frames per second.
const FIRST_DISTANCE_NS: i64 = 40_000_000;

/// Minimum distance between frames that arrive at once.
const LEAST_NS: i64 = 1_000;

/// How far the time stamps of a connection are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A recording: its time stamps are all there is. A gap longer than `max_gap_ns` is not waited for.
    Recording { max_gap_ns: Option<i64> },
    /// A live stream: time stamps are trusted as long as they agree with arrival.
    Checked,
    /// A live stream without time stamps, or with made-up ones: only arrival counts.
    Arrival,
}

/// An anomaly of the time stamps that the user should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// They jumped by this much and continued from there: a new segment.
    Jump { by_ns: i64 },
    /// A recording has no frames for this long, which is not waited for: a new segment.
    Gap { ns: i64 },
    /// One frame's time stamp is off by this much; its arrival time is used instead.
    Stray { by_ns: i64 },
    /// They disagree with arrival, by this much so far; arrival counts from now on: a new segment.
    Apart { by_ns: i64 },
}

impl Finding {
    /// Returns a description for live or recorded frames, and the difference in nanoseconds.
    pub(crate) fn told(self, is_live: bool) -> (&'static str, i64) {
        match self {
            Self::Jump { by_ns } if is_live => (
                "the time stamps jumped: a new segment begins, and time continues from arrival",
                by_ns,
            ),
            Self::Jump { by_ns } => (
                "the time stamps step back: a new segment begins, and time continues",
                by_ns,
            ),
            Self::Gap { ns } => (
                "the recording has a gap longer than `max_gap`, which is not waited for: a new segment begins",
                ns,
            ),
            Self::Stray { by_ns } => (
                "a frame's time stamp is far off: its time of arrival is used instead",
                by_ns,
            ),
            Self::Apart { by_ns } => (
                "the time stamps disagree with arrival: a new segment begins, and times follow arrival from now on",
                by_ns,
            ),
        }
    }
}

/// The time given to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) pts_ns: i64,
    pub(crate) finding: Option<Finding>,
}

impl Placed {
    /// Returns whether a new segment begins here.
    pub(crate) fn begins_segment(&self) -> bool {
        !matches!(self.finding, None | Some(Finding::Stray { .. }))
    }
}

/// A frame as it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// The frame's time stamp, if it has one.
    pub(crate) stamp_ns: Option<i64>,
    /// Arrival time on a monotonic clock.
    pub(crate) at_ns: i64,
    /// Whether the frame had been waiting at the other side, so that its arrival does not indicate its time.
    pub(crate) had_waited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    pts_ns: i64,
    at_ns: i64,
}

/// A reference time stamp and its arrival time.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    ns: i64,
    at_ns: i64,
}

/// A frame that steps back; the next one shows whether time itself has.
#[derive(Clone, Copy, Debug)]
struct Stumble {
    /// Time of the frame before it.
    before_ns: i64,
    by_ns: i64,
}

/// The time line of a stream; see the module docs. It outlives connections: after a reconnect, time continues from
/// arrival.
#[derive(Debug)]
pub(crate) struct TimeLine {
    trust: Trust,
    /// Period of wrapping time stamps: MPEG-TS and RTP count with a limited number of bits.
    period_ns: Option<i64>,
    last: Option<Last>,
    /// The last time stamp that was trusted.
    stamp: Option<Stamp>,
    /// The last time stamp, if it was not trusted.
    suspect: Option<Stamp>,
    stumble: Option<Stumble>,
    /// Difference from a time stamp to the time of its frame.
    offset_ns: i64,
    distance_ns: i64,
    /// Usual lag of arrival behind the time stamps, and since when the lag has been much larger.
    usual_lag_ns: f64,
    late_since_ns: Option<i64>,
}

impl TimeLine {
    /// Creates an empty time line.
    pub(crate) fn new() -> Self {
        Self {
            trust: Trust::Checked,
            period_ns: None,
            last: None,
            stamp: None,
            suspect: None,
            stumble: None,
            offset_ns: 0,
            distance_ns: FIRST_DISTANCE_NS,
            usual_lag_ns: 0.0,
            late_since_ns: None,
        }
    }

    /// Begins a new connection, whose time stamps are unrelated to the previous one's.
    pub(crate) fn connected(&mut self, trust: Trust, period_ns: Option<i64>) {
        self.trust = trust;
        self.period_ns = period_ns.filter(|&period| period > 0);
        (self.stamp, self.suspect, self.late_since_ns) = (None, None, None);
        self.stumble = None;
    }

    /// Returns the time of the next frame.
    pub(crate) fn place(&mut self, arrived: Arrived) -> Placed {
        let placed = match (self.trust, arrived.stamp_ns) {
            (Trust::Arrival, _) | (Trust::Checked, None) => self.by_arrival(arrived.at_ns),
            (Trust::Checked, Some(stamp_ns)) => self.checked(stamp_ns, &arrived),
            (Trust::Recording { max_gap_ns }, Some(stamp_ns)) => {
                self.recorded(stamp_ns, arrived.at_ns, max_gap_ns)
            }
            // The reader gives every frame of a recording a time stamp.
            (Trust::Recording { .. }, None) => self.by_arrival(arrived.at_ns),
        };
        self.last = Some(Last {
            pts_ns: placed.pts_ns,
            at_ns: arrived.at_ns,
        });
        placed
    }

    fn by_arrival(&self, at_ns: i64) -> Placed {
        let pts_ns = self.last.map_or(0, |last| {
            let passed_ns = at_ns.saturating_sub(last.at_ns).max(LEAST_NS);
            last.pts_ns.saturating_add(passed_ns)
        });
        let finding = None;
        Placed { pts_ns, finding }
    }

    fn recorded(&mut self, stamp_ns: i64, at_ns: i64, max_gap_ns: Option<i64>) -> Placed {
        let (Some(last), Some(before)) = (self.last, self.stamp) else {
            return self.first(stamp_ns, at_ns);
        };
        let stamp_ns = self.unwrapped(stamp_ns, before.ns);
        let step_ns = stamp_ns.saturating_sub(before.ns);
        let mut finding = None;
        if step_ns < -STUMBLE_NS {
            finding = Some(Finding::Jump { by_ns: step_ns });
            let resumed_ns = last.pts_ns.saturating_add(self.distance_ns);
            self.offset_ns = resumed_ns.saturating_sub(stamp_ns);
        } else if let Some(stumble) = self.stays_back(stamp_ns, last.pts_ns) {
            let by_ns = stumble.by_ns;
            finding = Some(Finding::Jump { by_ns });
            // The frame that stepped back takes the place between them.
            let resumed_ns = stumble.before_ns.saturating_add(2 * self.distance_ns);
            self.offset_ns = resumed_ns.saturating_sub(stamp_ns);
        } else if max_gap_ns.is_some_and(|most| step_ns > most) {
            finding = Some(Finding::Gap { ns: step_ns });
        } else if step_ns > 0 {
            self.distance_ns = step_ns;
        }
        let ns = stamp_ns;
        self.stamp = Some(Stamp { ns, at_ns });
        let pts_ns = stamp_ns.saturating_add(self.offset_ns);
        Placed { pts_ns, finding }
    }

    /// Returns how time stepped back with the previous frame, if it did: a frame that steps back is a stumble unless
    /// the next one continues from it.
    fn stays_back(&mut self, stamp_ns: i64, last_ns: i64) -> Option<Stumble> {
        let ns = stamp_ns.saturating_add(self.offset_ns);
        let known = self.stumble.take();
        if known.is_some_and(|stumble| ns <= stumble.before_ns) {
            return known;
        }
        let by_ns = ns.saturating_sub(last_ns);
        self.stumble = (by_ns < -DISORDER_NS).then_some(Stumble {
            before_ns: last_ns,
            by_ns,
        });
        None
    }

    /// Places the first frame of a connection. The very first frame of the stream keeps its time stamp; for later
    /// connections, time continues.
    fn first(&mut self, stamp_ns: i64, at_ns: i64) -> Placed {
        let mut placed = self.by_arrival(at_ns);
        if self.last.is_none() {
            placed.pts_ns = stamp_ns;
        }
        self.anchor(stamp_ns, at_ns, placed.pts_ns);
        placed
    }

    fn checked(&mut self, stamp_ns: i64, arrived: &Arrived) -> Placed {
        let at_ns = arrived.at_ns;
        let (Some(last), Some(good)) = (self.last, self.stamp) else {
            return self.first(stamp_ns, at_ns);
        };
        let mut placed = self.by_arrival(at_ns);
        let stamp_ns = self.unwrapped(stamp_ns, good.ns);
        let here = Stamp {
            ns: stamp_ns,
            at_ns,
        };
        let by_ns = stamp_ns.saturating_sub(good.ns);
        if follows(good, here) {
            (self.stamp, self.suspect) = (Some(here), None);
            if let Some(Stumble { by_ns, .. }) = self.stays_back(stamp_ns, last.pts_ns) {
                self.anchor(stamp_ns, at_ns, placed.pts_ns);
                placed.finding = Some(Finding::Jump { by_ns });
                return placed;
            }
            let stamped_ns = stamp_ns.saturating_add(self.offset_ns);
            if let Some(by_ns) = self.lag(stamped_ns, arrived) {
                self.trust = Trust::Arrival;
                placed.finding = Some(Finding::Apart { by_ns });
                return placed;
            }
            placed.pts_ns = stamped_ns.max(last.pts_ns.saturating_add(LEAST_NS));
        } else if self.suspect.is_some_and(|suspect| follows(suspect, here)) {
            self.anchor(stamp_ns, at_ns, placed.pts_ns);
            placed.finding = Some(Finding::Jump { by_ns });
        } else {
            // The next frame shows whether the clock was set or only this frame is off.
            self.suspect = Some(here);
            placed.finding = Some(Finding::Stray { by_ns });
        }
        placed
    }

    /// Makes this time stamp stand for this time; later ones are counted from it.
    fn anchor(&mut self, stamp_ns: i64, at_ns: i64, pts_ns: i64) {
        let ns = stamp_ns;
        (self.stamp, self.suspect) = (Some(Stamp { ns, at_ns }), None);
        self.offset_ns = pts_ns.saturating_sub(stamp_ns);
        self.usual_lag_ns = at_ns.saturating_sub(pts_ns) as f64;
        self.late_since_ns = None;
    }

    /// Returns how far arrival and time stamps have come apart, if it is too far.
    fn lag(&mut self, stamped_ns: i64, arrived: &Arrived) -> Option<i64> {
        let at_ns = arrived.at_ns;
        let lag_ns = at_ns.saturating_sub(stamped_ns) as f64;
        if arrived.had_waited {
            self.usual_lag_ns = lag_ns;
            return None;
        }
        let apart_ns = lag_ns - self.usual_lag_ns;
        if apart_ns.abs() <= JUMP_NS as f64 {
            let passed_ns = self.last.map_or(0, |last| at_ns.saturating_sub(last.at_ns));
            self.usual_lag_ns += apart_ns * (passed_ns as f64 / FOLLOW_NS).min(1.0);
            self.late_since_ns = None;
            return None;
        }
        let late_since_ns = *self.late_since_ns.get_or_insert(at_ns);
        let is_lasting = at_ns.saturating_sub(late_since_ns) > LAG_NS;
        (apart_ns < 0.0 || is_lasting).then_some(apart_ns as i64)
    }

    /// Returns the value nearest to the last time stamp among all that a wrapped one may stand for.
    fn unwrapped(&self, stamp_ns: i64, last_ns: i64) -> i64 {
        let Some(period_ns) = self.period_ns else {
            return stamp_ns;
        };
        let step_ns = i128::from(stamp_ns) - i128::from(last_ns);
        let period_ns = i128::from(period_ns);
        let periods = (step_ns + period_ns / 2).div_euclid(period_ns);
        i64::try_from(i128::from(stamp_ns) - periods * period_ns).unwrap_or(stamp_ns)
    }
}

/// Returns whether a time stamp may follow another: not far before it, and not much further after it than arrival.
fn follows(before: Stamp, after: Stamp) -> bool {
    let step_ns = after.ns.saturating_sub(before.ns);
    let passed_ns = after.at_ns.saturating_sub(before.at_ns).max(0);
    step_ns >= -STUMBLE_NS && step_ns <= passed_ns.saturating_add(JUMP_NS)
}

#[cfg(test)]
mod tests;
