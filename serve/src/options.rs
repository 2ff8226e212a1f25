//! Where and for whom a run is served, and why it cannot be.

use std::net::{Ipv4Addr, SocketAddr};

/// Where the page is unless somebody says otherwise: on this machine alone.
pub const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where and for whom a run is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes any that is free.
    pub address: SocketAddr,
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
    /// The server's threads could not be started.
    #[error("cannot start the server: {0}")]
    Start(#[from] std::io::Error),
}
