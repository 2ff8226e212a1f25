//! The name of a job at a server.

use std::fmt;
use std::str::FromStr;

/// Most bytes of a name.
const MOST: usize = 32;

/// Name by which a coordinator and its workers find each other: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobName(String);

impl JobName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether a text may be part of the name of a key, a subject and a bucket.
pub(crate) fn is_token(text: &str, most: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=most).contains(&text.len()) && text.bytes().all(fits)
}

impl FromStr for JobName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_token(text, MOST) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is not a valid name of a job: expected 1 to {MOST} letters, digits, - and _"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_nats_takes_everywhere() {
        assert_eq!("lab_2-a".parse::<JobName>().unwrap().as_str(), "lab_2-a");
        for wrong in ["", "a.b", "a b", "a*", "ä", &"x".repeat(33)] {
            assert!(wrong.parse::<JobName>().is_err(), "{wrong}");
        }
    }
}
