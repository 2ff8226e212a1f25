//! A browser's session: what is sent to it, and what it requests, over one WebSocket.
//!
//! The browser grants a credit for a stream when it has shown the stream's last picture and its tile is on the screen;
//! one credit is one picture. So a slow browser gets fewer pictures, none of them late, and delays nobody but itself.
//! Numbers and journal entries are sent when they are new; what was not sent in time is not sent later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::bottleneck::{FILLING, FULL};
use crate::tap::Opened;
use crate::watched_run::WatchedRun;

/// Maximum size of a browser's message in bytes.
const MOST_MESSAGE: usize = 4 * 1024;
/// Maximum number of bytes waiting to be written to a browser: a picture, and what accompanies it.
const MOST_UNWRITTEN: usize = 8 * 1024 * 1024;
/// Time after which a browser that does not accept a message counts as gone.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Time after which a browser that sends nothing, not even pongs, counts as gone.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);
/// Time between two polls of a tap.
const TAP_EVERY: Duration = Duration::from_millis(250);

pub(crate) fn routes() -> Router<Arc<WatchedRun>> {
    Router::new().route("/ws", get(open))
}

async fn open(State(run): State<Arc<WatchedRun>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(seat) = Arc::clone(&run.seats).try_acquire_owned() else {
        let answer = "too many browsers are watching this run\n";
        return (StatusCode::SERVICE_UNAVAILABLE, answer).into_response();
    };
    upgrade
        .max_message_size(MOST_MESSAGE)
        .max_frame_size(MOST_MESSAGE)
        .max_write_buffer_size(MOST_UNWRITTEN)
        .on_upgrade(async move |socket| {
            let mut session = Session::new(run, socket);
            if let Err(Gone(why)) = session.serve().await {
                tracing::debug!("a browser is gone: {why}");
            }
            drop(seat);
        })
}

/// Why a session is over.
struct Gone(&'static str);

/// A browser's request.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    /// Requests the next picture of these streams.
    Credit(Vec<String>),
    /// Requests no more pictures of these streams: their tiles have left the screen.
    Hide(Vec<String>),
    /// Requests the packets of an edge, by its index in the graph; null for none.
    Tap(Option<usize>),
}

struct Session {
    run: Arc<WatchedRun>,
    socket: WebSocket,
    /// By stream: the lowest acceptable picture number for its credit. It is the newest number when the credit arrives,
    /// so that no older picture is sent, and a slow encoder does not chase later ones.
    credits: BTreeMap<String, u64>,
    /// The number of the last picture sent of each stream.
    seen: BTreeMap<String, u64>,
    tap: Option<(usize, Opened)>,
    /// The last journal entry sent.
    entry: u64,
    heard: Instant,
}

impl Session {
    fn new(run: Arc<WatchedRun>, socket: WebSocket) -> Self {
        Self {
            run,
            socket,
            credits: BTreeMap::new(),
            seen: BTreeMap::new(),
            tap: None,
            entry: 0,
            heard: Instant::now(),
        }
    }

    async fn serve(&mut self) -> Result<(), Gone> {
        let run = Arc::clone(&self.run);
        let mut numbers = run.numbers.subscribe();
        let mut encoded = run.video.encoded();
        let mut pings = tokio::time::interval(PING_EVERY);
        let mut taps = tokio::time::interval(TAP_EVERY);
        self.send_text(&self.hello()).await?;
        numbers.mark_changed();
        loop {
            self.send_pictures().await?;
            tokio::select! {
                message = self.socket.recv() => self.hear(message)?,
                _ = encoded.changed() => {}
                changed = numbers.changed() => {
                    changed.map_err(|_| Gone("the server ends"))?;
                    let published = numbers.borrow_and_update().clone();
                    self.send_numbers(&published.json).await?;
                    if published.is_last {
                        let _ = timeout(SEND_WITHIN, self.socket.send(Message::Close(None))).await;
                        return Err(Gone("the run is over"));
                    }
                }
                _ = taps.tick(), if self.tap.is_some() => self.send_tapped().await?,
                _ = pings.tick() => {
                    if self.heard.elapsed() > SILENT_AT_MOST {
                        return Err(Gone("it is silent"));
                    }
                    self.send(Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    fn hello(&self) -> String {
        json!({
            "hello": {
                "graph": &self.run.view,
                "has_video": self.run.video.is_there(),
                "takes_files": self.run.is_local,
                "filling": FILLING,
                "full": FULL,
            }
        })
        .to_string()
    }

    fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), Gone> {
        self.heard = Instant::now();
        match message {
            None | Some(Ok(Message::Close(_))) => Err(Gone("it has closed")),
            Some(Err(_)) => Err(Gone("it breaks the protocol or is not to be reached")),
            Some(Ok(Message::Text(text))) => {
                let asked = serde_json::from_str(&text)
                    .map_err(|_| Gone("it sent what is not a command of the page"))?;
                self.ask(asked);
                Ok(())
            }
            Some(Ok(Message::Binary(_))) => Err(Gone("it sent what is not a command of the page")),
            Some(Ok(_)) => Ok(()),
        }
    }

    fn ask(&mut self, asked: Asked) {
        match asked {
            Asked::Credit(streams) => {
                // Names come from outside: only those of the run are kept.
                for stream in streams {
                    if self.run.is_running(&stream) {
                        let next = self.seen.get(&stream).map_or(1, |seen| seen + 1);
                        let least = self.run.video.newest(&stream).max(next);
                        self.credits.entry(stream).or_insert(least);
                    }
                }
            }
            Asked::Hide(streams) => {
                for stream in streams {
                    self.credits.remove(&stream);
                }
            }
            Asked::Tap(edge) => {
                let edge = edge.and_then(|number| Some((number, self.run.view.edges.get(number)?)));
                self.tap = edge.map(|(number, edge)| {
                    (number, self.run.tap.open(&edge.from, edge.output_index))
                });
            }
        }
    }

    async fn send_pictures(&mut self) -> Result<(), Gone> {
        for (stream, least) in self.credits.clone() {
            if !self.run.is_running(&stream) {
                self.credits.remove(&stream);
                self.seen.remove(&stream);
                continue;
            }
            if let Some(picture) = self.run.video.picture(&stream, least) {
                self.credits.remove(&stream);
                self.seen.insert(stream, picture.number);
                self.send(Message::Binary(picture.message)).await?;
            }
        }
        Ok(())
    }

    async fn send_numbers(&mut self, json: &str) -> Result<(), Gone> {
        if !json.is_empty() {
            self.send_text(&format!("{{\"numbers\":{json}}}")).await?;
        }
        let entries = self.run.journal.after(self.entry);
        let Some(last) = entries.last() else {
            return Ok(());
        };
        self.entry = last.number;
        self.send_text(&json!({ "journal": entries }).to_string())
            .await
    }

    async fn send_tapped(&mut self) -> Result<(), Gone> {
        let Some((edge, tap)) = &mut self.tap else {
            return Ok(());
        };
        let (edge, packets) = (*edge, tap.news());
        if packets.is_empty() {
            return Ok(());
        }
        let text = json!({ "tapped": { "edge": edge, "packets": packets } });
        self.send_text(&text.to_string()).await
    }

    async fn send_text(&mut self, text: &str) -> Result<(), Gone> {
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(SEND_WITHIN, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone("it is not to be reached")),
            Err(_) => Err(Gone("it takes nothing any more")),
        }
    }
}
