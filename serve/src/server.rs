//! Takes the address, accepts connections within their limits, and ends with the run.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};

use crate::options::{ServeError, ServeOptions};
use crate::router::router;
use crate::watched_run::WatchedRun;

/// Connections that may be open at once; one more is closed at once.
const MOST_CONNECTIONS: usize = 128;
/// Time in which a request's head must have come.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const MOST_HEAD: usize = 16 * 1024;
/// Headers of a request.
const MOST_HEADERS: usize = 64;

/// An address that is taken, for a run that has not been started.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Serves a run until it is dropped.
pub struct Server {
    run: Arc<WatchedRun>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Takes the address.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn on(options: &ServeOptions) -> Result<Self, ServeError> {
        let address = options.address;
        let bound = |error| ServeError::Bind { address, error };
        let listener = TcpListener::bind(address).map_err(bound)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a run from now on.
    ///
    /// # Errors
    /// The server's threads could not be started.
    pub fn start(self, run: WatchedRun) -> Result<Server, ServeError> {
        let run = Arc::new(run);
        let (end, ended) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("serve")
            .enable_all()
            .build()?;
        let service = TowerToHyperService::new(router(Arc::clone(&run)));
        let thread = std::thread::Builder::new()
            .name("serve".to_owned())
            .spawn(move || {
                runtime.block_on(accept(self.listener, service, ended));
                runtime.shutdown_timeout(Duration::from_secs(1));
            })?;
        Ok(Server {
            run,
            end,
            thread: Some(thread),
        })
    }
}

impl Server {
    /// Says that every node of the run has been created.
    pub fn ready(&self) {
        self.run.set_ready(true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run.set_ready(false);
        let _ = self.end.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: TcpListener,
    service: TowerToHyperService<axum::Router>,
    mut ended: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("the run is not served: {error}");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: those that are open will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(MOST_HEAD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service.clone())
            .with_upgrades();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to the page ended: {error}");
            }
            drop(place);
        });
    }
}
