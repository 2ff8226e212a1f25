//! Credentials of a program at a NATS server: where they come from, and how they become options of a connection.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use async_nats::ConnectOptions;
use nkeys::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::RemoteError;

/// Most bytes that are read from a file of credentials.
const MOST_BYTES: u64 = 1 << 20;

/// Credentials of this program at the server. Secrets come from files or from the environment, never from arguments.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A file with a JWT and the seed of its key, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey_file: Option<PathBuf>,
    /// A token.
    pub token: Option<String>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// Certificates of authorities that are trusted besides the system's.
    pub authorities: Option<PathBuf>,
    /// This program's own certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Credentials {
    /// Reads the environment: `NATS_CREDS`, `NATS_NKEY`, `NATS_CA`, `NATS_CERT` and `NATS_KEY` are paths of files, as
    /// for the `nats` command; `NATS_TOKEN`, or `NATS_USER` and `NATS_PASSWORD`, are the values themselves.
    ///
    /// # Errors
    /// Only one of two variables that belong together is set.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, RemoteError> {
        let both = |one, other| match (get(one), get(other)) {
            (Some(_), None) => Err(half(one, other)),
            (None, Some(_)) => Err(half(other, one)),
            (one, other) => Ok(one.zip(other)),
        };
        let path = |name| get(name).map(PathBuf::from);
        let certificate = both("NATS_CERT", "NATS_KEY")?;
        Ok(Self {
            credentials_file: path("NATS_CREDS"),
            nkey_file: path("NATS_NKEY"),
            token: get("NATS_TOKEN"),
            user: both("NATS_USER", "NATS_PASSWORD")?,
            authorities: path("NATS_CA"),
            certificate: certificate.map(|(certificate, key)| (certificate.into(), key.into())),
        })
    }

    /// Describes what is presented to the server, by the names of the variables that hold it.
    pub(crate) fn shown(&self) -> String {
        let all = [
            ("NATS_CREDS", self.credentials_file.is_some()),
            ("NATS_NKEY", self.nkey_file.is_some()),
            ("NATS_TOKEN", self.token.is_some()),
            ("NATS_USER and NATS_PASSWORD", self.user.is_some()),
            ("NATS_CERT", self.certificate.is_some()),
        ];
        let there = all.iter().filter(|(_, is_there)| *is_there);
        let there: Vec<&str> = there.map(|(name, _)| *name).collect();
        match there[..] {
            [] => "a connection without credentials".to_owned(),
            _ => format!("these credentials ({})", there.join(", ")),
        }
    }

    pub(crate) fn options(&self) -> Result<ConnectOptions, RemoteError> {
        let unread = |path: &PathBuf, reason: std::io::Error| RemoteError::Credentials {
            what: path.display().to_string(),
            reason: reason.to_string(),
        };
        // It may be a pipe, since secret managers write to one.
        let read = |path: &PathBuf| {
            let mut text = String::new();
            let file = File::open(path);
            file.and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
                .map(|_| text)
                .map_err(|error| unread(path, error))
        };
        let mut options = ConnectOptions::new();
        if let Some(path) = &self.credentials_file {
            let made = options.credentials(&read(path)?);
            // The parser's message may quote what it read.
            options = made.map_err(|_| RemoteError::Credentials {
                what: path.display().to_string(),
                reason: "it is not a file of NATS credentials".to_owned(),
            })?;
        }
        let wrong = |path: &PathBuf, reason: &str| RemoteError::Credentials {
            what: path.display().to_string(),
            reason: reason.to_owned(),
        };
        if let Some(path) = &self.nkey_file {
            let seed = read(path)?.trim().to_owned();
            if KeyPair::from_seed(&seed).is_err() {
                return Err(wrong(path, "it is not the seed of an nkey"));
            }
            options = options.nkey(seed);
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(path) = &self.authorities {
            check_certificates(&read(path)?).map_err(|reason| wrong(path, reason))?;
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &self.certificate {
            check_certificates(&read(certificate)?).map_err(|reason| wrong(certificate, reason))?;
            if PrivateKeyDer::from_pem_slice(read(key)?.as_bytes()).is_err() {
                return Err(wrong(key, "it holds no private key (PEM)"));
            }
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options)
    }
}

/// Checks that a text contains certificates, and no damaged ones.
fn check_certificates(text: &str) -> Result<(), &'static str> {
    let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes()).peekable();
    if certificates.peek().is_none() {
        return Err("it holds no certificate (PEM)");
    }
    if certificates.all(|certificate| certificate.is_ok()) {
        Ok(())
    } else {
        Err("a certificate in it is damaged")
    }
}

fn half(there: &'static str, missing: &'static str) -> RemoteError {
    RemoteError::Half { there, missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_cannot_be_read_are_named_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.creds");
        let get = |name: &str| (name == "NATS_CREDS").then(|| path.display().to_string());
        let credentials = Credentials::from_env(get).unwrap();
        let missing = credentials.options().map(drop).unwrap_err().to_string();
        assert!(missing.contains("camera.creds"), "{missing}");
        std::fs::write(&path, "SUSECRET").unwrap();
        let wrong = credentials.options().map(drop).unwrap_err().to_string();
        assert!(
            wrong.contains("camera.creds") && !wrong.contains("SUSECRET"),
            "{wrong}"
        );
    }

    #[test]
    fn files_that_hold_something_else_are_named_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("garbage");
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let good = folder.path().join("own.pem");
        std::fs::write(&good, own.cert.pem()).unwrap();
        for text in ["", "SUSECRET", "-----BEGIN CERTIFICATE-----\nSUSECRET\n"] {
            std::fs::write(&path, text).unwrap();
            for (names, reason) in [
                (&["NATS_NKEY"][..], "it is not the seed of an nkey"),
                (&["NATS_CA"], "certificate"),
                (&["NATS_CERT", "NATS_KEY"], "certificate"),
                (&["NATS_KEY"], "it holds no private key"),
            ] {
                let get = |name: &str| match (names.contains(&name), name) {
                    (true, _) => Some(path.display().to_string()),
                    (false, "NATS_CERT") if names == ["NATS_KEY"] => {
                        Some(good.display().to_string())
                    }
                    _ => None,
                };
                let credentials = Credentials::from_env(get).unwrap();
                let said = credentials.options().map(drop).unwrap_err().to_string();
                assert!(said.contains("garbage") && said.contains(reason), "{said}");
                assert!(!said.contains("SUSECRET"), "{said}");
            }
        }
    }

    #[test]
    fn a_half_of_two_credentials_is_refused_by_name() {
        for (there, missing) in [
            ("NATS_USER", "NATS_PASSWORD"),
            ("NATS_PASSWORD", "NATS_USER"),
            ("NATS_CERT", "NATS_KEY"),
            ("NATS_KEY", "NATS_CERT"),
        ] {
            let get = |name: &str| (name == there).then(|| "secret".to_owned());
            let said = Credentials::from_env(get).map(drop).unwrap_err();
            let expected = format!(
                "{there} is set in the environment, and {missing} is not: set both, or none"
            );
            assert_eq!(said.to_string(), expected);
        }
    }
}
