//! The books of streams in a run's report: how much was captured, and how much of it did not reach the measured table.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{RunReport, SinkBooks, StreamBooks};

/// Number of packets that did not arrive, by cause and place.
pub(crate) type Drops = BTreeMap<String, u64>;

/// The cause of frames that did not reach the graph.
const MISSED: &str = "missed at the source";
/// The cause of frames that the report counts as delivered but the table lacks.
const NOT_IN_TABLE: &str = "delivered, but not in the table";

/// The reason why values from a report are unknown without one.
pub(super) const NO_REPORT: &str = "there is no report.json";
/// The reason why a value is unknown that a report lacks.
pub(super) const NOT_SAID: &str = "report.json does not say it";

/// The books of one stream or of all streams. None where the report lacks a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Books {
    /// Packets that the sources passed to the graph.
    pub(super) captured: Option<u64>,
    /// Losses on the way to the table.
    pub(super) drops: Option<Drops>,
    /// Losses on the way to other sinks only; also none if the sink that wrote the table is unknown.
    pub(super) drops_elsewhere: Option<Drops>,
    /// Share of the sources' frames that the table lacks, or why it is unknown.
    pub(super) drop_rate: Result<f64, &'static str>,
}

/// Sums over streams.
struct Sums {
    captured: Option<u64>,
    /// Captured and missed, over the streams that lead to the table.
    offered: Option<u64>,
    drops: Option<Drops>,
    elsewhere: Option<Drops>,
    /// Whether any of them leads to the table.
    is_led: bool,
}

impl Books {
    /// Returns the books of these streams, which have `frames` frames in the table.
    pub(super) fn of(report: &RunReport, streams: &[&String], is_all: bool, frames: u64) -> Self {
        let writers = report.writers_of_table();
        let none = BTreeMap::new();
        let known = report.streams.as_ref().unwrap_or(&none);
        // If the report names no sink that wrote the table, all sinks are assumed to have written it.
        let mut all = known.values().chain(&report.units);
        let has_writer = all.any(|books| books.leads_to(&writers));
        let mut sums = Sums::default();
        let mut not_known = 0;
        for stream in streams {
            match known.get(*stream) {
                Some(books) => sums.add(books, &writers, has_writer),
                None => not_known += 1,
            }
        }
        match &report.units {
            // Ended units of work are counted together.
            Some(units) if is_all => sums.add(units, &writers, has_writer),
            _ if not_known > 0 => sums = Sums::unknown(),
            _ => {}
        }
        sums.into_books(frames)
    }
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            captured: Some(0),
            offered: Some(0),
            drops: Some(Drops::new()),
            elsewhere: Some(Drops::new()),
            is_led: false,
        }
    }
}

impl Sums {
    fn unknown() -> Self {
        Self {
            captured: None,
            offered: None,
            drops: None,
            elsewhere: None,
            is_led: true,
        }
    }

    fn add(&mut self, books: &StreamBooks, writers: &BTreeSet<&str>, has_writer: bool) {
        self.captured = sum(self.captured, books.captured);
        let Some(sinks) = &books.sinks else {
            (self.drops, self.elsewhere) = (None, None);
            self.offered = None;
            return;
        };
        let writes = |name: &String| !has_writer || writers.contains(name.as_str());
        let (tables, others): (Vec<_>, Vec<_>) = sinks.iter().partition(|(name, _)| writes(name));
        let of = |sinks: Vec<(&String, &SinkBooks)>| {
            most(sinks.into_iter().map(|(_, books)| &books.losses))
        };
        let is_led = !tables.is_empty();
        let (mut drops, mut elsewhere) = (of(tables), of(others));
        if let (Some(drops), Some(elsewhere)) = (&drops, &mut elsewhere) {
            // Losses before the paths of the sinks fork are in the books of both.
            elsewhere.retain(|cause, count| {
                *count = count.saturating_sub(drops.get(cause).copied().unwrap_or(0));
                *count > 0
            });
        }
        if is_led {
            self.is_led = true;
            let offered = sum(books.captured, books.missed);
            self.offered = sum(self.offered, offered);
            match (books.missed, &mut drops) {
                (Some(0), _) | (_, None) => {}
                (Some(missed), Some(drops)) => {
                    drops.insert(MISSED.to_owned(), missed);
                }
                (None, Some(_)) => drops = None,
            }
        }
        let is_told = has_writer || sinks.len() < 2;
        join(&mut self.drops, drops);
        join(&mut self.elsewhere, elsewhere.filter(|_| is_told));
    }

    fn into_books(mut self, frames: u64) -> Books {
        let drop_rate = match self.offered {
            None => Err(NOT_SAID),
            Some(_) if !self.is_led => Err("the stream does not lead to the table"),
            Some(0) => Err("nothing was captured"),
            Some(offered) if offered < frames => {
                Err("the table has more frames than report.json says were captured")
            }
            Some(offered) => Ok((offered - frames) as f64 / offered as f64),
        };
        if let (Some(drops), Some(offered), Ok(_)) = (&mut self.drops, self.offered, &drop_rate) {
            let told: u64 = drops.values().sum();
            let rest = (offered - frames).saturating_sub(told);
            if rest > 0 {
                drops.insert(NOT_IN_TABLE.to_owned(), rest);
            }
        }
        Books {
            captured: self.captured,
            drops: self.drops,
            drops_elsewhere: self.elsewhere,
            drop_rate,
        }
    }
}

/// Returns the largest count of each cause: losses before the paths of two sinks fork are in the books of both, with
/// the same number.
fn most<'a>(losses: impl Iterator<Item = &'a Option<Drops>>) -> Option<Drops> {
    let mut most = Drops::new();
    for losses in losses {
        for (cause, count) in losses.as_ref()? {
            if *count > 0 {
                let largest = most.entry(cause.clone()).or_default();
                *largest = (*count).max(*largest);
            }
        }
    }
    Some(most)
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one?.saturating_add(other?))
}

fn join(all: &mut Option<Drops>, more: Option<Drops>) {
    match (all.as_mut(), more) {
        (Some(all), Some(more)) => {
            for (cause, count) in more {
                *all.entry(cause).or_default() += count;
            }
        }
        _ => *all = None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn books(report: Value, streams: &[&str], is_all: bool, frames: u64) -> Books {
        let report: RunReport = serde_json::from_value(report).unwrap();
        let streams: Vec<String> = streams.iter().map(|&name| name.to_owned()).collect();
        let streams: Vec<&String> = streams.iter().collect();
        Books::of(&report, &streams, is_all, frames)
    }

    fn drops(causes: &[(&str, u64)]) -> Option<Drops> {
        let causes = causes.iter();
        Some(causes.map(|(cause, n)| ((*cause).to_owned(), *n)).collect())
    }

    fn written() -> Value {
        json!([{"node": "log", "path": "runs/x/faces.csv"}, {"node": "video@a", "path": "runs/x/a.mp4"}])
    }

    #[test]
    fn what_two_other_sinks_lost_is_no_loss_of_the_table() {
        let sinks = json!({
            "log": {"losses": {"drop_oldest at detect": 10}},
            "e1": {"losses": {"drop_oldest at detect": 10, "drop_oldest at s1": 43}},
            "e2": {"losses": {"drop_oldest at detect": 10, "drop_oldest at s2": 43}},
        });
        let streams = json!({"a": {"captured": 60, "missed": 2, "sinks": sinks}});
        let found = books(
            json!({"streams": streams, "files": written()}),
            &["a"],
            false,
            50,
        );
        assert_eq!(found.drop_rate, Ok(12.0 / 62.0));
        assert_eq!(
            found.drops,
            drops(&[("drop_oldest at detect", 10), (MISSED, 2)])
        );
        assert_eq!(
            found.drops_elsewhere,
            drops(&[("drop_oldest at s1", 43), ("drop_oldest at s2", 43)])
        );
        // If the report does not say which sink wrote the table, the share is known but not the place.
        let found = books(json!({"streams": streams}), &["a"], false, 50);
        assert_eq!(found.drop_rate, Ok(12.0 / 62.0));
        assert_eq!(found.drops.unwrap().len(), 4);
        assert_eq!(found.drops_elsewhere, None);
    }

    #[test]
    fn what_was_delivered_and_is_not_there_is_a_drop() {
        let streams = json!({"a": {"captured": 60, "missed": 0, "sinks": {"log": {"losses": {}}}}});
        let found = books(json!({"streams": streams}), &["a"], true, 45);
        assert_eq!(found.drops, drops(&[(NOT_IN_TABLE, 15)]));
        assert_eq!(found.drop_rate, Ok(0.25));
        let found = books(json!({"streams": streams}), &["a"], true, 61);
        assert!(found.drop_rate.unwrap_err().contains("more frames"));
    }

    #[test]
    fn a_stream_that_does_not_lead_to_the_table_takes_no_part() {
        let streams = json!({
            "a": {"captured": 60, "missed": 0, "sinks": {"log": {"losses": {}}}},
            "b": {"captured": 40, "missed": 9, "sinks": {"e": {"losses": {"drop_newest at e": 30}}}},
        });
        let report = json!({"streams": streams, "files": written()});
        let found = books(report.clone(), &["a", "b"], true, 60);
        assert_eq!((found.captured, found.drop_rate), (Some(100), Ok(0.0)));
        assert_eq!(found.drops, drops(&[]));
        assert_eq!(found.drops_elsewhere, drops(&[("drop_newest at e", 30)]));
        let found = books(report, &["b"], false, 0);
        assert!(found.drop_rate.unwrap_err().contains("does not lead"));
    }

    #[test]
    fn what_a_report_does_not_say_is_not_known() {
        for streams in [
            json!({}),
            json!({"b": {"captured": 1, "missed": 0, "sinks": {}}}),
            json!({"a": {}}),
            json!({"a": {"captured": null}}),
        ] {
            let found = books(json!({"streams": streams}), &["a"], true, 5);
            assert_eq!((found.captured, found.drops), (None, None), "{streams}");
            assert_eq!(found.drop_rate, Err(NOT_SAID));
        }
        let whole = json!({"captured": 5, "missed": 0, "sinks": {"log": {"losses": {}}}});
        for (field, knows_captured) in [("captured", false), ("missed", true), ("sinks", true)] {
            let mut stream = whole.clone();
            stream.as_object_mut().unwrap().remove(field);
            let found = books(json!({"streams": {"a": stream}}), &["a"], true, 5);
            assert_eq!(found.captured.is_some(), knows_captured, "{field}");
            assert_eq!(found.drop_rate, Err(NOT_SAID), "{field}");
        }
        // Streams that were units of work are counted together.
        let report = json!({"streams": {}, "units": whole});
        let found = books(report.clone(), &["a", "b"], true, 5);
        assert_eq!((found.captured, found.drop_rate), (Some(5), Ok(0.0)));
        assert_eq!(books(report, &["a"], false, 3).captured, None);
    }
}
