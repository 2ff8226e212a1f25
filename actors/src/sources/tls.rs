//! How the other side of an encrypted stream shows who it is: the settings, and connections on which it has. What is
//! sent on them is `relay`'s.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::trust::{Client, Fingerprint, Trust};

/// How the other side of an `rtsps://` or `https://` address shows who it is. Without any of these, its certificate
/// must be signed by somebody whom the system trusts, and name the host of the address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSpec {
    /// A PEM file with the certificates that are trusted in the place of the system's. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 fingerprint of the one certificate that is taken, whoever signed it and whatever it names: 64
    /// hexadecimal digits, with or without colons. For cameras that sign their own. Default: none.
    pub sha256: Option<String>,
    /// `false` takes any certificate: whoever can get between reads and changes everything, passwords too. Default:
    /// true.
    pub verify: Option<bool>,
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(
        "{host} does not show that it is {host}: {reason}; its certificate's fingerprint is {fingerprint} (if it is the right one, \
             give it as `tls: {{sha256: …}}`, or its issuer's as `tls: {{ca_file: …}}`)"
    )]
    Untrusted {
        host: String,
        reason: String,
        fingerprint: String,
    },
    #[error("cannot connect to {host}: {error}")]
    Connect { host: String, error: io::Error },
    #[error("no encrypted connection to {host}: {error}")]
    Handshake { host: String, error: io::Error },
    #[error("cannot listen on the loopback interface: {0}")]
    Listen(io::Error),
    #[error("{0}")]
    Settings(String),
}

impl TlsSpec {
    /// Whether nobody has to show anything.
    pub(crate) fn is_blind(&self) -> bool {
        self.verify == Some(false)
    }

    /// Whether anything is said at all.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// Whether the settings can be meant, and their file is there.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        let ways = [
            self.ca_file.is_some(),
            self.sha256.is_some(),
            self.is_blind(),
        ];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            let message = "tls takes one of `ca_file`, `sha256` and `verify: false`";
            return Err(TlsError::Settings(message.to_owned()));
        }
        self.fingerprint()?;
        self.ca_file
            .as_ref()
            .map_or(Ok(()), |_| self.trust().map(drop))
    }

    fn fingerprint(&self) -> Result<Option<Fingerprint>, TlsError> {
        let parsed = self
            .sha256
            .as_deref()
            .map(str::parse::<Fingerprint>)
            .transpose();
        parsed.map_err(|error| TlsError::Settings(format!("tls.sha256: {error}")))
    }

    fn trust(&self) -> Result<Trust, TlsError> {
        if self.is_blind() {
            return Ok(Trust::Anybody);
        }
        if let Some(fingerprint) = self.fingerprint()? {
            return Ok(Trust::One(fingerprint));
        }
        let (key, trust) = match &self.ca_file {
            Some(path) => ("tls.ca_file", Trust::file(path)),
            None => ("tls", Trust::system()),
        };
        trust.map_err(|error| TlsError::Settings(format!("{key}: {error}")))
    }
}

/// Makes encrypted connections to one place.
pub(crate) struct Connector {
    host: String,
    port: u16,
    name: ServerName<'static>,
    client: Client,
    timeout: Duration,
}

impl Connector {
    /// For a place that shows who it is as `spec` says. `timeout` is that of each step of a connection.
    pub(crate) fn new(
        host: &str,
        port: u16,
        spec: &TlsSpec,
        timeout: Duration,
    ) -> Result<Self, TlsError> {
        let client = Client::new(spec.trust()?);
        let client = client.map_err(|error| TlsError::Settings(error.to_string()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::Settings(format!("`{host}` cannot be the name of a host")))?;
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
            client,
            timeout,
        })
    }

    /// Connects, and returns once the other side has shown who it is: until then it is sent nothing but the handshake.
    pub(crate) fn connect(&self) -> Result<(TcpStream, ClientConnection), TlsError> {
        let mut socket = self.dial().map_err(|error| TlsError::Connect {
            host: self.host.clone(),
            error,
        })?;
        let config = Arc::new(self.client.config.clone());
        let client = ClientConnection::new(config, self.name.clone());
        let mut client = client.map_err(|error| TlsError::Settings(error.to_string()))?;
        while client.is_handshaking() {
            client
                .complete_io(&mut socket)
                .map_err(|error| self.failed(error))?;
        }
        Ok((socket, client))
    }

    fn dial(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::other("the name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_read_timeout(Some(self.timeout))?;
                    socket.set_write_timeout(Some(self.timeout))?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn failed(&self, error: io::Error) -> TlsError {
        let host = self.host.clone();
        match self.client.refused() {
            Some(fingerprint) => TlsError::Untrusted {
                host,
                reason: error.to_string(),
                fingerprint: fingerprint.to_string(),
            },
            None => TlsError::Handshake { host, error },
        }
    }
}
