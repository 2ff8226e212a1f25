//! What actors and sources may do besides taking and emitting packets: finish a call later, hold packets back, end a
//! stream early, pass on numbers and marks from elsewhere.

mod batches;
mod ending;
mod held_back;
mod held_up;
mod later;
mod numbered;
