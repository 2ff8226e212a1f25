//! Where and for whom a run is served, and why it cannot be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::identity::Identity;
use crate::token::Token;

/// The default address, reachable only from this machine.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where and for whom a run is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 chooses a free one.
    pub address: SocketAddr,
    /// Names by which the page may be requested, besides addresses and `localhost`. With any of them, a page on loopback
    /// counts as one that other machines reach, through a proxy.
    pub hosts: Vec<String>,
    /// The token required of every client; may be none only on a loopback address.
    pub token: Option<Token>,
    /// The TLS identity; if given, the page is served over TLS only.
    pub identity: Option<Identity>,
}

/// Why a run cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or does not belong to this machine.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
    /// The address is reachable by others, and there is no token.
    #[error("{0} is reachable from other machines, so a token is required")]
    Open(SocketAddr),
    /// The server's threads could not be started.
    #[error("cannot start the server: {0}")]
    Start(#[from] std::io::Error),
}
