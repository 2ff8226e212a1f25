//! Clients for tests: raw bytes, and a browser's WebSocket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads everything until the server closes.
pub(crate) fn raw(address: SocketAddr, request: &[u8]) -> String {
    raw_on(connect(address), request)
}

fn raw_on(mut stream: impl Read + Write, request: &[u8]) -> String {
    // The server may close before everything has been sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request with a host and further headers.
pub(crate) fn ask(address: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    ask_on(connect(address), address, line, headers, body)
}

/// The same on an existing connection.
pub(crate) fn ask_on(
    stream: impl Read + Write,
    address: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let answer = raw_on(stream, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Returns the origin that a page of this server sends with each change.
pub(crate) fn own_origin(address: SocketAddr) -> String {
    format!("http://{address}")
}

pub(crate) struct Browser(pub(crate) WebSocket<TcpStream>);

impl Browser {
    /// Opens a WebSocket as the page does, with further headers; none if the server refuses it.
    pub(crate) fn open(address: SocketAddr, headers: &[(&str, &str)]) -> Option<Self> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        for (name, value) in headers {
            let name = tokio_tungstenite::tungstenite::http::HeaderName::try_from(*name).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (socket, _) = client(request, connect(address)).ok()?;
        Some(Self(socket))
    }

    /// Opens one as this server's own page.
    pub(crate) fn own(address: SocketAddr) -> Self {
        Self::open(address, &[("origin", &own_origin(address))]).unwrap()
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// Returns the next text with this key, skipping others.
    pub(crate) fn text(&mut self, key: &str) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                let mut value: Value = serde_json::from_str(&text).unwrap();
                if value.get(key).is_some() {
                    return value[key].take();
                }
            }
        }
    }

    /// Returns the stream and sequence number of the next picture.
    pub(crate) fn picture(&mut self) -> (String, u64) {
        loop {
            if let Message::Binary(message) = self.0.read().unwrap() {
                return header(&message);
            }
        }
    }

    /// Returns whether a picture arrives before the given count of numbers.
    pub(crate) fn sees_picture_within(&mut self, numbers: usize) -> bool {
        let mut left = numbers;
        while left > 0 {
            match self.0.read().unwrap() {
                Message::Binary(_) => return true,
                Message::Text(text) if text.starts_with("{\"numbers\"") => left -= 1,
                _ => {}
            }
        }
        false
    }

    /// Reads until the server closes, and returns how.
    pub(crate) fn end(&mut self) -> Error {
        loop {
            if let Err(error) = self.0.read() {
                return error;
            }
        }
    }
}

fn header(message: &[u8]) -> (String, u64) {
    let (length, rest) = message.split_at(4);
    let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&rest[..length]).unwrap();
    assert_eq!(&rest[length..][..2], b"\xff\xd8", "a JPEG");
    (
        header["stream"].as_str().unwrap().to_owned(),
        header["sequence"].as_u64().unwrap(),
    )
}
