//! The token required when the page is reachable from other machines.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Size of a fresh token in bytes.
const FRESH_BYTES: usize = 32;
/// Minimum number of characters of a token in a file.
const LEAST_CHARACTERS: usize = 16;
/// Maximum number of bytes read from a token file.
const MOST_BYTES: u64 = 1 << 16;

/// A secret that grants the right to watch and steer a run. Only [`Token::secret`] reveals it, never `{:?}`.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file does not hold a token.
    #[error(
        "the token in {path} must be one line of at least {LEAST_CHARACTERS} visible ASCII characters: make one with `openssl rand -hex 32`"
    )]
    Unfit {
        /// The file.
        path: String,
    },
    /// The system provided no random bytes.
    #[error("cannot make a token: {0}")]
    Random(String),
}

impl Token {
    /// Creates a random token.
    ///
    /// # Errors
    /// Fails if the system has no random bytes.
    pub fn fresh() -> Result<Self, TokenError> {
        let mut bytes = [0u8; FRESH_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| TokenError::Random(error.to_string()))?;
        Ok(Self(hex(&bytes)))
    }

    /// Reads the token from a file, ignoring surrounding white space.
    ///
    /// # Errors
    /// Fails if the file cannot be read or does not hold a token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let shown = path.display().to_string();
        // It may be a pipe, as tools that hand out secrets use.
        let mut text = String::new();
        let file = File::open(path);
        let read = file.and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text));
        read.map_err(|error| TokenError::Read {
            path: shown.clone(),
            error,
        })?;
        let token = text.trim();
        let is_fit = token.len() >= LEAST_CHARACTERS && token.bytes().all(|b| b.is_ascii_graphic());
        if is_fit {
            Ok(Self(token.to_owned()))
        } else {
            Err(TokenError::Unfit { path: shown })
        }
    }

    /// Returns the token itself, to be shown to a person or sent to a server.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Returns whether `given` is this token, in constant time.
    pub(crate) fn is(&self, given: &str) -> bool {
        are_equal(self.0.as_bytes(), given.as_bytes())
    }

    /// Returns the cookie that a browser gets in exchange for the token: the token cannot be derived from it, and it
    /// stays valid when a run restarts with the same token.
    pub(crate) fn cookie(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"fermata's cookie\0");
        hash.update(self.0.as_bytes());
        hex(&hash.finalize())
    }

    /// Returns whether `given` is this token's cookie.
    pub(crate) fn is_cookie(&self, given: &str) -> bool {
        are_equal(self.cookie().as_bytes(), given.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Compares hashes, so that not even the length of a secret can be measured.
fn are_equal(secret: &[u8], given: &[u8]) -> bool {
    let [secret, given] = [secret, given].map(Sha256::digest);
    secret.ct_eq(&given).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_and_nothing_else() {
        let token = Token::fresh().unwrap();
        let other = Token::fresh().unwrap();
        assert_eq!(token.secret().len(), 64);
        assert!(token.is(token.secret()) && token.is_cookie(&token.cookie()));
        for given in ["", other.secret(), &token.secret()[1..], &token.cookie()] {
            assert!(!token.is(given), "{given}");
        }
        assert!(!token.is_cookie(token.secret()) && !token.is_cookie(&other.cookie()));
        assert_eq!(format!("{token:?}"), "Token(***)");
    }

    #[test]
    fn a_file_holds_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Token::read(&path).map(|token| token.secret().to_owned())
        };
        assert_eq!(read("0123456789abcdef\n").unwrap(), "0123456789abcdef");
        for text in ["", "short\n", "0123456789 abcdef", "0123456789abcdef\nx"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("at least 16 visible"), "{error}");
        }
        let none = Token::read(&folder.path().join("none")).unwrap_err();
        assert!(none.to_string().contains("none: No such file"), "{none}");
    }
}
