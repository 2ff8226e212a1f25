//! A NATS server for jobs that reports what it holds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};

use serde_json::Value;

use crate::nats_server::{Server, free_port};

/// The server, and the port of its monitoring.
pub(super) struct JobServer {
    server: Server,
    monitor: u16,
}

impl JobServer {
    pub(super) fn start() -> Self {
        let monitor = free_port();
        Self {
            server: Server::start_with(&format!("http: 127.0.0.1:{monitor}")),
            monitor,
        }
    }

    /// Returns the number of messages in streams whose names have this ending, or `None` where there are no such
    /// streams or the server does not answer.
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

impl Deref for JobServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for JobServer {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
