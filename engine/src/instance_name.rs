//! Names of node instances in reports, logs and settings: `NODE`, or `NODE@STREAM` where each stream has its own. Names
//! of nodes and streams are checked elsewhere (`graph/names.rs`); a node's name has no `@`.

use std::fmt::{Display, Formatter, Result};

/// A node and, for an `each: stream` node, the stream. Displayed as the instance's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceName<'a> {
    /// Name of the node in the graph.
    pub node: &'a str,
    /// Name of the stream of the instance; none if one instance serves all.
    pub stream: Option<&'a str>,
}

impl<'a> InstanceName<'a> {
    /// Splits a name.
    pub fn parse(name: &'a str) -> Self {
        match name.split_once('@') {
            Some((node, stream)) => Self {
                node,
                stream: Some(stream),
            },
            None => Self {
                node: name,
                stream: None,
            },
        }
    }
}

impl Display for InstanceName<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(self.node)?;
        match self.stream {
            Some(stream) => write!(formatter, "@{stream}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_apart_is_shown_as_it_was() {
        for (name, node, stream) in [
            ("draw", "draw", None),
            ("draw@lobby", "draw", Some("lobby")),
            ("draw@lobby.2", "draw", Some("lobby.2")),
        ] {
            let parsed = InstanceName::parse(name);
            assert_eq!(parsed, InstanceName { node, stream });
            assert_eq!(parsed.to_string(), name);
        }
    }
}
