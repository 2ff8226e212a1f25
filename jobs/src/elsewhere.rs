//! Units computed on other machines: the services that a program lends to `given_units` and `returned_rows`. Owns the
//! contract; the program transports units and results between machines.

use std::time::Duration;

use fermata_engine::ActorError;

/// The answer to a request for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A unit.
    Unit {
        /// Its number.
        unit: usize,
        /// How often it has been started anywhere, including this time.
        attempt: u32,
    },
    /// Nothing at the moment.
    NotYet,
    /// Nothing ever again.
    NoMore,
}

/// A source of units handed out by another machine; takes back their results.
pub trait Gives: Send + Sync {
    /// Returns the next unit, if there is one.
    ///
    /// # Errors
    /// Fails if there can be no more units, for a reason that ends the run.
    fn next(&self) -> Result<Given, ActorError>;
    /// Reports that a unit was computed, with its file's contents and its number of rows.
    fn computed(&self, unit: usize, bytes: Vec<u8>, rows: usize);
    /// Reports that a call failed or panicked on a unit.
    fn failed(&self, unit: usize, reason: &str);
    /// Returns a unit that was not computed, for reasons unrelated to it.
    fn give_back(&self, unit: usize);
}

/// A unit's result from another machine.
pub struct Returned {
    /// The worker that computed it.
    pub worker: String,
    /// The contents of its file.
    pub bytes: Vec<u8>,
}

/// Hands units out to other machines, and collects their results.
pub trait HandsOut: Send + Sync {
    /// Records in the run folder that its units are computed elsewhere. Called before the job has a ledger there.
    ///
    /// # Errors
    /// Fails if that cannot be recorded: the job is then not begun.
    fn begin(&self) -> Result<(), ActorError>;
    /// Hands a unit out.
    fn hand_out(&self, unit: usize);
    /// Returns the result of a unit, waiting for at most `most`.
    ///
    /// # Errors
    /// Fails with the reason if there will be no result.
    fn result(&self, unit: usize, most: Duration) -> Result<Option<Returned>, ActorError>;
    /// Confirms that the result is durable here, with its number of rows: it need not be kept elsewhere.
    fn taken(&self, unit: usize, rows: usize);
    /// Rejects an invalid result: the unit is handed out again.
    fn reject(&self, unit: usize, reason: &str);
    /// Withdraws a unit: its result is no longer needed.
    fn withdraw(&self, unit: usize);
}

/// The service of `given_units`.
pub struct Giver(pub Box<dyn Gives>);

/// The service of `returned_rows` and, in its jobs, of `manifest_units`.
pub struct HandingOut(pub Box<dyn HandsOut>);
