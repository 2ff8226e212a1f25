//! The source of random graphs: it counts, and breaks on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fermata_engine::{ActorError, AnyPayload, Captured, Next, Pacing, Ports, Setup, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use super::doors::{self, Desk};
use super::payloads::{Facts, Of, Trouble};

/// Names of the outputs of a source that has two.
pub(crate) const COUNTER_OUTPUTS: [&str; 2] = ["out", "more"];

/// Returns whether a capture goes out on an output of a source with two: in turns on the one, the other, and both.
pub(crate) fn goes_out_on(output: usize, number: u64) -> bool {
    match number % 3 {
        0 => output == 0,
        1 => output == 1,
        _ => true,
    }
}

/// Produces numbered packets.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterSettings {
    of: Of,
    count: u64,
    rate: f64,
    /// Packets arrive at their own pace, as from a camera.
    live: bool,
    /// Weights cycle from 0 to below this.
    weights: usize,
    /// Has nothing for a while before every n-th packet, and begins a new segment with it.
    reconnect_every: Option<u64>,
    /// Breaks after this many packets, and whenever it is rebuilt.
    fail_after: Option<u64>,
    /// Panics once before every n-th packet.
    panic_every: Option<u64>,
    /// Panics in this many of the first calls of `pacing`.
    #[serde(default)]
    pacing_panics: u64,
    /// Every n-th payload panics at this place.
    trouble: Option<Trouble>,
    #[serde(default)]
    trouble_every: u64,
    /// Has a second output.
    #[serde(default)]
    second: bool,
    /// Numbers its packets itself, each this far after the last, and marks the numbers left out.
    gap: Option<u64>,
    /// Answers the open calls of this run.
    answers: Option<u64>,
}

pub(crate) struct Counter {
    settings: CounterSettings,
    node: String,
    /// The state that must survive a restart: packets produced, panics in `next`, panics in `pacing`; 32, 16 and 16
    /// bits.
    lasting: Arc<AtomicU64>,
    waited: bool,
    marked: bool,
    desk: Option<Desk>,
}

/// The address from which no source can be created.
pub(crate) const REFUSED: &str = "refused";

const PANIC: u64 = 1 << 32;
const PACING_PANIC: u64 = 1 << 48;

impl Counter {
    fn produced(&self) -> u64 {
        self.lasting.load(Ordering::Relaxed) % PANIC
    }

    fn panics(&self) -> u64 {
        self.lasting.load(Ordering::Relaxed) % PACING_PANIC / PANIC
    }

    fn pacing_panics(&self) -> u64 {
        self.lasting.load(Ordering::Relaxed) / PACING_PANIC
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // It will not answer any more.
        self.desk.iter().for_each(doors::close);
    }
}

impl Source for Counter {
    const NAME: &'static str = "counter";
    type Settings = CounterSettings;

    fn ports(settings: &CounterSettings) -> Ports {
        let outputs = &COUNTER_OUTPUTS[..1 + usize::from(settings.second)];
        let ports = outputs.iter();
        ports.fold(Ports::new(), |ports, name| settings.of.output(ports, name))
    }

    fn create(settings: CounterSettings, setup: &Setup) -> Result<Self, ActorError> {
        let stream = setup.stream.as_ref();
        if stream.is_some_and(|stream| stream.uri == REFUSED) {
            return Err("refused on purpose".into());
        }
        Ok(Self {
            node: setup.node.clone(),
            lasting: setup.lasting_number(),
            waited: false,
            marked: false,
            desk: settings.answers.map(doors::desk),
            settings,
        })
    }

    fn pacing(&self) -> Pacing {
        if self.pacing_panics() < self.settings.pacing_panics {
            self.lasting.fetch_add(PACING_PANIC, Ordering::Relaxed);
            panic!("panic on purpose in `pacing`");
        }
        if self.settings.live {
            Pacing::Live
        } else {
            Pacing::ByPts
        }
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        self.desk.iter().for_each(doors::answer_some);
        let settings = &self.settings;
        let number = self.produced();
        if number >= settings.count {
            self.desk.iter().for_each(doors::close);
            return Ok(Next::End);
        }
        if settings.fail_after.is_some_and(|after| number >= after) {
            // It is not asked again, and packets that it holds may wait for an answer.
            self.desk.iter().for_each(doors::close);
            return Err("the source broke on purpose".into());
        }
        let due = settings.panic_every.map_or(0, |every| number / every);
        if self.panics() < due {
            self.lasting.fetch_add(PANIC, Ordering::Relaxed);
            panic!("the source panicked on purpose");
        }
        let new_segment = settings
            .reconnect_every
            .is_some_and(|every| number > 0 && number.is_multiple_of(every));
        let period = Duration::from_secs_f64(1.0 / settings.rate);
        let pause = if new_segment {
            20
        } else {
            u32::from(settings.live)
        };
        if pause > 0 && !std::mem::replace(&mut self.waited, true) {
            return Ok(Next::Wait(period * pause));
        }
        let sequence = number * settings.gap.unwrap_or(1);
        let marks = settings.gap.is_some() && number % 3 == 1;
        if marks && !std::mem::replace(&mut self.marked, true) {
            return Ok(Next::Mark(sequence));
        }
        self.marked = false;
        self.waited = false;
        self.lasting.fetch_add(1, Ordering::Relaxed);
        let facts = |trouble| Facts {
            maker: self.node.clone(),
            number: sequence,
            weight: number as usize % settings.weights,
            trouble,
        };
        let troubled = is_troubled(sequence, settings.trouble_every);
        let payload = settings
            .of
            .payload(facts(settings.trouble.filter(|_| troubled)));
        let pts_ns = (number as f64 / settings.rate * 1e9) as i64;
        let captured = captured(
            payload,
            settings.second.then_some(sequence),
            pts_ns,
            new_segment,
        );
        Ok(Next::Packet(match settings.gap {
            None => captured,
            Some(_) => captured.numbered(sequence, (number / 7) as u32),
        }))
    }
}

/// Returns whether a packet is one of those that panic.
pub(crate) fn is_troubled(number: u64, every: u64) -> bool {
    every > 0 && (number + 1).is_multiple_of(every)
}

/// Builds a capture; `by_turns` is its number if it may go out on either output.
fn captured(
    payload: AnyPayload,
    by_turns: Option<u64>,
    pts_ns: i64,
    new_segment: bool,
) -> Captured {
    let captured = match by_turns {
        None => Captured::new(payload, pts_ns),
        Some(number) => (0..COUNTER_OUTPUTS.len())
            .filter(|&output| goes_out_on(output, number))
            .fold(Captured::nothing(pts_ns), |captured, output| {
                captured.on(output, Arc::clone(&payload))
            }),
    };
    if new_segment {
        captured.in_new_segment()
    } else {
        captured
    }
}
