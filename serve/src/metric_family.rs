//! The name, help and kind of a metric. Its values come from elsewhere.

/// A metric: one name with one help and one kind, whatever its labels.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Family {
    /// Creates a counter. `name` ends in `_total`, by Prometheus' conventions; `help` is for people.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Counter;
        Self { name, help, kind }
    }

    /// Creates a gauge. `name` ends in its unit; `help` is for people.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Gauge;
        Self { name, help, kind }
    }

    /// Creates a histogram of durations. `name` ends in `_seconds`; `help` is for people.
    pub(crate) const fn histogram(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Histogram;
        Self { name, help, kind }
    }
}
