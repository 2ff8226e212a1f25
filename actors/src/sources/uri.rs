//! Parsing of a video source's `uri`. Opens nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use fermata_engine::graph::redact;

/// Schemes of network streams.
const NETWORK: [&str; 4] = ["rtsp", "rtsps", "http", "https"];

/// The kind of input that a `uri` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A recording.
    File(PathBuf),
    /// A V4L2 camera.
    Device(PathBuf),
    /// A network stream.
    Network {
        /// The address, with its credentials.
        uri: String,
        /// Whether RTSP's own options apply.
        rtsp: bool,
        /// The server's address if the stream is encrypted.
        tls: Option<Encrypted>,
    },
}

/// The address of an encrypted stream, for which a relay can be substituted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encrypted {
    /// The host without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The host and port as written.
    pub(crate) written: String,
    /// User and password, including the `@` after them.
    user: String,
    /// The path and everything after it.
    path: String,
}

impl Encrypted {
    fn parse(scheme: &str, rest: &str) -> Option<Self> {
        let default = match scheme {
            "rtsps" => 322,
            "https" => 443,
            _ => return None,
        };
        let authority = authority(rest);
        let path = rest[authority.len()..].to_owned();
        let (user, written) = match authority.rfind('@') {
            Some(sign) => authority.split_at(sign + 1),
            None => ("", authority),
        };
        let (host, port) = match written.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (written, default),
        };
        Some(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            written: written.to_owned(),
            user: user.to_owned(),
            path,
        })
    }

    /// Returns the address at which libav reaches a relay on this machine in plain text.
    pub(crate) fn by_relay(&self, scheme: &str, port: u16) -> String {
        format!("{scheme}://{}127.0.0.1:{port}{}", self.user, self.path)
    }
}

/// Why a `uri` is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UriError {
    #[error("`uri` is empty; name a file, /dev/videoN, or an rtsp:// or http:// address")]
    Empty,
    #[error("`{uri}` contains a control character")]
    Control { uri: String },
    #[error("`{scheme}://` is not a scheme that can be opened; use a file path, /dev/videoN, {known}", known = NETWORK.join("://, ") + "://")]
    Scheme { scheme: String },
    #[error("`{scheme}:` needs two slashes after it: {scheme}://HOST/PATH")]
    Slashes { scheme: String },
    #[error("`{uri}` has no host between `//` and `/`")]
    NoHost { uri: String },
    #[error("`{uri}` has the port `{port}`, which is not a number up to 65535")]
    Port { uri: String, port: String },
}

impl Origin {
    /// Parses a `uri` as written in a graph file.
    pub(crate) fn parse(uri: &str) -> Result<Self, UriError> {
        if uri.is_empty() {
            return Err(UriError::Empty);
        }
        if uri.contains(char::is_control) {
            let uri = redact(&uri.replace(char::is_control, "?"));
            return Err(UriError::Control { uri });
        }
        let Some((scheme, rest)) = split_scheme(uri) else {
            if let Some((scheme, _)) = uri.split_once(':')
                && NETWORK.contains(&scheme.to_ascii_lowercase().as_str())
            {
                let scheme = scheme.to_owned();
                return Err(UriError::Slashes { scheme });
            }
            return Ok(Self::local(Path::new(uri)));
        };
        let scheme = scheme.to_ascii_lowercase();
        if let Some(path) = path_of_file_uri(uri) {
            return Ok(Self::local(&path));
        }
        if !NETWORK.contains(&scheme.as_str()) {
            return Err(UriError::Scheme { scheme });
        }
        check_host(uri, rest)?;
        Ok(Self::Network {
            // libav only knows lower-case schemes.
            uri: format!("{scheme}://{rest}"),
            rtsp: scheme.starts_with("rtsp"),
            tls: Encrypted::parse(&scheme, rest),
        })
    }

    fn local(path: &Path) -> Self {
        if is_camera(path) {
            Self::Device(path.to_owned())
        } else {
            Self::File(path.to_owned())
        }
    }

    /// Returns whether the origin is a camera or a network stream: these may be live, and are reopened when they are
    /// lost.
    pub(crate) fn may_be_live(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

/// Returns the path of a `file://` address with its percent-encoded bytes (such as `%20`) decoded (RFC 8089), or `None`
/// if `uri` is no such address.
pub fn path_of_file_uri(uri: &str) -> Option<PathBuf> {
    let (scheme, rest) = split_scheme(uri)?;
    let is_here = rest
        .strip_prefix("localhost")
        .filter(|path| path.starts_with('/'));
    let written = is_here.unwrap_or(rest).as_bytes();
    let (mut path, mut at) = (Vec::with_capacity(written.len()), 0);
    while let Some(&byte) = written.get(at) {
        let escaped = escaped(&written[at..]);
        path.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    let path = OsString::from_vec(path);
    scheme.eq_ignore_ascii_case("file").then(|| path.into())
}

/// Decodes the percent-encoded byte at the start of `text`. A zero byte is not decoded, since no path contains one.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(*high)? << 4 | digit(*low)?;
    u8::try_from(value).ok().filter(|&byte| byte != 0)
}

/// Returns whether `path` is a camera's: anything below `/dev`, except shared memory (`/dev/shm`, a disk) and what a
/// shell passes on (`/dev/fd` and `/dev/stdin`, files or pipes).
pub fn is_camera(path: &Path) -> bool {
    let are_files = ["/dev/shm", "/dev/fd", "/dev/stdin"].map(|files| path.starts_with(files));
    path.starts_with("/dev") && !are_files.contains(&true)
}

/// Splits `scheme://rest`.
fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(valid);
    is_scheme.then_some((scheme, rest))
}

/// Returns the host of an address, if it has one, without the brackets of an IPv6 address.
pub(crate) fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = split_scheme(uri)?;
    let authority = authority(rest);
    let place = authority.rsplit('@').next().unwrap_or(authority);
    let host = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => place,
    };
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty()).then_some(host)
}

/// Returns the part of `rest` before its path.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

fn check_host(uri: &str, rest: &str) -> Result<(), UriError> {
    let authority = authority(rest);
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    let (host, port) = match place.rsplit_once(':') {
        // The colons inside the brackets of an IPv6 address do not separate a port.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    if host.is_empty() || host.contains(' ') {
        return Err(UriError::NoHost { uri: redact(uri) });
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => Err(UriError::Port {
            uri: redact(uri),
            // This may be half of a password that contains a raw `/`.
            port: if redact(uri) == uri { port } else { "***" }.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_what_it_is() {
        let network = |uri: &str, rtsp| Origin::Network {
            uri: uri.to_owned(),
            rtsp,
            tls: None,
        };
        for (uri, origin) in [
            ("clips/a:b.mp4", Origin::File("clips/a:b.mp4".into())),
            ("file:///clips/a.mp4", Origin::File("/clips/a.mp4".into())),
            (
                "FILE://localhost/a%20%C3%BC%25/b%2.mp4",
                Origin::File("/a ü%/b%2.mp4".into()),
            ),
            (
                "file://clips/100%.mp4",
                Origin::File("clips/100%.mp4".into()),
            ),
            ("/dev/video0", Origin::Device("/dev/video0".into())),
            (
                "/dev/v4l/by-id/a",
                Origin::Device("/dev/v4l/by-id/a".into()),
            ),
            ("/dev/shm/x.mp4", Origin::File("/dev/shm/x.mp4".into())),
            ("/dev/stdin", Origin::File("/dev/stdin".into())),
            ("file:///dev/fd/3", Origin::File("/dev/fd/3".into())),
            (
                "rtsp://u:p@host:8554/main",
                network("rtsp://u:p@host:8554/main", true),
            ),
            ("RTSP://[::1]/main", network("rtsp://[::1]/main", true)),
            ("http://host/v.mjpg", network("http://host/v.mjpg", false)),
        ] {
            assert_eq!(Origin::parse(uri), Ok(origin), "{uri}");
        }
    }

    #[test]
    fn the_place_of_an_encrypted_stream_is_known() {
        for (uri, host, port, relayed) in [
            (
                "rtsps://u:p@cam/main?a=b",
                "cam",
                322,
                "rtsp://u:p@127.0.0.1:9/main?a=b",
            ),
            ("RTSPS://[::1]:8322", "::1", 8322, "rtsp://127.0.0.1:9"),
            ("https://cam:8443/v", "cam", 8443, "rtsp://127.0.0.1:9/v"),
        ] {
            let Ok(Origin::Network { tls: Some(tls), .. }) = Origin::parse(uri) else {
                panic!("{uri} is not encrypted");
            };
            assert_eq!((tls.host.as_str(), tls.port), (host, port));
            assert_eq!(tls.by_relay("rtsp", 9), relayed);
        }
    }

    #[test]
    fn the_host_of_an_address_is_known() {
        for (uri, host) in [
            ("rtsp://cam/main", Some("cam")),
            ("http://u:p@cam.local:80/v?a=b@c", Some("cam.local")),
            ("rtsp://[::1]:554/", Some("::1")),
            ("rtsp://[fe80::1]", Some("fe80::1")),
            ("file:a.mp4", None),
        ] {
            assert_eq!(host_of(uri), host, "{uri}");
        }
    }

    #[test]
    fn what_is_no_uri_is_refused_without_showing_a_password() {
        for uri in [
            "",
            "rtsp://",
            "rtsp:///main",
            "rtsp://user:s3cret@/main",
            "rtsp://user:s3cret@host:port/main",
            "rtsp://user:s3c/ret@host/main",
            "rtsp://user:s3cret@host:99999/",
            "rtsp://user:s3cret@ho\nst/",
            "gopher://user:s3cret@host/",
            "rtsp:/user:s3cret@host/",
            "HTTPS:user:s3cret@host",
        ] {
            let refused = Origin::parse(uri).expect_err(uri).to_string();
            assert!(
                !refused.contains("s3c") && !refused.contains("ret@"),
                "{refused}"
            );
        }
    }
}
