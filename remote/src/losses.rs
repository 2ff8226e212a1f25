//! Losses at the ends of edges, by edge and stream, for the report of a run: the graph's own books do not know them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fermata_engine::report::UnsentReport;

use crate::edge::sender::Given;
use crate::lock::lock;

/// See the module documentation.
#[derive(Default)]
pub(crate) struct Losses(Mutex<BTreeMap<(String, String), Arc<StreamLosses>>>);

/// Losses of one stream of an edge.
#[derive(Default)]
pub(crate) struct StreamLosses {
    given: Mutex<Given>,
    malformed: AtomicU64,
    /// Packets that are not lost but whose latency is unknown: by the two machines' clocks they came before they were
    /// captured.
    pub(crate) from_future: AtomicU64,
}

impl Losses {
    pub(crate) fn of(&self, edge: &str, stream: &str) -> Arc<StreamLosses> {
        let key = (edge.to_owned(), stream.to_owned());
        Arc::clone(lock(&self.0).entry(key).or_default())
    }

    /// Returns, by stream, the packets of an edge's sending ends that did not reach the server for certain.
    pub(crate) fn unsent(&self, edge: &str) -> BTreeMap<String, UnsentReport> {
        let losses = lock(&self.0);
        let of_edge = losses.iter().filter(|((of, _), _)| of == edge);
        let unsent = of_edge.map(|((_, stream), losses)| {
            let Given {
                dropped,
                aged,
                unconfirmed,
            } = *lock(&losses.given);
            let unsent = UnsentReport {
                dropped,
                aged,
                unconfirmed,
            };
            (stream.clone(), unsent)
        });
        unsent
            .filter(|(_, unsent)| *unsent != UnsentReport::default())
            .collect()
    }

    /// Returns how many packets of all edges came before they were captured, by the two machines' clocks.
    pub(crate) fn packets_from_future(&self) -> u64 {
        let losses = lock(&self.0);
        let counts = losses
            .values()
            .map(|losses| losses.from_future.load(Ordering::Relaxed));
        counts.sum()
    }

    /// Returns, by stream, how many messages came to an edge's receiving ends that were not messages of an edge.
    pub(crate) fn malformed(&self, edge: &str) -> BTreeMap<String, u64> {
        let losses = lock(&self.0);
        let of_edge = losses.iter().filter(|((of, _), _)| of == edge);
        let malformed = of_edge.map(|((_, stream), losses)| {
            let count = losses.malformed.load(Ordering::Relaxed);
            (stream.clone(), count)
        });
        malformed.filter(|(_, count)| *count > 0).collect()
    }
}

impl StreamLosses {
    pub(crate) fn set_given(&self, given: Given) {
        *lock(&self.given) = given;
    }

    /// Counts a malformed message, and logs the 1st, 2nd, 4th, 8th … of them.
    pub(crate) fn add_malformed(&self, what: &str, error: &dyn std::error::Error) {
        let count = self.malformed.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!("{what}: {error} (message {count} of this kind)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_found_under_its_edge_and_stream() {
        let losses = Losses::default();
        let door = losses.of("capture-server", "door");
        losses.of("capture-server", "yard");
        assert!(losses.unsent("capture-server").is_empty());
        door.set_given(Given {
            dropped: 3,
            ..Given::default()
        });
        let error = std::io::Error::other("not a packet");
        losses
            .of("capture-server", "door")
            .add_malformed("door", &error);
        let unsent = UnsentReport {
            dropped: 3,
            ..UnsentReport::default()
        };
        let name = "door".to_owned();
        assert_eq!(
            losses.unsent("capture-server"),
            [(name.clone(), unsent)].into()
        );
        assert_eq!(losses.malformed("capture-server"), [(name, 1)].into());
        assert!(losses.malformed("other").is_empty());
    }
}
