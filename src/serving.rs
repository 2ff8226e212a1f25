//! `--serve`: the live page of a run, its metrics and its control, prepared before the run starts and served
//! afterwards.

#[cfg(not(feature = "live"))]
mod nothing;
#[cfg(feature = "live")]
mod page;

#[cfg(not(feature = "live"))]
pub(crate) use nothing::Serving;
#[cfg(feature = "live")]
pub(crate) use page::Serving;
