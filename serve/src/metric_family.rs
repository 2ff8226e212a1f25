//! What a metric is called, what it says, and of which kind it is. Its values are elsewhere.

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
    /// What only grows. `name` ends in `_total`, by Prometheus' conventions; `help` is for people.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Counter;
        Self { name, help, kind }
    }

    /// What goes up and down. `name` ends in its unit; `help` is for people.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Gauge;
        Self { name, help, kind }
    }

    /// How long something takes, in buckets. `name` ends in `_seconds`; `help` is for people.
    pub(crate) const fn histogram(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Histogram;
        Self { name, help, kind }
    }
}
