//! Tools for testing actors: drives actors, joins and sources outside a graph, and collects what a graph delivers to a
//! sink.
//!
//! There are drivers, which hold actors to the engine's contract, and two nodes for graphs: a source that emits the
//! items of a list, and a sink that keeps what reaches it. To run whole graphs in virtual time, see
//! [`sim`](crate::sim).
//!
//! | to test | use |
//! | --- | --- |
//! | an actor, with one input or as a join | [`ActorDriver`], which has the actor's own methods |
//! | a source | [`SourceDriver`], which is an iterator |
//! | inputs and setups | [`input`], [`join`], [`capture`], [`stream`], [`setup`] |
//! | behaviour that depends on time | the manual [`Clock`](crate::Clock) in [`setup`], which only moves when advanced |
//! | an actor in a graph | [`ListSource`] and [`Collector`] |
//!
//! ```
//! # use fermata_engine::{Actor, ActorError, Input, Outputs, Payload, Ports, Setup};
//! use fermata_engine::testing::ActorDriver;
//! use serde_json::json;
//!
//! struct Number(i64);
//! impl Payload for Number {}
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct AddSettings {
//!     number: i64,
//! }
//!
//! struct Add(i64);
//!
//! impl Actor for Add {
//!     const NAME: &'static str = "add";
//!     type Settings = AddSettings;
//!
//!     fn ports(_: &AddSettings) -> Ports {
//!         Ports::new().input::<Number>("in").output::<Number>("out")
//!     }
//!
//!     fn create(settings: AddSettings, _: &Setup) -> Result<Self, ActorError> {
//!         Ok(Self(settings.number))
//!     }
//!
//!     fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
//!         let sum = input.take::<Number>().0.checked_add(self.0).ok_or("the sum is too large")?;
//!         out.emit::<Number>(input.envelope, Number(sum));
//!         Ok(())
//!     }
//! }
//!
//! let mut add = ActorDriver::<Add>::new(json!({"number": 2})).unwrap();
//! assert_eq!(add.feed(Number(40)).unwrap().only::<Number>().0, 42);
//! assert!(add.feed(Number(i64::MAX)).is_err());
//!
//! // Settings are parsed like those of a graph file.
//! let refused = ActorDriver::<Add>::new(json!({"numbr": 2})).unwrap_err();
//! assert_eq!(refused.to_string(), "unknown key `numbr`");
//! ```

mod actor_driver;
mod collector;
mod given;
mod list_source;
mod outcome;
mod source_driver;

pub use actor_driver::ActorDriver;
pub use collector::Collector;
pub use given::{capture, input, join, setup, stream};
pub use list_source::{ListSource, ListSourceSettings};
pub use outcome::{Emission, OpenCall, Outcome};
pub use source_driver::SourceDriver;
