//! Collects the problems of settings so that all are reported at once: the setting's name, its value, and what was
//! expected.

use std::fmt::Display;

/// Problems of settings whose names share a prefix.
pub(crate) struct Problems {
    prefix: &'static str,
    found: Vec<String>,
}

impl Problems {
    /// Returns an empty list. `prefix` is put before each name.
    pub(crate) fn of(prefix: &'static str) -> Self {
        Self {
            prefix,
            found: Vec::new(),
        }
    }

    /// Checks that a value is right.
    pub(crate) fn expect(
        &mut self,
        is_right: bool,
        name: &str,
        value: impl Display,
        expected: impl Display,
    ) {
        if !is_right {
            let prefix = self.prefix;
            let told = format!("{prefix}{name} is {value}; expected {expected}");
            self.found.push(told);
        }
    }

    /// Checks a count.
    pub(crate) fn at_least(&mut self, name: &str, value: u64, least: u64) {
        self.expect(value >= least, name, value, format!("at least {least}"));
    }

    /// Checks that a number is finite and above 0.
    pub(crate) fn above_0(&mut self, name: &str, value: f64) {
        self.expect(value.is_finite() && value > 0.0, name, value, "above 0");
    }

    /// Checks that a number is finite and not negative.
    pub(crate) fn not_negative(&mut self, name: &str, value: f64) {
        self.expect(value.is_finite() && value >= 0.0, name, value, "0 or more");
    }

    /// Checks that a number is from 0 to `most`, both included.
    pub(crate) fn up_to(&mut self, name: &str, value: f64, most: f64) {
        let is_right = (0.0..=most).contains(&value);
        self.expect(is_right, name, value, format!("0 to {most}"));
    }

    /// Checks that a number is from 0 to below 1.
    pub(crate) fn below_1(&mut self, name: &str, value: f64) {
        self.expect((0.0..1.0).contains(&value), name, value, "0 to below 1");
    }

    /// Adds a problem that is not about a single value.
    pub(crate) fn tell(&mut self, problem: &str) {
        self.found.push(format!("{}{problem}", self.prefix));
    }

    /// Returns all problems in the order in which they were found.
    pub(crate) fn all(self) -> Vec<String> {
        self.found
    }
}
