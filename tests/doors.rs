//! What actors and sources may do besides taking and giving packets: finish a call later, end a stream early, hand on numbers
//! and marks from elsewhere.

mod ending;
mod later;
mod numbered;
