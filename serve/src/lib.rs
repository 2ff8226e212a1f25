//! The live page of a run, its metrics, and its control over HTTP.
//!
//! # What it solves
//!
//! - **Watching must not change what is watched.** Browsers cost the graph nothing beyond what they request: numbers
//!   are read from the books once a second however many browsers are watching, frames are encoded only while somebody
//!   sees them, and a slow browser gets fewer of them.
//! - **A camera's picture is private.** Without a token the page is reachable only from this machine, other sites open
//!   in the browser get nothing from it, and with a certificate nobody can eavesdrop.
//!
//! # What it is not
//!
//! Not an archive: it shows only the present. Not a configuration tool for graphs: it adds, removes and reconnects
//! streams, and drains and stops the run.
//!
//! # Map
//!
//! | to … | read |
//! | --- | --- |
//! | serve a run | [`Listening`] binds the address, [`Listening::start`] serves a [`WatchedRun`] there |
//! | add a route | `router.rs`; each file of routes returns a router |
//! | know who may request what | `guard.rs` (decisions), `token.rs`, `sign_in.rs`, `identity.rs` (TLS), `places.rs` (connection limit) |
//! | know what is sent to the page | `session.rs` (one browser), `watcher.rs`, `counting.rs` and `numbers.rs` (numbers), `bottleneck.rs` and `troubles.rs` (what is wrong, in words), `video.rs` (pictures), `tap.rs`, `journal.rs` |
//! | add a metric | `metric_names.rs` names it, `metrics.rs` reads its value, `exposition.rs` writes it |
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
