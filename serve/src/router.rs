//! All routes together.

use std::sync::Arc;

use axum::Router;

use crate::health;
use crate::metrics;
use crate::watched_run::WatchedRun;

/// The routes of a run.
pub(crate) fn router(run: Arc<WatchedRun>) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .with_state(run)
}
