//! How the other side of an encrypted stream shows who it is: the settings, and connections on which it has. What is sent on them is
//! `relay`'s.

use std::fmt::Write as _;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fermata_files::MOST_TEXT;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How the other side of an `rtsps://` or `https://` address shows who it is. Without any of these, its certificate must be signed by
/// somebody whom the system trusts, and name the host of the address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSpec {
    /// A PEM file with the certificates that are trusted in the place of the system's. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 fingerprint of the one certificate that is taken, whoever signed it and whatever it names: 64 hexadecimal digits,
    /// with or without colons. For cameras that sign their own. Default: none.
    pub sha256: Option<String>,
    /// `false` takes any certificate: whoever can get between reads and changes everything, passwords too. Default: true.
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
            .as_deref()
            .map_or(Ok(()), |path| trusted(path).map(drop))
    }

    fn fingerprint(&self) -> Result<Option<[u8; 32]>, TlsError> {
        let Some(text) = &self.sha256 else {
            return Ok(None);
        };
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let mut fingerprint = [0; 32];
        let is_one = digits.len() == 64 && digits.is_ascii();
        let bytes = fingerprint.iter_mut().enumerate().all(|(index, byte)| {
            let digits = digits.get(2 * index..2 * index + 2);
            let parsed = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            parsed.map(|parsed| *byte = parsed).is_some()
        });
        match is_one && bytes {
            true => Ok(Some(fingerprint)),
            false => Err(TlsError::Settings(format!(
                "tls.sha256 is `{text}`, but must be 64 hexadecimal digits"
            ))),
        }
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Trust, TlsError> {
        if self.is_blind() {
            return Ok(Trust::Anybody);
        }
        if let Some(fingerprint) = self.fingerprint()? {
            return Ok(Trust::One(fingerprint));
        }
        let roots = match &self.ca_file {
            Some(path) => trusted(path)?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        if roots.is_empty() {
            let message = "the system trusts no certificates: install Debian's package ca-certificates, or give `tls: {ca_file: …}`";
            return Err(TlsError::Settings(message.to_owned()));
        }
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = builder.build();
        verifier
            .map(Trust::Issuers)
            .map_err(|error| TlsError::Settings(error.to_string()))
    }
}

/// How many certificates the system trusts.
pub(crate) fn trusted_by_system() -> usize {
    let mut roots = RootCertStore::empty();
    roots
        .add_parsable_certificates(rustls_native_certs::load_native_certs().certs)
        .0
}

fn trusted(path: &Path) -> Result<RootCertStore, TlsError> {
    let cannot = |reason: String| {
        TlsError::Settings(format!(
            "tls.ca_file: cannot read {}: {reason}",
            path.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    let text = fermata_files::read(path, MOST_TEXT).map_err(|error| cannot(error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| cannot(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| cannot(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(cannot("it holds no certificate in PEM".to_owned())),
        false => Ok(roots),
    }
}

/// A fingerprint as certificates' are written.
fn written(fingerprint: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in fingerprint.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

/// Whom a connection trusts.
#[derive(Debug)]
enum Trust {
    Issuers(Arc<WebPkiServerVerifier>),
    /// The certificate with this SHA-256 fingerprint.
    One([u8; 32]),
    Anybody,
}

/// Looks at certificates, and remembers the one that it has seen.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<String>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Sha256::digest(end_entity);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(written(&fingerprint));
        match &self.trust {
            Trust::Issuers(issuers) => {
                issuers.verify_server_cert(end_entity, intermediates, name, ocsp, now)
            }
            Trust::One(known) if known[..] == fingerprint[..] => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::One(_) => Err(rustls::Error::General(
                "its certificate is another than the one in tls.sha256".to_owned(),
            )),
            Trust::Anybody => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Makes encrypted connections to one place.
pub(crate) struct Connector {
    host: String,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
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
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier {
            trust: spec.verifier(&provider)?,
            provider: Arc::clone(&provider),
            seen: Mutex::default(),
        });
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::Settings(format!("`{host}` cannot be the name of a host")))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Settings(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_no_client_auth();
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
            config: Arc::new(config),
            verifier,
            timeout,
        })
    }

    /// Connects, and returns once the other side has shown who it is: until then it is sent nothing but the handshake.
    pub(crate) fn connect(&self) -> Result<(TcpStream, ClientConnection), TlsError> {
        let mut socket = self.dial().map_err(|error| TlsError::Connect {
            host: self.host.clone(),
            error,
        })?;
        let client = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
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
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let seen = self.verifier.seen.lock();
        let seen = seen.unwrap_or_else(PoisonError::into_inner).clone();
        match (inner, seen) {
            (
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_)),
                Some(fingerprint),
            ) => TlsError::Untrusted {
                host,
                reason: error.to_string(),
                fingerprint,
            },
            _ => TlsError::Handshake { host, error },
        }
    }
}
