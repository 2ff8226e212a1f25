//! The data plane: lanes of nodes connected by edges. `way` describes the path of a packet.
//!
//! ```text
//! lane ── driver (on a thread)
//!  ├ turns, sourcing, life    what a node does next; its creation and end
//!  ├ way                      the path of a packet through a node
//!  │  ├ node                  the state of a node
//!  │  ├ batch, window, pool   held packets; open calls; replicas
//!  │  └ flow                  one stream at one node: joins, positions
//!  │     └ edge               one stream between two nodes: ring or channel
//!  └ books, stats             counters; measurements
//! wiring ── from a graph to lanes; topology queries the graph, connecting makes the edges
//!  ├ records                  what has been wired; closing turns ended streams into closed
//!  └ protocol, host           messages between lanes and the control plane; what the lanes run on
//! ```

pub(crate) mod arranging;
pub(crate) mod batch;
pub(crate) mod books;
pub(crate) mod call;
pub(crate) mod channel;
pub(crate) mod closed;
pub(crate) mod closing;
mod connecting;
pub(crate) mod context;
pub(crate) mod distribution;
pub(crate) mod driver;
pub(crate) mod edge;
pub(crate) mod edges;
pub(crate) mod flow;
pub(crate) mod host;
pub(crate) mod lane;
pub(crate) mod life;
pub(crate) mod node;
pub(crate) mod parker;
pub(crate) mod parts;
pub(crate) mod pool;
pub(crate) mod protocol;
pub(crate) mod queued;
pub(crate) mod records;
pub(crate) mod replica;
pub(crate) mod source_runner;
pub(crate) mod sourcing;
pub(crate) mod stats;
pub(crate) mod topology;
pub(crate) mod turns;
pub(crate) mod way;
pub(crate) mod window;
pub(crate) mod wiring;
