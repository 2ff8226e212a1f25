//! The contract between the engine and the behaviour it runs: [`Actor`].
//!
//! An actor is synchronous code that owns its state. The engine calls it from one thread at a time, never shares it,
//! and publishes what it emitted only after the call returned `Ok`.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::end::End;
use crate::error::ActorError;
use crate::input::Input;
use crate::outputs::Outputs;
use crate::packet::Stream;
use crate::ports::Ports;
use crate::setup::Setup;

/// Behaviour that transforms packets or consumes them (a sink is an actor without outputs).
pub trait Actor: Sized + Send + 'static {
    /// The name after `use:` in a graph file.
    const NAME: &'static str;
    /// Settings in the node's block of the graph file, besides the engine's own keys. Derive `Deserialize` with
    /// `deny_unknown_fields` and `JsonSchema`.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Returns the inputs, outputs and properties for these settings. Called when the graph is checked; must have no
    /// side effects.
    fn ports(settings: &Self::Settings) -> Ports;

    /// Checks for anything that would make [`Actor::create`] fail (a missing file, say), without side effects. Called
    /// before anything starts, once per node instance.
    fn check(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Returns the files that the actor will read, which no node of the graph may overwrite. May access the file
    /// system.
    fn reads(_settings: &Self::Settings) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Performs checks that are too slow for [`Actor::check`], such as loading a model. A run skips them, since it
    /// would find the same errors a moment later.
    fn try_out(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Builds the actor on the thread that will run it. Called again after a panic.
    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError>;

    /// Handles one packet or, at a join, one packet from each input that has one. Emitted packets carry the envelope of
    /// the input, at most one per output. If nothing is emitted, the packet ends here.
    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError>;

    /// Handles a batch formed by the engine (`batch:`). An error or a panic fails the whole batch; [`Outputs::fail`]
    /// fails single packets.
    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        for input in inputs {
            let envelope = input.envelope.clone();
            if let Err(error) = self.process(input, out) {
                out.fail(&envelope, error);
            }
        }
        Ok(())
    }

    /// Called when a stream begins to reach this node (for a shared node, also during the run), for each of the
    /// `replicas`.
    fn stream_started(&mut self, _stream: &Arc<Stream>) -> Result<(), ActorError> {
        Ok(())
    }

    /// Called when all packets of the stream have been handed over while some of its calls are still open
    /// ([`Outputs::finish_later`]): an actor that holds packets back until a later one arrives must settle them now.
    /// Called once per stream, and only for actors that keep calls open. An error or a panic takes the node out of the
    /// graph.
    fn stream_ending(&mut self, _stream: &Arc<Stream>) -> Result<(), ActorError> {
        Ok(())
    }

    /// Called when the last packet of the stream has been handled, for each of the `replicas`; `end` is how the stream
    /// ended. An error or a panic takes the node out of the graph.
    fn stream_ended(&mut self, _stream: &Arc<Stream>, _end: End) -> Result<(), ActorError> {
        Ok(())
    }

    /// Called when nothing more will come; `end` is how its streams ended altogether: complete files here, or keep what
    /// there is of them. Called once, but not after a panic: the actor is then simply dropped.
    fn finish(&mut self, _end: End) -> Result<(), ActorError> {
        Ok(())
    }
}
