//! The control plane: pure state machines make the decisions, actix actors carry them out.

pub(crate) mod core;
pub(crate) mod graph_lifecycle;
pub(crate) mod groups;
pub(crate) mod node_lifecycle;
pub(crate) mod supervision;
pub(crate) mod supervisor;
pub(crate) mod watchdog;
