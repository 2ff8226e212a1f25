//! How far apart the clocks of a site's machines are: each part compares its own with the server's, tells the others,
//! and reads what they have told.
//!
//! Owns how clocks are compared, and what follows for latencies from one machine to another.

use std::sync::Mutex;

use super::record::{PartMessage, Records, RunMessage};
use crate::last::{Last, Unread};
use crate::lock::lock;
use crate::time::unix_ns;

/// A machine's clock relative to the server's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockOffset {
    /// How much it is ahead, in milliseconds.
    pub ahead_ms: f64,
    /// How wrong that may be, in milliseconds: half of the round-trip time.
    pub error_ms: f64,
}

/// What is known of the clocks of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SiteClocks {
    /// This machine's clock at its last comparison; none if no comparison has succeeded.
    pub own: Option<ClockOffset>,
    /// How wrong latencies of packets from the other machines may be at most, in milliseconds: the farthest that this
    /// clock and one of theirs have been apart at any comparison. None until the clock of at least one other part, and
    /// of each that has begun, is known.
    pub latency_error_ms: Option<f64>,
}

/// Compares this machine's clock with the server's by writing its part's record, and reads what the others have told of
/// theirs.
///
/// # Errors
/// The server cannot do it now.
pub(super) async fn compare(
    records: &Records,
    run: &RunMessage,
    machine: &str,
    part: &PartMessage,
    clocks: &Mutex<SiteClocks>,
) -> Result<(), String> {
    let subject = records.part_subject(machine);
    let known = read(records, machine).await?;
    let is_own = |known: &PartMessage| {
        (&known.run, known.incarnation, known.ended_unix_ms) == (&part.run, part.incarnation, 0)
    };
    // An unreadable record is overwritten.
    let is_over_own = known.value.as_ref().map_or(known.sequence > 0, is_own);
    if !is_over_own {
        return Ok(());
    }
    let told = lock(clocks).own;
    let own = told.map_or_else(|| part.clone(), |own| own.told_in(part));
    let before_ns = unix_ns();
    // Not over a final record, or that of a part that has replaced this one.
    let since = Some(known.sequence);
    let written = records.write(subject.clone(), &own, since).await?;
    let after_ns = unix_ns();
    let stored = read(records, machine).await?;
    if written.is_none() || stored.value.as_ref() != Some(&own) {
        return Ok(());
    }
    let clock = offset(before_ns, stored.stored_unix_ns, after_ns);
    let mut others = Vec::new();
    for other in run.machines.iter().filter(|other| *other != machine) {
        others.extend(read(records, other).await?.value);
    }
    lock(clocks).found(clock, run, &others);
    if told.is_none() {
        // The others need not wait for the next comparison.
        let own = clock.told_in(part);
        let since = Some(stored.sequence);
        records.write(subject, &own, since).await?;
    }
    Ok(())
}

async fn read(records: &Records, machine: &str) -> Result<Last<PartMessage>, String> {
    let subject = records.part_subject(machine);
    records.read(&subject).await.map_err(Unread::reason)
}

/// Compares this machine's clock with that of a server that stored something between two readings of it.
fn offset(before_ns: i64, stored_ns: i64, after_ns: i64) -> ClockOffset {
    let half_ns = (after_ns - before_ns) / 2;
    ClockOffset {
        ahead_ms: (before_ns + half_ns - stored_ns) as f64 / 1e6,
        error_ms: half_ns as f64 / 1e6,
    }
}

impl ClockOffset {
    /// Returns how far two clocks are apart at most.
    fn apart_ms(self, other: Self) -> f64 {
        (self.ahead_ms - other.ahead_ms).abs() + self.error_ms + other.error_ms
    }

    /// Returns a part's record with this clock in it.
    fn told_in(self, part: &PartMessage) -> PartMessage {
        PartMessage {
            clock_ahead_ns: (self.ahead_ms * 1e6) as i64,
            // Never 0 for a clock that has been compared.
            clock_error_ns: ((self.error_ms * 1e6) as u64).max(1),
            ..part.clone()
        }
    }

    /// Returns what a part has told of its clock.
    fn told_by(part: &PartMessage) -> Option<Self> {
        (part.clock_error_ns > 0).then(|| Self {
            ahead_ms: part.clock_ahead_ns as f64 / 1e6,
            error_ms: part.clock_error_ns as f64 / 1e6,
        })
    }
}

impl SiteClocks {
    /// Takes in a comparison: this machine's clock, and the records of the other parts that have begun.
    fn found(&mut self, own: ClockOffset, run: &RunMessage, others: &[PartMessage]) {
        self.own = Some(own);
        let of_run = others.iter().filter(|part| part.run == run.id);
        let apart = of_run.map(|part| Some(own.apart_ms(ClockOffset::told_by(part)?)));
        let Some(apart) = apart.collect::<Option<Vec<f64>>>() else {
            return;
        };
        let most = apart.into_iter().reduce(f64::max);
        self.latency_error_ms = match (self.latency_error_ms, most) {
            (Some(before), Some(now)) => Some(before.max(now)),
            (before, now) => before.or(now),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(run: &str, clock: Option<ClockOffset>) -> PartMessage {
        let part = PartMessage {
            run: run.to_owned(),
            ..PartMessage::default()
        };
        clock.map_or(part.clone(), |clock| clock.told_in(&part))
    }

    #[test]
    fn a_clock_is_compared_in_the_middle_of_the_way_there_and_back() {
        let found = offset(10_000_000, 5_000_000, 14_000_000);
        assert_eq!((found.ahead_ms, found.error_ms), (7.0, 2.0));
    }

    #[test]
    fn latencies_are_as_wrong_as_clocks_have_ever_been_apart() {
        let run = RunMessage {
            id: "one".to_owned(),
            ..RunMessage::default()
        };
        let clock = |ahead_ms, error_ms| ClockOffset { ahead_ms, error_ms };
        let mut clocks = SiteClocks::default();
        let own = clock(3.0, 0.5);
        clocks.found(own, &run, &[]);
        assert_eq!(clocks.own, Some(own));
        assert_eq!(clocks.latency_error_ms, None, "nobody has sent");
        let known = part("one", Some(clock(-1.0, 1.0)));
        clocks.found(own, &run, &[known.clone(), part("one", None)]);
        assert_eq!(clocks.latency_error_ms, None, "of one it is not known");
        clocks.found(own, &run, &[known, part("another", None)]);
        assert_eq!(clocks.latency_error_ms, Some(5.5));
        clocks.found(own, &run, &[part("one", Some(clock(3.0, 0.1)))]);
        assert_eq!(clocks.latency_error_ms, Some(5.5), "it was so once");
    }
}
