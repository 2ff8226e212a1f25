//! The laws that every run keeps, whatever the graph: checked on random graphs, and on the cases that once broke them.
//!
//! # What the laws say
//! - A run ends: nothing waits for ever, nothing that only waits (a batch for its time, a node for its restart) is
//!   reported as a deadlock, no lane spins, and no panic passes through the engine, whoever's code it is in.
//! - The books balance, on every edge, node, sink and stream.
//! - A sink gets each stream's packets in order, none twice, none that an actor before it left out, and all others
//!   unless something may lose them: a queue that drops, an actor that fails or panics, a stop.
//! - A blocking queue holds its capacity, and at most what its producer had in hand when it was full; in a lane as
//!   well.
//! - Two `asap` runs give every sink the same packets in the same order.
//! - Only what was made to break is counted as failed, rebuilt, or given up.
//! - An actor is told of a stream's start before it gets a packet of it, of its end after the last one, and of its own
//!   end at most once, after those; starts and ends pair up for every instance, including replicas, that was not lost
//!   to a panic, replaced, or given up. Everything that was built has been dropped when the run is over.
//! - A stream that an actor ends early ends: everything that actor still needed of it has arrived, and packets count as
//!   `finished` only there. Calls that are finished later, in whatever order they are answered, are published in order;
//!   those that are never answered have failed.
//! - What a sink is told of a stream's end agrees with the books: complete only if the source emitted all it had, and
//!   lost if a packet failed, was dropped, given up or left without a partner on the way to it, the sink itself
//!   included.
//! - A job that is resumed until nothing is left has done each unit once; its provider is told once how each ended.
//! - A graph that is cut into parts for several machines gives its sinks what the whole gives them, once and in order,
//!   whatever the network between does; under `asap` in the same order over all streams. What is dropped by edges that
//!   may drop is counted as missed at their receiving ends.
//!
//! # What follows from a panic
//! - In an actor's call: the packets of the call have failed, the actor is dropped and rebuilt within its budget. The
//!   new one is told of the current streams.
//! - In `stream_started`, `stream_ended` or `finish`, and also an error there: the node gives up at once, as with
//!   `on_error: stop`, because opening or completing a file cannot be retried. After a panic nothing more is called on
//!   that actor, not even `finish`.
//! - In a source (`next` or `pacing`): it is rebuilt within its budget, whatever `on_error` says; the stream continues
//!   in a new segment, and its numbers continue. An error of a source ends its stream as failed, unless `on_error` says
//!   `restart`.
//! - In `Payload::weight` or `bytes`: the packet has failed at the node that asked (the one with the batch, or the one
//!   whose queue counts bytes). The actor is not involved and stays.
//! - In the `Drop` of a payload: if an actor drops it, it is a panic of the call; if the engine does, nothing follows.

mod actors;
mod broken;
mod case;
mod counter;
#[cfg(feature = "remote")]
mod cut;
mod doors;
mod draw;
mod faults;
mod faults_of_streams;
mod faults_on_threads;
mod file;
mod found;
mod keep;
mod lives;
mod model;
mod payloads;
mod random;
mod simulated;
mod threads;
mod units;
