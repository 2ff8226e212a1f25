//! What all nodes of a lane share while one of them runs.

use crate::observer::{Event as Observed, Fate, PacketId, Recorder, Seen};
use crate::runtime::edges::Edges;
use crate::runtime::flow::Receipt;
use crate::runtime::host::Host;
use crate::runtime::protocol::Event;

pub(crate) struct LaneContext {
    pub(crate) host: Host,
    /// Clock time of the last look, refreshed after each call.
    pub(crate) now_ns: u64,
    pub(crate) edges: Edges,
    /// Where what happens to packets is recorded, if somebody watches.
    pub(crate) recorder: Option<Box<dyn Recorder>>,
}

impl LaneContext {
    pub(crate) fn tick(&mut self) -> u64 {
        self.now_ns = self.host.clock.now_ns();
        self.now_ns
    }

    pub(crate) fn tell(&self, event: Event) {
        (self.host.events)(event);
    }

    /// Records an event if somebody watches.
    #[inline]
    pub(crate) fn observe<'a>(&mut self, node: &str, event: impl FnOnce() -> Observed<'a>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(&Seen {
                node,
                at_ns: self.now_ns,
                event: event(),
            });
        }
    }

    /// Records what became of a packet if somebody watches.
    #[inline]
    pub(crate) fn observe_settled(&mut self, node: &str, receipt: &Receipt, fate: Fate) {
        self.observe(node, || Observed::Settled {
            packet: receipt.packet,
            inputs: receipt.present,
            fate,
        });
    }

    /// Records an event of several packets if somebody watches.
    #[inline]
    pub(crate) fn observe_packets(
        &mut self,
        node: &str,
        receipts: &[Receipt],
        event: impl for<'a> FnOnce(&'a [PacketId]) -> Observed<'a>,
    ) {
        if self.recorder.is_none() {
            return;
        }
        let (one, many): ([PacketId; 1], Vec<PacketId>);
        let packets = match receipts {
            // Nothing is allocated for what most calls are.
            [receipt] => {
                one = [receipt.packet];
                &one[..]
            }
            receipts => {
                many = receipts.iter().map(|receipt| receipt.packet).collect();
                &many[..]
            }
        };
        self.observe(node, || event(packets));
    }
}
