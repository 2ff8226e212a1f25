//! The controls of the page: adding, removing and reopening streams, draining and stopping the run. The guard decides
//! who may use them.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lock::lock;
use crate::watched_run::{Source, WatchedRun};

/// Permitted schemes for streams if others can see the page.
const NETWORK: [&str; 4] = ["rtsp", "rtsps", "http", "https"];

type Run = State<Arc<WatchedRun>>;
type Answer = (StatusCode, String);

pub(crate) fn routes() -> Router<Arc<WatchedRun>> {
    Router::new()
        .route("/streams/add", post(add))
        .route("/streams/remove", post(remove))
        .route("/streams/reconnect", post(reconnect))
        .route("/drain", post(drain))
        .route("/stop", post(stop))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    name: String,
    uri: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        (
            StatusCode::BAD_REQUEST,
            format!("invalid request: {error}\n"),
        )
    })
}

async fn add(State(run): Run, body: Bytes) -> Result<Answer, Answer> {
    let Added { name, uri } = read(&body)?;
    check_uri(&uri, run.is_local).map_err(|why| (StatusCode::FORBIDDEN, why))?;
    open(run, Source::new(name, uri), None).await
}

async fn remove(State(run): Run, body: Bytes) -> Result<Answer, Answer> {
    let Named { name } = read(&body)?;
    refuse_of_another_machine(&run, &name)?;
    if !run.handle.remove_stream(&name) {
        return Err(unknown(&name));
    }
    run.journal.asked(format!("the page removes stream {name}"));
    Ok((StatusCode::OK, format!("{name} ends\n")))
}

async fn reconnect(State(run): Run, body: Bytes) -> Result<Answer, Answer> {
    let Named { name } = read(&body)?;
    refuse_of_another_machine(&run, &name)?;
    let source = run
        .source(&name)
        .ok_or_else(|| match run.handle.stream_report(&name) {
            Some(_) => refused(&format!(
                "the stream `{name}` was neither listed nor added: its provider opens it once"
            )),
            None => unknown(&name),
        })?;
    open(run, source, Some(name)).await
}

async fn drain(State(run): Run) -> Answer {
    run.journal.asked("the page drains the run".to_owned());
    run.drain();
    (StatusCode::OK, "what is in flight is finished\n".to_owned())
}

async fn stop(State(run): Run) -> Answer {
    run.journal.asked("the page stops the run".to_owned());
    run.stop();
    let said = "what is in flight is given up and counted\n";
    (StatusCode::OK, said.to_owned())
}

fn unknown(name: &str) -> Answer {
    let known = format!("there is no stream `{}`\n", name.escape_debug());
    (StatusCode::NOT_FOUND, known)
}

fn refused(why: &str) -> Answer {
    (StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n"))
}

fn opened_already(name: &str, successor: &str) -> Answer {
    let said = format!(
        "the stream `{name}` was opened again already, as `{successor}`, which has not ended: reconnect that one\n"
    );
    (StatusCode::CONFLICT, said)
}

/// Refuses streams from another machine: they are ended where their source is, since its packets would otherwise wait
/// for room forever.
fn refuse_of_another_machine(run: &WatchedRun, name: &str) -> Result<(), Answer> {
    match run.handle.edge_of(name) {
        Some(edge) => Err(refused(&format!(
            "the stream `{name}` comes from another machine, over edge {edge}: remove it, or open it again, on the page of the machine where its source is"
        ))),
        None => Ok(()),
    }
}

/// Opens a stream, optionally in place of another one, which ends only if the new one could begin.
async fn open(
    run: Arc<WatchedRun>,
    source: Source,
    instead_of: Option<String>,
) -> Result<Answer, Answer> {
    run.secrets.add_uri(&source.uri);
    let opened =
        tokio::task::spawn_blocking(move || open_in_turn(&run, source, instead_of.as_deref()));
    opened.await.unwrap_or_else(|_| {
        let said = "the stream could not be added\n".to_owned();
        Err((StatusCode::INTERNAL_SERVER_ERROR, said))
    })
}

/// Opens a stream once no other request opens the same source. The engine checks its name as in graph files, and waits
/// until its nodes exist.
fn open_in_turn(
    run: &WatchedRun,
    source: Source,
    instead_of: Option<&str>,
) -> Result<Answer, Answer> {
    let line = Arc::clone(&source.line);
    let mut line = lock(&line);
    let added = match instead_of {
        Some(before) => {
            if let Some(successor) = run.successor(before, &line) {
                return Err(opened_already(before, successor));
            }
            run.handle.replace_stream(before, &source.name, &source.uri)
        }
        None => run.handle.add_stream(&source.name, &source.uri),
    };
    let name = added.map_err(|error| refused(&run.secrets.hide(&error.to_string())))?;
    match instead_of {
        Some(before) => run.journal.reopened(before, &name),
        None => run.journal.asked(format!("the page adds stream {name}")),
    }
    line.push(name.clone());
    run.remember(name.clone(), source);
    Ok((StatusCode::OK, format!("{name} begins\n")))
}

/// Checks whether a stream may have this URI. If others see the page, they may not open files and devices of this
/// machine.
fn check_uri(uri: &str, is_local: bool) -> Result<(), String> {
    if uri.is_empty() || uri.len() > 2048 || uri.chars().any(char::is_control) {
        return Err(
            "a stream's URI has 1 to 2048 characters and no control characters\n".to_owned(),
        );
    }
    let scheme = uri.split_once("://").map(|(scheme, _)| scheme);
    let is_network = scheme.is_some_and(|scheme| {
        NETWORK
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
    });
    if is_network || is_local {
        Ok(())
    } else {
        Err(
            "only rtsp, rtsps, http and https: files and devices can be added only if the page is on loopback without --serve-host, and so not reachable from other machines\n"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_devices_are_for_this_machine_alone() {
        for uri in [
            "rtsp://camera/main",
            "RTSPS://camera",
            "http://camera/video",
            "https://camera/video",
        ] {
            assert_eq!(check_uri(uri, false), Ok(()), "{uri}");
        }
        for uri in [
            "/dev/video0",
            "clip.mp4",
            "file:///etc/passwd",
            "concat:/etc/passwd|x",
            "subfile,,start,0,end,0,,:/etc/passwd",
            "pipe:0",
            "ftp://host/x",
            "7",
        ] {
            assert!(check_uri(uri, false).is_err(), "{uri}");
            assert_eq!(check_uri(uri, true), Ok(()), "{uri}");
        }
        let long = format!("http://{}", "x".repeat(3000));
        for uri in ["", "http://camera/\n", &long] {
            assert!(check_uri(uri, true).is_err(), "{uri}");
        }
    }
}
