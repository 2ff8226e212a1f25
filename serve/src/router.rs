//! All routes behind the guard, and the headers of every answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use crate::guard::{Guard, is_open};
use crate::places::Visitor;
use crate::watched_run::WatchedRun;
use crate::{control, health, metrics, page, session, sign_in};

/// Maximum size of a request's body in bytes.
const MOST_BODY: usize = 16 * 1024;
/// Time within which a request must be received and answered; adding a stream waits for its nodes.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The page uses its own scripts, styles and pictures and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=()",
    ),
];

/// Returns the routes of a run.
pub(crate) fn router(run: Arc<WatchedRun>, guard: Guard) -> Router {
    let guard = Arc::new(guard);
    Router::new()
        .merge(health::routes())
        .merge(page::routes())
        .merge(session::routes())
        .merge(control::routes())
        .merge(metrics::routes())
        .with_state(run)
        .merge(sign_in::routes(Arc::clone(&guard)))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(guard, guarded))
}

/// Answers clients that connect without TLS when it is required.
pub(crate) fn unencrypted() -> Router {
    let said = "this port speaks TLS only: use https://\n";
    Router::new().fallback(async move || (StatusCode::BAD_REQUEST, said))
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut answer = match guard.check(&parts) {
        Err(refusal) => refusal.answer().into_response(),
        Ok(()) => {
            if let Some(visitor) = parts.extensions.get::<Arc<Visitor>>()
                && !is_open(&parts)
            {
                visitor.is_let_in();
            }
            let request = Request::from_parts(parts, body);
            match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
                Ok(answer) => answer,
                Err(_) => (StatusCode::REQUEST_TIMEOUT, "this took too long\n").into_response(),
            }
        }
    };
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if answer.status() == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, bearer);
    }
    answer
}
