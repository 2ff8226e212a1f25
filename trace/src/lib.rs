//! Writes what happens to every packet of a run as a trace that <https://ui.perfetto.dev> opens: to see at a glance
//! where packets wait, which node is the slow one, and what happened around the one frame that was late.
//!
//! - [`Trace`]: begins the file, gives the engine an observer, and finishes the file.
//!
//! Every lane is a track with its nodes below it. A node has slices for its calls, for the time that packets waited in
//! its queues, and for the batches that it formed; where several overlap they lie on tracks of the same name, which
//! Perfetto draws as one. A packet's way is a flow: it begins where the packet is captured, goes through the calls that
//! handled it, and ends at a sink. Towards each sink a packet has a flow of its own, so that no arrow leads from one
//! branch into another.
//!
//! What is measured is not held up: lanes fill buffers of their own and hand them over, a thread of its own writes. If
//! that is too slow, buffers are dropped, and how many events were lost is counted and stands in the trace. The file is
//! `NAME.part` until it is whole.
//!
//! It does not read traces, and it keeps no statistics: those are the engine's.

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
