//! Opens the streams that a provider supplies: the next one whenever fewer than `open` are open.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::control::core::Core;
use crate::end::{End, How};
use crate::error::ActorError;
use crate::graph::{ProviderSpec, StreamSpec};
use crate::provider::ProviderSetup;
use crate::registry::{AnyProvider, Registry};
use crate::runtime::call::{Failure, attempt, discard, guard, panic_message};
use crate::start_error::StartError;

/// Interval for polling a provider that may have more streams later.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// A provider, and how many streams may be open at once.
pub(crate) type Provider = (Box<dyn AnyProvider>, usize);

/// State of a provider's thread.
pub(crate) struct Providing<Add, Fail> {
    provider: Box<dyn AnyProvider>,
    open: usize,
    ends: flume::Receiver<(String, End)>,
    /// Adds a stream and waits until it has started; returns its name in the run.
    add: Add,
    /// Ends the run because of the provider.
    fail: Fail,
    /// Whether no more streams can be added: the run drains, or is over.
    is_ending: bool,
    has_failed: bool,
}

/// The provider has panicked and is not called again.
struct Panicked;

/// Creates the provider of a graph, if it has one.
pub(crate) fn create(core: &Core, registry: &Registry) -> Result<Option<Provider>, StartError> {
    let Some(spec) = &core.graph.provider else {
        return Ok(None);
    };
    let ProviderSpec {
        name,
        open,
        settings,
    } = spec;
    let setup = ProviderSetup {
        graph: core.graph.name.clone(),
        run_dir: core.graph.run_dir.clone(),
        open: *open,
        services: core.wiring().host.services.clone(),
    };
    let failed = |message: String| StartError::Provider {
        name: name.clone(),
        message: core.graph.secrets().hide(&message),
    };
    let provider = registry.provider(name);
    let provider = provider.ok_or_else(|| failed("it is not registered".to_owned()))?;
    let created = guard(|| provider.create(settings, &setup));
    let provider = created.map_err(|error| failed(error.to_string()))?;
    Ok(Some((provider, *open)))
}

impl<Add, Fail> Providing<Add, Fail>
where
    Add: FnMut(&StreamSpec) -> Result<String, StartError>,
    Fail: FnMut(String),
{
    pub(crate) fn new(
        (provider, open): Provider,
        ends: flume::Receiver<(String, End)>,
        add: Add,
        fail: Fail,
    ) -> Self {
        Self {
            provider,
            open,
            ends,
            add,
            fail,
            is_ending: false,
            has_failed: false,
        }
    }

    /// Runs until the provider has no more streams and all have ended, or the run is over.
    fn run(mut self) {
        let provided = catch_unwind(AssertUnwindSafe(|| self.provide()));
        if let Err(panic) = provided {
            self.fail(&panic_message(&*panic));
        }
        discard(self.provider);
    }

    fn provide(&mut self) -> Result<(), Panicked> {
        // (Name in the run, name from the provider).
        let mut running: Vec<(String, String)> = Vec::new();
        let (mut has_more, mut waits) = (true, false);
        loop {
            while has_more && !self.is_ending && running.len() < self.open {
                let Some(spec) = self.ask(|provider| provider.next())?.flatten() else {
                    has_more = false;
                    waits = self.ask(|provider| Ok(provider.may_have_more()))? == Some(true);
                    break;
                };
                match (self.add)(&spec) {
                    Ok(name) => running.push((name, spec.name)),
                    Err(error) => {
                        let how = match error {
                            StartError::Ending => How::Drained,
                            error => {
                                self.fail(&format!("stream `{}`: {error}", spec.name));
                                How::Failed
                            }
                        };
                        // The running streams will still end.
                        self.is_ending = true;
                        self.ask(|provider| provider.ended(&spec.name, End::of(how)))?;
                    }
                }
            }
            waits &= !self.is_ending;
            if running.is_empty() && !waits {
                return Ok(());
            }
            let Some(ended) = self.ended(waits) else {
                return Ok(());
            };
            has_more |= waits;
            let Some((stream, end)) = ended else {
                continue;
            };
            if let Some(index) = running.iter().position(|(name, _)| *name == stream) {
                let (_, name) = running.swap_remove(index);
                self.ask(|provider| provider.ended(&name, end))?;
                // The provider may now retry a failed stream, even if it had none before.
                has_more = true;
            }
        }
    }

    /// Calls the provider. Returns none if the call fails; the run then drains, and the provider is still notified of
    /// the ends of the open streams.
    fn ask<T>(
        &mut self,
        call: impl FnOnce(&mut dyn AnyProvider) -> Result<T, ActorError>,
    ) -> Result<Option<T>, Panicked> {
        match attempt(|| call(&mut *self.provider)) {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Error(error)) => {
                self.fail(&error.to_string());
                Ok(None)
            }
            Err(Failure::Panic(message)) => {
                self.fail(&format!("panicked: {message}"));
                Err(Panicked)
            }
        }
    }

    /// Ends the run, reporting only the first failure.
    fn fail(&mut self, message: &str) {
        self.is_ending = true;
        if !std::mem::replace(&mut self.has_failed, true) {
            (self.fail)(format!("the provider of streams failed: {message}"));
        }
    }

    /// Waits for the next stream to end. Returns `Some(None)` when a waiting provider should be polled again, and
    /// `None` once the run is over.
    fn ended(&self, waits: bool) -> Option<Option<(String, End)>> {
        if !waits {
            return self.ends.recv().ok().map(Some);
        }
        match self.ends.recv_timeout(ASK_AGAIN) {
            Ok(ended) => Some(Some(ended)),
            Err(flume::RecvTimeoutError::Timeout) => Some(None),
            Err(flume::RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// Starts a provider's thread. The receiver is disconnected when the thread ends.
pub(crate) fn start<Add, Fail>(
    providing: Providing<Add, Fail>,
    when_done: impl FnOnce() + Send + 'static,
) -> std::io::Result<flume::Receiver<()>>
where
    Add: FnMut(&StreamSpec) -> Result<String, StartError> + Send + 'static,
    Fail: FnMut(String) + Send + 'static,
{
    let (is_there, over) = flume::bounded(0);
    let builder = std::thread::Builder::new().name("streams".to_owned());
    builder.spawn(move || {
        let _is_there = is_there;
        providing.run();
        when_done();
    })?;
    Ok(over)
}
