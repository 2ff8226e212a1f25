//! `/healthz`: the server answers. `/readyz`: every node has been created and the run is still served.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::watched_run::WatchedRun;

pub(crate) fn routes() -> Router<Arc<WatchedRun>> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
}

async fn readyz(State(run): State<Arc<WatchedRun>>) -> (StatusCode, &'static str) {
    if run.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
