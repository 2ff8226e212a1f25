//! What ONNX Runtime logs itself.

use ort::logging::LogLevel;

const TARGET: &str = "onnxruntime";

/// The least that it is to tell: what nobody reads costs nothing then.
pub(crate) fn level() -> LogLevel {
    if tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        LogLevel::Info
    } else if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        LogLevel::Warning
    } else {
        LogLevel::Fatal
    }
}

/// ONNX Runtime logs each error that it also returns, so its own log is of interest only when one looks for a cause.
pub(crate) fn log(level: LogLevel, category: &str, _id: &str, place: &str, message: &str) {
    match level {
        LogLevel::Fatal => tracing::error!(target: TARGET, category, place, "{message}"),
        LogLevel::Error | LogLevel::Warning => {
            tracing::debug!(target: TARGET, category, place, "{message}");
        }
        LogLevel::Info | LogLevel::Verbose => {
            tracing::trace!(target: TARGET, category, place, "{message}");
        }
    }
}
