//! What can be typed about showing a run to browsers.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Where and for whom a run shows itself.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArguments {
    /// Serve the live page, metrics and control over HTTP
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:8080"
    )]
    pub serve: Option<SocketAddr>,
    /// Host name under which browsers may open the page, besides addresses and localhost; may be given several times
    #[arg(long, value_name = "NAME", requires = "serve")]
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
