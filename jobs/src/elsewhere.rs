//! Units that are done on other machines: what a program lends to the two actors that know of it. Owns the contract;
//! who carries units and results between machines is the program's.

use std::time::Duration;

use fermata_engine::ActorError;

/// What there is to be done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A unit.
    Unit {
        /// Its number.
        unit: usize,
        /// How often it has been begun anywhere, this time included.
        attempt: u32,
    },
    /// Nothing now.
    NotYet,
    /// Nothing any more.
    NoMore,
}

/// Gives units that somebody else hands out, and takes what came of them.
pub trait Gives: Send + Sync {
    /// The next unit, if there is one.
    ///
    /// # Errors
    /// There can be none any more, for a reason that ends the run.
    fn next(&self) -> Result<Given, ActorError>;
    /// A unit was computed: its file's bytes, and its rows.
    fn computed(&self, unit: usize, bytes: Vec<u8>, rows: usize);
    /// A call failed or panicked over a unit.
    fn failed(&self, unit: usize, reason: &str);
    /// A unit was not computed, for reasons that have nothing to do with it.
    fn give_back(&self, unit: usize);
}

/// A unit's result from elsewhere.
pub struct Returned {
    /// Who computed it.
    pub worker: String,
    /// Its file's bytes.
    pub bytes: Vec<u8>,
}

/// Hands units out to others, and brings what comes of them.
pub trait HandsOut: Send + Sync {
    /// Hands a unit out.
    fn hand_out(&self, unit: usize);
    /// What came of it; waits for that at most so long.
    ///
    /// # Errors
    /// Nothing will come of it: why.
    fn result(&self, unit: usize, most: Duration) -> Result<Option<Returned>, ActorError>;
    /// The result has been used: it has so many rows.
    fn taken(&self, unit: usize, rows: usize);
    /// The result is not what it should be: it is handed out again.
    fn reject(&self, unit: usize, reason: &str);
    /// Nobody waits for it any more.
    fn withdraw(&self, unit: usize);
}

/// The service of `given_units`.
pub struct Giver(pub Box<dyn Gives>);

/// The service of `returned_rows`.
pub struct HandingOut(pub Box<dyn HandsOut>);
