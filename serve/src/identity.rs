//! The page's TLS identity: a certificate and its key, read from files or made for one run.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

/// Maximum size of a certificate file in bytes.
const MOST_PEM: u64 = 1 << 20;
/// Names by which a page can always be reached.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate with its chain and its key.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    fingerprint: String,
}

/// Why a page has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read, or holds something else.
    #[error("cannot read the {what} {path}: {reason}")]
    Read {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key belongs to another certificate, or its kind is not supported.
    #[error("the certificate and its key cannot be used: {0}")]
    Unfit(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Identity {
    /// Reads the certificates of a PEM file, the page's own first, and its key from another file (PKCS #8, PKCS #1 or
    /// SEC1).
    ///
    /// # Errors
    /// Fails if a file cannot be read or holds something else, or if the key belongs to another certificate.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let cannot = |what, path: &Path, reason: String| IdentityError::Read {
            what,
            path: path.display().to_string(),
            reason,
        };
        let pem = read_pem(certificate);
        let pem = pem.map_err(|error| cannot("certificate", certificate, error.to_string()))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| cannot("certificate", certificate, error.to_string()))?;
        if chain.is_empty() {
            let reason = "it holds no certificate in PEM".to_owned();
            return Err(cannot("certificate", certificate, reason));
        }
        let pem = read_pem(key).map_err(|error| cannot("key", key, error.to_string()))?;
        let read = PrivateKeyDer::from_pem_slice(&pem);
        let key = read.map_err(|error| cannot("key", key, error.to_string()))?;
        Self::new(chain, key)
    }

    /// Makes a self-signed certificate for these names and addresses and for this machine's own. Its key exists only in
    /// memory, so it is useless once the run is over.
    ///
    /// # Errors
    /// Fails if a name cannot be put in a certificate, or the system has no random bytes.
    pub fn fresh(names: &[String]) -> Result<Self, IdentityError> {
        let names = names.iter().map(String::as_str).chain(OWN_NAMES);
        let names: Vec<String> = names.map(str::to_owned).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "a run of Fermata");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Self::new(vec![certificate.der().clone()], key)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let own = chain.first().map(Sha256::digest).unwrap_or_default();
        let digits: Vec<String> = own.iter().map(|byte| format!("{byte:02X}")).collect();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // A WebSocket begins as HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            fingerprint: digits.join(":"),
        })
    }

    /// Returns the SHA-256 of the certificate, as browsers show it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Reads a file of certificates or a key. The file may be a pipe, as tools that hand out secrets use.
fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    let file = File::open(path)?;
    file.take(MOST_PEM + 1).read_to_end(&mut pem)?;
    if pem.len() as u64 > MOST_PEM {
        return Err(io::Error::other(
            "it is larger than 1 MiB, the most that is read",
        ));
    }
    Ok(pem)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["cameras.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn files_that_are_no_certificate_and_key_of_each_other_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ((certificate, key), (_, other_key)) = (made(), made());
        let both = written("both", &format!("{certificate}{key}"));
        let certificate = written("certificate", &certificate);
        let key = written("key", &key);
        let other_key = written("other", &other_key);
        let empty = written("empty", "");
        let endless = Path::new("/dev/zero").to_owned();
        let fingerprint = Identity::read(&certificate, &key).unwrap().fingerprint;
        assert_eq!(fingerprint.len(), 95);
        assert_eq!(
            Identity::read(&both, &both).unwrap().fingerprint,
            fingerprint
        );
        for (certificate, key, said) in [
            (
                &certificate,
                &other_key,
                "cannot be used: keys may not be consistent",
            ),
            (&key, &key, "holds no certificate"),
            (&empty, &key, "holds no certificate"),
            (&certificate, &empty, "cannot read the key"),
            (&endless, &key, "larger than 1 MiB"),
            (&certificate, &endless, "larger than 1 MiB"),
            (&certificate, &certificate, "cannot read the key"),
            (
                &folder.path().join("none"),
                &key,
                "cannot read the certificate",
            ),
            (
                &certificate,
                &folder.path().join("none"),
                "cannot read the key",
            ),
        ] {
            let refused = Identity::read(certificate, key).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn each_run_has_a_certificate_of_its_own_for_names_that_can_be_some() {
        let names = ["cameras.example".to_owned(), "192.0.2.7".to_owned()];
        let [one, other] = [(); 2].map(|()| Identity::fresh(&names).unwrap());
        assert_ne!(one.fingerprint, other.fingerprint);
        assert_eq!(
            format!("{one:?}"),
            format!("Identity({})", one.fingerprint())
        );
        let refused = Identity::fresh(&["kameras für alle".to_owned()]).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("cannot make a certificate: ")
        );
    }
}
