//! A door on the loopback interface to an encrypted stream, since libav does not look at certificates under RTSP. libav
//! speaks to it in the clear; what it says goes on over a connection whose other side has shown who it is.
//!
//! Only this process gets through: whoever connects is looked for among its own sockets, so that no other user of the
//! machine can read the pictures or speak to the camera. A redirection ends the connection: libav would follow it
//! without looking at certificates.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::ClientConnection;

use crate::sources::replies::Replies;
use crate::sources::tls::{Connector, TlsError};

/// Bytes that are read at once.
const CHUNK: usize = 32 * 1024;

/// A door that is open. Dropping it closes it; connections through it end by themselves.
pub(crate) struct Relay {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Relay {
    /// Connects to the other side and, once that has shown who it is, opens the door. `once`: for a single connection.
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

    /// Where it is.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Whoever waits for a connection looks at it.
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
                "somebody else knocked at the door of an encrypted stream and was sent away"
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

/// Whether this process is at both ends of a loopback connection (proc(5): `/proc/net/tcp` names a socket's inode, and
/// so does the link of a descriptor).
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

/// Passes on what comes at either end, until one of them is over.
fn pass_on(local: TcpStream, remote: TcpStream, client: ClientConnection) {
    let client = Arc::new(Mutex::new(client));
    // From here on the reader of the stream says how long nothing may come.
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
    // Without a thread the ends are dropped, and both sides see that nothing comes.
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
            // This side has closed it.
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
