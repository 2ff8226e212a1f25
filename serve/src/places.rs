//! Limits the number of open connections. If all places are taken, the connection that has proved least gives way: so
//! silent connections, even if they reconnect whenever they are closed, do not keep out clients that send requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::lock::lock;

/// How much a connection has proved, from least to most; 0 is nothing.
const A_REQUEST: u8 = 1;
const ITS_RIGHT: u8 = 2;

/// An open connection.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    shown: AtomicU8,
    gives_way: Notify,
}

impl Visitor {
    /// Notes that a complete request head has arrived.
    pub(crate) fn asks(&self) {
        self.shown.fetch_max(A_REQUEST, Ordering::Relaxed);
    }

    /// Notes that it requested something restricted and was permitted: it keeps its place.
    pub(crate) fn is_let_in(&self) {
        self.shown.fetch_max(ITS_RIGHT, Ordering::Relaxed);
    }

    /// Waits until the connection must close.
    pub(crate) async fn gives_way(&self) {
        self.gives_way.notified().await;
    }

    fn shown(&self) -> u8 {
        self.shown.load(Ordering::Relaxed)
    }
}

/// The places for connections.
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// By order of arrival.
    visitors: BTreeMap<u64, Arc<Visitor>>,
    came: u64,
}

/// A place, which is freed on drop.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) visitor: Arc<Visitor>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// Takes a place for a new connection. If all are taken, the oldest of those that have proved least is told to give
    /// way; returns none if all are permitted clients.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken();
        if taken.visitors.len() >= self.most {
            let shown = |(number, visitor): (&u64, &Arc<Visitor>)| (visitor.shown(), *number);
            let (_, number) = taken
                .visitors
                .iter()
                .map(shown)
                .min()
                .filter(|(shown, _)| *shown < ITS_RIGHT)?;
            if let Some(visitor) = taken.visitors.remove(&number) {
                visitor.gives_way.notify_one();
            }
        }
        taken.came += 1;
        let (number, visitor) = (taken.came, Arc::new(Visitor::default()));
        taken.visitors.insert(number, Arc::clone(&visitor));
        Some(Place {
            places: Arc::clone(self),
            number,
            visitor,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().visitors.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_shown_least_gives_way_and_who_is_let_in_stays() {
        let places = Arc::new(Places::new(3));
        let mut guests: Vec<Place> = (0..3).map(|_| places.take().unwrap()).collect();
        guests[0].visitor.is_let_in();
        guests[1].visitor.asks();
        let is_in = |place: &Place| places.taken().visitors.contains_key(&place.number);
        guests.push(places.take().unwrap());
        assert!(!is_in(&guests[2]), "it has said nothing, and is the oldest");
        guests[3].visitor.is_let_in();
        guests.push(places.take().unwrap());
        assert!(!is_in(&guests[1]));
        guests[4].visitor.is_let_in();
        assert!(places.take().is_none(), "all are let in");
        guests.remove(0);
        assert!(places.take().is_some());
    }
}
