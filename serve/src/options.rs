//! Where and for whom a run is served, and why it cannot be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::identity::Identity;
use crate::token::Token;

/// Where the page is unless somebody says otherwise: on this machine alone.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where and for whom a run is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes any that is free.
    pub address: SocketAddr,
    /// Names by which the page may be asked for, besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Asked for from everybody; only on a loopback address there may be none.
    pub token: Option<Token>,
    /// With one the page is asked for over TLS, and never without.
    pub identity: Option<Identity>,
}

/// Why a run cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or is none of this machine's.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// An address that others reach, and no token.
    #[error("{0} is not for this machine alone, so it needs a token")]
    Open(SocketAddr),
    /// The server's threads could not be started.
    #[error("cannot start the server: {0}")]
    Start(#[from] std::io::Error),
}
