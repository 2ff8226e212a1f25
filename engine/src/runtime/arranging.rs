//! Looking whether what a call emitted keeps the contract, and putting it into the order of the call's packets.

use std::collections::HashMap;

use crate::observer::PacketId;
use crate::outputs::{Emitted, Outputs};
use crate::runtime::flow::Receipt;

/// Whether something was emitted for a packet.
#[inline]
pub(crate) fn is_of(emitted: &Emitted, receipt: &Receipt) -> bool {
    let envelope = &emitted.packet.envelope;
    envelope.sequence == receipt.packet.sequence && envelope.stream.id == receipt.packet.stream
}

/// Puts what was emitted into the order of the packets of the call. An actor may emit in any order, but only for packets
/// that it was given, and at most one on each output.
///
/// # Errors
/// How the contract was broken.
#[inline]
pub(crate) fn arrange(
    receipts: &[Receipt],
    out: &mut Outputs,
    outputs: usize,
) -> Result<(), String> {
    if out.emitted.is_empty() {
        return Ok(());
    }
    if let ([receipt], [emitted]) = (receipts, &out.emitted[..])
        && is_of(emitted, receipt)
        && emitted.output < outputs
    {
        // What most calls do.
        return Ok(());
    }
    arrange_all(receipts, out, outputs)
}

fn arrange_all(receipts: &[Receipt], out: &mut Outputs, outputs: usize) -> Result<(), String> {
    if !is_in_order(receipts, &out.emitted) {
        sort(receipts, out)?;
    }
    // Of the packet that is looked at: the outputs that have got something.
    let mut packet: Option<PacketId> = None;
    let mut seen = 0u64;
    for emitted in &out.emitted {
        let output = emitted.output;
        if output >= outputs {
            return Err(format!(
                "the actor emitted on output {output}, but declares {outputs} output(s)"
            ));
        }
        let this = PacketId::of(&emitted.packet.envelope);
        if packet.replace(this) != Some(this) {
            seen = 0;
        }
        if seen & (1 << output) != 0 {
            let sequence = this.sequence;
            return Err(format!(
                "the actor emitted sequence {sequence} twice on output {output}"
            ));
        }
        seen |= 1 << output;
    }
    Ok(())
}

/// Most actors emit in the order in which they were given packets.
fn is_in_order(receipts: &[Receipt], emitted: &[Emitted]) -> bool {
    let mut rest = receipts.iter();
    let mut current = rest.next();
    emitted.iter().all(|emitted| {
        while let Some(receipt) = current {
            if is_of(emitted, receipt) {
                return true;
            }
            current = rest.next();
        }
        false
    })
}

fn sort(receipts: &[Receipt], out: &mut Outputs) -> Result<(), String> {
    let packets = receipts.iter().map(|receipt| receipt.packet);
    let places: HashMap<PacketId, usize> = packets.zip(0..).collect();
    let place_of = |emitted: &Emitted| places.get(&PacketId::of(&emitted.packet.envelope)).copied();
    let is_foreign = |emitted: &&Emitted| place_of(emitted).is_none();
    if let Some(foreign) = out.emitted.iter().find(is_foreign) {
        return Err(format!(
            "the actor emitted sequence {}, which this call was not given",
            foreign.packet.envelope.sequence
        ));
    }
    out.emitted.sort_by_key(|emitted| place_of(emitted));
    Ok(())
}
