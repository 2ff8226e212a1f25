//! Runs a lane on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::call::panic_message;
use crate::runtime::lane::{Lane, Step};
use crate::runtime::parker::Parker;

/// Number of times a lane polls again before it parks. Waking a parked thread takes microseconds, so a short wait is
/// cheaper awake; spinning much longer takes the core away from the very thread that is waited for.
const LOOKS_BEFORE_PARKING: u32 = 100;
/// Number of additional streams for which a poll counts once more, since polling takes longer the more streams a lane
/// has.
const STREAMS_OF_A_LOOK: u32 = 16;
/// Number of times a lane polls after polling that often was in vain.
const FEW_LOOKS: u32 = 5;
/// Number of short spins after which the lane spins long once more: its producer may have got a core of its own, or
/// become faster.
const TIMES_WITH_FEW_LOOKS: u32 = 8;

/// Steps the lane until it is finished. A panic of a lane, which is a bug in the engine, ends the run.
pub(crate) fn run(mut lane: Lane, parker: &Arc<Parker>) {
    parker.adopt_current_thread();
    let died = catch_unwind(AssertUnwindSafe(|| drive(&mut lane, parker)));
    let failure = died.err().map(|panic| panic_message(&*panic));
    lane.exited(failure);
}

fn drive(lane: &mut Lane, parker: &Arc<Parker>) {
    let clock = lane.clock();
    let mut looks = 0;
    let mut times_with_few_looks = 0;
    loop {
        let most_looks = match times_with_few_looks {
            0 => LOOKS_BEFORE_PARKING,
            _ => FEW_LOOKS,
        };
        match lane.step() {
            Step::Progressed => {
                if looks > FEW_LOOKS {
                    times_with_few_looks = 0;
                }
                looks = 0;
            }
            Step::Finished => return,
            // If only the clock can give it work, polling is useless.
            Step::Idle { until_ns } if looks < most_looks && lane.may_get(until_ns) => {
                looks += 1 + lane.streams() / STREAMS_OF_A_LOOK;
                std::hint::spin_loop();
            }
            Step::Idle { .. } => {
                times_with_few_looks = match times_with_few_looks {
                    0 => TIMES_WITH_FEW_LOOKS,
                    times => times - 1,
                };
                parker.announce();
                let looked = match lane.step() {
                    // A change made before the announcement has woken nobody; see `Step::Idle`.
                    Step::Idle { .. } => lane.step(),
                    looked => looked,
                };
                match looked {
                    Step::Progressed => parker.retract(),
                    Step::Finished => {
                        parker.retract();
                        return;
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
}
