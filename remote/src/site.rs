//! The life of a site: one run of one graph, whose parts run on several machines and find each other at the NATS
//! server.
//!
//! Owns what the server remembers of a run: which one it is, which parts of it there are, whether it is to end. How
//! packets travel is described in [`edge`](crate::edge).

mod administration;
mod clock;
mod joining;
mod part;
mod record;
mod refusal;

pub use administration::{EdgeState, PartState, SiteState, drain, end, state};
pub use clock::{ClockOffset, SiteClocks};
pub use joining::PartSpec;
pub use part::SitePart;
pub use refusal::SiteError;
