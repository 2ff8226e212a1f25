//! What actors and sources may do besides taking and emitting packets: finish a call later, hold packets back, end a
//! stream early, pass on numbers and marks from elsewhere.

mod ending;
mod held_back;
mod later;
mod numbered;
