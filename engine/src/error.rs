//! The error type of actors and sources.

/// The error of an actor or a source; the engine adds node, stream and sequence.
pub type ActorError = Box<dyn std::error::Error + Send + Sync>;
