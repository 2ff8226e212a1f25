//! The live page of a run, its metrics, and its control over HTTP.
//!
//! # What it solves
//!
//! - **Watching must not change what is watched.** Whatever a browser does, it costs the graph nothing but what it asks for: numbers are
//!   read from the books once a second however many look, frames are encoded only while somebody sees them, and a browser that is slow
//!   gets fewer of them.
//! - **A camera's picture is private.** Without a token the page is for this machine alone, and other sites that the browser has
//!   open get nothing from it.
//!
//! # What it is not
//!
//! No archive: it shows what is now. No configuration of graphs: it adds, removes and reconnects streams, drains and stops.
//!
//! # Map
//!
//! [`Listening`] takes the address, [`Listening::start`] serves a [`WatchedRun`] there. Each file of routes gives a router
//! ([`router`] puts them together).

mod health;
mod metrics;
mod options;
mod router;
mod server;
mod watched_run;

pub use options::{DEFAULT_ADDRESS, ServeError, ServeOptions};
pub use server::{Listening, Server};
pub use watched_run::WatchedRun;
