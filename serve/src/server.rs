//! Binds the address, accepts connections within limits, with or without TLS, and ends with the run.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::guard::Guard;
use crate::identity::Identity;
use crate::options::{ServeError, ServeOptions};
use crate::places::{Places, Visitor};
use crate::router::{router, unencrypted};
use crate::watched_run::{MOST_BROWSERS, Phase, WatchedRun};
use crate::watcher;

/// Maximum number of open connections; one more closes another.
const MOST_CONNECTIONS: usize = 128;
/// Time within which a request's head, and before it the TLS handshake, must be complete.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Maximum size of a request's head in bytes.
const MOST_HEAD: usize = 16 * 1024;
/// Maximum number of headers of a request.
const MOST_HEADERS: usize = 64;

/// The first byte of a connection that begins with a TLS handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// Time for telling browsers that the run is over.
const FAREWELL: Duration = Duration::from_secs(1);
/// Age at which a connection is closed after its next answer, and the further time after which it is cut.
const OLD_AFTER: Duration = Duration::from_secs(60);
const CUT_AFTER: Duration = Duration::from_secs(35);

/// A bound address, for a run that has not been started.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    guard: Guard,
    identity: Option<Identity>,
    /// Whether only this machine can reach it, as far as its options say.
    is_local: bool,
}

type Service = TowerToHyperService<axum::Router>;

/// The services that answer on connections.
#[derive(Clone)]
struct Answering {
    service: Service,
    /// If TLS is required: its acceptor, and the service for clients that connect without it.
    tls: Option<(TlsAcceptor, Service)>,
}

/// Serves a run until it is dropped.
pub struct Server {
    run: Arc<WatchedRun>,
    end: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Listening {
    /// Binds the address.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn on(options: ServeOptions) -> Result<Self, ServeError> {
        let address = options.address;
        if !address.ip().is_loopback() && options.token.is_none() {
            return Err(ServeError::Open(address));
        }
        let bound = |error| ServeError::Bind { address, error };
        let listener = TcpListener::bind(address).map_err(bound)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // Who gives a name on loopback has a proxy in front, which lets other machines in.
        let is_local = address.ip().is_loopback() && options.hosts.is_empty();
        let guard = Guard {
            hosts: options.hosts,
            token: options.token,
            port: address.port(),
            scheme: match options.identity {
                Some(_) => "https",
                None => "http",
            },
        };
        Ok(Self {
            listener,
            address,
            guard,
            identity: options.identity,
            is_local,
        })
    }

    /// Returns the bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts serving a run.
    ///
    /// # Errors
    /// Fails if the server's threads could not be started.
    pub fn start(self, mut run: WatchedRun) -> Result<Server, ServeError> {
        run.is_local = self.is_local;
        let run = Arc::new(run);
        let events = run.handle.subscribe();
        let (end, ended) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("serve")
            .enable_all()
            .build()?;
        let answering = Answering {
            service: Service::new(router(Arc::clone(&run), self.guard)),
            tls: self.identity.map(|identity| {
                let acceptor = TlsAcceptor::from(identity.config());
                (acceptor, Service::new(unencrypted()))
            }),
        };
        let mut server = Server {
            run: Arc::clone(&run),
            end,
            threads: Vec::new(),
        };
        let watched = Arc::clone(&run);
        server.spawn("page numbers", move || watcher::watch(&watched, &events))?;
        let shown = Arc::clone(&run);
        server.spawn("page video", move || shown.video.encode_until_over())?;
        server.spawn("page", move || {
            runtime.block_on(async {
                accept(self.listener, answering, ended).await;
                // The last numbers have been published: each browser that has received them releases its seat.
                let seats = run.seats.acquire_many(MOST_BROWSERS as u32);
                let _ = timeout(FAREWELL, seats).await;
            });
            runtime.shutdown_timeout(FAREWELL);
        })?;
        Ok(server)
    }
}

impl Server {
    /// Marks every node of the run as created.
    pub fn ready(&self) {
        self.run.set_ready(true);
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run.set_ready(false);
        self.run.set_phase(Phase::Over);
        self.run.video.end();
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        // First the thread that publishes the last numbers.
        if let Some(watcher) = threads.next() {
            let _ = watcher.join();
        }
        let _ = self.end.send(true);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, answering: Answering, mut ended: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("the run is not served: {error}");
            return;
        }
    };
    let places = Arc::new(Places::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Most likely out of descriptors: open connections will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if let Some(place) = places.take() {
            let answering = answering.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = serve(stream, answering, &place.visitor) => {}
                    () = place.visitor.gives_way() => {}
                }
            });
        }
    }
}

/// Serves one connection, after a TLS handshake if that is required.
async fn serve(stream: TcpStream, answering: Answering, visitor: &Arc<Visitor>) {
    // Messages are small and would otherwise be delayed.
    let _ = stream.set_nodelay(true);
    let Some((acceptor, unencrypted)) = answering.tls else {
        return answer(stream, answering.service, visitor).await;
    };
    let mut first = [0];
    let looked = timeout(HEAD_WITHIN, stream.peek(&mut first)).await;
    match looked {
        Ok(Ok(1)) if first[0] == HANDSHAKE => {}
        Ok(Ok(1)) => return answer(stream, unencrypted, visitor).await,
        // The client has closed the connection, or sent nothing for too long.
        _ => return,
    }
    match timeout(HEAD_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, answering.service, visitor).await,
        Ok(Err(error)) => tracing::debug!("no encrypted connection to the page: {error}"),
        Err(_) => tracing::debug!("no encrypted connection to the page in time"),
    }
}

/// Answers the requests of one connection. One that becomes a WebSocket continues elsewhere.
async fn answer<S>(stream: S, service: Service, visitor: &Arc<Visitor>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|mut request| {
        visitor.asks();
        request.extensions_mut().insert(Arc::clone(visitor));
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = match timeout(OLD_AFTER, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            let cut = timeout(CUT_AFTER, connection).await;
            cut.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to the page ended: {error}");
    }
}
