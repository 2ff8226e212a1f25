//! The state that all nodes of a lane share.

use crate::observer::{Event as Observed, Fate, PacketId, Recorder, Seen};
use crate::runtime::edges::Edges;
use crate::runtime::flow::Receipt;
use crate::runtime::host::Host;
use crate::runtime::protocol::Event;

pub(crate) struct LaneContext {
    pub(crate) host: Host,
    /// Clock time as last read; refreshed after each call.
    pub(crate) now_ns: u64,
    pub(crate) edges: Edges,
    /// Records what happens to packets, if there is an observer.
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

    /// Records an event if there is an observer.
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

    /// Records the fate of a packet if there is an observer.
    #[inline]
    pub(crate) fn observe_settled(&mut self, node: &str, receipt: &Receipt, fate: Fate) {
        self.observe(node, || Observed::Settled {
            packet: receipt.packet,
            inputs: receipt.present,
            fate,
        });
    }

    /// Records an event of several packets if there is an observer.
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
            // Most calls have one packet; nothing is allocated for them.
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
