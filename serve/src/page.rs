//! The page itself: files embedded in the program. No path leads anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::watched_run::WatchedRun;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and contents of each file besides the page.
const FILES: [(&str, &str, &str); 13] = [
    ("style.css", STYLE, include_str!("../assets/style.css")),
    ("graph.css", STYLE, include_str!("../assets/graph.css")),
    ("app.js", SCRIPT, include_str!("../assets/app.js")),
    (
        "connection.js",
        SCRIPT,
        include_str!("../assets/connection.js"),
    ),
    ("controls.js", SCRIPT, include_str!("../assets/controls.js")),
    ("faces.js", SCRIPT, include_str!("../assets/faces.js")),
    ("graph.js", SCRIPT, include_str!("../assets/graph.js")),
    ("journal.js", SCRIPT, include_str!("../assets/journal.js")),
    ("layout.js", SCRIPT, include_str!("../assets/layout.js")),
    ("table.js", SCRIPT, include_str!("../assets/table.js")),
    ("tap.js", SCRIPT, include_str!("../assets/tap.js")),
    ("tiles.js", SCRIPT, include_str!("../assets/tiles.js")),
    ("words.js", SCRIPT, include_str!("../assets/words.js")),
];

pub(crate) fn routes() -> Router<Arc<WatchedRun>> {
    Router::new()
        .route("/", get(index))
        .route("/assets/{name}", get(file))
        .route("/snapshot", get(snapshot))
}

async fn index() -> Response {
    given(HTML, include_str!("../assets/index.html"))
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, contents)) => given(kind, contents),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn given(kind: &'static str, contents: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], contents).into_response()
}

/// Returns the newest numbers and the journal, for scripts and `fermata top`.
async fn snapshot(State(run): State<Arc<WatchedRun>>) -> Response {
    let numbers = Arc::clone(&run.numbers.borrow().json);
    if numbers.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, "nothing is known yet\n").into_response();
    }
    let journal = serde_json::to_string(&run.journal.after(0)).unwrap_or_default();
    let json = format!("{{\"numbers\":{numbers},\"journal\":{journal}}}\n");
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}
