//! Actors of random graphs that use the doors: one has its calls answered elsewhere, one ends its streams early.
//!
//! The answers come from those sources of the graph that answer calls (see `Counter`): they answer some of the open
//! calls whenever they are asked for a packet, in any order, and all of them when they end; from then on every call is
//! answered at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fermata_engine::{
    Actor, ActorError, AnyPayload, Envelope, Input, Outputs, Ports, Setup, Ticket,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::payloads::{Of, Seen};

/// A packet of an open call; its payload is set if it is to be passed on.
struct Packet {
    envelope: Envelope,
    payload: Option<AnyPayload>,
}

/// A call that waits for its answer.
pub(crate) struct Call {
    packets: Vec<Packet>,
    ticket: Ticket,
    is_dropped: bool,
}

impl Call {
    fn answer(self) {
        if self.is_dropped {
            // Payloads may panic when they are dropped; the answering source must survive that.
            let packets = std::panic::AssertUnwindSafe(self.packets);
            let _ = std::panic::catch_unwind(move || drop(packets));
            return drop(self.ticket);
        }
        let packets = self.packets;
        self.ticket.settle(|out| {
            for Packet { envelope, payload } in packets {
                if let Some(payload) = payload {
                    out.emit_any(0, envelope, payload);
                }
            }
            Ok(())
        });
    }
}

/// The calls of one run that wait for their answers.
#[derive(Default)]
pub(crate) struct Elsewhere {
    calls: Vec<Call>,
    /// No more answers will come: calls are answered at once.
    is_closed: bool,
    random: u64,
}

pub(crate) type Desk = Arc<Mutex<Elsewhere>>;

static DESKS: Mutex<BTreeMap<u64, Desk>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the desk of a run.
pub(crate) fn desk(run: u64) -> Desk {
    Arc::clone(lock(&DESKS).entry(run).or_default())
}

/// Forgets the desk of a run that is over.
pub(crate) fn forget(run: u64) {
    let desk = lock(&DESKS).remove(&run);
    desk.iter().for_each(close);
}

/// Answers some of the open calls, in random order.
pub(crate) fn answer_some(desk: &Desk) {
    let chosen = {
        let mut elsewhere = lock(desk);
        let mut chosen = Vec::new();
        let mut index = 0;
        while index < elsewhere.calls.len() {
            // A linear congruential generator (Knuth, MMIX), whose high bits are the random ones.
            elsewhere.random = elsewhere
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match elsewhere.random >> 62 {
                0 => index += 1,
                1 => chosen.insert(0, elsewhere.calls.swap_remove(index)),
                _ => chosen.push(elsewhere.calls.swap_remove(index)),
            }
        }
        chosen
    };
    chosen.into_iter().for_each(Call::answer);
}

/// Answers all open calls, and from now on every call at once.
pub(crate) fn close(desk: &Desk) {
    let calls = {
        let mut elsewhere = lock(desk);
        elsewhere.is_closed = true;
        std::mem::take(&mut elsewhere.calls)
    };
    calls.into_iter().rev().for_each(Call::answer);
}

/// Has its calls answered elsewhere.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaterSettings {
    run: u64,
    open: usize,
    /// Every n-th call of an instance is dropped unanswered.
    drop_every: Option<u64>,
    /// Every n-th call of an instance is finished at once.
    at_once_every: Option<u64>,
    /// Every n-th call of an instance panics.
    panic_every: Option<u64>,
}

pub(crate) struct Later {
    settings: LaterSettings,
    desk: Desk,
    calls: u64,
}

impl Later {
    fn ask(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        self.calls += 1;
        let calls = self.calls;
        let falls_on = |every: Option<u64>| every.is_some_and(|every| calls.is_multiple_of(every));
        let packets = inputs.into_iter().map(|mut input| Packet {
            payload: input.take_any(0),
            envelope: input.envelope,
        });
        let packets: Vec<Packet> = packets.collect();
        if falls_on(self.settings.at_once_every) {
            for Packet { envelope, payload } in packets {
                if let Some(payload) = payload {
                    out.emit_any(0, envelope, payload);
                }
            }
            return Ok(());
        }
        if calls.is_multiple_of(3) {
            // Packets that a call has emitted before it is finished later are discarded.
            for Packet { envelope, payload } in &packets {
                if let Some(payload) = payload {
                    out.emit_any(0, envelope.clone(), payload.clone());
                }
            }
        }
        let call = Call {
            packets,
            ticket: out.finish_later()?,
            is_dropped: falls_on(self.settings.drop_every),
        };
        let mut elsewhere = lock(&self.desk);
        if elsewhere.is_closed {
            drop(elsewhere);
            call.answer();
        } else {
            elsewhere.calls.push(call);
        }
        assert!(!falls_on(self.settings.panic_every), "panic on purpose");
        Ok(())
    }
}

impl Actor for Later {
    const NAME: &'static str = "later";
    type Settings = LaterSettings;

    fn ports(settings: &LaterSettings) -> Ports {
        let ports = Ports::new().any_input("in").same_output("out");
        ports.stateless().finishes_later(settings.open)
    }

    fn create(settings: LaterSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            desk: desk(settings.run),
            settings,
            calls: 0,
        })
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.ask(vec![input], out)
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        self.ask(inputs, out)
    }
}

/// Passes packets on until it has enough of their stream.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnoughSettings {
    of: Of,
    /// Does not need packets from this sequence number on.
    from: u64,
}

pub(crate) struct Enough {
    settings: EnoughSettings,
    seen: Seen,
}

impl Actor for Enough {
    const NAME: &'static str = "enough";
    type Settings = EnoughSettings;

    fn ports(settings: &EnoughSettings) -> Ports {
        let ports = settings.of.input(Ports::new(), "in");
        settings.of.output(ports, "out").stateless()
    }

    fn create(settings: EnoughSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            settings,
            seen: Seen::default(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.seen.note(&input);
        if input.envelope.sequence >= self.settings.from {
            out.end_stream(&input.envelope);
        }
        if let Some((payload, _)) = self.settings.of.take(&mut input, 0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}
