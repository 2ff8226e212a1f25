//! Command-line arguments for serving the live page.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

/// Whether, where and for whom a run serves its live page.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArguments {
    /// Serve the live page, metrics and control over HTTP: at ADDRESS:PORT, or one of the two [default: 127.0.0.1:8080]
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:8080",
        value_parser = listening
    )]
    pub serve: Option<SocketAddr>,
    /// Host name under which browsers may open the page, besides addresses and localhost; may be given several times
    #[arg(long, value_name = "NAME", requires = "serve", value_parser = host_name)]
    pub serve_host: Vec<String>,
    /// File with the access token [default: none on loopback, elsewhere a new one that is shown on the terminal]
    #[arg(long, value_name = "FILE", requires = "serve")]
    pub serve_token_file: Option<PathBuf>,
    /// Serve over TLS only, with a certificate made for this run unless one is given; its fingerprint is shown
    #[arg(long, requires = "serve")]
    pub serve_tls: bool,
    /// PEM file with the server's certificate and its chain
    #[arg(
        long,
        value_name = "FILE",
        requires = "serve_tls",
        requires = "serve_key"
    )]
    pub serve_certificate: Option<PathBuf>,
    /// PEM file with the certificate's key
    #[arg(long, value_name = "FILE", requires = "serve_certificate")]
    pub serve_key: Option<PathBuf>,
}

/// The address to listen on if only a port, or nothing, is given.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PORT: u16 = 8080;

/// Parses the address to listen on.
fn listening(given: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = given.parse() {
        return Ok(address);
    }
    if let Ok(port) = given.parse() {
        return Ok(SocketAddr::new(LOOPBACK, port));
    }
    let (host, port) = match given.rsplit_once(':') {
        Some((host, port)) if host == "localhost" => (host, port.parse().ok()),
        _ => (given, Some(PORT)),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let ip = match host {
        "localhost" => Some(LOOPBACK),
        host => bare.unwrap_or(host).parse().ok(),
    };
    if let (Some(ip), Some(port)) = (ip, port) {
        return Ok(SocketAddr::new(ip, port));
    }
    let path = Path::new(given);
    let is_graph = path
        .extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml");
    if is_graph || path.is_file() {
        return Err(
            "it is a file in place of an address: name it before --serve, or give --serve an address"
                .to_owned(),
        );
    }
    Err(
        "expected an address of this machine, such as 8080, 127.0.0.1:8080 or 0.0.0.0:8080; host names that browsers use are given with --serve-host"
            .to_owned(),
    )
}

/// Maximum length of a host name and of one of its labels (RFC 1035).
const MOST_NAME: usize = 253;
const MOST_LABEL: usize = 63;

fn host_name(given: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let mut labels = given.split('.');
    let is_label = |label: &str| (1..=MOST_LABEL).contains(&label.len());
    if given.len() <= MOST_NAME
        && labels.all(|label| is_label(label) && label.chars().all(is_letter))
    {
        return Ok(given.to_owned());
    }
    Err("expected a host name such as cameras.local, without scheme, port and path".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{host_name, listening};

    #[test]
    fn a_host_that_no_browser_can_ask_for_is_refused() {
        for name in ["cameras", "cameras.local", "10.0.0.7", "a-b.c_d.org"] {
            assert_eq!(host_name(name).as_deref(), Ok(name));
        }
        let long = "a".repeat(64);
        let whole = ["abcdefgh"; 30].join(".");
        for name in [
            "",
            "a b",
            "a/c",
            "cameras:80",
            "http://cameras",
            "a..b",
            ".",
            "ä.org",
            &long,
            &whole,
        ] {
            assert!(
                host_name(name).unwrap_err().contains("cameras.local"),
                "{name}"
            );
        }
    }

    #[test]
    fn an_address_may_lack_what_goes_without_saying() {
        for (given, address) in [
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("[::1]:9", "[::1]:9"),
            ("8081", "127.0.0.1:8081"),
            ("0", "127.0.0.1:0"),
            ("localhost:8081", "127.0.0.1:8081"),
            ("localhost", "127.0.0.1:8080"),
            ("0.0.0.0", "0.0.0.0:8080"),
            ("::1", "[::1]:8080"),
            ("[::]", "[::]:8080"),
        ] {
            assert_eq!(listening(given), Ok(address.parse().unwrap()), "{given}");
        }
        for (given, words) in [
            ("graph.yaml", "before --serve"),
            ("graphs/none.yml", "before --serve"),
            (
                env!("CARGO_MANIFEST_DIR").to_owned().as_str(),
                "such as 8080",
            ),
            ("Cargo.toml", "before --serve"),
            ("cameras.lan:8080", "--serve-host"),
            ("localhost:http", "such as 8080"),
            ("localhost:70000", "such as 8080"),
            ("70000", "such as 8080"),
            ("127.0.0.1:70000", "such as 8080"),
            (":8080", "0.0.0.0:8080"),
            ("http://127.0.0.1:8080", "such as 8080"),
            ("", "such as 8080"),
        ] {
            let error = listening(given).unwrap_err();
            assert!(error.contains(words), "{given}: {error}");
        }
    }
}
