//! Registry of the names after `use:` and the types behind them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::actor::Actor;
use crate::codec::Codecs;
use crate::end::End;
use crate::error::ActorError;
use crate::graph::settings::{Settings, SettingsError};
use crate::graph::spec::{Graph, StreamSpec};
use crate::input::Input;
use crate::outputs::Outputs;
use crate::packet::Stream;
use crate::ports::Ports;
use crate::provider::{ProviderSetup, StreamProvider};
use crate::setup::Setup;
use crate::source::{Next, Pacing, Source};

/// The actors that graphs may use. A program starts with [`Registry::builtin`] and registers its own.
#[derive(Default)]
pub struct Registry {
    types: BTreeMap<&'static str, ActorType>,
    providers: BTreeMap<&'static str, ProviderType>,
    codecs: Codecs,
    rules: Vec<Rule>,
}

/// A rule across the nodes of a graph, which no actor can check by itself. Returns each violation as a sentence that
/// says what to do.
pub type Rule = fn(&Graph) -> Vec<String>;

impl Registry {
    /// Returns the codecs for the payloads of these actors.
    pub fn codecs(&self) -> &Codecs {
        &self.codecs
    }

    /// Returns the codecs, to register those of a crate's own payloads.
    pub fn codecs_mut(&mut self) -> &mut Codecs {
        &mut self.codecs
    }

    /// Adds an actor.
    ///
    /// # Panics
    /// If the name is taken: two behaviours under one name are a mistake in the program.
    pub fn register<A: Actor>(&mut self) {
        self.register_made::<A>(A::NAME, A::create);
    }

    /// Adds an actor that is built by a closure, under a name of its own, so that it may share something with the
    /// program.
    pub(crate) fn register_made<A: Actor>(
        &mut self,
        name: &'static str,
        make: impl Fn(A::Settings, &Setup) -> Result<A, ActorError> + Send + Sync + 'static,
    ) {
        self.insert(ActorType {
            name,
            source: false,
            schema: inline_schema::<A::Settings>,
            ports: |settings| Ok(A::ports(&settings.parse()?)),
            check: |settings| A::check(&settings.parse()?),
            reads: |settings| Ok(A::reads(&settings.parse()?)),
            try_out: |settings| A::try_out(&settings.parse()?),
            create: Arc::new(move |settings, setup| {
                let actor = make(settings.parse()?, setup)?;
                Ok(Behaviour::Actor(Box::new(actor)))
            }),
        });
    }

    /// Adds a source; see [`Registry::register`].
    pub fn register_source<S: Source>(&mut self) {
        self.register_made_source::<S>(S::NAME, S::create);
    }

    /// Adds a source that is built by a closure; see [`Registry::register_made`].
    pub(crate) fn register_made_source<S: Source>(
        &mut self,
        name: &'static str,
        make: impl Fn(S::Settings, &Setup) -> Result<S, ActorError> + Send + Sync + 'static,
    ) {
        self.insert(ActorType {
            name,
            source: true,
            schema: inline_schema::<S::Settings>,
            ports: |settings| Ok(S::ports(&settings.parse()?)),
            check: |settings| S::check(&settings.parse()?),
            reads: |settings| Ok(S::reads(&settings.parse()?)),
            try_out: |_| Ok(()),
            create: Arc::new(move |settings, setup| {
                let source = make(settings.parse()?, setup)?;
                Ok(Behaviour::Source(Box::new(source)))
            }),
        });
    }

    fn insert(&mut self, actor_type: ActorType) {
        let name = actor_type.name;
        let earlier = self.types.insert(name, actor_type);
        assert!(earlier.is_none(), "actor `{name}` is registered twice");
    }

    /// Returns the actor type with this name.
    pub fn get(&self, name: &str) -> Option<&ActorType> {
        self.types.get(name)
    }

    /// Returns all actor types by name.
    pub fn iter(&self) -> impl Iterator<Item = &ActorType> {
        self.types.values()
    }

    /// Adds a provider of streams.
    ///
    /// # Panics
    /// See [`Registry::register`].
    pub fn register_provider<P: StreamProvider>(&mut self) {
        let earlier = self.providers.insert(
            P::NAME,
            ProviderType {
                name: P::NAME,
                schema: inline_schema::<P::Settings>,
                read: |settings| settings.parse::<P::Settings>().map(drop),
                check: |settings| P::check(&settings.parse()?),
                reads: |settings| Ok(P::reads(&settings.parse()?)),
                create: |settings, setup| Ok(Box::new(P::create(settings.parse()?, setup)?)),
            },
        );
        assert!(
            earlier.is_none(),
            "provider `{}` is registered twice",
            P::NAME
        );
    }

    /// Returns the provider with this name.
    pub fn provider(&self, name: &str) -> Option<&ProviderType> {
        self.providers.get(name)
    }

    /// Returns all providers by name.
    pub fn providers(&self) -> impl Iterator<Item = &ProviderType> {
        self.providers.values()
    }

    /// Adds a rule that a running graph must still follow with each stream that is added to it. Whether it does so from
    /// the beginning is for the program to check.
    pub fn register_rule(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// A registered provider of streams.
#[derive(Clone)]
pub struct ProviderType {
    /// The name after `use:`.
    pub name: &'static str,
    schema: fn() -> Schema,
    read: fn(&Settings) -> Result<(), SettingsError>,
    check: fn(&Settings) -> Result<(), ActorError>,
    reads: fn(&Settings) -> Result<Vec<PathBuf>, SettingsError>,
    create: fn(&Settings, &ProviderSetup) -> NewProvider,
}

type NewProvider = Result<Box<dyn AnyProvider>, ActorError>;

impl ProviderType {
    /// Returns the JSON Schema of the settings; see [`ActorType::schema`].
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    /// Checks that the settings can be read as the provider's own type.
    pub(crate) fn read(&self, settings: &Settings) -> Result<(), SettingsError> {
        (self.read)(settings)
    }

    /// See [`StreamProvider::check`].
    ///
    /// # Errors
    /// What the provider finds wrong with its settings.
    pub fn check(&self, settings: &Settings) -> Result<(), ActorError> {
        (self.check)(settings)
    }

    /// See [`StreamProvider::reads`].
    ///
    /// # Errors
    /// The settings cannot be read.
    pub fn reads(&self, settings: &Settings) -> Result<Vec<PathBuf>, SettingsError> {
        (self.reads)(settings)
    }

    pub(crate) fn create(&self, settings: &Settings, setup: &ProviderSetup) -> NewProvider {
        (self.create)(settings, setup)
    }
}

/// [`StreamProvider`] with its types erased.
pub(crate) trait AnyProvider: Send {
    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError>;
    fn may_have_more(&self) -> bool;
    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError>;
}

impl<P: StreamProvider> AnyProvider for P {
    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        StreamProvider::next(self)
    }
    fn may_have_more(&self) -> bool {
        StreamProvider::may_have_more(self)
    }
    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError> {
        StreamProvider::ended(self, stream, end)
    }
}

/// A registered actor.
#[derive(Clone)]
pub struct ActorType {
    /// The name after `use:`.
    pub name: &'static str,
    /// Whether it is a source.
    pub source: bool,
    schema: fn() -> Schema,
    ports: fn(&Settings) -> Result<Ports, SettingsError>,
    check: fn(&Settings) -> Result<(), ActorError>,
    reads: fn(&Settings) -> Result<Vec<PathBuf>, SettingsError>,
    try_out: fn(&Settings) -> Result<(), ActorError>,
    create: Arc<CreateBehaviour>,
}

type CreateBehaviour = dyn Fn(&Settings, &Setup) -> Result<Behaviour, ActorError> + Send + Sync;

impl ActorType {
    /// Returns the JSON Schema of the settings; descriptions are the doc comments of the settings' fields.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    /// Reads the settings and returns the node's ports under them.
    ///
    /// # Errors
    /// The settings are not the actor's; the error has the place.
    pub fn ports(&self, settings: &Settings) -> Result<Ports, SettingsError> {
        (self.ports)(settings)
    }

    /// See [`Actor::check`].
    ///
    /// # Errors
    /// What the actor finds wrong with its settings.
    pub fn check(&self, settings: &Settings) -> Result<(), ActorError> {
        (self.check)(settings)
    }

    /// See [`Actor::reads`].
    ///
    /// # Errors
    /// The settings are not the actor's; the error has the place.
    pub fn reads(&self, settings: &Settings) -> Result<Vec<PathBuf>, SettingsError> {
        (self.reads)(settings)
    }

    /// See [`Actor::try_out`].
    ///
    /// # Errors
    /// What the settings name cannot be used, with the reason.
    pub fn try_out(&self, settings: &Settings) -> Result<(), ActorError> {
        (self.try_out)(settings)
    }

    pub(crate) fn create(
        &self,
        settings: &Settings,
        setup: &Setup,
    ) -> Result<Behaviour, ActorError> {
        (self.create)(settings, setup)
    }
}

/// A created actor or source.
pub(crate) enum Behaviour {
    Actor(Box<dyn AnyActor>),
    Source(Box<dyn AnySource>),
}

/// [`Actor`] with its types erased.
pub(crate) trait AnyActor: Send {
    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError>;
    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError>;
    fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError>;
    fn stream_ending(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError>;
    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError>;
    fn finish(&mut self, end: End) -> Result<(), ActorError>;
}

impl<A: Actor> AnyActor for A {
    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        Actor::process(self, input, out)
    }
    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        Actor::process_batch(self, inputs, out)
    }
    fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        Actor::stream_started(self, stream)
    }
    fn stream_ending(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        Actor::stream_ending(self, stream)
    }
    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        Actor::stream_ended(self, stream, end)
    }
    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        Actor::finish(self, end)
    }
}

/// [`Source`] with its types erased.
pub(crate) trait AnySource: Send {
    fn pacing(&self) -> Pacing;
    fn next(&mut self) -> Result<Next, ActorError>;
}

impl<S: Source> AnySource for S {
    fn pacing(&self) -> Pacing {
        Source::pacing(self)
    }
    fn next(&mut self) -> Result<Next, ActorError> {
        Source::next(self)
    }
}

/// Returns a schema without references, so that the schemas of several actors fit in one document.
pub(crate) fn inline_schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator()
        .into_root_schema_for::<T>()
}
