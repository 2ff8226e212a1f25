//! A NATS server of a test's own, which it may kill and start again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{repository, wait_until};

/// The server, in a folder of its own.
pub(super) struct NatsServer {
    folder: tempfile::TempDir,
    port: u16,
    monitor: u16,
    process: Option<Child>,
}

impl NatsServer {
    pub(super) fn start() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, other) = (free(), free());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            port: port(&one),
            monitor: port(&other),
            process: None,
        };
        drop((one, other));
        server.run();
        server
    }

    /// Starts it, or starts it again where it was.
    pub(super) fn run(&mut self) {
        let folder = self.folder.path();
        let settings = format!(
            "listen: 127.0.0.1:{}\nhttp: 127.0.0.1:{}\njetstream {{store_dir: {:?}, sync_interval: always}}\n",
            self.port,
            self.monitor,
            folder.join("store")
        );
        let path = folder.join("nats.conf");
        std::fs::write(&path, settings).unwrap();
        let native = repository(".native/nats-server/nats-server");
        let program = match native.exists() {
            true => native,
            // One that the machine has.
            false => PathBuf::from("nats-server"),
        };
        let process = Command::new(program)
            .arg("--config")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server, which `make setup-remote` brings");
        self.process = Some(process);
        let address = ("127.0.0.1", self.port);
        wait_until("the server", || TcpStream::connect(address).is_ok());
    }

    /// Kills it, as a power cut would.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The messages in the streams whose names end so, or none while the server does not say.
    pub(super) fn messages(&self, ending: &str) -> Option<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).ok()?;
        let request = "GET /jsz?streams=true HTTP/1.0\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let found: Value = serde_json::from_str(body).ok()?;
        let streams = found["account_details"].as_array()?.iter();
        let streams = streams
            .flat_map(|account| account["stream_detail"].as_array())
            .flatten();
        let named = streams.filter(|stream| {
            stream["name"]
                .as_str()
                .is_some_and(|name| name.ends_with(ending))
        });
        let counts: Vec<u64> = named
            .filter_map(|stream| stream["state"]["messages"].as_u64())
            .collect();
        (!counts.is_empty()).then(|| counts.iter().sum())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
