//! A server over a real run, asked as browsers and as attackers ask.

// All of this program is tests, also the functions that several of them share.
#![allow(clippy::unwrap_used)]

mod attacks;
mod client;
mod encrypted;
mod metrics;
mod served;
mod sessions;
mod steering;
