//! What the edges of a site are called on the server: JetStream streams, subjects, consumers.

use std::fmt::Write as _;

/// A name as one token of a subject, or a part of a stream's name: what such tokens may not hold is written as `=XX`. Different
/// names stay different.
pub(crate) fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => token.push(char::from(byte)),
            _ => {
                let _ = write!(token, "={byte:02X}");
            }
        }
    }
    token
}

/// The names that belong to one edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EdgeNames {
    /// The JetStream stream that holds packets, one subject for each stream.
    pub(crate) packets: String,
    /// The JetStream stream that holds the last progress of each stream, and what of it has been settled.
    pub(crate) progress: String,
    prefix: String,
}

impl EdgeNames {
    /// The names of an edge of a site.
    pub(crate) fn new(site: &str, edge: &str) -> Self {
        let (site, edge) = (token(site), token(edge));
        Self {
            packets: format!("fermata+{site}+{edge}+packets"),
            progress: format!("fermata+{site}+{edge}+progress"),
            prefix: format!("fermata.{site}.{edge}"),
        }
    }

    /// The subject of a stream's packets; of all streams, for `*`.
    pub(crate) fn packets_of(&self, token: &str) -> String {
        format!("{}.packets.{token}", self.prefix)
    }

    /// The subject of what a stream's receiving end has settled; of all streams, for `*`.
    pub(crate) fn settled_of(&self, token: &str) -> String {
        format!("{}.settled.{token}", self.prefix)
    }

    /// The subject of a stream's progress; of all streams, for `*`.
    pub(crate) fn progress_of(&self, token: &str) -> String {
        format!("{}.progress.{token}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_tokens_that_nats_takes_and_stay_apart() {
        assert_eq!(token("door-2_a"), "door-2_a");
        assert_eq!(token("door.2"), "door=2E2");
        assert_eq!(token("a b*>"), "a=20b=2A=3E");
        assert_ne!(token("door=2E2"), token("door.2"));
        let names = EdgeNames::new("shop", "faces");
        assert_eq!(names.packets, "fermata+shop+faces+packets");
        assert_eq!(
            names.packets_of(&token("hall")),
            "fermata.shop.faces.packets.hall"
        );
        assert_eq!(names.progress_of("*"), "fermata.shop.faces.progress.*");
    }
}
