//! Which peers an encrypted connection trusts: the system's certificate authorities, those of a file, one given
//! certificate, or anybody. The settings and the connections themselves are elsewhere.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

/// Which peers a connection trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Any peer with a certificate for the requested name that one of these authorities signed.
    Issuers(Arc<RootCertStore>),
    /// The peer with the certificate of this fingerprint, regardless of its signer and the names in it.
    One(Fingerprint),
    /// Any peer: a man in the middle can read and change everything.
    Anybody,
}

/// The SHA-256 fingerprint of a certificate. Displayed in the usual form `AB:CD:…`; parsed with or without colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Why the requested trust cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The text is not a fingerprint.
    #[error("`{0}` is not a certificate's fingerprint, which has 64 hexadecimal digits")]
    NoFingerprint(String),
    /// The certificate file cannot be read, or contains no certificate.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no certificate authorities.
    #[error(
        "the system trusts no certificates: install Debian's package ca-certificates, or name a file of certificates that are trusted"
    )]
    NoAuthorities,
    /// An error of rustls.
    #[error("{0}")]
    Rustls(String),
}

impl Trust {
    /// Trusts the system's certificate authorities.
    ///
    /// # Errors
    /// Fails if there are none.
    pub fn system() -> Result<Self, TrustError> {
        let roots = system_roots();
        if roots.is_empty() {
            Err(TrustError::NoAuthorities)
        } else {
            Ok(Self::Issuers(Arc::new(roots)))
        }
    }

    /// Trusts the certificates of a PEM file instead of the system's.
    ///
    /// # Errors
    /// Fails if the file cannot be read or contains no certificate.
    pub fn file(path: &Path) -> Result<Self, TrustError> {
        let cannot = |reason: String| TrustError::Unreadable {
            path: path.display().to_string(),
            reason,
        };
        let mut roots = RootCertStore::empty();
        let text = fermata_files::read(path, fermata_files::MOST_TEXT);
        let text = text.map_err(|error| cannot(error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| cannot(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| cannot(error.to_string()))?;
        }
        if roots.is_empty() {
            Err(cannot("it holds no certificate in PEM".to_owned()))
        } else {
            Ok(Self::Issuers(Arc::new(roots)))
        }
    }
}

/// Returns how many certificates the system trusts.
pub(crate) fn trusted_by_system() -> usize {
    system_roots().len()
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let mut fingerprint = [0; 32];
        let is_hex = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let bytes = fingerprint.iter_mut().enumerate().all(|(index, byte)| {
            let digits = digits.get(2 * index..2 * index + 2);
            let parsed = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            parsed.map(|parsed| *byte = parsed).is_some()
        });
        if is_hex && bytes {
            Ok(Self(fingerprint))
        } else {
            Err(TrustError::NoFingerprint(text.to_owned()))
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// TLS configuration of a client, and the certificate that was refused last.
#[derive(Clone, Debug)]
pub struct Client {
    /// Configuration for rustls.
    pub config: ClientConfig,
    verifier: Arc<Verifier>,
}

impl Client {
    /// Creates a client that trusts according to `trust`.
    ///
    /// # Errors
    /// Fails if rustls rejects the configuration.
    pub fn new(trust: Trust) -> Result<Self, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let issuers = match &trust {
            Trust::Issuers(roots) => {
                let provider = Arc::clone(&provider);
                let builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider);
                let built = builder.build();
                Some(built.map_err(|error| TrustError::Rustls(error.to_string()))?)
            }
            Trust::One(_) | Trust::Anybody => None,
        };
        let verifier = Arc::new(Verifier {
            trust,
            issuers,
            provider: Arc::clone(&provider),
            refused: Mutex::default(),
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Rustls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_no_client_auth();
        Ok(Self { config, verifier })
    }

    /// Returns the fingerprint of the certificate that was presented last, if it was not trusted.
    pub fn refused(&self) -> Option<Fingerprint> {
        let refused = self.verifier.refused.lock();
        *refused.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Verifies certificates, and remembers the one that it refused.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    /// For [`Trust::Issuers`].
    issuers: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    refused: Mutex<Option<Fingerprint>>,
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
        let fingerprint = Fingerprint::of(end_entity);
        let verified = match (&self.trust, &self.issuers) {
            (Trust::Anybody, _) => Ok(ServerCertVerified::assertion()),
            (Trust::One(known), _) if *known == fingerprint => Ok(ServerCertVerified::assertion()),
            (Trust::Issuers(_), Some(issuers)) => {
                issuers.verify_server_cert(end_entity, intermediates, name, ocsp, now)
            }
            _ => Err(rustls::Error::General(
                "its certificate does not match the given fingerprint".to_owned(),
            )),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = verified.is_err().then_some(fingerprint);
        verified
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_written_and_without_colons() {
        let sum = Fingerprint(Sha256::digest(b"x").into());
        let text = sum.to_string();
        assert!(
            text.starts_with("2D:71:16:42:") && text.len() == 95,
            "{text}"
        );
        let plain = text.replace(':', "").to_lowercase();
        for text in [&text, &plain] {
            assert_eq!(text.parse::<Fingerprint>().unwrap(), sum);
        }
        for text in [
            "",
            "ab",
            &plain[1..],
            &plain.replace("2d", "+d"),
            &"é".repeat(32),
        ] {
            let error = text.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
        }
    }
}
