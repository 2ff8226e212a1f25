//! Writes what happens to every packet of a run as a trace for <https://ui.perfetto.dev>, which shows where packets
//! wait, which node is slow, and what happened around a frame that was late.
//!
//! - [`Trace`]: begins the file, provides the engine's observer, and finishes the file.
//!
//! Every lane is a track with its nodes below it. A node has slices for its calls, for the time that packets waited in
//! its queues, and for the batches that it formed; overlapping slices are on tracks of the same name, which Perfetto
//! draws as one. A packet's way is a flow: it begins where the packet is captured, passes through the calls that
//! handled it, and ends at a sink. A packet has a separate flow towards each sink, so that no arrow leads from one
//! branch into another.
//!
//! Tracing does not hold up the run: lanes fill their own buffers and hand them over, and a separate thread writes
//! them. If it is too slow, buffers are dropped; the number of lost events is counted and recorded in the trace. The
//! file is `NAME.part` until it is complete.
//!
//! This crate does not read traces and keeps no statistics: those are the engine's.

mod encoder;
mod messages;
mod recorder;
mod records;
mod slots;
mod stream_names;
mod trace;
mod ways;
mod writer;

pub use trace::{Trace, TraceError, Traced};
