//! Names of a site's edges on the server: JetStream streams, subjects, consumers.

use std::fmt::Write as _;

/// Returns a name as one token of a subject, or as part of a stream's name: bytes that such tokens may not contain are
/// written as `=XX`. Different names stay different.
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

/// Returns the name that a token encodes, or none if no name is encoded so.
pub(crate) fn name_of(token: &str) -> Option<String> {
    let mut name = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        name.push(match byte {
            b'=' => (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8,
            byte => byte,
        });
    }
    let name = String::from_utf8(name).ok()?;
    (self::token(&name) == token).then_some(name)
}

/// Returns the prefix of the subjects on which a program receives answers. Each machine of a site has its own, so that
/// permissions at the server can be limited to it.
pub(crate) fn inbox(site: &str, machine: Option<&str>) -> String {
    let site = token(site);
    match machine {
        Some(machine) => format!("_INBOX.fermata.{site}.{}", token(machine)),
        None => format!("_INBOX.fermata.{site}"),
    }
}

/// Names that belong to one edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EdgeNames {
    /// JetStream stream that holds packets, one subject per stream.
    pub(crate) packets: String,
    /// JetStream stream that holds the last progress of each stream, and how far it is settled.
    pub(crate) progress: String,
    prefix: String,
}

impl EdgeNames {
    /// Returns the names of an edge of a site.
    pub(crate) fn new(site: &str, edge: &str) -> Self {
        let (site, edge) = (token(site), token(edge));
        Self {
            packets: format!("fermata+{site}+{edge}+packets"),
            progress: format!("fermata+{site}+{edge}+progress"),
            prefix: format!("fermata.{site}.{edge}"),
        }
    }

    /// Returns the subject of a stream's packets; for `*`, of all streams.
    pub(crate) fn packets_of(&self, token: &str) -> String {
        format!("{}.packets.{token}", self.prefix)
    }

    /// Returns the subject of what a stream's receiving end has settled; for `*`, of all streams.
    pub(crate) fn settled_of(&self, token: &str) -> String {
        format!("{}.settled.{token}", self.prefix)
    }

    /// Returns the subject of a stream's progress; for `*`, of all streams.
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
        for name in ["door-2_a", "door.2", "a b*>", "ä=", ""] {
            assert_eq!(name_of(&token(name)).as_deref(), Some(name));
        }
        for none in ["a.b", "=2", "=zz", "=FF", "=61", "*"] {
            assert_eq!(name_of(none), None, "{none}");
        }
        let names = EdgeNames::new("shop", "faces");
        assert_eq!(names.packets, "fermata+shop+faces+packets");
        assert_eq!(
            names.packets_of(&token("hall")),
            "fermata.shop.faces.packets.hall"
        );
        assert_eq!(names.progress_of("*"), "fermata.shop.faces.progress.*");
        assert_eq!(inbox("shop", None), "_INBOX.fermata.shop");
        let of_machine = inbox("shop", Some("gate.*"));
        assert_eq!(of_machine, "_INBOX.fermata.shop.gate=2E=2A");
    }
}
