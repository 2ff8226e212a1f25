//! Runs a lane on a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::lane::{Lane, Step};
use crate::runtime::parker::Parker;

/// How many times a lane looks again before it parks. A parked thread costs its waker microseconds, so a short wait is
/// cheaper awake; much longer spins take the core from the very thread that is waited for.
const LOOKS_BEFORE_PARKING: u32 = 100;

/// Steps the lane until it is finished.
pub(crate) fn run(mut lane: Lane, parker: &Arc<Parker>) {
    parker.adopt_current_thread();
    let clock = lane.clock();
    let mut looks = 0;
    loop {
        match lane.step() {
            Step::Progressed => looks = 0,
            Step::Finished => break,
            Step::Idle { .. } if looks < LOOKS_BEFORE_PARKING => {
                looks += 1;
                std::hint::spin_loop();
            }
            Step::Idle { .. } => {
                parker.announce();
                match lane.step() {
                    Step::Progressed => parker.retract(),
                    Step::Finished => {
                        parker.retract();
                        break;
                    }
                    Step::Idle { until_ns } => {
                        let timeout = until_ns.map(|until| {
                            Duration::from_nanos(until.saturating_sub(clock.now_ns()))
                        });
                        if timeout != Some(Duration::ZERO) {
                            parker.park(timeout);
                        } else {
                            parker.retract();
                        }
                    }
                }
                looks = 0;
            }
        }
    }
    lane.exited();
}
