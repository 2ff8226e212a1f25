//! This machine's wall clock, for records and messages.

use std::time::{SystemTime, UNIX_EPOCH};

use fermata_engine::clock::nanoseconds;

/// Returns the time in nanoseconds since 1970.
pub(crate) fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(nanoseconds(since.unwrap_or_default())).unwrap_or(i64::MAX)
}

/// Returns the time in milliseconds since 1970.
pub(crate) fn unix_ms() -> i64 {
    unix_ns() / 1_000_000
}

/// Formats a time in milliseconds since 1970 for people: RFC 3339 in UTC, to the second.
pub(crate) fn utc(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_ms.div_euclid(1000));
    time.unwrap_or_default().to_string()
}
