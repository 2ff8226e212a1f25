//! An actor that keeps state about each stream, and a record of what happened to its instances.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup, Stream};
use schemars::JsonSchema;
use serde::Deserialize;

/// What happens to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Created,
    Started(String),
    Handled(String),
    /// Was given a batch of several streams.
    Mixed,
    /// The end of a stream, with what the actor was told of it.
    Ended(String, End),
    Finished(End),
    /// Is about to panic.
    Panicked,
    /// Is about to return an error.
    Failed,
    Dropped,
}

/// An instance and what has happened to it so far.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) node: String,
    pub(crate) events: Vec<Event>,
}

type Lives = Arc<Mutex<Vec<Life>>>;

static RUNS: Mutex<BTreeMap<u64, Lives>> = Mutex::new(BTreeMap::new());
static RUN: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a record; its number goes into the graph as the parameter `run`.
pub(crate) fn open() -> u64 {
    let run = RUN.fetch_add(1, Ordering::Relaxed);
    lock(&RUNS).insert(run, Lives::default());
    run
}

/// Takes the record of a run that is over.
pub(crate) fn close(run: u64) -> Vec<Life> {
    let lives = lock(&RUNS).remove(&run);
    lives.map(|lives| lock(&lives).clone()).unwrap_or_default()
}

/// Passes packets on and keeps count of its streams.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeepSettings {
    /// See [`open`].
    run: u64,
    /// Panics on every n-th packet of an instance.
    panic_every: Option<u64>,
    /// Fails on every n-th packet of an instance.
    fail_every: Option<u64>,
    /// Panics on the n-th stream start that an instance is told of.
    start_panic: Option<u64>,
    /// Panics on the n-th stream end that an instance is told of.
    end_panic: Option<u64>,
    /// Panics at the end.
    #[serde(default)]
    finish_panic: bool,
}

pub(crate) struct Keep {
    settings: KeepSettings,
    lives: Lives,
    life: usize,
    handled: u64,
    started: u64,
    ended: u64,
}

impl Keep {
    fn note(&self, event: Event) {
        if let Some(life) = lock(&self.lives).get_mut(self.life) {
            life.events.push(event);
        }
    }

    fn panic_on(&self, what: &str, count: u64, at: Option<u64>) {
        if at == Some(count) {
            self.note(Event::Panicked);
            panic!("panic on purpose in `{what}`");
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.note(Event::Dropped);
    }
}

impl Actor for Keep {
    const NAME: &'static str = "keep";
    type Settings = KeepSettings;

    fn ports(_: &KeepSettings) -> Ports {
        Ports::new().any_input("in").same_output("out").stateless()
    }

    fn create(settings: KeepSettings, setup: &Setup) -> Result<Self, ActorError> {
        let lives = lock(&RUNS).entry(settings.run).or_default().clone();
        let life = {
            let mut lives = lock(&lives);
            lives.push(Life {
                node: setup.node.clone(),
                events: vec![Event::Created],
            });
            lives.len() - 1
        };
        Ok(Self {
            settings,
            lives,
            life,
            handled: 0,
            started: 0,
            ended: 0,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.note(Event::Handled(input.envelope.stream.name.clone()));
        self.handled += 1;
        let handled = self.handled;
        let falls_on =
            |every: Option<u64>| every.is_some_and(|every| handled.is_multiple_of(every));
        if falls_on(self.settings.panic_every) {
            self.note(Event::Panicked);
            panic!("panic on purpose at packet {handled}");
        }
        if falls_on(self.settings.fail_every) {
            self.note(Event::Failed);
            return Err(format!("failure on purpose at packet {handled}").into());
        }
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        let stream_of = |input: &Input| input.envelope.stream.id;
        let first = inputs.first().map(stream_of);
        if inputs.iter().any(|input| Some(stream_of(input)) != first) {
            self.note(Event::Mixed);
        }
        for input in inputs {
            let envelope = input.envelope.clone();
            if let Err(error) = self.process(input, out) {
                out.fail(&envelope, error);
            }
        }
        Ok(())
    }

    fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        self.note(Event::Started(stream.name.clone()));
        self.started += 1;
        self.panic_on("stream_started", self.started, self.settings.start_panic);
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        self.note(Event::Ended(stream.name.clone(), end));
        self.ended += 1;
        self.panic_on("stream_ended", self.ended, self.settings.end_panic);
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        self.note(Event::Finished(end));
        self.panic_on("finish", 1, self.settings.finish_panic.then_some(1));
        Ok(())
    }
}
