//! Source of the address, and how it is shown.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use fermata_engine::ActorError;
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of bytes read from a file with an address.
const MOST_BYTES: u64 = 1 << 16;

/// Source of the address. The address itself is not a setting: settings are written into run folders and shown.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl Address {
    /// Reads the address.
    ///
    /// # Errors
    /// Fails if the address is missing or is not an http or https address. The message does not contain it.
    pub(super) fn read(&self) -> Result<Url, ActorError> {
        let (text, from) = match self {
            Self::File(path) => {
                let from = format!("the file `{}`", path.display());
                // It may be a pipe: tools that provide secrets write to one.
                let mut text = String::new();
                let file = File::open(path);
                let text = file
                    .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
                    .map(|_| text);
                (
                    text.map_err(|error| format!("cannot read {from}: {error}"))?,
                    from,
                )
            }
            Self::Env(name) => {
                let from = format!("the variable `{name}`");
                let text = std::env::var(name);
                (
                    text.map_err(|_| format!("{from} is not set; it must hold the address"))?,
                    from,
                )
            }
        };
        let line = text.lines().next().unwrap_or_default().trim();
        let url = Url::parse(line);
        let url = url.map_err(|error| format!("{from} holds no address: {error}"))?;
        match (url.scheme(), url.host_str()) {
            ("http" | "https", Some(_)) => Ok(url),
            (scheme, _) => Err(format!(
                "{from} holds an address with `{scheme}:`, but it must begin with http:// or https://"
            )
            .into()),
        }
    }
}

/// Returns the address as it may be shown: `https://hooks.example.com/…`.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    format!("{}://{host}{}/…", url.scheme(), port.unwrap_or_default())
}
