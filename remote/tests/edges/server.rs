//! A test's own NATS server, which it may stop, kill and restart.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fermata_engine::Codecs;
use fermata_remote::{Credentials, NatsConnection, RemoteError};

/// Longer than anything that a test waits for takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something has happened that the test itself cannot cause.
pub(crate) fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns a port on which nobody listens. It is below the ephemeral ports of the system: nobody takes it while a
/// server that was killed is away, and a program that tries to reach that server does not reach itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id().wrapping_mul(37);
    loop {
        let number = process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + (number % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server, in a folder of its own.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    more: String,
    /// More JetStream settings.
    jetstream: String,
    process: Option<Child>,
}

impl Server {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with more lines of settings.
    pub(crate) fn start_with(more: &str) -> Self {
        Self::start_limited(more, "")
    }

    /// Starts a server with more JetStream settings.
    pub(crate) fn start_limited(more: &str, jetstream: &str) -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().expect("a folder"),
            port: free_port(),
            more: more.to_owned(),
            jetstream: jetstream.to_owned(),
            process: None,
        };
        server.run();
        server
    }

    /// Starts it again, at the same port and with the same folder.
    pub(crate) fn run(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let folder = self.folder.path();
        let settings = format!(
            "listen: 127.0.0.1:{}\njetstream {{store_dir: {:?}, sync_interval: always{}}}\n{}\n",
            self.port,
            folder.join("store"),
            self.jetstream,
            self.more
        );
        let path = folder.join("nats.conf");
        std::fs::write(&path, settings).expect("settings");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let process = Command::new(program())
            .arg("--config")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server, which `make setup-remote` brings");
        self.process = Some(process);
        let address = ("127.0.0.1", self.port);
        wait_until("the server", || {
            std::net::TcpStream::connect(address).is_ok()
        });
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a process of ours");
            process.wait().expect("its end");
        }
    }

    /// Removes everything that a killed server holds, as a container without a volume loses it.
    pub(crate) fn empty(&self) {
        assert!(self.process.is_none(), "it runs");
        std::fs::remove_dir_all(self.folder.path().join("store")).expect("what it stored");
    }

    /// Returns its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// Returns its address.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Connects a program with credentials.
    pub(crate) fn connect_as(
        &self,
        credentials: &Credentials,
        codecs: &Codecs,
    ) -> Result<Arc<NatsConnection>, RemoteError> {
        NatsConnection::connect(&self.url(), credentials, "test", codecs.clone())
    }

    /// Connects the part of a machine as one of the server's users.
    pub(crate) fn connect_machine(
        &self,
        user: &str,
        machine: &str,
        codecs: &Codecs,
    ) -> Arc<NatsConnection> {
        let credentials = Credentials {
            user: Some((user.to_owned(), "secret".to_owned())),
            ..Credentials::default()
        };
        let url = self.url();
        let connected =
            NatsConnection::connect_part(&url, &credentials, "test", Some(machine), codecs.clone());
        connected.expect("a connection")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let native = [".native", "../.native"].map(|native| package.join(native));
    let mut native = native
        .map(|native| native.join("nats-server/nats-server"))
        .into_iter();
    // Otherwise the machine's own.
    native
        .find(|native| native.exists())
        .unwrap_or_else(|| PathBuf::from("nats-server"))
}
