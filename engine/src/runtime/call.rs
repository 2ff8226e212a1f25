//! Calling an actor: panics are caught, what it emitted is checked against the contract.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::actor::{ActorError, Input, Outputs};
use crate::clock::Hang;
use crate::registry::AnyActor;

/// How a call ended.
pub(crate) enum Outcome {
    /// The actor returned `Ok`; what it emitted stands in the outputs.
    Done,
    /// The actor returned an error, or broke the contract.
    Failed(ActorError),
    /// The actor panicked and must not be called again.
    Panicked(String),
}

/// One call's work.
pub(crate) enum Work {
    Single(Input),
    Batch(Vec<Input>),
}

/// Calls the actor.
pub(crate) fn call(actor: &mut dyn AnyActor, work: Work, out: &mut Outputs) -> Outcome {
    // The actor is dropped after a panic and the outputs are cleared, so no broken state is looked at.
    let result = catch_unwind(AssertUnwindSafe(|| match work {
        Work::Single(input) => actor.process(input, out),
        Work::Batch(inputs) => actor.process_batch(inputs, out),
    }));
    match result {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(error)) => Outcome::Failed(error),
        Err(panic) if panic.is::<Hang>() => resume_unwind(panic),
        Err(panic) => Outcome::Panicked(panic_message(&*panic)),
    }
}

/// Runs a function of an actor that may panic, as an error.
pub(crate) fn guard<T>(function: impl FnOnce() -> Result<T, ActorError>) -> Result<T, ActorError> {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(result) => result,
        Err(panic) if panic.is::<Hang>() => resume_unwind(panic),
        Err(panic) => Err(format!("panicked: {}", panic_message(&*panic)).into()),
    }
}

/// Drops an actor that panicked; a panic in its destructor ends there.
pub(crate) fn discard<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "panic without a message".to_owned()
    }
}
