//! The live page of a run, its metrics, and its control over HTTP.
//!
//! # What it solves
//!
//! - **Watching must not change what is watched.** Whatever a browser does, it costs the graph nothing but what it asks
//!   for: numbers are read from the books once a second however many look, frames are encoded only while somebody sees
//!   them, and a browser that is slow gets fewer of them.
//! - **A camera's picture is private.** Without a token the page is for this machine alone, other sites that the
//!   browser has open get nothing from it, and with a certificate nobody reads along.
//!
//! # What it is not
//!
//! No archive: it shows what is now. No configuration of graphs: it adds, removes and reconnects streams, drains and
//! stops.
//!
//! # Map
//!
//! | to … | read |
//! | --- | --- |
//! | serve a run | [`Listening`] takes the address, [`Listening::start`] serves a [`WatchedRun`] there |
//! | add a route | `router.rs`; each file of routes gives a router |
//! | know who may ask for what | `guard.rs` (decisions), `token.rs`, `sign_in.rs`, `identity.rs` (TLS), `places.rs` (how many at once) |
//! | know what the page is told | `session.rs` (one browser), `watcher.rs`, `counting.rs` and `numbers.rs` (numbers), `bottleneck.rs` and `troubles.rs` (what is wrong, in words), `video.rs` (pictures), `tap.rs`, `journal.rs` |
//! | add a metric | `metric_names.rs` says what it is, `metrics.rs` where its value is from, `exposition.rs` writes it |
//! | change the page | `assets/`: plain modules, embedded as they are |

mod bottleneck;
mod control;
mod counting;
mod exposition;
mod graph_view;
mod guard;
mod health;
mod identity;
mod journal;
mod lock;
mod measures;
mod metric_family;
mod metric_names;
mod metrics;
mod numbers;
mod options;
mod page;
mod places;
mod router;
mod server;
mod session;
mod sign_in;
mod tap;
mod token;
mod troubles;
mod video;
mod watched_run;
mod watcher;

pub use identity::{Identity, IdentityError};
pub use measures::{Measure, Measures};
pub use metric_family::Family;
pub use numbers::{
    BatchNumbers, ClockNumbers, Clocks, EdgeNumbers, NodeNumbers, Numbers, StreamNumbers,
    WorkerNumbers, Workers,
};
pub use options::{DEFAULT_ADDRESS, ServeError, ServeOptions};
pub use server::{Listening, Server};
pub use tap::{Describe, Tap, TapObserver};
pub use token::{Token, TokenError};
pub use watched_run::WatchedRun;
