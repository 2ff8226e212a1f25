//! The contract between the engine and the behaviour it runs: [`Actor`].
//!
//! An actor is synchronous code that owns its state. The engine calls it from one thread at a time, never
//! shares it, and publishes what it emitted only when the call returned `Ok`.

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

/// Transforms packets, or consumes them (a sink is an actor without outputs).
pub trait Actor: Sized + Send + 'static {
    /// The name after `use:` in a graph file.
    const NAME: &'static str;
    /// What the node's block in the graph file may hold besides the engine's own keys. Derive
    /// `Deserialize` with `deny_unknown_fields` and `JsonSchema`.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Inputs, outputs and properties under these settings. Called when the graph is checked; must not touch the world.
    fn ports(settings: &Self::Settings) -> Ports;

    /// Looks for what would make [`Actor::create`] fail (a missing file, say) without side effects; called before
    /// anything starts, once for each node instance.
    fn check(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Files that it will read: no node of the graph may write over them. May look at the world.
    fn reads(_settings: &Self::Settings) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Looks for what [`Actor::check`] has no time for before a run, which would find it a moment later anyway: loads a
    /// model, say.
    fn try_out(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Builds the actor on the thread that will run it; called again after a panic.
    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError>;

    /// Handles one packet, or at a join one packet of each input that has it. Emitted packets carry the
    /// envelope of the input, at most one for each output. Emitting nothing ends the packet here.
    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError>;

    /// Handles a batch that the engine formed (`batch:`). An error or a panic fails all of it;
    /// [`Outputs::fail`] fails single packets of it.
    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        for input in inputs {
            let envelope = input.envelope.clone();
            if let Err(error) = self.process(input, out) {
                out.fail(&envelope, error);
            }
        }
        Ok(())
    }

    /// A stream begins to reach this node (for a shared node also while it runs). With `replicas`, each of them is
    /// told.
    fn stream_started(&mut self, _stream: &Arc<Stream>) -> Result<(), ActorError> {
        Ok(())
    }

    /// All packets of the stream have been handed over, and calls of it are still open ([`Outputs::finish_later`]):
    /// whoever holds packets back until a later one comes must settle them now. Told once for each stream, and only to
    /// actors that keep calls open. An error or a panic takes the node out of the graph.
    fn stream_ending(&mut self, _stream: &Arc<Stream>) -> Result<(), ActorError> {
        Ok(())
    }

    /// The last packet of the stream has been handled, and `end` says how it came to that. With `replicas`, each of
    /// them is told. An error or a panic takes the node out of the graph.
    fn stream_ended(&mut self, _stream: &Arc<Stream>, _end: End) -> Result<(), ActorError> {
        Ok(())
    }

    /// Nothing more will come, and `end` says how its streams ended altogether: complete files here, or keep what there
    /// is of them. Called once, unless the actor panicked before: then it is dropped as it is.
    fn finish(&mut self, _end: End) -> Result<(), ActorError> {
        Ok(())
    }
}
