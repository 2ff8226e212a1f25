//! What actors and sources fail with.

/// Why an actor could not do what it was asked; the engine adds node, stream and sequence.
pub type ActorError = Box<dyn std::error::Error + Send + Sync>;
