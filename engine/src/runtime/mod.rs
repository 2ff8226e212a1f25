//! The data plane: lanes of nodes over bounded links.

pub(crate) mod batch;
pub(crate) mod books;
pub(crate) mod call;
pub(crate) mod distribution;
pub(crate) mod driver;
pub(crate) mod flow;
pub(crate) mod held_up;
pub(crate) mod host;
pub(crate) mod intake;
pub(crate) mod lane;
pub(crate) mod link;
pub(crate) mod node;
pub(crate) mod parker;
pub(crate) mod pool;
pub(crate) mod protocol;
pub(crate) mod records;
pub(crate) mod serving;
pub(crate) mod settling;
pub(crate) mod source;
pub(crate) mod stats;
pub(crate) mod topology;
pub(crate) mod wiring;
