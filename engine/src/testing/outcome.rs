//! The outcome of a driven call: emitted packets, failures of single packets, streams that it ended, and the call
//! itself if it is finished later.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::ActorError;
use crate::input::Input;
use crate::observer::PacketId;
use crate::outputs::{Desk, Outputs};
use crate::packet::{AnyPayload, Envelope, Payload, downcast};
use crate::ports::{Port, PortType};
use crate::runtime::arranging::arrange;
use crate::runtime::flow::Receipt;
use crate::testing::given::join;

/// The outcome of a call that returned `Ok`.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The packets that the engine would send, in the order of the packets of the call.
    pub emitted: Vec<Emission>,
    /// Packets that failed individually, with their errors.
    pub failed: Vec<(Envelope, ActorError)>,
    /// Numbers of the streams that the actor ended early.
    pub ended: Vec<u32>,
    /// Positions that the actor confirmed as flushed: a stream's number, and the sequence below which everything is
    /// flushed.
    pub flushed: Vec<(u32, u64)>,
    /// The call, if it is finished later.
    pub open: Option<OpenCall>,
}

impl Outcome {
    /// Returns the payloads of an output (numbered in the order of [`Ports`](crate::Ports)).
    pub fn payloads<T: Payload>(&self, output: usize) -> Vec<Arc<T>> {
        let on_output = self
            .emitted
            .iter()
            .filter(|emission| emission.output == output);
        on_output.map(Emission::payload).collect()
    }

    /// Returns the payload of the only packet, on the first output.
    ///
    /// # Panics
    /// If there is not exactly one packet, or it is on another output or of another type.
    pub fn only<T: Payload>(&self) -> Arc<T> {
        match &self.emitted[..] {
            [only] if only.output == 0 => only.payload(),
            emitted => panic!("expected one packet, on the first output, not {emitted:?}"),
        }
    }
}

/// A packet that an actor emitted.
#[derive(Clone)]
pub struct Emission {
    /// The output (numbered in the order of [`Ports`](crate::Ports)).
    pub output: usize,
    /// The envelope of the packet.
    pub envelope: Envelope,
    /// The payload of the packet.
    pub payload: AnyPayload,
}

impl Emission {
    /// Returns the payload as its own type.
    ///
    /// # Panics
    /// If the payload is of another type.
    pub fn payload<T: Payload>(&self) -> Arc<T> {
        downcast(Arc::clone(&self.payload))
            .unwrap_or_else(|_| panic!("{self:?} does not carry {}", std::any::type_name::<T>()))
    }

    /// Returns the packet as the input of the next actor.
    pub fn into_input(self) -> Input {
        join(self.envelope, [Some(self.payload)])
    }
}

impl fmt::Debug for Emission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stream {} sequence {} on output {}",
            self.envelope.stream.name, self.envelope.sequence, self.output
        )
    }
}

/// A call that the actor finishes later.
pub struct OpenCall {
    contract: Contract,
    settled: flume::Receiver<Settled>,
    /// What the call said before it was left open.
    begun: Outputs,
}

type Settled = (Result<(), ActorError>, Outputs);

impl OpenCall {
    /// Returns whether the call has been finished.
    pub fn is_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    pub(crate) fn resuming(mut self, begun: Outputs) -> Self {
        self.begun = begun;
        self
    }

    /// Waits until the call is finished, at most this long by the machine's clock.
    ///
    /// # Errors
    /// The error that the call failed with, or that it was not finished in this time.
    pub fn wait(self, most: Duration) -> Result<Outcome, ActorError> {
        let (result, mut out) = self
            .settled
            .recv_timeout(most)
            .map_err(|_| format!("the call was not finished within {most:?}"))?;
        result?;
        out.resume(self.begun);
        self.contract.outcome(&mut out)
    }
}

impl fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_settled = self.is_settled();
        f.debug_struct("OpenCall")
            .field("is_settled", &is_settled)
            .finish_non_exhaustive()
    }
}

/// Receives the result of one call.
pub(crate) struct CallDesk {
    settled: flume::Sender<Settled>,
    is_settled: AtomicBool,
}

impl CallDesk {
    /// Returns a desk and the open call through which its result can be awaited.
    pub(crate) fn new(contract: Contract) -> (Arc<Self>, OpenCall) {
        let (sender, settled) = flume::bounded(1);
        let desk = Self {
            settled: sender,
            is_settled: AtomicBool::new(false),
        };
        let open = OpenCall {
            contract,
            settled,
            begun: Outputs::default(),
        };
        (Arc::new(desk), open)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }
}

impl Desk for CallDesk {
    fn settle(&self, _: u64, result: Result<(), ActorError>, out: Outputs) {
        self.is_settled.store(true, Ordering::Release);
        // If the test has dropped the open call, the result is not needed.
        let _ = self.settled.try_send((result, out));
    }
}

/// The rules for the output of a call.
#[derive(Clone)]
pub(crate) struct Contract {
    receipts: Vec<Receipt>,
    outputs: Arc<[Port]>,
}

impl Contract {
    /// Returns the contract of a call with these packets.
    pub(crate) fn of(inputs: &[Input], outputs: &Arc<[Port]>) -> Self {
        let receipt = |input: &Input| Receipt {
            slot: 0,
            packet: PacketId::of(&input.envelope),
            present: 0,
            captured_ns: input.envelope.captured_ns,
        };
        Self {
            receipts: inputs.iter().map(receipt).collect(),
            outputs: Arc::clone(outputs),
        }
    }

    /// Takes the outcome of a call that returned `Ok` from its outputs.
    ///
    /// # Errors
    /// How the call broke the contract; the engine would then fail all of its packets.
    pub(crate) fn outcome(&self, out: &mut Outputs) -> Result<Outcome, ActorError> {
        arrange(&self.receipts, out, self.outputs.len())?;
        let failed = std::mem::take(&mut out.failed);
        let ids: Vec<PacketId> = failed
            .iter()
            .map(|(envelope, _)| PacketId::of(envelope))
            .collect();
        let emitted = out.emitted.drain(..).map(|emitted| Emission {
            output: emitted.output,
            envelope: emitted.packet.envelope,
            payload: emitted.packet.payload,
        });
        // Output for a failed packet is dropped.
        let emitted: Vec<Emission> = emitted
            .filter(|emission| !ids.contains(&PacketId::of(&emission.envelope)))
            .collect();
        for emission in &emitted {
            self.look_at_type(emission)?;
        }
        Ok(Outcome {
            emitted,
            failed,
            ended: std::mem::take(&mut out.ended),
            flushed: std::mem::take(&mut out.flushed),
            open: None,
        })
    }

    fn look_at_type(&self, emission: &Emission) -> Result<(), ActorError> {
        let port = &self.outputs[emission.output];
        match port.carries {
            PortType::Of { id, name } if (*emission.payload).type_id() != id => {
                Err(format!("{emission:?} is not a {name}, which `{}` needs", port.name).into())
            }
            _ => Ok(()),
        }
    }
}
