//! Forwarding of ONNX Runtime's own log.

use ort::logging::LogLevel;

const TARGET: &str = "onnxruntime";

/// Returns the minimum level that ONNX Runtime logs: messages that nobody reads then cost nothing.
pub(crate) fn level() -> LogLevel {
    if tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        LogLevel::Info
    } else if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        LogLevel::Warning
    } else {
        LogLevel::Fatal
    }
}

/// Forwards a message. ONNX Runtime logs each error that it also returns, so its own log is only of interest when
/// searching for a cause.
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
