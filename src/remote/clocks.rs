//! Accuracy of the latencies of packets from other machines, for the page and the metrics of a run.

use std::sync::Arc;

use fermata_engine::Services;
use fermata_remote::site::SitePart;
use fermata_serve::{ClockNumbers, Clocks, Family, Measure, Measures};

use crate::summary::by_two_clocks;

const AHEAD: Family = Family::gauge(
    "fermata_site_clock_ahead_seconds",
    "How much this machine's clock is ahead of the NATS server's.",
);
const ERROR: Family = Family::gauge(
    "fermata_site_latency_error_seconds",
    "How wrong latencies of packets from other machines may be; +Inf while that is unknown.",
);
const FUTURE: Family = Family::counter(
    "fermata_site_future_packets_total",
    "Packets that came before they were captured, by the clocks of two machines.",
);

/// Lends a run what its page and its metrics show of clocks.
pub(super) fn lend(services: Services, part: &Arc<SitePart>) -> Services {
    let (shown, measured) = (Arc::clone(part), Arc::clone(part));
    let clocks = Clocks(Box::new(move || numbers(&shown)));
    let measures = Measures(Box::new(move || measures(&numbers(&measured))));
    services.with(Arc::new(clocks)).with(Arc::new(measures))
}

fn numbers(part: &SitePart) -> ClockNumbers {
    let (clocks, from_future) = (part.clocks(), part.packets_from_future());
    let before = match from_future {
        0 => String::new(),
        some => format!("; {some} packets came before they were captured"),
    };
    ClockNumbers {
        latency_error_ms: clocks.latency_error_ms,
        ahead_ms: clocks.own.map(|own| own.ahead_ms),
        from_future,
        told: by_two_clocks(clocks.latency_error_ms) + &before,
    }
}

fn measures(clocks: &ClockNumbers) -> Vec<Measure> {
    let measure = |family, value| Measure {
        family,
        labels: Vec::new(),
        value,
    };
    let error_ms = clocks.latency_error_ms.unwrap_or(f64::INFINITY);
    let ahead = clocks.ahead_ms.map(|ms| measure(&AHEAD, ms / 1e3));
    let error = measure(&ERROR, error_ms / 1e3);
    let future = measure(&FUTURE, clocks.from_future as f64);
    ahead.into_iter().chain([error, future]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_has_the_error_of_latencies_in_seconds_and_says_when_nobody_knows_it() {
        let value = |clocks: &ClockNumbers| {
            let measures = measures(clocks).into_iter();
            let mut error = measures.filter(|measure| *measure.family == ERROR);
            error.next().map(|measure| measure.value)
        };
        assert_eq!(value(&ClockNumbers::default()), Some(f64::INFINITY));
        let known = ClockNumbers {
            latency_error_ms: Some(250.0),
            ..ClockNumbers::default()
        };
        assert_eq!(value(&known), Some(0.25));
    }
}
