//! The hash that identifies the picture of a row.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of the bytes of a row's image file. Text and JSON have it as 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowHash([u8; RowHash::LEN]);

/// Error for text that is not a [`RowHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct NotARowHash;

impl RowHash {
    /// Bytes of a hash.
    pub const LEN: usize = 32;

    /// The hash of a file with these contents.
    pub fn digest(contents: &[u8]) -> Self {
        Self(Sha256::digest(contents).into())
    }

    /// The bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for RowHash {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl FromStr for RowHash {
    type Err = NotARowHash;

    /// Reads digits of either case.
    fn from_str(text: &str) -> Result<Self, NotARowHash> {
        let digit = |digit: u8| (digit as char).to_digit(16).map(|digit| digit as u8);
        let (pairs, []) = text.as_bytes().as_chunks() else {
            return Err(NotARowHash);
        };
        if pairs.len() != Self::LEN {
            return Err(NotARowHash);
        }
        let mut hash = Self::default();
        for (byte, &[high, low]) in hash.0.iter_mut().zip(pairs) {
            *byte = digit(high)
                .zip(digit(low))
                .map(|(high, low)| high << 4 | low)
                .ok_or(NotARowHash)?;
        }
        Ok(hash)
    }
}

impl TryFrom<String> for RowHash {
    type Error = NotARowHash;

    fn try_from(text: String) -> Result<Self, NotARowHash> {
        text.parse()
    }
}

impl From<RowHash> for String {
    fn from(hash: RowHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let hash = RowHash::digest(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
        assert_eq!(serde_json::to_string(&hash).unwrap(), format!("{text:?}"));
        assert_eq!(
            serde_json::from_str::<RowHash>(&format!("{text:?}")).unwrap(),
            hash
        );
    }

    #[test]
    fn other_text_is_refused() {
        let right = "ab".repeat(32);
        for wrong in [
            "",
            &right[1..],
            &right[2..],
            &format!("{right}a"),
            &format!("{right}ab"),
        ] {
            assert_eq!(wrong.parse::<RowHash>(), Err(NotARowHash), "{wrong}");
        }
        for digits in ["+a", "a ", "g0", "é"] {
            assert_eq!(
                format!("{digits}{}", &right[2..]).parse::<RowHash>(),
                Err(NotARowHash),
                "{digits}"
            );
        }
    }

    #[test]
    fn hashes_are_ordered_as_their_digits() {
        let (low, high) = (RowHash::digest(b"b"), RowHash::digest(b"abc"));
        assert!(low < high && low.to_string() < high.to_string());
    }
}
