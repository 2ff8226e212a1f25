//! Exchanges the token for a cookie, so that the token appears in no address and no script can read it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::guard::Guard;

/// Returns the routes: `POST /session` exchanges the token for a cookie; `GET /session` tells whether it is still
/// needed.
pub(crate) fn routes(guard: Arc<Guard>) -> Router {
    let session = get(async || StatusCode::NO_CONTENT).post(sign_in);
    Router::new().route("/session", session).with_state(guard)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    token: String,
}

async fn sign_in(State(guard): State<Arc<Guard>>, body: Bytes) -> Response {
    let Ok(Given { token }) = serde_json::from_slice(&body) else {
        return (
            StatusCode::BAD_REQUEST,
            "expected a JSON object with `token`\n",
        )
            .into_response();
    };
    match guard.cookie_for(&token) {
        Some(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        None if guard.token.is_none() => StatusCode::NO_CONTENT.into_response(),
        None => (StatusCode::UNAUTHORIZED, "this is not the run's token\n").into_response(),
    }
}
