//! Checks that the output of a call keeps the contract, and puts it into the order of the call's packets.

use std::collections::HashMap;

use crate::observer::PacketId;
use crate::outputs::{Emitted, Outputs};
use crate::runtime::flow::Receipt;

/// Returns whether an emitted packet belongs to this input packet.
#[inline]
pub(crate) fn is_of(emitted: &Emitted, receipt: &Receipt) -> bool {
    #[cfg(test)]
    tests::COMPARED.set(tests::COMPARED.get() + 1);
    let envelope = &emitted.packet.envelope;
    envelope.sequence == receipt.packet.sequence && envelope.stream.id == receipt.packet.stream
}

/// Sorts the emitted packets into the order of the call's packets. An actor may emit in any order, but only for packets
/// that it was given, and at most one packet for each on each output.
///
/// # Errors
/// Describes how the contract was broken.
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
        // Fast path for most calls.
        return Ok(());
    }
    arrange_all(receipts, out, outputs)
}

fn arrange_all(receipts: &[Receipt], out: &mut Outputs, outputs: usize) -> Result<(), String> {
    if !is_in_order(receipts, &out.emitted) {
        sort(receipts, out)?;
    }
    // The outputs that have received something for the current packet.
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

/// Returns whether the packets were emitted in the order of the call's packets, as most actors do.
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use serde::Deserialize;

    use crate::actor::Actor;
    use crate::error::ActorError;
    use crate::graph::{Graph, LoadOptions};
    use crate::input::Input;
    use crate::outputs::Outputs;
    use crate::ports::Ports;
    use crate::registry::Registry;
    use crate::setup::Setup;
    use crate::sim::{SimOptions, simulate};

    thread_local! {
        /// Number of comparisons between emitted packets and packets of the call.
        pub(super) static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    #[derive(Deserialize, schemars::JsonSchema)]
    struct Settings {
        is_backwards: bool,
    }

    /// Passes a batch on, in its order or reversed.
    struct HandOn(Settings);

    impl Actor for HandOn {
        const NAME: &'static str = "hand_on";
        type Settings = Settings;

        fn ports(_: &Settings) -> Ports {
            Ports::new().any_input("in").same_output("out").stateless()
        }

        fn create(settings: Settings, _: &Setup) -> Result<Self, ActorError> {
            Ok(Self(settings))
        }

        fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
            let payload = input.take_any(0).ok_or("no payload")?;
            out.emit_any(0, input.envelope, payload);
            Ok(())
        }

        fn process_batch(
            &mut self,
            mut inputs: Vec<Input>,
            out: &mut Outputs,
        ) -> Result<(), ActorError> {
            if self.0.is_backwards {
                inputs.reverse();
            }
            inputs
                .into_iter()
                .try_for_each(|input| self.process(input, out))
        }
    }

    #[test]
    fn a_batch_costs_what_its_packets_cost() {
        let mut registry = Registry::builtin();
        registry.register::<HandOn>();
        let registry = Arc::new(registry);
        for (size, is_backwards) in [(10, false), (2000, false), (10, true), (2000, true)] {
            let text = format!(
                "
fermata: 1
nodes:
  s: {{use: test_source, count: 2000}}
  x: {{use: hand_on, is_backwards: {is_backwards}, in: s, batch: {{max: {size}}}}}
  e: {{use: discard, in: x}}
run: {{clock: asap}}
"
            );
            let options = LoadOptions::new("out");
            let graph = Graph::parse("batches.yaml", &text, &registry, &options).expect("a graph");
            COMPARED.set(0);
            let run = simulate(graph, Arc::clone(&registry), &SimOptions::seeded(1));
            assert_eq!(run.expect("a run").deliveries.len(), 2000);
            // A few comparisons per packet; comparing all pairs would take two million.
            let compared = COMPARED.get();
            assert!(compared <= 10 * 2000, "{compared} in batches of {size}");
        }
    }
}
