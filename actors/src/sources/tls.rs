//! Authentication of the server of an encrypted stream: the settings, and authenticated connections. `relay` sends the
//! data.

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

/// How the server of an `rtsps://` or `https://` address proves its identity. With none of these set, its certificate
/// must be signed by an authority that the system trusts, and name the host of the address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSpec {
    /// A PEM file with certificates to trust instead of the system's. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 fingerprint of the only certificate that is accepted, whatever its issuer and names: 64 hexadecimal
    /// digits, with or without colons. For cameras with self-signed certificates. Default: none.
    pub sha256: Option<String>,
    /// `false` accepts any certificate: an attacker between the two can read and change everything, including
    /// passwords. Default: true.
    pub verify: Option<bool>,
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(
        "cannot verify the identity of {host}: {reason}; its certificate's fingerprint is {fingerprint} (if it is the right one, \
             set it as `tls: {{sha256: …}}`, or its issuer's certificate as `tls: {{ca_file: …}}`)"
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
    /// Returns whether any certificate is accepted.
    pub(crate) fn is_blind(&self) -> bool {
        self.verify == Some(false)
    }

    /// Returns whether any setting is given.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// Checks that the settings are valid and their file is readable.
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

/// Opens encrypted connections to one server.
pub(crate) struct Connector {
    host: String,
    port: u16,
    name: ServerName<'static>,
    client: Client,
    timeout: Duration,
}

impl Connector {
    /// Creates a connector for a server that is authenticated as `spec` says. `timeout` applies to each step of a
    /// connection.
    pub(crate) fn new(
        host: &str,
        port: u16,
        spec: &TlsSpec,
        timeout: Duration,
    ) -> Result<Self, TlsError> {
        let client = Client::new(spec.trust()?);
        let client = client.map_err(|error| TlsError::Settings(error.to_string()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::Settings(format!("`{host}` is not a valid host name")))?;
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
            client,
            timeout,
        })
    }

    /// Connects and returns once the server is authenticated: until then, only the handshake is sent to it.
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
