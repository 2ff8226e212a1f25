//! Reading the `uri` of a video source. Opens nothing.

use std::path::{Path, PathBuf};

use fermata_engine::graph::redact;

/// Schemes of streams that come over the network.
const NETWORK: [&str; 4] = ["rtsp", "rtsps", "http", "https"];

/// What stands behind a `uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A recording.
    File(PathBuf),
    /// A V4L2 camera.
    Device(PathBuf),
    /// A stream from the network.
    Network {
        /// With its credentials.
        uri: String,
        /// Whether RTSP's own options apply.
        rtsp: bool,
    },
}

/// A `uri` that cannot mean anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UriError {
    #[error("`uri` is empty; name a file, /dev/videoN, or an rtsp:// or http:// address")]
    Empty,
    #[error("`{uri}` holds a control character")]
    Control { uri: String },
    #[error("`{scheme}://` is not a scheme that can be opened; use a file path, /dev/videoN, {known}", known = NETWORK.join("://, ") + "://")]
    Scheme { scheme: String },
    #[error("`{scheme}:` needs two slashes behind it: {scheme}://HOST/PATH")]
    Slashes { scheme: String },
    #[error("`{uri}` has no host between `//` and `/`")]
    NoHost { uri: String },
    #[error("`{uri}` has `{port}` for a port, which is not a number up to 65535")]
    Port { uri: String, port: String },
}

impl Origin {
    /// Reads a `uri` as written in a graph file.
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
        if scheme == "file" {
            return Ok(Self::local(Path::new(rest)));
        }
        if !NETWORK.contains(&scheme.as_str()) {
            return Err(UriError::Scheme { scheme });
        }
        check_host(uri, rest)?;
        Ok(Self::Network {
            uri: uri.to_owned(),
            rtsp: scheme.starts_with("rtsp"),
        })
    }

    fn local(path: &Path) -> Self {
        // Shared memory is a disk, and what a shell passes on is a file or a pipe.
        let is_file = ["/dev/shm", "/dev/fd", "/dev/stdin"].map(|files| path.starts_with(files));
        if path.starts_with("/dev") && !is_file.contains(&true) {
            Self::Device(path.to_owned())
        } else {
            Self::File(path.to_owned())
        }
    }

    /// True for cameras and network streams, which may be paced by the world and are opened again.
    pub(crate) fn may_be_live(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

/// Splits `scheme://rest`.
fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(valid);
    is_scheme.then_some((scheme, rest))
}

/// The part of `rest` before its path, and where that part ends.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

fn check_host(uri: &str, rest: &str) -> Result<(), UriError> {
    let authority = authority(rest);
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    let (host, port) = match place.rsplit_once(':') {
        // The colons inside the brackets of an IPv6 address separate no port.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    if host.is_empty() || host.contains(' ') {
        return Err(UriError::NoHost { uri: redact(uri) });
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => Err(UriError::Port {
            uri: redact(uri),
            // It may be half of a password with a raw `/` in it.
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
        };
        for (uri, origin) in [
            ("clips/a:b.mp4", Origin::File("clips/a:b.mp4".into())),
            ("file:///clips/a.mp4", Origin::File("/clips/a.mp4".into())),
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
            ("RTSP://[::1]/main", network("RTSP://[::1]/main", true)),
            ("https://host/v.mjpg", network("https://host/v.mjpg", false)),
        ] {
            assert_eq!(Origin::parse(uri), Ok(origin), "{uri}");
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
