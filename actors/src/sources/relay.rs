//! A relay on the loopback interface to an encrypted stream, needed because libav does not verify certificates under
//! RTSP. libav connects to it in plain text; the relay forwards everything over a connection to an authenticated
//! server.
//!
//! Only this process is let through: each connection is looked up among the process's own sockets, so that no other
//! user of the machine can read the pictures or send requests to the camera. A redirection ends the connection: libav
//! would follow it without verifying certificates.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::ClientConnection;

use crate::sources::replies::Replies;
use crate::sources::tls::{Connector, TlsError};

/// Maximum number of bytes per read.
const CHUNK: usize = 32 * 1024;

/// An open relay. Dropping it closes the listener; connections through it end by themselves.
pub(crate) struct Relay {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Relay {
    /// Connects to the server and, once it is authenticated, starts listening. `once` limits the relay to a single
    /// connection.
    pub(crate) fn open(connector: Connector, once: bool) -> Result<Self, TlsError> {
        let first = connector.connect()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(TlsError::Listen)?;
        let address = listener.local_addr().map_err(TlsError::Listen)?;
        let closed = Arc::<AtomicBool>::default();
        let is_closed = Arc::clone(&closed);
        thread::Builder::new()
            .name("tls relay".to_owned())
            .spawn(move || serve(&listener, &connector, first, once, &is_closed))
            .map_err(TlsError::Listen)?;
        Ok(Self { address, closed })
    }

    /// Returns the relay's local port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Connecting wakes the thread that is waiting in `accept`.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    listener: &TcpListener,
    connector: &Connector,
    first: (TcpStream, ClientConnection),
    once: bool,
    closed: &AtomicBool,
) {
    let mut first = Some(first);
    for local in listener.incoming() {
        if closed.load(Ordering::Relaxed) {
            return;
        }
        let Ok(local) = local else {
            return;
        };
        if !is_own(&local) {
            tracing::warn!(
                "another process tried to use the relay of an encrypted stream and was refused"
            );
            continue;
        }
        let other = match first.take() {
            Some(other) => Ok(other),
            None => connector.connect(),
        };
        match other {
            Ok((remote, client)) => pass_on(local, remote, client),
            Err(error) => tracing::warn!("{error}"),
        }
        if once {
            return;
        }
    }
}

/// Returns whether both ends of a loopback connection belong to this process (proc(5): `/proc/net/tcp` lists a socket's
/// inode, and so does the link of a descriptor).
fn is_own(local: &TcpStream) -> bool {
    let (Ok(SocketAddr::V4(here)), Ok(SocketAddr::V4(peer))) =
        (local.local_addr(), local.peer_addr())
    else {
        return false;
    };
    let Ok(table) = std::fs::read_to_string("/proc/self/net/tcp") else {
        return false;
    };
    let written = |address: std::net::SocketAddrV4| {
        let ip = u32::from_ne_bytes(address.ip().octets());
        format!("{ip:08X}:{:04X}", address.port())
    };
    let (here, peer) = (written(here), written(peer));
    let inode = table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next()? == peer && fields.next()? == here;
        fields.nth(6).filter(|_| is_it)
    });
    let Some(inode) = inode else {
        return false;
    };
    let link = format!("socket:[{inode}]");
    let descriptors = std::fs::read_dir("/proc/self/fd");
    descriptors.into_iter().flatten().flatten().any(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == link.as_str())
    })
}

/// Forwards data in both directions until one end closes.
fn pass_on(local: TcpStream, remote: TcpStream, client: ClientConnection) {
    let client = Arc::new(Mutex::new(client));
    // From here on, the reader of the stream enforces the time limit.
    let unlimited = remote.set_read_timeout(None);
    let ends = (local.try_clone(), remote.try_clone());
    let (Ok(()), (Ok(local_up), Ok(remote_up))) = (unlimited, ends) else {
        return;
    };
    let up = {
        let client = Arc::clone(&client);
        move || {
            let _ = send(&local_up, &remote_up, &client);
            let _ = remote_up.shutdown(Shutdown::Both);
        }
    };
    let down = move || {
        if let Err(error) = receive(&local, &remote, &client) {
            tracing::warn!("an encrypted stream broke: {error}");
        }
        let _ = local.shutdown(Shutdown::Both);
        let _ = remote.shutdown(Shutdown::Both);
    };
    // If a thread cannot be started, the sockets are dropped and both sides see the connection end.
    let _ = thread::Builder::new().name("tls up".to_owned()).spawn(up);
    let _ = thread::Builder::new()
        .name("tls down".to_owned())
        .spawn(down);
}

fn send(
    mut local: &TcpStream,
    mut remote: &TcpStream,
    client: &Mutex<ClientConnection>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = local.read(&mut chunk)?;
        let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            0 => client.send_close_notify(),
            read => client.writer().write_all(&chunk[..read])?,
        }
        while client.wants_write() {
            client.write_tls(&mut remote)?;
        }
        if read == 0 {
            return Ok(());
        }
    }
}

fn receive(
    mut local: &TcpStream,
    mut remote: &TcpStream,
    client: &Mutex<ClientConnection>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut clear = Vec::new();
    let mut replies = Replies::default();
    loop {
        let read = match remote.read(&mut chunk) {
            Ok(read) => read,
            // This side has closed the connection.
            Err(_) => return Ok(()),
        };
        let mut encrypted = &chunk[..read];
        {
            let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
            while !encrypted.is_empty() {
                client.read_tls(&mut encrypted)?;
                let state = client.process_new_packets().map_err(io::Error::other)?;
                let start = clear.len();
                clear.resize(start + state.plaintext_bytes_to_read(), 0);
                client.reader().read_exact(&mut clear[start..])?;
            }
            while client.wants_write() {
                client.write_tls(&mut remote)?;
            }
        }
        replies.pass(&clear, &mut local)?;
        clear.clear();
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
