//! Calls code outside the engine (actors, sources, payloads) and catches its panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::clock::Hang;
use crate::error::ActorError;
use crate::input::Input;
use crate::outputs::Outputs;
use crate::registry::AnyActor;

/// How a call ended.
pub(crate) enum Outcome {
    /// The actor returned `Ok`; the packets that it emitted are in the outputs.
    Done,
    /// The actor returned an error, or broke the contract.
    Failed(ActorError),
    /// The actor panicked and must not be called again.
    Panicked(String),
}

/// The input of one call.
pub(crate) enum Work {
    Single(Input),
    Batch(Vec<Input>),
}

impl Work {
    /// Drops the input without a call.
    pub(crate) fn discard(self) {
        match self {
            Self::Single(input) => discard_each(input.into_payloads()),
            Self::Batch(inputs) => {
                discard_each(inputs.into_iter().flat_map(Input::into_payloads));
            }
        }
    }
}

/// Calls the actor.
#[inline(always)]
pub(crate) fn call(actor: &mut dyn AnyActor, work: Work, out: &mut Outputs) -> Outcome {
    // The actor is dropped after a panic and the outputs are cleared, so no broken state is used.
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

/// The reason why foreign code failed.
pub(crate) enum Failure {
    Error(ActorError),
    Panic(String),
}

/// Runs foreign code that may panic.
pub(crate) fn attempt<T>(function: impl FnOnce() -> Result<T, ActorError>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(result) => result.map_err(Failure::Error),
        Err(panic) if panic.is::<Hang>() => resume_unwind(panic),
        Err(panic) => Err(Failure::Panic(panic_message(&*panic))),
    }
}

/// Runs foreign code that may panic, turning a panic into an error.
pub(crate) fn guard<T>(function: impl FnOnce() -> Result<T, ActorError>) -> Result<T, ActorError> {
    attempt(function).map_err(|failure| match failure {
        Failure::Error(error) => error,
        Failure::Panic(message) => format!("panicked: {message}").into(),
    })
}

/// Drops an actor or a payload, catching a panic in its destructor.
pub(crate) fn discard<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        tracing::warn!("a destructor panicked: {}", panic_message(&*panic));
    }
}

/// Drops several values one by one: if two panicked in the same drop, the second panic would abort the process.
pub(crate) fn discard_each<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(discard);
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "panic without a message".to_owned()
    }
}
