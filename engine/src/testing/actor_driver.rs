//! Drives an actor outside a graph.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::actor::Actor;
use crate::end::End;
use crate::error::ActorError;
use crate::input::Input;
use crate::outputs::{Desk, Outputs};
use crate::packet::{Payload, Stream};
use crate::ports::{Port, Ports};
use crate::setup::Setup;
use crate::testing::given::{capture, input, settings, setup};
use crate::testing::outcome::{CallDesk, Contract, Outcome};

/// Drives an actor outside a graph. The driver has the actor's methods, calls them as the engine would, and holds the
/// actor to its ports: it may emit only for packets of the call, once for each on each output, and only the output's
/// type. A panic of the actor is not caught.
///
/// ```
/// # use std::sync::Arc;
/// # use fermata_engine::{Actor, ActorError, Input, Outputs, Payload, Ports, Setup};
/// use fermata_engine::testing::{ActorDriver, capture, join};
/// # struct Number(i64);
/// # impl Payload for Number {}
/// # #[derive(serde::Deserialize, schemars::JsonSchema)]
/// # struct Nothing {}
///
/// /// Adds the numbers on both inputs; one of them may be absent.
/// struct Sum;
///
/// impl Actor for Sum {
///     const NAME: &'static str = "sum";
///     type Settings = Nothing;
///
///     fn ports(_: &Nothing) -> Ports {
///         Ports::new().input::<Number>("a").input::<Number>("b").output::<Number>("out")
///     }
///
///     fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
///         Ok(Self)
///     }
///
///     fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
///         let numbers = (0..2).filter_map(|port| input.take_port::<Number>(port));
///         let sum = numbers.map(|number| number.0).sum();
///         out.emit::<Number>(input.envelope, Number(sum));
///         Ok(())
///     }
/// }
///
/// let mut sum = ActorDriver::<Sum>::new(serde_json::json!({})).unwrap();
/// let both = join(capture(0), [Some(Arc::new(Number(1)) as _), Some(Arc::new(Number(2)) as _)]);
/// let one = join(capture(1), [None, Some(Arc::new(Number(5)) as _)]);
/// let sums = sum.process_batch(vec![both, one]).unwrap().payloads::<Number>(0);
/// assert_eq!(sums.iter().map(|sum| sum.0).collect::<Vec<_>>(), [3, 5]);
/// ```
pub struct ActorDriver<A> {
    /// The actor, so that its state can be inspected.
    pub actor: A,
    setup: Setup,
    outputs: Arc<[Port]>,
    open_calls: usize,
    out: Outputs,
    open: Vec<Arc<CallDesk>>,
    started: BTreeSet<u32>,
    fed: u64,
}

impl<A: Actor> ActorDriver<A> {
    /// Creates the actor with the default [`setup`], from settings that are parsed like those of a graph file.
    ///
    /// # Errors
    /// What is wrong with the settings; otherwise see [`ActorDriver::create`].
    pub fn new(json: Value) -> Result<Self, ActorError> {
        Self::create(settings(&json)?, setup())
    }

    /// Checks the settings and creates the actor.
    ///
    /// # Errors
    /// What [`Actor::check`] found, or why the actor could not be created.
    pub fn create(settings: A::Settings, setup: Setup) -> Result<Self, ActorError> {
        A::check(&settings)?;
        let Ports {
            outputs,
            open_calls,
            ..
        } = A::ports(&settings);
        Ok(Self {
            actor: A::create(settings, &setup)?,
            setup,
            outputs: outputs.into(),
            open_calls,
            out: Outputs::default(),
            open: Vec::new(),
            started: BTreeSet::new(),
            fed: 0,
        })
    }

    /// Returns the setup that the actor was created with; its clock can be advanced.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Passes a payload to the actor in the next packet of stream 0, `test`; see [`ActorDriver::process`].
    ///
    /// # Errors
    /// See [`ActorDriver::process`].
    pub fn feed(&mut self, payload: impl Payload) -> Result<Outcome, ActorError> {
        let packet = input(capture(self.fed), payload);
        self.fed += 1;
        self.process(packet)
    }

    /// Passes a packet to the actor, after starting its stream if the packet is the first.
    ///
    /// # Errors
    /// The error that the actor returned, how it broke the contract, or that it has as many calls open as it may.
    pub fn process(&mut self, input: Input) -> Result<Outcome, ActorError> {
        self.call(vec![input], |actor, mut inputs, out| {
            let input = inputs.pop().expect("the one that was put in");
            actor.process(input, out)
        })
    }

    /// Passes a batch to the actor; see [`ActorDriver::process`].
    ///
    /// # Errors
    /// See [`ActorDriver::process`]. Packets that fail individually are in [`Outcome::failed`].
    pub fn process_batch(&mut self, inputs: Vec<Input>) -> Result<Outcome, ActorError> {
        self.call(inputs, A::process_batch)
    }

    /// Notifies the actor that a stream begins. The first packet of a stream does so automatically.
    ///
    /// # Errors
    /// The error that the actor returned.
    pub fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        self.started.insert(stream.id);
        self.actor.stream_started(stream)
    }

    /// Notifies the actor that no more packets will come of a stream that has open calls.
    ///
    /// # Errors
    /// The error that the actor returned.
    pub fn stream_ending(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        self.actor.stream_ending(stream)
    }

    /// Notifies the actor that a stream has ended.
    ///
    /// # Errors
    /// The error that the actor returned, or that calls are still open: the engine would wait for them.
    pub fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        self.look_for_open_calls(1)?;
        self.started.remove(&stream.id);
        self.actor.stream_ended(stream, end)
    }

    /// Notifies the actor that nothing more will come.
    ///
    /// # Errors
    /// See [`ActorDriver::stream_ended`].
    pub fn finish(&mut self, end: End) -> Result<(), ActorError> {
        self.look_for_open_calls(1)?;
        self.actor.finish(end)
    }

    /// Fails if this many calls are open.
    fn look_for_open_calls(&mut self, most: usize) -> Result<(), ActorError> {
        self.open.retain(|call| !call.is_settled());
        match self.open.len() {
            open if open >= most => Err(format!(
                "the actor has {open} open call(s), for which the engine would wait first"
            )
            .into()),
            _ => Ok(()),
        }
    }

    fn call(
        &mut self,
        inputs: Vec<Input>,
        call: impl FnOnce(&mut A, Vec<Input>, &mut Outputs) -> Result<(), ActorError>,
    ) -> Result<Outcome, ActorError> {
        self.look_for_open_calls(self.open_calls.max(1))?;
        for input in &inputs {
            if !self.started.contains(&input.envelope.stream.id) {
                self.stream_started(&input.envelope.stream)?;
            }
        }
        let contract = Contract::of(&inputs, &self.outputs);
        let (desk, open) = CallDesk::new(contract.clone());
        self.out.clear();
        self.out.desk =
            (self.open_calls > 0).then(|| (Arc::clone(&desk) as Arc<dyn Desk>, self.fed));
        call(&mut self.actor, inputs, &mut self.out)?;
        if !self.out.is_open {
            return contract.outcome(&mut self.out);
        }
        self.open.push(desk);
        let begun = std::mem::take(&mut self.out);
        Ok(Outcome {
            open: Some(open.resuming(begun)),
            ..Outcome::default()
        })
    }
}

impl<A: Actor> fmt::Debug for ActorDriver<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorDriver")
            .field("actor", &A::NAME)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::outputs::Ticket;
    use crate::packet::Envelope;
    use crate::testing::given::{join, stream};

    #[derive(Debug, PartialEq)]
    struct Number(i64);
    impl Payload for Number {}

    struct Word;
    impl Payload for Word {}

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Does {
        Refuse,
        EmitForAnother,
        EmitTwice,
        EmitAWord,
        EmitElsewhere,
        FailOddOnes,
        EndTheStream,
        FinishLater,
        FinishLaterUndeclared,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct OddSettings {
        does: Does,
    }

    struct Odd {
        does: Does,
        told: Vec<String>,
        tickets: Vec<(Envelope, Ticket)>,
    }

    impl Actor for Odd {
        const NAME: &'static str = "odd";
        type Settings = OddSettings;

        fn ports(settings: &OddSettings) -> Ports {
            let ports = Ports::new().input::<Number>("in").output::<Number>("out");
            match settings.does {
                Does::FinishLater => ports.finishes_later(2),
                _ => ports,
            }
        }

        fn check(settings: &OddSettings) -> Result<(), ActorError> {
            match settings.does {
                Does::Refuse => Err("refused when it was checked".into()),
                _ => Ok(()),
            }
        }

        fn create(settings: OddSettings, _: &Setup) -> Result<Self, ActorError> {
            Ok(Self {
                does: settings.does,
                told: Vec::new(),
                tickets: Vec::new(),
            })
        }

        fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
            let number = input.take::<Number>();
            let envelope = input.envelope;
            match self.does {
                Does::EmitForAnother => out.emit::<Number>(capture(99).into(), number),
                Does::EmitTwice => {
                    out.emit::<Number>(envelope.clone(), Arc::clone(&number));
                    out.emit::<Number>(envelope, number);
                }
                Does::EmitAWord => out.emit::<Word>(envelope, Word),
                Does::EmitElsewhere => out.emit_on::<Number>(3, envelope, number),
                Does::FailOddOnes => {
                    out.emit::<Number>(envelope, Arc::clone(&number));
                    if number.0 % 2 != 0 {
                        return Err("odd".into());
                    }
                }
                Does::EndTheStream => out.end_stream(&envelope),
                Does::FinishLater | Does::FinishLaterUndeclared => {
                    self.tickets.push((envelope, out.finish_later()?));
                }
                Does::Refuse => {}
            }
            Ok(())
        }

        fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
            self.told.push(format!("{} starts", stream.name));
            Ok(())
        }

        fn stream_ended(&mut self, stream: &Arc<Stream>, _: End) -> Result<(), ActorError> {
            self.told.push(format!("{} ends", stream.name));
            Ok(())
        }
    }

    fn odd(does: &str) -> ActorDriver<Odd> {
        ActorDriver::new(json!({ "does": does })).unwrap()
    }

    #[test]
    fn what_breaks_the_contract_is_told() {
        for (does, said) in [
            ("emit_for_another", "which this call was not given"),
            ("emit_twice", "twice on output 0"),
            ("emit_a_word", "is not a Number"),
            ("emit_elsewhere", "emitted on output 3"),
            ("finish_later_undeclared", "does not declare"),
        ] {
            let error = odd(does).feed(Number(1)).unwrap_err().to_string();
            assert!(error.contains(said), "{does}: {error}");
        }
    }

    #[test]
    fn settings_are_checked_before_an_actor_is_created() {
        let error = ActorDriver::<Odd>::new(json!({ "does": "refuse" })).unwrap_err();
        assert_eq!(error.to_string(), "refused when it was checked");
    }

    #[test]
    fn a_packet_of_a_batch_fails_alone_and_what_was_emitted_for_it_is_gone() {
        let numbers = (0..4).map(|n| input(capture(n), Number(n as i64)));
        let outcome = odd("fail_odd_ones")
            .process_batch(numbers.collect())
            .unwrap();
        let failed = outcome.failed.iter().map(|(envelope, _)| envelope.sequence);
        assert_eq!(failed.collect::<Vec<_>>(), [1, 3]);
        let numbers = outcome.payloads::<Number>(0);
        assert_eq!(numbers.iter().map(|n| n.0).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn the_first_packet_of_a_stream_begins_it() {
        let mut actor = odd("end_the_stream");
        assert_eq!(actor.feed(Number(0)).unwrap().ended, [0]);
        actor.feed(Number(1)).unwrap();
        let door = stream(7, "door");
        let packet = |sequence| {
            let capture = crate::Capture {
                stream: Arc::clone(&door),
                ..capture(sequence)
            };
            join(capture, [Some(Arc::new(Number(0)) as _)])
        };
        assert_eq!(actor.process(packet(0)).unwrap().ended, [7]);
        actor.stream_ended(&door, End::default()).unwrap();
        assert_eq!(
            actor.actor.told,
            ["test starts", "door starts", "door ends"]
        );
    }

    #[test]
    fn a_call_is_finished_later_with_its_own_result() {
        let mut actor = odd("finish_later");
        let mut calls: Vec<_> = (0..2)
            .map(|n| actor.feed(Number(n)).unwrap().open.expect("an open call"))
            .collect();
        let refused = actor.feed(Number(2)).unwrap_err().to_string();
        assert!(
            refused.contains("the actor has 2 open call(s)"),
            "{refused}"
        );
        assert!(actor.finish(End::default()).is_err());

        let (second, first) = (actor.actor.tickets.pop(), actor.actor.tickets.pop());
        let (envelope, ticket) = first.unwrap();
        assert!(!calls[0].is_settled());
        std::thread::spawn(move || {
            ticket.settle(|out| {
                out.emit::<Number>(envelope, Number(10));
                Ok(())
            });
        });
        let most = Duration::from_secs(60);
        let outcome = calls.remove(0).wait(most).unwrap();
        assert_eq!(*outcome.only::<Number>(), Number(10));
        drop(second);
        let dropped = calls.remove(0).wait(most).unwrap_err().to_string();
        assert!(dropped.contains("ticket was dropped"), "{dropped}");
        actor.finish(End::default()).unwrap();
    }
}
